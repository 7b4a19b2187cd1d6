"""Frames and sound of a media file at asked times: torchcodec where it is usable, else PyAV; the same result from both.

Legend: n frames, H height, W width in pixels. Times are seconds on the media clock: 0 is the start of the container, for picture and sound alike.
"""

import functools
import importlib.util
import logging
import math
import os
from collections.abc import Iterator, Sequence

import torch
from transformers.utils import logging as transformers_logging
from transformers.utils.import_utils import is_torchcodec_usable

from .media_index import describe, index_media
from .media_info import MediaError, MediaInfo, StreamInfo

logger = transformers_logging.get_logger(__name__)

BACKENDS = ("torchcodec", "pyav")
MARGIN_SECONDS = 1  # whole seconds lie on the clocks of both rates, so a cut has the same samples as the whole


@functools.cache
def decoding_backend() -> str:
    """The backend of this process: "torchcodec" where it and FFmpeg's libraries can be loaded, else "pyav"; chosen once, and said in one line."""
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


def open_media(source: str | os.PathLike | bytes, backend: str | None = None) -> "Media":
    """Open a media file, or the bytes of one, and find out what is in it.

    Args:
        backend: "torchcodec" or "pyav"; None: `decoding_backend()`.

    Raises:
        MediaError: no such file, not media, neither picture nor sound.
        ValueError: unknown backend.
    """
    return Media(source, backend)


class Media:
    """An open media file; a context manager.

    Damaged files give what can be decoded, and `info.notes` says what could not.

    Attributes:
        info: what the file holds.
        backend: "torchcodec" or "pyav". PyAV takes over where torchcodec would give something else or fails on a damaged file.
    """

    def __init__(self, source: str | os.PathLike | bytes, backend: str | None = None):
        if backend not in (None, *BACKENDS):
            raise ValueError(f"backend is {backend!r}; expected None, {' or '.join(map(repr, BACKENDS))}.")
        self._source = source
        self._index = index_media(source)
        self.info: MediaInfo = self._index.info
        self.backend = backend or decoding_backend()
        self._readers = {}

    def __enter__(self) -> "Media":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; reading again opens it again."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def frames(self, times: Sequence[float]) -> torch.Tensor:
        """The frames shown at the given times.

        Args:
            times: seconds, in any order; each is clamped into the picture stream.

        Returns:
            uint8 (n, 3, H, W), red, green and blue, rotated as they are shown.

        Raises:
            MediaError: no video stream, or nothing of it can be decoded.
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
        """`frames` in pieces of at most `chunk`, so that memory does not grow with the length of the file."""
        for start in range(0, len(times), chunk):
            yield self.frames(times[start : start + chunk])

    def waveform(
        self, start: float | None = None, end: float | None = None, sampling_rate: int = 16000
    ) -> torch.Tensor:
        """The sound of a stretch of the file; only this stretch (and a second around it) is decoded.

        Args:
            start, end: seconds; None: from the start of the container, to `info.duration`.
            sampling_rate: Hz of the result.

        Returns:
            float32 (samples,), from sample round(start * sampling_rate) to round(end * sampling_rate) of the media clock: one channel, the mean of
            stereo's two, for surround sound a mix in which the centre is loudest. Silence where the stream has nothing.

        Raises:
            MediaError: no audio stream, or nothing of it can be decoded.
            ValueError: end before start.
        """
        audio = self._stream("audio")
        start, end = 0.0 if start is None else start, self.info.duration if end is None else end
        if end < start:
            raise ValueError(
                f"the stretch of sound from {start} s to {end} s ends before it begins; expected start <= end."
            )
        first = round(start * sampling_rate)
        out = torch.zeros(round(end * sampling_rate) - first)
        # What lies in the stream, with a margin in which the resampler settles.
        begin = max(math.floor(max(start, audio.begin)) - MARGIN_SECONDS, 0)
        stop = math.ceil(min(end, audio.end)) + MARGIN_SECONDS
        if len(out) and max(start, audio.begin) < min(end, audio.end):
            sound = self._sound(begin, stop, sampling_rate)
            offset = first - begin * sampling_rate
            skip = max(0, -offset)
            part = sound[max(0, offset) : max(0, offset) + len(out) - skip]
            out[skip : skip + len(part)] = part
        return out

    def _stream(self, kind: str) -> StreamInfo:
        stream = getattr(self.info, kind)
        if stream is None:
            found = "sound only" if kind == "video" else "picture only"
            raise MediaError(
                self.info.path,
                f"no {kind} stream",
                f"the file holds {found}, and its {kind} stream was asked for; use another file or leave {kind} out.",
            )
        return stream

    def _pictures(self, positions: list[int]) -> list[torch.Tensor]:
        """The frames at rising positions, the last that can be decoded in place of those behind it that cannot."""
        from .media_pyav import FFmpegError, PyAVFrames

        if self.backend == "torchcodec":
            from .media_torchcodec import TorchcodecFrames

            try:
                if TorchcodecFrames.suits(self._index):
                    return list(self._reader(TorchcodecFrames).at(positions))
            except (RuntimeError, ValueError, IndexError) as error:
                self._take_over("picture", error)
        try:
            reader = self._reader(PyAVFrames)
            pictures = list(reader.at(positions))
        except FFmpegError as error:
            raise self._cannot_decode("video") from error
        self._note_damage(reader, "video")
        if positions and not pictures:
            raise self._cannot_decode("video")
        return pictures

    def _sound(self, begin: int, stop: int, sampling_rate: int) -> torch.Tensor:
        """Sound from one whole second to another, float32 (samples,)."""
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
            reader = self._reader(PyAVSound)
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

    def _reader(self, kind: type):
        if kind not in self._readers:
            self._readers[kind] = kind(self._source, self._index)
        return self._readers[kind]

    def _take_over(self, what: str, error: Exception) -> None:
        reason = str(error).strip().splitlines()
        logger.info(
            f"{describe(self._source)}: torchcodec cannot decode the {what} ({reason[0] if reason else type(error).__name__}); PyAV does."
        )

    def _note_damage(self, reader, kind: str) -> None:
        if reader.damaged:
            note = f"damaged {kind} packets were left out"
            if note not in self.info.notes:
                self.info.notes.append(note)


__all__ = ["Media", "MediaError", "MediaInfo", "StreamInfo", "decoding_backend", "open_media"]
