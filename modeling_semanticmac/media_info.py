"""What is known of a media file: its streams, where its frames lie, and the error for a file that cannot be used.

Times are seconds on the media clock, 0 = start of the container.
"""

from dataclasses import dataclass, field

import numpy as np


class MediaError(ValueError):
    """A media file, or a stream of it, that cannot be used.

    Attributes:
        path: the file as it was named, or a description of the bytes.
        reason: "no file", "not media", "no video stream", "no audio stream", "cannot decode", "truncated" or "zero length".

    The message is one sentence with the path, what was found and what to do.
    """

    def __init__(self, path: str, reason: str, message: str):
        super().__init__(f"{path}: {message}")
        self.path, self.reason, self.message = path, reason, message

    def __reduce__(self):  # errors cross process borders in data loaders
        return type(self), (self.path, self.reason, self.message)


@dataclass(frozen=True)
class StreamInfo:
    """The chosen picture or sound stream.

    Attributes:
        begin, end: seconds on the media clock, as found by reading the packets.
        rate: frames per second (average) or samples per second.
        codec: FFmpeg's name of it.
        stream: number of the stream in the file.
    """

    begin: float
    end: float
    rate: float
    codec: str
    stream: int


@dataclass
class MediaInfo:
    """What a media file holds.

    Attributes:
        path: as it was named.
        duration: seconds from the start of the container to the end of the picture, or of the sound where that runs on for more than a tenth of
            a second (less is padding of the sound codec).
        video, audio: None where the file has none.
        notes: what is wrong with the file although it can be used, a phrase each; decoding adds to it.
    """

    path: str
    duration: float
    video: StreamInfo | None
    audio: StreamInfo | None
    notes: list[str] = field(default_factory=list)


@dataclass
class PacketTimes:
    """The packets of one stream.

    Attributes:
        pts: their presentation times, sorted, in units of time_base (n,).
        last: length of the last one in the same units.
        keys: positions in pts of the key frames (k,).
        time_base: seconds a unit.
        gap: whether a hole of more than GAP_SECONDS lies between two packets.
    """

    pts: np.ndarray
    last: int
    keys: np.ndarray
    time_base: float
    gap: bool

    def seconds(self, position: int) -> float:
        """When the frame at a position begins, in the stream's own time (not counted from the container's start)."""
        return float(self.pts[position] * self.time_base)

    def middle(self, position: int) -> float:
        """The middle of the time for which a frame is shown, in the stream's own time."""
        following = self.pts[position + 1] if position + 1 < len(self.pts) else self.pts[position] + self.last
        return float((self.pts[position] + following) * self.time_base / 2)

    @property
    def end(self) -> float:
        return float((self.pts[-1] + self.last) * self.time_base)


@dataclass
class MediaIndex:
    """MediaInfo with what the decoders need.

    Attributes:
        container: FFmpeg's names of the container format.
        origin: start of the container in its own time, seconds.
        video, audio: the packets.
        bits: of a picture's colour value.
        mix: share of each sound channel in the mono mix.
    """

    info: MediaInfo
    container: set[str]
    origin: float
    video: PacketTimes | None
    audio: PacketTimes | None
    bits: int | None
    mix: np.ndarray | None

    def frame_at(self, seconds: float) -> int:
        """Position of the frame that is shown at a time of the media clock, clamped into the stream."""
        # A microsecond of slack, so that the time at which a frame begins is its own in spite of rounding.
        pts = (seconds + self.origin + 1e-6) / self.video.time_base
        return int(np.clip(np.searchsorted(self.video.pts, pts, side="right") - 1, 0, len(self.video.pts) - 1))


def require_pyav():
    """The module `av`, which a model can do without and its media cannot.

    transformers asks for every package that code beside a checkpoint imports, unless inside `try`: embeddings and words need no decoder.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("media files are read with PyAV, which is not installed: pip install av") from error
    return av


__all__ = ["MediaError", "MediaIndex", "MediaInfo", "PacketTimes", "StreamInfo", "require_pyav"]
