"""Segments of a video, each of which gets one prediction, and fixed windows."""

from collections.abc import Iterator
from dataclasses import dataclass

SHORTEST_SHARE = 0.1  # of a window; a shorter remainder at the end is left out


@dataclass(frozen=True)
class Segment:
    """A stretch of a video that gets one prediction.

    Args:
        start, end: seconds, 0 <= start <= end.
        text: what is said in it; None if unknown.

    Raises:
        ValueError: times out of this range.
    """

    start: float
    end: float
    text: str | None = None

    def __post_init__(self):
        if not 0 <= self.start <= self.end < float("inf"):
            raise ValueError(f"a segment from {self.start} s to {self.end} s; expected 0 <= start <= end, in seconds.")


def fixed_windows(duration: float, window: float, hop: float | None = None) -> Iterator[Segment]:
    """Yield windows of one length, the last one cut at the end; less than a tenth of a window is left out there.

    Args:
        duration: seconds of the video.
        window: seconds of a segment.
        hop: seconds from one start to the next; None: `window`, without overlap.

    Raises:
        ValueError: a length that is not positive.
    """
    hop = window if hop is None else hop
    for name, value in (("window", window), ("hop", hop)):
        if not value > 0:
            raise ValueError(f"{name} is {value}; expected a positive number of seconds.")
    return _windows(duration, window, hop)


def _windows(duration: float, window: float, hop: float) -> Iterator[Segment]:
    number, end = 0, 0.0
    while number == 0 or (end < duration and duration - number * hop >= SHORTEST_SHARE * window):
        end = min(number * hop + window, duration)
        yield Segment(number * hop, end)
        number += 1


__all__ = ["Segment", "fixed_windows"]
