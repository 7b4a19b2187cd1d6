"""Frames and sound of a media file at given times, with torchcodec where it is usable, else PyAV; both return the same.

Legend: n frames, H height, W width in pixels. Times are seconds on the media clock: 0 is the start of the container,
for picture and sound alike.
"""

import functools
import importlib.util
import logging
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers.utils import logging as transformers_logging
from transformers.utils.import_utils import is_torchcodec_usable

from .feature_extraction_imagebind import mix_channels
from .media_index import LOST_SECONDS, index_media
from .media_info import MediaError, MediaIndex, MediaInfo, StreamInfo, present, source_text
from .media_storage import is_address, local_copy

logger = transformers_logging.get_logger(__name__)

BACKENDS = ("torchcodec", "pyav")
MARGIN_SECONDS = 1  # whole seconds lie on the clocks of both rates, so a cut has the same samples as the whole
# Readers of one stream that are kept open where going back means decoding from the beginning: each goes forward.
MOST_READERS, WORTH_A_READER = 4, 50  # the latter in frames or packets


@functools.cache
def decoding_backend() -> str:
    """Return the backend of this process, chosen once and logged in one line.

    Returns:
        "torchcodec" where it and FFmpeg's libraries can be loaded, else "pyav".
    """
    if importlib.util.find_spec("torchcodec") is None:
        reason = "torchcodec is not installed"
    else:
        probe_logger = logging.getLogger("transformers.utils.import_utils")
        level = probe_logger.level
        probe_logger.setLevel(logging.ERROR)  # its warning would say the same in four lines
        try:
            if is_torchcodec_usable("video") and is_torchcodec_usable("audio"):
                logger.info("Media are decoded with torchcodec, which is installed and finds FFmpeg's libraries.")
                return "torchcodec"
        finally:
            probe_logger.setLevel(level)
        reason = "torchcodec finds no FFmpeg libraries that it can load"
    logger.warning(f"Media are decoded with PyAV and its own FFmpeg: {reason}.")
    return "pyav"


def open_media(
    source: str | os.PathLike | bytes, backend: str | None = None, audio_stream: int | None = None
) -> "Media":
    """Open a media file, or the bytes of one, and find out what is in it.

    Args:
        source: A path, the bytes of a file, or an address of object storage (media_storage.py).
        backend: "torchcodec" or "pyav"; None: `decoding_backend()`.
        audio_stream: Number of the sound track to use, counted from 0; None: FFmpeg's choice.

    Raises:
        MediaError: If there is no such file, or it is not media, or holds neither picture nor sound.
        ValueError: If the backend is unknown or audio_stream is not a number from 0.
    """
    return Media(source, backend, audio_stream)


class Media:
    """An open media file; a context manager.

    Damaged files return what can be decoded, and `info.notes` says what could not. Frames and sound that follow each
    other are decoded in one pass: keep the object open over the segments of a long file and read them in order.

    Attributes:
        info: The content of the file.
        backend: "torchcodec" or "pyav". PyAV takes over where torchcodec would return something else or fails on a
            damaged file.
    """

    def __init__(self, source: str | os.PathLike | bytes, backend: str | None = None, audio_stream: int | None = None):
        if backend not in (None, *BACKENDS):
            raise ValueError(f"backend is {backend!r}; expected None, {' or '.join(map(repr, BACKENDS))}.")
        check_audio_stream(audio_stream)
        self._given, self._requested, self.audio_stream = source, backend, audio_stream
        self._copy = local_copy(source) if is_address(source) else None  # kept as long as it is read
        self._source = source if self._copy is None else self._copy.path
        self._index = self._read_index()
        self.info: MediaInfo = self._index.info
        self._notes_of_file = tuple(self.info.notes)
        self.backend = backend or decoding_backend()
        self._readers: dict[type, Any] = {}

    def __enter__(self) -> "Media":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def __reduce__(self):  # open files do not cross process borders
        return type(self), (self._given, self._requested, self.audio_stream)

    def _read_index(self) -> MediaIndex:
        """Return the index of the file; it and errors bear the name that the caller gave."""
        name = source_text(self._given)
        try:
            index = index_media(self._source, self.audio_stream)
        except MediaError as error:
            raise MediaError(name, error.reason, error.message) from error
        index.info.path = name
        return index

    def close(self) -> None:
        """Close the file; reading again opens it again."""
        for readers in self._readers.values():
            for reader in readers:
                reader.close()
        self._readers.clear()

    def forget_notes(self) -> None:
        """Forget the notes that decoding added, so that the next clip of the file has its own."""
        self.info.notes[:] = self._notes_of_file
        for reader in (reader for readers in self._readers.values() for reader in readers):
            reader.damaged, reader.lost = 0, 0.0

    def frames(self, times: Sequence[float]) -> torch.Tensor:
        """Return the frames shown at the given times.

        Args:
            times: Seconds, in any order; each is clamped into the picture stream.

        Returns:
            uint8 (n, 3, H, W), red, green and blue as they are shown: rotated, with square pixels, HDR converted to
            BT.709.

        Raises:
            MediaError: If there is no video stream, or nothing of it can be decoded.
        """
        self._stream("video")
        positions = [self._index.frame_at(time) for time in times]
        rising = sorted(set(positions))
        pictures = self._pictures(rising)
        if not rising:
            return torch.zeros(0, 3, 0, 0, dtype=torch.uint8)
        found = dict(zip(rising, pictures))
        return torch.stack([found[position] for position in positions])  # (n, 3, H, W)

    def iter_frames(self, times: Sequence[float], chunk: int = 32) -> Iterator[torch.Tensor]:
        """Yield `frames` in pieces of at most `chunk`, so that memory does not grow with the length of the file."""
        for start in range(0, len(times), chunk):
            yield self.frames(times[start : start + chunk])

    def waveform(
        self, start: float | None = None, end: float | None = None, sampling_rate: int = 16000
    ) -> torch.Tensor:
        """Return the sound of a stretch of the file; only this stretch (and a second around it) is decoded.

        Args:
            start, end: Seconds; None: from the start of the container, to `info.duration`.
            sampling_rate: Of the result, in Hz.

        Returns:
            float32 (samples,), from sample round(start * sampling_rate) to round(end * sampling_rate) of the media
            clock, silent where the stream has nothing. One channel: the mean of stereo's two; for surround sound a mix
            in which the centre is loudest; without channels that are empty in the stretch, and the louder channel
            alone where the channels cancel each other out.

        Raises:
            MediaError: If there is no audio stream, or nothing of it can be decoded.
            ValueError: If the stretch ends before it begins.
        """
        audio = self._stream("audio")
        start, end = 0.0 if start is None else start, self.info.duration if end is None else end
        if end < start:
            raise ValueError(
                f"the stretch of sound from {start} s to {end} s ends before it begins; expected start <= end."
            )
        first = round(start * sampling_rate)
        out = torch.zeros(len(present(self._index.mix)), round(end * sampling_rate) - first)
        # The part that lies in the stream, with a margin in which the resampler settles.
        begin = max(math.floor(max(start, audio.begin)) - MARGIN_SECONDS, 0)
        stop = math.ceil(min(end, audio.end)) + MARGIN_SECONDS
        if out.shape[1] and max(start, audio.begin) < min(end, audio.end):
            sound = self._sound(begin, stop, sampling_rate)  # (channels, samples)
            offset = first - begin * sampling_rate
            skip = max(0, -offset)
            part = sound[:, max(0, offset) : max(0, offset) + out.shape[1] - skip]
            out[:, skip : skip + part.shape[1]] = part
        mono, notes = mix_channels(out, self._index.mix, self._index.channels)
        self._note(*notes)
        return mono

    def _stream(self, kind: str) -> StreamInfo:
        stream = getattr(self.info, kind)
        if stream is None:
            found = "sound only" if kind == "video" else "picture only"
            raise MediaError(
                self.info.path,
                f"no {kind} stream",
                f"the file holds {found}, and its {kind} stream was requested; use another file or leave {kind} out.",
            )
        return stream

    def _pictures(self, positions: list[int]) -> list[torch.Tensor]:
        """Return the frames at rising positions; the last decodable one replaces later ones that are not."""
        from .media_pyav import FFmpegError, PyAVFrames

        if self.backend == "torchcodec":
            from .media_torchcodec import TorchcodecFrames

            try:
                if TorchcodecFrames.suits(self._index):
                    return list(self._reader(TorchcodecFrames).at(positions))
            except (RuntimeError, ValueError, IndexError) as error:
                self._take_over("picture", error)
        if not positions:
            return []
        try:
            reader = self._reader(PyAVFrames, positions[0])
            pictures = list(reader.at(positions))
        except FFmpegError as error:
            raise self._cannot_decode("video") from error
        self._note_damage(reader, "video")
        if not pictures:
            raise self._cannot_decode("video")
        return pictures

    def _sound(self, begin: int, stop: int, sampling_rate: int) -> torch.Tensor:
        """Return the sound from one whole second to another, float32 (channels, samples)."""
        from .media_pyav import FFmpegError, PyAVSound, resample

        if self.backend == "torchcodec":
            from .media_torchcodec import TorchcodecSound

            try:
                reader = self._reader(TorchcodecSound)
                if reader.suits(begin * reader.rate, stop * reader.rate):
                    return resample(reader.pieces(begin * reader.rate, stop * reader.rate), reader.rate, sampling_rate)
            except (RuntimeError, ValueError) as refusal:
                self._take_over("sound", refusal)
        try:
            reader = self._reader(PyAVSound, begin * round(present(self.info.audio).rate))
            sound = resample(reader.pieces(begin * reader.rate, stop * reader.rate), reader.rate, sampling_rate)
        except FFmpegError as error:
            raise self._cannot_decode("audio") from error
        self._note_damage(reader, "audio")
        if not reader.decoded:
            raise self._cannot_decode("audio")
        return sound

    def _cannot_decode(self, kind: str) -> MediaError:
        nothing = {"video": "no frame", "audio": "no sound"}[kind]
        codec = getattr(self.info, kind).codec
        return MediaError(
            self.info.path,
            "cannot decode",
            f"{nothing} of the {codec} stream can be decoded; copy or convert the file again.",
        )

    def _reader(self, kind: type, place: int = 0):
        """Return the reader that reaches a frame or sample at the lowest cost; a new one instead of going far back."""
        readers = self._readers.setdefault(kind, [])
        costs = [reader.cost(place) for reader in readers]
        best = min(range(len(costs)), key=costs.__getitem__, default=None)  # those that need not go back come first
        if best is None or (costs[best][0] and costs[best][1] > WORTH_A_READER):
            if len(readers) < MOST_READERS:
                readers.append(kind(self._source, self._index))
                return readers[-1]
            best = 0  # the one that was used least recently
        readers.append(readers.pop(best))
        return readers[-1]

    def _take_over(self, what: str, error: Exception) -> None:
        reason = str(error).strip().splitlines()
        logger.info(
            f"{self.info.path}: torchcodec cannot decode the {what} "
            f"({reason[0] if reason else type(error).__name__}); PyAV does."
        )

    def _note_damage(self, reader, kind: str) -> None:
        if reader.damaged:
            self._note(f"damaged {kind} packets were left out")
        if reader.lost > LOST_SECONDS:
            what = {"video": "a neighbouring frame is shown", "audio": "it is silent there"}[kind]
            self._note(f"the {kind} stream has parts that cannot be decoded: {what}")

    def _note(self, *notes: str) -> None:
        self.info.notes.extend(note for note in notes if note not in self.info.notes)


def check_audio_stream(number: int | None) -> None:
    """Raise ValueError if this is not the number of a sound track."""
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
        raise ValueError(f"audio_stream is {number!r}; expected None, or the number of a sound track, 0 for the first.")


__all__ = ["Media", "MediaError", "MediaInfo", "StreamInfo", "check_audio_stream", "decoding_backend", "open_media"]
