"""Features of whole videos, cut into clips by the times of a corpus."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from .streams import FeatureClip


class Segment(NamedTuple):
    """The place of a clip: a video, and the seconds in it."""

    video: str
    start: float
    end: float


def clips_of_videos(clips: Iterable[FeatureClip], segments: Mapping[str, Segment]) -> Iterator[FeatureClip]:
    """Yield clips; an entry with the intervals of its rows whose id is a video is cut into the clips of that video.

    A row belongs to the clip in which it begins. Entries whose ids are not videos of the corpus are yielded whole.

    Args:
        clips: of a file.
        segments: clip id -> its place.
    """
    by_video: dict[str, list[str]] = {}
    for clip, segment in segments.items():
        by_video.setdefault(segment.video, []).append(clip)
    for clip in clips:
        if clip.interval is None or clip.id not in by_video:
            yield clip
            continue
        for name in by_video[clip.id]:
            begins, segment = clip.interval[:, 0], segments[name]
            inside = (begins >= segment.start - 1e-3) & (begins < segment.end)
            yield replace(clip, id=name, single=clip.single[inside], interval=clip.interval[inside])


def segments_digest(segments: Mapping[str, Segment]) -> str:
    """Return a digest of the places of clips."""
    return hashlib.sha256(json.dumps(sorted(segments.items())).encode()).hexdigest()


__all__ = ["Segment", "clips_of_videos", "segments_digest"]
