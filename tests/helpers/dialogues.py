"""Conversations that tests share: clips in the clip schema, and random streams of dialogues."""

import datasets
import torch

from modeling_semanticmac.baselines.dialogue_data import DialogueStreams
from tests.helpers.tiny import SENTIMENT, word_corpus

WIDTHS = {"text": 4, "audio": 3, "vision": 2}


def conversation_clips(sizes: list[int], task=SENTIMENT, speakers: str = "ab", seed: int = 0) -> datasets.Dataset:
    """Clips of dialogues with the given numbers of utterances; the speakers take turns in the order of `speakers`."""
    rows = list(word_corpus(sum(sizes), task, seed))
    if task.num_labels == 3 and not task.is_multi_label:  # below, at and above the middle
        scores = word_corpus(sum(sizes), SENTIMENT, seed)["label"]
        rows = [row | {"label": 1 + (score > 0) - (score < 0)} for row, score in zip(rows, scores)]
    places = [(dialogue, place) for dialogue, size in enumerate(sizes) for place in range(size)]
    for number, (row, (dialogue, place)) in enumerate(zip(rows, places)):
        row |= {"id": f"dialogue_{dialogue}_{place}", "video_id": f"dialogue_{dialogue}"}
        row["speaker"] = speakers[number % len(speakers)]
    return datasets.Dataset.from_list(rows)


def random_dialogues(sizes: list[int], padding: int = 0, parties: int = 2, seed: int = 0) -> DialogueStreams:
    """Dialogues with the given numbers of utterances; padding holds NaN, and speakers that do not occur elsewhere.

    Args:
        sizes: utterances of each dialogue.
        padding: utterances that are padded behind the longest one.
        parties: speakers of each dialogue.
        seed: of a dialogue together with its number, so that each is the same in other company.
    """
    length = max(sizes) + padding
    mask = torch.arange(length)[None] < torch.tensor(sizes)[:, None]
    fields = {name: torch.full((len(sizes), length, width), float("nan")) for name, width in WIDTHS.items()}
    speaker = torch.full(mask.shape, parties + 5)
    for row, size in enumerate(sizes):
        generator = torch.Generator().manual_seed(seed + 10 * row)
        for name, width in WIDTHS.items():
            fields[name][row, :size] = torch.randn(size, width, generator=generator)
        speaker[row, :size] = torch.randint(0, parties, (size,), generator=generator)
    return DialogueStreams(
        **fields, modality_mask=mask[..., None].expand(-1, -1, 3), dialogue_mask=mask, speaker=speaker
    )
