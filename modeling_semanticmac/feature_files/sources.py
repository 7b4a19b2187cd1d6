"""Which stream each feature file gives, and its sequences by clip id: `--features [audio=|vision=|text=]FILE ...`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..embedding_store.fingerprint import STREAMS
from .normalization import repaired
from .reading import clips_of, read_feature_file
from .segments import Places, Segment, clips_of_videos
from .streams import FIELDS, FeatureClip, FeatureFile


@dataclass
class FeatureStream:
    """The sequences of one modality.

    Args:
        modality: "audio", "vision" or "text".
        file: that they come from.
        rows: clip id -> (T, D) float32, finite; T = 0 where the file says that the clip lacks the modality.
        repaired: clip id -> values that were NaN or infinite and are 0 now.
        broken: clip id -> (T, D) as the file has them, of the clips with such values.
        tokens: clip id -> (3, L) ids, mask and segment ids of a BERT tokenizer, where the file has them.
        segments: digest of the times by which videos were cut into clips; None where they were not.
    """

    modality: str
    file: FeatureFile
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    broken: dict[str, np.ndarray] = field(default_factory=dict)
    tokens: dict[str, np.ndarray] = field(default_factory=dict)
    segments: str | None = None

    @property
    def width(self) -> int:
        """The number D of columns."""
        return next(iter(self.rows.values())).shape[1]

    @property
    def is_encoded(self) -> bool:
        """Whether the values are an encoder's, which are used as they are: those of a tower, and vectors of text."""
        return self.modality == "text" or self.modality in self.file.encoded

    @property
    def longest(self) -> int:
        """The number of rows of the longest sequence."""
        return max(map(len, self.rows.values()))

    def as_in_file(self, clip_id: str) -> np.ndarray:
        """Return the sequence of a clip with the values that were repaired, for statistics of finite values."""
        return self.broken.get(clip_id, self.rows[clip_id])


def named_stream(argument: str) -> tuple[str | None, Path]:
    """Return the modality and the path of an argument: `vision=FILE`, or `FILE` without a modality."""
    modality, equals, path = argument.partition("=")
    return (modality, Path(path)) if equals and modality in STREAMS else (None, Path(argument))


def read_streams(
    arguments: Sequence[str],
    wanted: Sequence[str],
    clip_id: Callable[[str], str] = str,
    towers: Sequence[str] = (),
    segments: Mapping[str, Segment] | None = None,
) -> dict[str, FeatureStream]:
    """Read feature files and say which gives which stream.

    A file that names its streams gives those that are wanted. A file with one nameless stream (a table, `.npy`, `.csd`)
    gives the only modality that is wanted and has no tower and no other file; else its argument must say which.

    Args:
        arguments: `FILE`, `audio=FILE`, `vision=FILE` or `text=FILE` each.
        wanted: the modalities in use; others are not read. Text is among them where the model reads vectors of text.
        clip_id: returns the id of a clip of the corpus for an id of the file.
        towers: the modalities that have a tower.
        segments: clip id -> its place in its video, for files by video.

    Returns:
        modality -> its stream, in the order of `STREAMS`; empty where no file gives a modality in use.

    Raises:
        ValueError: it is not clear which stream is meant, a modality has two sources, or a file is damaged.
        FileNotFoundError: there is no such file.
    """
    places = Places(segments or {})
    needed = [named for named in map(named_stream, arguments) if named[0] is None or named[0] in wanted]
    opened = [_Opened(*named, clip_id, places) for named in needed] if wanted else []
    found: dict[str, FeatureStream] = {}
    for source in sorted(opened, key=lambda source: source.is_nameless):  # those that say what they are come first
        free = [m for m in STREAMS if m in wanted and m not in towers and m not in found]
        for modality in source.modalities(wanted, free):
            if modality in found or modality in towers:
                other = found[modality].file.path if modality in found else f"--{modality}_encoder"
                raise ValueError(
                    f"--features {source.path} and {other} both give {modality}; say which stream the file gives, e.g. "
                    f"--features {'audio' if modality == 'vision' else 'vision'}={source.path}, or leave one out."
                )
            found[modality] = source.stream(modality)
    return {modality: found[modality] for modality in STREAMS if modality in found}


class _Opened:
    """One file with all of its clips."""

    def __init__(self, modality: str | None, path: Path, clip_id, places: Places):
        self.modality, self.path, self.file = modality, path, read_feature_file(path)
        self.clips = dict(self._by_clip(clip_id, places))
        is_cut = self.file.form == "csd" and bool(self.clips.keys() & places.segments.keys())
        self.segments = places.digest() if is_cut else None
        if not self.clips:
            raise ValueError(f"{path} holds no clip.")
        self.named = [m for m, name in FIELDS.items() if self._has(name)]
        if not self.named and not self._has("single"):
            raise ValueError(f"{path} (form {self.file.form}) holds no stream of features.")

    def _has(self, field_name: str) -> bool:
        return any(getattr(clip, field_name) is not None for clip in self.clips.values())

    @property
    def is_nameless(self) -> bool:
        return self.modality is None and not self.named

    def _by_clip(self, clip_id, places: Places) -> Iterator[tuple[str, FeatureClip]]:
        seen: dict[str, str] = {}
        for clip in clips_of_videos(clips_of(self.file), places):
            name = places.clip_at(clip.id) or clip_id(clip.id)
            if name in seen:
                raise ValueError(
                    f"{self.path}: the ids {seen[name]!r} and {clip.id!r} are both clip {name!r} of the corpus; ids "
                    "are unique."
                )
            seen[name] = clip.id
            yield name, clip

    def modalities(self, wanted: Sequence[str], free: Sequence[str]) -> list[str]:
        """Return the modalities that this file gives."""
        if self.modality is not None:
            if self.named and self.modality not in self.named:
                raise ValueError(f"{self.path} has {' and '.join(self.named)}, but no {self.modality}.")
            return [self.modality]
        if self.named:
            return [modality for modality in self.named if modality in wanted]
        if len(free) != 1:
            open_to = " or ".join(f"{modality}={self.path}" for modality in free or STREAMS[:2])
            raise ValueError(
                f"{self.path} holds one stream and does not say which; write --features {open_to}. (Modalities in use "
                f"without a tower and another file: {', '.join(free) or 'none'}.)"
            )
        return list(free)

    def stream(self, modality: str) -> FeatureStream:
        """Return the sequences of a modality.

        Raises:
            ValueError: clips differ in their width.
        """
        tokens = {name: clip.token_ids for name, clip in self.clips.items() if clip.token_ids is not None}
        stream, widths = FeatureStream(modality, self.file, tokens=tokens, segments=self.segments), {}
        for name, clip in self.clips.items():
            rows = getattr(clip, FIELDS[modality]) if self.named else clip.single
            if rows is None:
                continue
            if rows.size or rows.shape[1]:  # an empty sequence may not know its width
                widths.setdefault(rows.shape[1], name)
            stream.rows[name], broken = repaired(np.asarray(rows, dtype=np.float32))
            if broken:
                stream.repaired[name], stream.broken[name] = broken, rows
        if len(widths) != 1:
            told = ", ".join(f"{width} (clip {name!r})" for width, name in sorted(widths.items())) or "none"
            raise ValueError(f"{self.path}: the {modality} sequences have different widths: {told}; expected one.")
        width = next(iter(widths))
        stream.rows = {
            name: rows if len(rows) else np.zeros((0, width), np.float32) for name, rows in stream.rows.items()
        }
        return stream


__all__ = ["FeatureStream", "named_stream", "read_streams"]
