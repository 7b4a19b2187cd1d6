"""Clips as dialogues: the rows, the padded batch, and what a system for dialogues reads."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from ..affect_heads import check_labels
from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..text_encoding import is_missing

if TYPE_CHECKING:  # an import of the package, which registers these systems, does not wait for it
    import datasets

IGNORED = -100  # label of a padded utterance; the library pads with it too
MAX_UTTERANCES = 110  # of a dialogue; longer ones are split
OF_UTTERANCES = ("text", "speaker", "label", "media")  # columns of a clip that are lists in a dialogue


@dataclass
class DialogueStreams:
    """What a system for dialogues reads: D dialogues of up to U utterances.

    Args:
        text: summary of each utterance's text (D, U, D_t).
        audio, vision: means over the frames of each utterance, (D, U, D_a) and (D, U, D_v).
        modality_mask: bool (D, U, 3), which of text, audio and vision an utterance has.
        dialogue_mask: bool (D, U), the valid utterances.
        speaker: who speaks (D, U), counted by first appearance in the dialogue.
        labels: (D, U) or (D, U, C), -100 where padded; None in prediction.
    """

    text: torch.Tensor
    audio: torch.Tensor
    vision: torch.Tensor
    modality_mask: torch.Tensor
    dialogue_mask: torch.Tensor
    speaker: torch.Tensor
    labels: torch.Tensor | None = None


def utterance_width(widths: Mapping[str, int], modalities: Sequence[str]) -> int:
    """Return the width of `utterance_vectors`.

    Raises:
        ValueError: no modality, or an unknown one.
    """
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown or not modalities:
        raise ValueError(f"modalities is {list(modalities)}; expected one or more of {', '.join(MODALITIES)}.")
    return sum(widths[name] for name in modalities)


def utterance_vectors(streams: DialogueStreams, modalities: Sequence[str]) -> torch.Tensor:
    """Return u_i = [t_i; a_i; v_i] of the given modalities (D, U, D_m); what an utterance lacks is 0."""
    present = streams.modality_mask & streams.dialogue_mask[..., None]  # (D, U, 3)
    return torch.cat(
        [getattr(streams, name).masked_fill(~present[..., MODALITIES.index(name), None], 0.0) for name in modalities],
        dim=-1,
    )


def dialogues_of(clips: "datasets.Dataset", max_utterances: int = MAX_UTTERANCES) -> "datasets.Dataset":
    """Return the dialogues of clips, one row each: the clips with one `video_id`, in the order of the clips.

    A dialogue of more than `max_utterances` is split into consecutive parts. The columns are those of a clip, with
    lists in `text`, `speaker`, `label` and `media`, and `clip_ids` and `clip_rows` (row numbers in `clips`).

    Args:
        clips: in the clip schema.
        max_utterances: longest dialogue.

    Raises:
        ValueError: `max_utterances` is below 1.
    """
    if max_utterances < 1:
        raise ValueError(f"max_utterances is {max_utterances}; expected 1 or more.")
    members: dict[str, list[int]] = {}
    for row, video in enumerate(clips["video_id"]):
        members.setdefault(video, []).append(row)
    columns = {name: clips[name][:] for name in ("id", *OF_UTTERANCES)}
    rows = []
    for video, numbers in members.items():
        for start in range(0, len(numbers), max_utterances):
            part = numbers[start : start + max_utterances]
            values = {name: [column[row] for row in part] for name, column in columns.items()}
            clip_ids = values.pop("id")
            name = f"{video}, from utterance {start + 1}" if start else video
            rows.append(
                {"id": name, "video_id": video, "clip_ids": clip_ids, "clip_rows": part, "context": []} | values
            )
    from datasets import Dataset

    return Dataset.from_list(rows)


def clips_of(dialogues: "datasets.Dataset") -> "datasets.Dataset":
    """Return the clips of dialogues, one row an utterance, with `id` and the columns that dialogues keep of clips."""
    rows = []
    for dialogue in dialogues:
        columns = (dialogue[name] for name in ("clip_ids", *OF_UTTERANCES))
        rows += [dict(zip(("id", *OF_UTTERANCES), values)) for values in zip(*columns)]
    from datasets import Dataset

    return Dataset.from_list(rows)


def party_numbers(speakers: Sequence[str]) -> list[int]:
    """Return the number of each utterance's speaker, counted from 0 by first appearance."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(speaker, len(numbers)) for speaker in speakers]


class DialogueCollator:
    """Collator from dialogues (rows of `dialogues_of`) to a padded batch.

        text_embeds (D, U, D_t), or input_ids, attention_mask (, token_type_ids) (D, U, L), or inputs_embeds
        audio_embeds (D, U, D_a), vision_embeds (D, U, D_v)     means over the frames of an utterance
        modality_mask (D, U, 3), dialogue_mask (D, U)           bool
        speaker (D, U);  labels (D, U) or (D, U, C), padded with -100;  clip_index (D,) where the rows have it

    An utterance sees the others as themselves, so its context is not put before its text.

    Args:
        clips: a `SemanticMACCollator`, which makes the tokens of utterances and has store, modalities and task.
        text_vectors: summaries (D_t,) of texts by `text_key`, of a frozen language model. A batch of which all texts
            are here has `text_embeds`, another one tokens.
    """

    def __init__(self, clips: Any, text_vectors: dict[str, torch.Tensor] | None = None):
        self.clips = copy.copy(clips)
        self.clips.use_context = False
        self.task, self.modalities = clips.task, clips.modalities
        self.text_vectors = {} if text_vectors is None else text_vectors

    @property
    def store(self):
        """Embeddings by clip id; None for text alone."""
        return self.clips.store

    @store.setter
    def store(self, store) -> None:
        self.clips.store = store

    def text_key(self, clip_id: str, text: str) -> str:
        """Return what a text is known by: itself, or its clip where tokens or vectors are given by clip."""
        return text if self.clips.tokens is None and not self.clips.reads_vectors else clip_id

    def has_words(self, clip_id: str, text: str) -> bool:
        """Return whether an utterance has words."""
        if self.clips.reads_vectors:
            return len(self.store.stream(clip_id, "text")) > 0
        tokens = self.clips.tokens
        return not is_missing(text) if tokens is None else clip_id in tokens and bool(tokens[clip_id][1].any())

    def lengths(self, rows: Sequence[dict]) -> list[int]:
        """Return the number of utterances of dialogues."""
        return [len(row["clip_ids"]) for row in rows]

    def __call__(self, rows: Sequence[dict]) -> dict[str, torch.Tensor]:
        lengths = torch.tensor([len(row["clip_ids"]) for row in rows])
        mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]  # (D, U)
        batch = {"dialogue_mask": mask}
        present = torch.zeros(*mask.shape, len(MODALITIES), dtype=torch.bool)
        if "text" in self.modalities:
            batch |= self._text(rows, mask)
            has_words = [list(map(self.has_words, row["clip_ids"], row["text"])) for row in rows]
            present[..., 0] = pad_sequence(list(map(torch.tensor, has_words)), batch_first=True)
        for modality in MEDIA_MODALITIES:
            if modality in self.modalities:
                means, has = self._means(rows, modality)
                batch[f"{modality}_embeds"], present[..., MODALITIES.index(modality)] = means, has
        batch["modality_mask"] = present
        parties = [torch.tensor(party_numbers(row["speaker"])) for row in rows]
        batch["speaker"] = pad_sequence(parties, batch_first=True)
        batch["labels"] = pad_sequence(self._labels(rows), batch_first=True, padding_value=IGNORED)
        if "clip_index" in rows[0]:
            batch["clip_index"] = torch.tensor([row["clip_index"] for row in rows])
        return batch

    def _text(self, rows: Sequence[dict], mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the text of the utterances, as vectors where all of them have one, else as tokens."""
        keys = [list(map(self.text_key, row["clip_ids"], row["text"])) for row in rows]
        if all(key in self.text_vectors for utterances in keys for key in utterances):
            vectors = [torch.stack([self.text_vectors[key] for key in utterances]) for utterances in keys]
            return {"text_embeds": pad_sequence(vectors, batch_first=True)}
        utterances = [pair for row in rows for pair in zip(row["clip_ids"], row["text"])]
        encoded = self.clips.text_tokens([{"id": clip, "text": text} for clip, text in utterances])
        tokens = {}
        for name, values in encoded.items():  # (sum of U, L)
            tokens[name] = values.new_zeros(*mask.shape, *values.shape[1:])
            tokens[name][mask] = values
        return tokens

    def _means(self, rows: Sequence[dict], modality: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean of the frames of each utterance (D, U, D_m), and which utterances have frames (D, U)."""
        position = MEDIA_MODALITIES.index(modality)
        means, has = [], []
        for row in rows:
            frames = [self.clips.store[clip][position].float() for clip in row["clip_ids"]]  # (T, D_m) each
            means.append(torch.stack([x.mean(dim=0) if len(x) else x.new_zeros(x.shape[1]) for x in frames]))
            has.append(torch.tensor([len(x) > 0 for x in frames]))
        return pad_sequence(means, batch_first=True), pad_sequence(has, batch_first=True)

    def _labels(self, rows: Sequence[dict]) -> list[torch.Tensor]:
        dtype = torch.float32 if self.task.is_regression or self.task.is_multi_label else torch.long
        labels = [torch.tensor(row["label"], dtype=dtype) for row in rows]
        for row, values in zip(rows, labels):
            check_labels(values, self.task, batch_size=len(row["clip_ids"]))
        return labels


__all__ = [
    "IGNORED",
    "MAX_UTTERANCES",
    "DialogueCollator",
    "DialogueStreams",
    "clips_of",
    "dialogues_of",
    "party_numbers",
    "utterance_vectors",
    "utterance_width",
]
