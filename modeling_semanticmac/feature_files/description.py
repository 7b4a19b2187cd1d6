"""What a feature file holds: form, released file, splits, widths, lengths, values that are no numbers."""

import os
from collections import Counter
from dataclasses import asdict, dataclass, field

import numpy as np

from .known_files import width_meaning
from .reading import FORMS, clips_of, read_feature_file

STREAMS = ("audio", "vision", "single", "text_features")
TITLES = {"single": "one stream (audio= or vision= says which)", "text_features": "text vectors"}
SHOWN = 3


@dataclass
class StreamDescription:
    """One stream of a file.

    Args:
        clips: that have it.
        empty: of them, clips with a sequence of length 0.
        widths: width -> clips.
        shortest, longest: rows of a sequence; `mean_length` their mean.
        not_finite: values that are NaN or infinite; `clips_not_finite` the clips with such values.
        largest: the largest absolute finite value.
        meaning: what a stream of this width usually is.
    """

    clips: int = 0
    empty: int = 0
    widths: dict[int, int] = field(default_factory=dict)
    shortest: int = 0
    longest: int = 0
    mean_length: float = 0.0
    not_finite: int = 0
    clips_not_finite: int = 0
    largest: float = 0.0
    meaning: str | None = None


@dataclass
class FileDescription:
    """What a feature file holds.

    Args:
        path, form, sha256, known_as: of the file; `known_as` is None for a file whose checksum is not that of a
            released one.
        clips: number of clips.
        splits: split -> clips; empty where the file has none.
        ids: the first ids.
        has: what it holds beside the streams: "text", "labels", "tokens", "context", "speakers".
        streams: by name.
    """

    path: str
    form: str
    sha256: str
    known_as: str | None
    clips: int
    splits: dict[str, int]
    ids: list[str]
    has: list[str]
    streams: dict[str, StreamDescription]

    def as_json(self) -> dict:
        """Return the description as values of JSON."""
        return asdict(self)

    def __str__(self) -> str:
        known = self.known_as or "unknown: its checksum is not that of a released file that is known here"
        lines = [("file", self.path), ("form", f"{self.form}: {FORMS[self.form]}"), ("SHA-256", self.sha256)]
        lines += [("released as", known), ("clips", f"{self.clips} ({', '.join(self.ids)}, ...)")]
        lines += [("splits", ", ".join(f"{split} {count}" for split, count in self.splits.items()) or "none")]
        lines += [("also holds", ", ".join(self.has) or "nothing else")]
        for name, stream in self.streams.items():
            lines += [(name, _stream_text(name, stream))]
        return "\n".join(f"{name:<14}{text}" for name, text in lines)


def _stream_text(name: str, stream: StreamDescription) -> str:
    widths = ", ".join(f"{width} ({count} clips)" for width, count in stream.widths.items())
    widths = widths if len(stream.widths) > 1 else f"{next(iter(stream.widths))}"
    texts = [f"{TITLES[name]}: " if name in TITLES else ""]
    texts += [f"{stream.clips} clips, width {widths}, "]
    texts += [f"length {stream.shortest} to {stream.longest} (mean {stream.mean_length:.1f})"]
    texts += [f", {stream.empty} of length 0"] if stream.empty else []
    if stream.not_finite:
        texts += [f"; {stream.not_finite} values of {stream.clips_not_finite} clips are NaN or infinite"]
    texts += [f"; largest value {stream.largest:g}"]
    texts += [f"\n{'':<14}width {next(iter(stream.widths))} is usually {stream.meaning}"] if stream.meaning else []
    return "".join(texts)


def describe_file(path: str | os.PathLike) -> FileDescription:
    """Read a feature file and describe it.

    Raises:
        FileNotFoundError, ValueError: as `read_feature_file`.
    """
    file = read_feature_file(path)
    clips = list(clips_of(file))
    splits = Counter(clip.split for clip in clips if clip.split)
    beside = {
        "text": any(clip.text for clip in clips),
        "labels": any(clip.label is not None for clip in clips),
        "tokens of BERT": any(clip.token_ids is not None for clip in clips),
        "context": any(clip.context for clip in clips),
        "speakers": any(clip.speaker for clip in clips),
    }
    streams = {name: [rows for clip in clips if (rows := getattr(clip, name)) is not None] for name in STREAMS}
    return FileDescription(
        str(path),
        file.form,
        file.sha256,
        file.known_as,
        len(clips),
        dict(splits),
        [clip.id for clip in clips[:SHOWN]],
        [name for name, there in beside.items() if there],
        {name: _describe(name, sequences) for name, sequences in streams.items() if sequences},
    )


def _describe(name: str, sequences: list[np.ndarray]) -> StreamDescription:
    lengths = [len(rows) for rows in sequences]
    finite = [np.isfinite(rows) for rows in sequences]
    broken = [int(rows.size - there.sum()) for rows, there in zip(sequences, finite)]
    widths = Counter(rows.shape[1] for rows in sequences)
    largest = max(
        (float(np.abs(rows[there]).max()) for rows, there in zip(sequences, finite) if there.any()), default=0
    )
    modality = {"text_features": "text"}.get(name, name)
    meanings = [width_meaning(kind, width) for width in widths for kind in _kinds(modality)]
    return StreamDescription(
        len(sequences),
        lengths.count(0),
        dict(widths),
        min(lengths),
        max(lengths),
        float(np.mean(lengths)),
        sum(broken),
        sum(map(bool, broken)),
        largest,
        "; or ".join(filter(None, meanings)) or None if len(widths) == 1 else None,
    )


def _kinds(modality: str) -> tuple[str, ...]:
    return ("audio", "vision") if modality == "single" else (modality,)


__all__ = ["FileDescription", "StreamDescription", "describe_file"]
