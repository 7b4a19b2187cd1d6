"""Segments with their words as the text of a subtitle file: SRT and WebVTT."""

import html
from collections.abc import Iterable, Iterator

from .segments import Segment


def srt_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """Yield SRT, one piece a cue. Line ends within a text stay; empty lines are left out."""
    for number, segment in enumerate(segments, 1):
        times = f"{_clock(segment.start, ',')} --> {_clock(segment.end, ',')}"
        yield f"{number}\n{times}\n{_without_empty_lines(segment.text)}\n\n"


def vtt_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """Yield WebVTT, one piece a cue; `&`, `<` and `>` are escaped."""
    yield "WEBVTT\n\n"
    for segment in segments:
        text = html.escape(_without_empty_lines(segment.text), quote=False)
        yield f"{_clock(segment.start, '.')} --> {_clock(segment.end, '.')}\n{text}\n\n"


def _without_empty_lines(text: str | None) -> str:
    # Readers would take an arrow for the times of a cue.
    lines = (text or "").replace("-->", "->").splitlines()
    return "\n".join(line for line in lines if line.strip())


def _clock(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{milliseconds:03d}"


__all__ = ["srt_lines", "vtt_lines"]
