"""A clip's features, and the lengths of padded sequences."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..embedding_store.fingerprint import STREAMS

FIELDS = dict(zip(STREAMS, ("audio", "vision", "text_features")))  # stream -> field of a `FeatureClip`
SPLIT_NAMES = {"train": "train", "valid": "validation", "val": "validation", "dev": "validation", "test": "test"}


@dataclass
class FeatureClip:
    """Features of one clip.

    Args:
        id: as the file writes it.
        audio, vision: (T, D), or None where the file has no such stream.
        single: (T, D) of a file that holds one stream without saying which.
        text_features: (T, D) of the text, or None.
        text: what is said, where the file has it.
        token_ids: (3, L) input ids, mask and segment ids of a BERT tokenizer, where the file has them.
        label: score, class id or list, where the file has it.
        unimodal: scores of single modalities by name ("text", "audio", "vision").
        split: "train", "validation" or "test", where the file has splits.
        context: earlier utterances, oldest first.
        speaker: who speaks, where the file says.
        interval: start and end in seconds of the video that the features cover, where ids are those of videos.
    """

    id: str
    audio: np.ndarray | None = None
    vision: np.ndarray | None = None
    single: np.ndarray | None = None
    text_features: np.ndarray | None = None
    text: str | None = None
    token_ids: np.ndarray | None = None
    label: float | int | list | None = None
    unimodal: dict[str, float] = field(default_factory=dict)
    split: str | None = None
    context: list[str] = field(default_factory=list)
    speaker: str = ""
    interval: np.ndarray | None = None


@dataclass
class FeatureFile:
    """A file of features, told by its content.

    Args:
        path: file or folder.
        form: a name of `FORMS`.
        read: returns an iterator over the clips; may be called again.
        sha256: of the file; of a folder the digest of names and contents.
        known_as: which published file it is; None for another.
        encoded: its streams, by their names in `FIELDS`, whose values are a tower's.
    """

    path: Path
    form: str
    read: Callable[[], Iterator[FeatureClip]]
    sha256: str
    known_as: str | None = None
    encoded: frozenset[str] = frozenset()


def as_rows(value, where: str) -> np.ndarray:
    """Return features as a float array (T, D); one vector is one row.

    Raises:
        ValueError: the value is not an array of numbers of one or two dimensions.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        raise ValueError(f"{where}: found {array.dtype} of shape {array.shape}; expected numbers, (D,) or (T, D).")
    array = array.astype(np.float32, copy=False)
    return array[None] if array.ndim == 1 else array


def padding_side(arrays: list[np.ndarray], where: str) -> str | None:
    """Return on which side sequences are padded with rows of zeros: "front", "back", or None where none is.

    Args:
        arrays: (T, D) of all clips of one stream, padded to one length.

    Raises:
        ValueError: some clips are padded in front and others behind.
    """
    front = [name for name, rows in enumerate(arrays) if len(rows) and not rows[0].any() and rows.any()]
    back = [name for name, rows in enumerate(arrays) if len(rows) and not rows[-1].any() and rows.any()]
    front, back = set(front) - set(back), set(back) - set(front)  # zeros on both sides decide nothing
    if front and back:
        raise ValueError(
            f"{where}: {len(front)} clips begin and {len(back)} end with rows of zeros, so the side of the padding is "
            "unknown; expected one side in the whole file. Write the lengths into the file."
        )
    return "front" if front else "back" if back else None


def without_padding(rows: np.ndarray, side: str | None) -> np.ndarray:
    """Return a sequence (T, D) without the rows of zeros on the side of the padding; (0, D) where all rows are zero."""
    filled = np.flatnonzero(rows.any(axis=1))
    if side is None and len(filled):
        return rows
    if not len(filled):
        return rows[:0]
    return rows[filled[0] :] if side == "front" else rows[: filled[-1] + 1]


__all__ = ["FIELDS", "SPLIT_NAMES", "FeatureClip", "FeatureFile", "as_rows", "padding_side", "without_padding"]
