from types import SimpleNamespace

import numpy as np
import pytest
import torch

from modeling_semanticmac.processing_semanticmac import pad_streams
from modeling_semanticmac.training.collator import SemanticMACCollator
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT, word_corpus
from tests.helpers.trainers import WordProcessor, fake_store


@pytest.fixture
def rows():
    return [dict(row, clip_index=10 + index) for index, row in enumerate(word_corpus(3))]


def test_streams_are_padded_and_masked(rows):
    batch = SemanticMACCollator(WordProcessor(), SENTIMENT, fake_store(rows))(rows)
    assert batch["audio_embeds"].shape == (3, 3, 12) and batch["vision_embeds"].shape == (3, 4, 20)
    assert batch["audio_embeds"].dtype == torch.float16  # as the store keeps it
    assert batch["audio_mask"].tolist() == [[1, 1, 1], [0, 0, 0], [1, 1, 0]]
    assert batch["vision_mask"].tolist() == [[1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert batch["labels"].tolist() == pytest.approx([row["label"] for row in rows])
    assert batch["clip_index"].tolist() == [10, 11, 12]


def test_only_the_asked_modalities_are_given(rows):
    batch = SemanticMACCollator(WordProcessor(), SENTIMENT, modalities=["text"])(rows)
    assert set(batch) == {"input_ids", "attention_mask", "labels", "clip_index"}
    batch = SemanticMACCollator(WordProcessor(), SENTIMENT, fake_store(rows), modalities=["vision"])(rows)
    assert set(batch) == {"vision_embeds", "vision_mask", "labels", "clip_index"}


def test_a_modality_that_no_clip_has_is_left_out(rows):
    for row in rows:
        row["text"] = ""
    batch = SemanticMACCollator(WordProcessor(), SENTIMENT, fake_store(rows, audio=(0, 0, 0)))(rows)
    assert set(batch) == {"vision_embeds", "vision_mask", "labels", "clip_index"}
    assert pad_streams("audio_embeds", "audio_mask", [torch.zeros(0, 12)]) == {}


@pytest.mark.parametrize("use_context", [True, False])
def test_context_goes_to_the_processor_or_not(rows, use_context):
    rows[0]["context"] = ["hello", "there"]
    processor = WordProcessor()
    SemanticMACCollator(processor, SENTIMENT, modalities=["text"], use_context=use_context, max_length=17)(rows)
    texts, contexts, max_length = processor.asked[0]
    assert contexts == ([["hello", "there"], [], []] if use_context else None)
    assert texts == [row["text"] for row in rows] and max_length == 17


def test_given_tokens_take_the_place_of_text(rows):
    """Ids of a feature file go in as they are, padded to the longest of the batch; a clip without any has no text."""
    processor = WordProcessor()
    processor.tokenizer = SimpleNamespace(model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    given = np.zeros((2, 3, 6), dtype=np.int64)
    given[0, :, :4] = [[101, 7, 8, 102], [1, 1, 1, 1], [0, 0, 1, 1]]
    given[1, :, :2] = [[101, 102], [1, 1], [0, 0]]
    tokens = {rows[0]["id"]: given[0], rows[2]["id"]: given[1]}
    batch = SemanticMACCollator(processor, SENTIMENT, modalities=["text"], tokens=tokens)(rows)
    assert batch["input_ids"].tolist() == [[101, 7, 8, 102], [0, 0, 0, 0], [101, 102, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    processor.tokenizer.model_input_names.remove("token_type_ids")
    assert "token_type_ids" not in SemanticMACCollator(processor, SENTIMENT, modalities=["text"], tokens=tokens)(rows)


@pytest.mark.parametrize(("task", "dtype", "shape"), [(SARCASM, torch.long, (3,)), (EMOTIONS, torch.float32, (3, 3))])
def test_labels_of_classes(task, dtype, shape):
    labels = SemanticMACCollator(WordProcessor(), task, modalities=["text"])(list(word_corpus(3, task)))["labels"]
    assert labels.dtype == dtype and labels.shape == shape


@pytest.mark.parametrize(
    ("task", "label", "message"),
    [
        (SENTIMENT, 3.2, "hold 3.2"),
        (SENTIMENT, None, "clip 'clip_1' has the label None"),
        (SENTIMENT, [1.0, 2.0], "clip 'clip_1' has the label"),
        (SARCASM, 2, "hold 2"),
        (EMOTIONS, [1, 0], "clip 'clip_1' has the label"),
        (EMOTIONS, 1, "clip 'clip_1' has the label"),
    ],
)
def test_a_label_that_does_not_fit_is_named(task, label, message):
    rows = [dict(row) for row in word_corpus(3, task)]
    rows[1]["label"] = label
    with pytest.raises(ValueError, match=message):
        SemanticMACCollator(WordProcessor(), task, modalities=["text"])(rows)


def test_arguments_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="expected one or more of text, audio, vision"):
        SemanticMACCollator(WordProcessor(), SENTIMENT, modalities=["video"])
    with pytest.raises(ValueError, match="need an embedding store"):
        SemanticMACCollator(WordProcessor(), SENTIMENT)
