"""The scale of audio and vision in comparison systems: statistics of the training frames, checkpoints, dialogues."""

import json

import numpy as np
import pytest
import torch

from modeling_semanticmac import FusionForAffect
from modeling_semanticmac.baselines.dialogue_data import dialogues_of
from modeling_semanticmac.training.collator import SemanticMACCollator
from modeling_semanticmac.training.dialogue_trainer import DialogueTrainer
from tests.helpers.dialogue_trainers import CLASSES, tiny_dialogue_model
from tests.helpers.dialogues import conversation_clips
from tests.helpers.systems import batch_of, clip_rows, system_model, system_trainer
from tests.helpers.trainers import WordProcessor, arguments

ROWS = [(3, 4, 5), (5, 0, 7), (0, 6, 0), (2, 2, 3)]


def expected_statistics(frames) -> tuple[np.ndarray, np.ndarray]:
    rows = np.concatenate([np.asarray(each, dtype=np.float64) for each in frames])
    return rows.mean(axis=0), rows.std(axis=0)


def fill(model: FusionForAffect) -> FusionForAffect:
    """Give the scaling of both modalities means and deviations."""
    generator = torch.Generator().manual_seed(1)
    for scaling in model.media_scaling.values():
        scaling.mean.copy_(torch.randn(scaling.mean.shape, generator=generator))
        scaling.deviation.copy_(torch.rand(scaling.mean.shape, generator=generator) + 0.5)
        scaling.rows.fill_(1)
    return model


def test_statistics_are_those_of_the_training_frames(tmp_path):
    trainer = system_trainer(tmp_path / "run", "lf_dnn", num_train_epochs=1)
    store = trainer.data_collator.store
    trainer.train()
    for position, name in enumerate(("audio", "vision")):
        mean, deviation = expected_statistics(streams[position] for streams in store.values())
        scaling = trainer.model.media_scaling[name]
        np.testing.assert_allclose(scaling.mean, mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(scaling.deviation, deviation, rtol=1e-5)
        assert scaling.rows == sum(len(streams[position]) for streams in store.values())
    trainer.save_model(tmp_path / "saved")
    again = FusionForAffect.from_pretrained(tmp_path / "saved")
    assert again.media_scaling.state_dict().keys() == trainer.model.media_scaling.state_dict().keys()
    assert all(value.equal(trainer.model.state_dict()[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize("name", ["lf_dnn", "mag", "mult"])
@torch.no_grad()
def test_a_scaled_stream_is_the_stream_of_scaled_frames(name):
    """Also with padding of NaN, and where a clip lacks a modality."""
    model, plain = fill(system_model(name).eval()), system_model(name, input_scaling="none").eval()
    rows = clip_rows(ROWS)
    found = model(**batch_of(rows, padding=2)).logits
    for row in rows:
        for modality, scaling in model.media_scaling.items():
            row[modality] = (row[modality] - scaling.mean) / scaling.deviation
    torch.testing.assert_close(found, plain(**batch_of(rows)).logits, atol=1e-5, rtol=1e-5)
    assert not any("media_scaling" in weight for weight in plain.state_dict())


def test_a_checkpoint_of_before_is_read_as_it_was(tmp_path):
    model = system_model("lf_dnn", input_scaling="none").eval()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("input_scaling") == "none"
    (tmp_path / "config.json").write_text(json.dumps(config))
    again = FusionForAffect.from_pretrained(tmp_path)
    batch = batch_of(clip_rows(ROWS))
    assert again.config.input_scaling == "none"
    torch.testing.assert_close(again(**batch).logits, model(**batch).logits)
    with pytest.raises(ValueError, match="input_scaling is 'unit'; expected standardize or none"):
        system_model("lf_dnn", input_scaling="unit")


def test_utterances_are_scaled_by_the_frames_of_the_training_dialogues(tmp_path):
    clips = conversation_clips([3, 1, 2], CLASSES)
    generator = torch.Generator().manual_seed(0)
    store = {
        clip["id"]: (torch.randn(number % 4, 12, generator=generator) * 3 + 2, torch.randn(2, 20, generator=generator))
        for number, clip in enumerate(clips)
    }
    model = tiny_dialogue_model("bc_lstm", CLASSES, {"modalities": ["text", "audio"], "dropout": 0.0})
    collator = SemanticMACCollator(WordProcessor(), CLASSES, store, ["text", "audio"])
    options = {"per_device_train_batch_size": 2, "num_train_epochs": 1, "learning_rate": 0.0}
    trainer = DialogueTrainer(model, arguments(tmp_path, **options), clips, data_collator=collator)
    trainer.train()
    mean, deviation = expected_statistics(audio for audio, _ in store.values())
    np.testing.assert_allclose(model.media_scaling["audio"].mean, mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.media_scaling["audio"].deviation, deviation, rtol=1e-5)
    assert model.media_scaling["vision"].rows == 0  # the run does not use it
    rows = list(dialogues_of(clips).add_column("clip_index", [0, 1, 2]))
    batch = trainer.data_collator(rows)
    del batch["clip_index"], batch["labels"]
    with torch.no_grad():
        found = model.eval()(**batch).logits
        has = batch["modality_mask"][..., 1:2]
        scaled = (batch["audio_embeds"] - torch.from_numpy(mean)) / torch.from_numpy(deviation)
        batch["audio_embeds"] = scaled.float().masked_fill(~has, 0)
        model.media_scaling["audio"].reset()
        torch.testing.assert_close(model(**batch).logits, found, atol=1e-5, rtol=1e-5)
