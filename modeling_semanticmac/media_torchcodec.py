"""Decoding with torchcodec: the same frames and the same sound as media_pyav, faster. Only imported where torchcodec is usable."""

import importlib
import os
from collections.abc import Iterator

import numpy as np
import torch

from .media_info import MediaIndex

# Containers in which torchcodec finds each frame by its time (measured: it misses frames in MPEG streams and AVI).
EXACT_CONTAINERS = {"mov", "matroska"}
# torchcodec decodes sound from the beginning of the file and returns all of it at once, so a far or long stretch is PyAV's. Decoding is about
# four times as fast (measured), so up to there a whole file is torchcodec's and a cut far behind its beginning is not.
LONGEST_SOUND_SECONDS, NEAR_SOUND_SECONDS, FASTER = 600.0, 60.0, 4
# torchcodec reads every packet of a file whenever it opens it (measured: 4 us each), PyAV jumps with the index that is remembered.
MOST_PACKETS = 10_000


def _decoders():
    # By name: transformers looks through files that come with a checkpoint for imports and refuses those that are not installed.
    return importlib.import_module("torchcodec.decoders")


def _plain(source):
    return source if isinstance(source, bytes) else os.path.abspath(source)


class TorchcodecFrames:
    """The frames of a picture stream."""

    @staticmethod
    def suits(index: MediaIndex) -> bool:
        """Whether torchcodec's frames are PyAV's (in some containers it misses frames, and it rounds deeper colours in another way) and cheaper."""
        return bool(EXACT_CONTAINERS & index.container) and index.bits == 8 and len(index.video.pts) <= MOST_PACKETS

    def __init__(self, source, index: MediaIndex):
        self._times = index.video
        self._decoder = _decoders().VideoDecoder(
            _plain(source), stream_index=index.info.video.stream, seek_mode="exact", num_ffmpeg_threads=1
        )

    def at(self, positions: list[int]) -> Iterator[torch.Tensor]:
        """The frames at rising positions as uint8 (3, H, W), rotated as shown.

        Raises:
            RuntimeError, ValueError, IndexError: torchcodec's, for damaged files.
        """
        # Asked for by the middle of its time, a frame is found whatever the rounding of its ends.
        yield from self._decoder.get_frames_played_at([self._times.middle(position) for position in positions]).data

    def close(self) -> None:
        self._decoder = None


class TorchcodecSound:
    """A sound stream as one channel at its own rate; sample k is k / rate seconds after the start of the container."""

    def __init__(self, source, index: MediaIndex):
        self._index = index
        self.rate = round(index.info.audio.rate)
        self._decoder = _decoders().AudioDecoder(_plain(source), stream_index=index.info.audio.stream)

    def suits(self, first: int, last: int) -> bool:
        """Whether sound from one sample to another is cheap to decode and comes out right: holes between packets would be closed up."""
        near = max(NEAR_SOUND_SECONDS * self.rate, FASTER * (last - first))
        return last <= min(near, LONGEST_SOUND_SECONDS * self.rate) and not self._index.audio.gap

    def pieces(self, first: int, last: int) -> list[np.ndarray]:
        """Samples first to last, float32, with silence where the stream has none.

        Raises:
            RuntimeError, ValueError: torchcodec's, for damaged files.
        """
        origin, audio = self._index.origin, self._index.info.audio
        begin, end = max(first / self.rate, audio.begin), min(last / self.rate, audio.end)
        out = np.zeros(last - first, dtype=np.float32)
        if begin < end:
            found = self._decoder.get_samples_played_in_range(begin + origin, end + origin)
            start = round((found.pts_seconds - origin) * self.rate) - first
            samples = self._index.mix @ found.data.numpy()  # (samples,)
            out[start : start + len(samples)] = samples[: len(out) - start]
        return [out]

    def close(self) -> None:
        self._decoder = None


__all__ = ["TorchcodecFrames", "TorchcodecSound"]
