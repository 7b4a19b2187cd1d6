"""Models on clips that lack modalities: the sets, the random rates, clips and dialogues."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.analysis import missing_modality_rates as script
from modeling_semanticmac.analyses.missing_modalities import (
    ALL,
    missing_modalities,
    patterns,
    predict_with,
    present_modalities,
)
from modeling_semanticmac.baselines.dialogue_data import DialogueCollator, dialogues_of
from modeling_semanticmac.training.collator import SemanticMACCollator
from tests.helpers.dialogue_trainers import CLASSES, tiny_dialogue_model
from tests.helpers.dialogues import conversation_clips
from tests.helpers.systems import system_model
from tests.helpers.tiny import SENTIMENT, word_corpus
from tests.helpers.trainers import WordProcessor, fake_store


@pytest.fixture(scope="module")
def clips():
    """Six clips with two audio and three vision frames; the last has no audio."""
    return word_corpus(6)


@pytest.fixture(scope="module")
def collator(clips):
    store = fake_store(clips, [2] * 5 + [0], [3] * 6)
    return SemanticMACCollator(WordProcessor(), SENTIMENT, store)


def test_the_sets_and_the_rates():
    present = torch.ones(2000, 3, dtype=torch.bool)
    present[0, 1:] = False
    found = patterns(present, [0.3], seed=1)
    assert list(found)[:3] == [ALL, "text + audio", "text + vision"] and len(found) == 8
    assert found["audio"].sum(dim=0).tolist() == [0, 1999, 0] and found[ALL].equal(present)
    kept = found["rate 0.3"]
    assert kept.any(dim=1).all() and kept[0].tolist() == [True, False, False]
    # Each of three is dropped with probability p - p^3 / 3.
    assert (~kept[1:]).float().mean().item() == pytest.approx(0.3 - 0.3**3 / 3, abs=0.02)
    before = torch.random.get_rng_state()
    assert patterns(present, [0.3], seed=1)["rate 0.3"].equal(kept)
    assert torch.random.get_rng_state().equal(before)


def test_a_clip_without_a_modality_is_one_whose_mask_is_empty(clips, collator):
    model = system_model("mfn").eval()
    present = present_modalities(clips, collator, batch_size=4)
    assert present.tolist() == [[True] * 3] * 5 + [[True, False, True]]
    kept = present.clone()
    kept[:, 0], kept[:, 2] = False, False
    found = predict_with(model, clips, collator, kept, batch_size=4)
    assert np.isnan(found[5]).all()
    batch = collator([clips[row] for row in range(5)])
    with torch.no_grad():
        expected = model(audio_embeds=batch["audio_embeds"], audio_mask=batch["audio_mask"]).logits
    np.testing.assert_allclose(found[:5], expected, atol=1e-5)
    results = missing_modalities(model, clips, collator, [0.5])
    labels = np.array(clips["label"][:5])
    assert results["audio"]["mae"] == pytest.approx(np.abs(found[:5, 0] - labels).mean(), abs=1e-5)
    assert results["audio"]["clips"] == 5 and results[ALL]["clips"] == results["rate 0.5"]["clips"] == 6


def test_a_silent_utterance_stays_in_its_dialogue():
    model, clips = tiny_dialogue_model("bc_lstm").eval(), conversation_clips([3, 2], CLASSES)
    collator = SemanticMACCollator(WordProcessor(), CLASSES, None, ["text"])
    kept = torch.zeros(5, 3, dtype=torch.bool)
    kept[[0, 2, 3, 4], 0] = True
    found = predict_with(model, clips, collator, kept)
    assert np.isnan(found[1]).all()
    silent = clips.map(lambda clip: {"text": "" if clip["id"] == "dialogue_0_1" else clip["text"]})
    batch = DialogueCollator(collator)(list(dialogues_of(silent)))
    with torch.no_grad():
        expected = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    np.testing.assert_allclose(found[[0, 2]], expected[0, [0, 2]], atol=1e-5)
    np.testing.assert_allclose(found[3:], expected[1, :2], atol=1e-5)


def test_the_table_has_a_row_a_system(tmp_path):
    for path, name in (
        ("bench/runs/MulT/modality_dropout/fold_1/seed_3", "MulT / modality_dropout"),
        ("bench/runs/MulT/seed_3", "MulT"), ("study/full_model/seed_1", "full_model"), ("run", "run"),
    ):  # fmt: skip
        assert script.system_of(Path(path)) == name
    results = {"one": [{"audio": {"mae": 1.0, "clips": 3}}, {"audio": {"mae": 2.0, "clips": 3}}]}
    script.write(results, argparse.Namespace(metric=None, split="test", output_dir=tmp_path / "out"))
    assert "| one | 1.500 |" in (tmp_path / "out/missing_modalities.md").read_text()
    assert json.loads((tmp_path / "out/missing_modalities.json").read_text())["metric"] == "mae"


def test_what_was_tested_is_kept_until_it_is_trained_again(tmp_path, monkeypatch):
    runs, asked = [tmp_path / "runs" / "one" / f"seed_{seed}" for seed in (1, 2)], []
    for run in runs:
        run.mkdir(parents=True)
        (run / "model.safetensors").write_bytes(b"weights")

    def tested(folder, args):
        asked.append(folder.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {"vision": {"mae": 2.0, "pearson": float("nan")}, "audio": {"mae": 4.0, "pearson": 0.5}}

    monkeypatch.setattr(script, "test", tested)
    words = [*map(str, runs), "--output_dir", str(tmp_path / "out")]
    with pytest.raises(KeyboardInterrupt):
        script.main(words)
    script.main(words)
    assert asked == ["seed_1", "seed_2", "seed_2"]
    table = (tmp_path / "out/missing_modalities.md").read_text()
    assert "| system | vision | audio |" in table and "| one | 2.000 | 4.000 |" in table
    (runs[0] / "model.safetensors").write_bytes(b"other weights")
    script.main([*words, "--metric", "pearson"])
    assert asked[3:] == ["seed_1"] and "| one | nan | 0.500 |" in (tmp_path / "out/missing_modalities.md").read_text()
    script.main([*words, "--seed", "1"])
    assert asked[4:] == ["seed_1", "seed_2"]
