"""All representations of a split in one pass, and their file."""

import pytest
import torch

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.affect_heads import subtask_embeds
from modeling_semanticmac.analyses.representations import OUTPUTS, load_or_represent, represent_clips
from modeling_semanticmac.training.collator import SemanticMACCollator
from tests.helpers.tiny import EMOTIONS, SENTIMENT, tiny_config, word_corpus
from tests.helpers.trainers import WordProcessor, fake_store

COUNT = 11


def parts(task=SENTIMENT):
    torch.manual_seed(0)
    clips = word_corpus(COUNT, task)
    lengths = torch.randint(0, 4, (2, COUNT)).tolist()
    collator = SemanticMACCollator(WordProcessor(), task, fake_store(clips, *lengths))
    return SemanticMACForAffect(tiny_config(task, dropout=0.5)), clips, collator


@pytest.mark.parametrize("task", [SENTIMENT, EMOTIONS])
def test_they_are_what_the_model_gives_clip_by_clip(task):
    model, clips, collator = parts(task)
    model.train()
    found = represent_clips(model, clips, collator, batch_size=4, progress=False)
    assert model.training and found.ids == clips["id"] and len(found) == COUNT
    assert found.labels.tolist() == torch.tensor(clips["label"]).tolist()
    model.eval()
    for row in range(COUNT):
        batch = collator([clips[row]])
        del batch["labels"]
        with torch.no_grad():
            output = model(**batch)
        for name in OUTPUTS:
            torch.testing.assert_close(getattr(found, name)[[row]], getattr(output, name), atol=1e-5, rtol=1e-5)
        alone = subtask_embeds(output)["S"]
        torch.testing.assert_close(subtask_embeds(found)["S"][[row]], alone, atol=1e-5, rtol=1e-5)
    assert not found.modality_mask.all()  # some clips lack a modality


def test_the_file_is_used_until_model_or_clips_change(tmp_path, monkeypatch):
    model, clips, collator = parts()
    path = tmp_path / "folder" / "train.safetensors"
    first = load_or_represent(path, model, clips, collator, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(model, "forward", None)
        again = load_or_represent(path, model, clips, collator, progress=False)
    assert again.ids == first.ids
    assert all(getattr(again, name).equal(getattr(first, name)) for name in ("labels", *OUTPUTS))
    half = load_or_represent(path, model, clips.select(range(5)), collator, progress=False)
    assert len(half) == 5
    collator.modalities = ("text",)
    words = load_or_represent(path, model, clips.select(range(5)), collator, progress=False)
    assert not words.logits.equal(half.logits) and words.modality_mask.sum() == 5
    with torch.no_grad():
        model.predictors["M"].output.bias += 1
    shifted = load_or_represent(path, model, clips.select(range(5)), collator, progress=False)
    torch.testing.assert_close(shifted.logits, words.logits + 1)
    assert [file.name for file in path.parent.iterdir()] == ["train.safetensors"]
