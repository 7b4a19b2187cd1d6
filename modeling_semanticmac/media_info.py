"""Records of a media file and its streams, the error for a file that cannot be used, and the opening of containers.

Times are seconds on the media clock: 0 is the start of the container.
"""

import io
import os
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

T = TypeVar("T")

# Formats that FFmpeg also reads as media: playlists, which open other files, and text drawn as a picture.
NOT_MEDIA = {"hls", "dash", "concat", "concatf", "tty", "ffmetadata"}


def present(part: T | None) -> T:
    """Return a part of a file that the caller knows to be there: a stream, its packets, its mix.

    Raises:
        ValueError: If it is not there.
    """
    if part is None:
        raise ValueError("the file has no such stream.")
    return part


class MediaError(ValueError):
    """Error for a media file, or a stream of it, that cannot be used.

    The message is one sentence with the path, what was found and what to do.

    Args:
        path: The file as the caller named it, or a description of the bytes.
        reason: "no file", "not media", "no video stream", "no audio stream", "cannot decode", "truncated",
            "zero length", or one of `BLANK`.
        message: The sentence without the path.
    """

    def __init__(self, path: str, reason: str, message: str):
        super().__init__(f"{path}: {message}")
        self.path, self.reason, self.message = path, reason, message

    def __reduce__(self):  # errors cross process borders in data loaders
        return type(self), (self.path, self.reason, self.message)


# Reasons of streams that are there but say nothing; the clip counts as having none.
BLANK = {"video": "no picture: one colour throughout", "audio": "no sound: silent throughout"}


@dataclass(frozen=True)
class StreamInfo:
    """The chosen picture or sound stream of a file.

    Attributes:
        begin, end: Seconds on the media clock, found by reading the packets.
        rate: Frames per second (average) or samples per second.
        codec: FFmpeg's name of the codec.
        stream: Number of the stream in the file.
    """

    begin: float
    end: float
    rate: float
    codec: str
    stream: int


@dataclass
class MediaInfo:
    """The content of a media file.

    Attributes:
        path: The file as the caller named it.
        duration: Seconds from the start of the container to the end of the picture, or to the end of the sound where
            it continues for more than a tenth of a second (less is padding of the sound codec).
        video, audio: The streams, None where the file has none.
        notes: Short phrases about defects and choices; decoding adds to them.
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
        pts: Presentation times, sorted, in units of time_base, (n,).
        last: Length of the last packet in the same units.
        keys: Positions of the key frames in pts, (k,).
        time_base: Seconds per unit.
        gap: Whether there is a gap of more than GAP_SECONDS between two packets.
        usable: Number of packets, in the order of the file, before its clock falls back; None if it never does.
    """

    pts: np.ndarray
    last: int
    keys: np.ndarray
    time_base: float
    gap: bool
    usable: int | None = None

    def seconds(self, position: int) -> float:
        """Return when the frame at a position begins, in the stream's own time."""
        return float(self.pts[position] * self.time_base)

    def middle(self, position: int) -> float:
        """Return the middle of the time for which a frame is shown, in the stream's own time."""
        following = self.pts[position + 1] if position + 1 < len(self.pts) else self.pts[position] + self.last
        return float((self.pts[position] + following) * self.time_base / 2)

    @property
    def end(self) -> float:
        """When the last packet ends, in the stream's own time."""
        return float((self.pts[-1] + self.last) * self.time_base)

    @property
    def longest_group(self) -> int:
        """The largest number of frames from one key frame to the next."""
        return int(np.diff([0, *self.keys, len(self.pts)]).max())


@dataclass
class MediaIndex:
    """MediaInfo with what the decoders need.

    Attributes:
        container: FFmpeg's names of the container format.
        origin: Start of the container in its own time, in seconds.
        video, audio: The packets, None where the file has no such stream.
        bits: Bits per colour value of the picture.
        colours: Colours that must be converted to BT.709 ("HLG", "PQ" or "BT.2020"), or None.
        aspect: Width of a pixel divided by its height.
        mix: Share of each sound channel in the mono mix, (channels,).
        channels: Names of the sound channels.
    """

    info: MediaInfo
    container: set[str]
    origin: float
    video: PacketTimes | None
    audio: PacketTimes | None
    bits: int | None = None
    colours: str | None = None
    aspect: float = 1.0
    mix: np.ndarray | None = None
    channels: tuple[str, ...] = ()

    def frame_at(self, seconds: float) -> int:
        """Return the position of the frame shown at a time of the media clock, clamped into the stream."""
        # A microsecond of slack: the time at which a frame begins is its own in spite of rounding.
        packets = present(self.video)
        pts = (seconds + self.origin + 1e-6) / packets.time_base
        return int(np.clip(np.searchsorted(packets.pts, pts, side="right") - 1, 0, len(packets.pts) - 1))


def require_pyav():
    """Return the module `av`; a model that is given embeddings and text does not need it.

    transformers requires every package that code beside a checkpoint imports, unless it is imported inside `try`.

    Raises:
        ImportError: If PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("media files are read with PyAV, which is not installed: pip install av") from error
    return av


def source_text(source: str | os.PathLike | bytes) -> str:
    """Return the name of a source in messages."""
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else os.fspath(source)


def open_container(source: str | os.PathLike | bytes):
    """Open a local file, or the bytes of one, as a PyAV container; no playlist or address opens a connection.

    Raises:
        MediaError: If there is no such file, or it is empty, an MP4 without its index, or not media.
    """
    av = require_pyav()
    path = source_text(source)
    if not isinstance(source, bytes) and not os.path.isfile(source):
        found = "this is a folder" if os.path.isdir(source) else "there is no such file"
        raise MediaError(path, "no file", f"{found}; check the path of the media file.")
    size = len(source) if isinstance(source, bytes) else os.path.getsize(source)
    if size == 0:
        raise MediaError(path, "not media", "the file is empty (0 bytes); copy or download it again.")
    try:
        container = av.open(
            io.BytesIO(source) if isinstance(source, bytes) else os.path.abspath(path),
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except av.FFmpegError as error:
        if _starts_as_mp4(source):
            text = "the file begins as MP4 or MOV but its index is missing or damaged, so it was cut off"
            raise MediaError(path, "truncated", f"{text}; copy or download it again.") from error
        text = f"this is not a video or sound file (FFmpeg says: {error.strerror})"
        raise MediaError(path, "not media", f"{text}; check it or convert it with FFmpeg.") from error
    if NOT_MEDIA & set(container.format.name.split(",")):
        container.close()
        text = f"this is text ({container.format.name}), not a video or sound file"
        raise MediaError(path, "not media", f"{text}; pass the media file itself.")
    return container


def _starts_as_mp4(source: str | os.PathLike | bytes) -> bool:
    if isinstance(source, bytes):
        head = source[:12]
    else:
        with open(source, "rb") as file:
            head = file.read(12)
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide")


__all__ = [
    "BLANK",
    "MediaError",
    "MediaIndex",
    "MediaInfo",
    "PacketTimes",
    "StreamInfo",
    "open_container",
    "present",
    "require_pyav",
    "source_text",
]
