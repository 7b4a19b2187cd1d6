"""Pickles of splits: MMSA and MMSA-FET (`raw_text`, `text_bert`, lengths), MulT and MultiBench (padded, no words)."""

from collections.abc import Iterator

import numpy as np

from .streams import SPLIT_NAMES, FeatureClip, padding_side, without_padding

UNIMODAL = {"text": "regression_labels_T", "audio": "regression_labels_A", "vision": "regression_labels_V"}
STREAMS = {"audio": "audio", "vision": "vision", "text": "text_features"}  # of a file -> of a `FeatureClip`


def is_mmsa(content) -> bool:
    """Return whether this is a dict of splits with MMSA's keys."""
    return _has_splits(content) and all({"id", "vision"} <= part.keys() and _has_text(part) for part in _parts(content))


def is_mult(content) -> bool:
    """Return whether this is a dict of splits with MulT's keys."""
    return _has_splits(content) and all({"vision", "audio", "labels"} <= part.keys() for part in _parts(content))


def read_mmsa(content: dict, where: str) -> Iterator[FeatureClip]:
    """Yield the clips of a file of MMSA or MMSA-FET; a top-level `config` and other keys are ignored.

    Raises:
        ValueError: arrays of a split differ in their number of clips.
    """
    for name, part in _named_parts(content):
        place = f"{where}, {name}"
        ids = [str(clip) for clip in part["id"]]
        streams = {stream: _trimmed(part, stream, place) for stream in STREAMS if stream in part}
        _check_counts(place, ids, {**streams, **{key: part[key] for key in ("raw_text",) if key in part}})
        labels = part.get("regression_labels", part.get("classification_labels"))
        for row, clip in enumerate(ids):
            unimodal = {modality: float(part[key][row]) for modality, key in UNIMODAL.items() if key in part}
            yield FeatureClip(
                clip,
                **{STREAMS[stream]: found[row] for stream, found in streams.items()},
                text=str(part["raw_text"][row]) if "raw_text" in part else None,
                token_ids=np.asarray(part["text_bert"][row]) if "text_bert" in part else None,
                label=None if labels is None else float(np.asarray(labels[row]).item()),
                unimodal=unimodal,
                split=SPLIT_NAMES[name],
            )


def read_mult(content: dict, where: str) -> Iterator[FeatureClip]:
    """Yield the clips of a file of MulT or MultiBench: sequences padded with zeros, usually in front."""
    for name, part in _named_parts(content):
        place = f"{where}, {name}"
        streams = {stream: _trimmed(part, stream, place) for stream in STREAMS if stream in part}
        ids = _mult_ids(part.get("id"), name, len(streams["audio"]))
        _check_counts(place, ids, streams)
        for row, clip in enumerate(ids):
            label = np.asarray(part["labels"][row])
            yield FeatureClip(
                clip,
                **{STREAMS[stream]: found[row] for stream, found in streams.items()},
                label=float(label.item()) if label.size == 1 else label.reshape(len(label), -1).argmax(-1).tolist(),
                split=SPLIT_NAMES[name],
            )


def _trimmed(part: dict, stream: str, place: str) -> list[np.ndarray]:
    """Return the sequences of a stream without padding: by its lengths, by the tokens, or by rows of zeros."""
    arrays = _arrays(part, stream)
    if f"{stream}_lengths" in part:
        lengths = [int(length) for length in part[f"{stream}_lengths"]]
        return [rows[:length] for rows, length in zip(arrays, lengths)]
    if "text_bert" in part and len({len(rows) for rows in arrays}) == 1:
        tokens = [int(np.asarray(ids)[1].sum()) for ids in part["text_bert"]]
        if len(arrays[0]) == np.asarray(part["text_bert"][0]).shape[-1]:  # aligned: one row a token
            return [rows[:length] for rows, length in zip(arrays, tokens)]
    side = _side_of_padding(part, stream, place)
    return [without_padding(rows, side) for rows in arrays]


def _arrays(part: dict, stream: str) -> list[np.ndarray]:
    arrays = [np.asarray(rows, dtype=np.float32) for rows in part[stream]]
    return [rows[None] if rows.ndim == 1 else rows for rows in arrays]


def _side_of_padding(part: dict, stream: str, place: str) -> str | None:
    """Return on which side a stream is padded with zeros. That of text is the other streams', where they have one:
    GloVe has zeros for words that it does not know, so a text may begin or end with them.
    """
    others = [name for name in ("audio", "vision") if name in part and f"{name}_lengths" not in part]
    for name in (*others, stream) if stream == "text" else (stream,):
        side = padding_side(_arrays(part, name), f"{place}, {name}")
        if side is not None:
            return side
    return None


def _mult_ids(ids, name: str, count: int) -> list[str]:
    """Return `<video>[<start>,<end>]` of MulT's rows (video, start, end), or numbered names where the file has none."""
    if ids is None:
        return [f"{name}_{row}" for row in range(count)]
    found = []
    for row in ids:
        row = np.atleast_1d(np.asarray(row, dtype=object))
        words = [value.decode() if isinstance(value, bytes) else str(value) for value in row]
        found.append(words[0] if len(words) == 1 else f"{words[0]}[{','.join(words[1:])}]")
    return found


def _has_splits(content) -> bool:
    return isinstance(content, dict) and "test" in content and any(isinstance(part, dict) for part in content.values())


def _has_text(part: dict) -> bool:
    return "raw_text" in part or "text_bert" in part


def _named_parts(content: dict) -> list[tuple[str, dict]]:
    return [(name, content[name]) for name in SPLIT_NAMES if isinstance(content.get(name), dict)]


def _parts(content: dict) -> list[dict]:
    return [part for _, part in _named_parts(content)]


def _check_counts(place: str, ids: list[str], arrays: dict) -> None:
    differing = {name: len(found) for name, found in arrays.items() if len(found) != len(ids)}
    if differing:
        raise ValueError(f"{place} has {len(ids)} ids but {differing}; expected as many of each.")


__all__ = ["is_mmsa", "is_mult", "read_mmsa", "read_mult"]
