"""Clips as dialogues: grouping, windows, speakers, padding, and which utterance has which modality."""

import numpy as np
import pytest
import torch

from modeling_semanticmac.baselines.dialogue_data import (
    DialogueCollator,
    DialogueStreams,
    clips_of,
    dialogues_of,
    party_numbers,
    utterance_vectors,
    utterance_width,
)
from modeling_semanticmac.training.collator import SemanticMACCollator
from tests.helpers.dialogues import conversation_clips
from tests.helpers.tiny import EMOTIONS, SENTIMENT
from tests.helpers.trainers import WordProcessor


def test_clips_with_one_video_are_a_dialogue_in_their_order():
    clips = conversation_clips([3, 1], speakers="abac")
    clips = clips.select([0, 3, 1, 2])  # the second dialogue's clip lies between those of the first
    first, second = dialogues_of(clips)
    assert first["id"] == "dialogue_0" and second["id"] == "dialogue_1"
    assert first["clip_ids"] == ["dialogue_0_0", "dialogue_0_1", "dialogue_0_2"]
    assert first["clip_rows"] == [0, 2, 3] and second["clip_rows"] == [1]
    assert first["speaker"] == ["a", "b", "a"] and first["label"] == clips.select([0, 2, 3])["label"][:]
    assert first["text"] == clips.select([0, 2, 3])["text"][:]


def test_the_clips_of_dialogues_are_those_they_were_made_of():
    clips = conversation_clips([3, 1])
    again = clips_of(dialogues_of(clips))
    for name in ("id", "text", "speaker", "label", "media"):
        assert again[name][:] == clips[name][:], name


def test_long_dialogues_are_split_into_consecutive_parts():
    parts = dialogues_of(conversation_clips([5]), max_utterances=2)
    assert [part["clip_rows"] for part in parts] == [[0, 1], [2, 3], [4]]
    assert [part["id"] for part in parts] == [
        "dialogue_0", "dialogue_0, from utterance 3", "dialogue_0, from utterance 5",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="max_utterances is 0; expected 1 or more"):
        dialogues_of(conversation_clips([5]), max_utterances=0)


def test_parties_are_counted_by_first_appearance():
    assert party_numbers(["Ross", "Rachel", "Ross", "Joey", "Rachel"]) == [0, 1, 0, 2, 1]


def test_a_batch_is_padded_behind_the_utterances():
    clips = conversation_clips([3, 1], speakers="abab")
    clips = clips.map(lambda clip: {"text": "" if clip["id"] == "dialogue_0_1" else clip["text"]})
    store = {
        clip["id"]: (torch.arange(12.0).reshape(3, 4)[: number % 3], torch.ones(2, 5) * number)
        for number, clip in enumerate(clips)
    }
    rows = dialogues_of(clips).add_column("clip_index", [0, 1])
    batch = DialogueCollator(SemanticMACCollator(WordProcessor(), SENTIMENT, store))(list(rows))
    assert batch["dialogue_mask"].tolist() == [[True, True, True], [True, False, False]]
    assert batch["input_ids"].shape[:2] == batch["attention_mask"].shape[:2] == (2, 3)
    assert batch["attention_mask"].sum(dim=2)[1].tolist() == [2 + len(clips[3]["text"].split()), 0, 0]
    assert batch["audio_embeds"][0].tolist() == [[0.0] * 4, [0, 1, 2, 3], [2, 3, 4, 5]]  # means of 0, 1, 2 frames
    assert batch["vision_embeds"][:, :, 0].tolist() == [[0, 1, 2], [3, 0, 0]]
    modalities = batch["modality_mask"].tolist()
    assert modalities[0] == [[True, False, True], [False, True, True], [True, True, True]]
    assert modalities[1] == [[True, False, True], [False] * 3, [False] * 3]
    assert batch["speaker"].tolist() == [[0, 1, 0], [0, 0, 0]]
    assert batch["labels"][0].tolist() == clips["label"][:3] and batch["labels"][1, 1:].tolist() == [-100, -100]
    assert batch["clip_index"].tolist() == [0, 1]


def test_several_labels_are_padded_too():
    rows = list(dialogues_of(conversation_clips([2, 1], task=EMOTIONS)))
    labels = DialogueCollator(SemanticMACCollator(WordProcessor(), EMOTIONS, modalities=["text"]))(rows)["labels"]
    assert labels.shape == (2, 2, 3) and labels[1, 1].tolist() == [-100.0] * 3
    rows[0]["label"] = [[0, 1, 0], [0, 2, 0]]
    with pytest.raises(ValueError, match="labels of task 'emotion'"):
        DialogueCollator(SemanticMACCollator(WordProcessor(), EMOTIONS, modalities=["text"]))(rows)


def test_texts_that_were_read_before_are_given_as_vectors():
    clips = conversation_clips([2, 1])
    vectors = {text: torch.full((6,), float(number)) for number, text in enumerate(clips["text"])}
    collator = DialogueCollator(SemanticMACCollator(WordProcessor(), SENTIMENT, modalities=["text"]), vectors)
    batch = collator(list(dialogues_of(clips)))
    assert "input_ids" not in batch
    assert batch["text_embeds"][..., 0].tolist() == [[0, 1], [2, 0]]
    del vectors[clips[2]["text"]]
    assert "input_ids" in collator(list(dialogues_of(clips)))


def test_tokens_that_are_given_by_clip_are_used_as_they_are():
    clips = conversation_clips([2, 1])
    tokens = {"dialogue_0_0": np.array([[7, 8, 9], [1, 1, 0], [0, 0, 0]]), "dialogue_1_0": np.zeros((3, 2), dtype=int)}
    clip_collator = SemanticMACCollator(WordProcessor(), SENTIMENT, modalities=["text"], tokens=tokens)
    batch = DialogueCollator(clip_collator)(list(dialogues_of(clips)))
    assert batch["input_ids"][0, 0].tolist() == [7, 8] and batch["attention_mask"][0].tolist() == [[1, 1], [0, 0]]
    assert batch["modality_mask"][..., 0].tolist() == [[True, False], [False, False]]
    vectors = {clip: torch.full((4,), float(number)) for number, clip in enumerate(clips["id"])}
    batch = DialogueCollator(clip_collator, vectors)(list(dialogues_of(clips)))
    assert batch["text_embeds"][..., 0].tolist() == [[0, 1], [2, 0]]
    assert DialogueCollator(clip_collator).lengths(list(dialogues_of(clips))) == [2, 1]


def test_what_an_utterance_lacks_is_zero_in_its_vector():
    shape, nan = (1, 2), float("nan")
    streams = DialogueStreams(
        text=torch.ones(*shape, 2), audio=torch.full((*shape, 1), nan), vision=torch.full((*shape, 3), 2.0),
        modality_mask=torch.tensor([[[True, False, True], [True, True, True]]]),
        dialogue_mask=torch.tensor([[True, False]]), speaker=torch.zeros(shape, dtype=torch.long),
    )  # fmt: skip
    widths = {"text": 2, "audio": 1, "vision": 3}
    assert utterance_vectors(streams, ("text", "audio", "vision")).tolist() == [[[1, 1, 0, 2, 2, 2], [0] * 6]]
    assert utterance_vectors(streams, ("vision",)).tolist() == [[[2, 2, 2], [0, 0, 0]]]
    assert utterance_width(widths, ("text", "vision")) == 5
    with pytest.raises(ValueError, match=r"modalities is \['sound'\]; expected one or more of text, audio, vision"):
        utterance_width(widths, ("sound",))
