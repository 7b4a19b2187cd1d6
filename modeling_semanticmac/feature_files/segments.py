"""Features of whole videos, cut into clips by the times of a corpus; ids that are times in a video."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .streams import FeatureClip

NEAR = 0.1  # seconds by which the times of a file may differ from those of the corpus
ENTRY = re.compile(r"(.+)\[\d+\]")  # ids of aligned sequences: video[k], k a number that the SDK gives
TIMES = re.compile(r"(.+)\[(-?[\d.eE+-]+),(-?[\d.eE+-]+)\]")  # ids of MulT's files: video[start,end]


class Segment(NamedTuple):
    """The place of a clip: a video, and the seconds in it."""

    video: str
    start: float
    end: float

    def inside(self, begins: np.ndarray) -> np.ndarray:
        """Return which rows, by the seconds at which they begin, belong to it."""
        return (begins >= self.start - 1e-3) & (begins < self.end)


class Places:
    """The places of the clips of a corpus in whole videos.

    Args:
        segments: clip id -> (video, start, end).
    """

    def __init__(self, segments: Mapping[str, tuple[str, float, float]]):
        self.segments = {clip: Segment(*place) for clip, place in segments.items()}
        self.by_video: dict[str, list[str]] = {}
        for clip, segment in self.segments.items():
            self.by_video.setdefault(segment.video, []).append(clip)

    def clip_at(self, file_id: str) -> str | None:
        """Return the clip at the times of an id `video[start,end]`: the nearest, if both its times are within `NEAR`;
        None for other ids and times.
        """
        match = TIMES.fullmatch(file_id)
        if match is None or match[1] not in self.by_video:
            return None
        times = float(match[2]), float(match[3])
        distances = {
            clip: max(abs(self.segments[clip].start - times[0]), abs(self.segments[clip].end - times[1]))
            for clip in self.by_video[match[1]]
        }
        nearest = min(distances, key=distances.__getitem__)
        return nearest if distances[nearest] <= NEAR else None

    def clip_of_entry(self, file_id: str, begins: np.ndarray) -> str | None:
        """Return the clip in which most rows of an entry `video[k]` begin, by seconds (n,); None for other ids, ids of
        clips, and where no row begins in a clip.
        """
        match = ENTRY.fullmatch(file_id)
        if match is None or file_id in self.segments or match[1] not in self.by_video:
            return None
        counts = {clip: int(self.segments[clip].inside(begins).sum()) for clip in self.by_video[match[1]]}
        most = max(counts, key=counts.__getitem__)
        return most if counts[most] else None

    def digest(self) -> str:
        """Return a digest of all places."""
        return hashlib.sha256(json.dumps(sorted(self.segments.items())).encode()).hexdigest()


def clips_of_videos(clips: Iterable[FeatureClip], places: Places) -> Iterator[FeatureClip]:
    """Yield clips; an entry with the intervals of its rows whose id is a video is cut into the clips of that video, and
    one of an aligned sequence, `video[k]`, gets the id of the clip at its times.

    A row belongs to the clip in which it begins. Entries whose ids are not videos of the corpus are yielded whole.
    """
    for clip in clips:
        if clip.interval is None or clip.id not in places.by_video:
            found = None if clip.interval is None else places.clip_of_entry(clip.id, clip.interval[:, 0])
            yield replace(clip, id=found or clip.id)
            continue
        for name in places.by_video[clip.id]:
            inside = places.segments[name].inside(clip.interval[:, 0])
            yield replace(clip, id=name, single=clip.single[inside], interval=clip.interval[inside])


__all__ = ["Places", "Segment", "clips_of_videos"]
