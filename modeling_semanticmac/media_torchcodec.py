"""Decoding with torchcodec: the same frames and sound as media_pyav, faster. Only used where torchcodec is usable."""

import importlib
import os
from collections.abc import Iterator

import numpy as np
import torch

from .media_index import PADDING_SECONDS
from .media_info import MediaIndex, present

# Containers in which torchcodec finds each frame by its time (measured: it misses frames in MPEG streams and AVI).
EXACT_CONTAINERS = {"mov", "matroska"}
# torchcodec decodes sound from the beginning of the file and returns all of it at once, so PyAV decodes far or long
# stretches. Decoding is about four times as fast (measured), so up to there torchcodec decodes a whole file but not a
# short cut far from its beginning.
LONGEST_SOUND_SECONDS, NEAR_SOUND_SECONDS, FASTER = 600.0, 60.0, 4
# torchcodec reads every packet of a file whenever it opens it (measured: 4 us each); PyAV uses the remembered index.
MOST_PACKETS = 10_000
LONGEST_GROUP = 600  # frames from one key frame to the next; PyAV goes back without decoding all of them again
FRAME_TOLERANCE = 0.002  # seconds; frames of 120 a second are 0.008 apart


def _decoders():
    # By name: transformers looks through files that come with a checkpoint for imports and refuses missing packages.
    return importlib.import_module("torchcodec.decoders")


def _plain(source):
    return source if isinstance(source, bytes) else os.path.abspath(source)


class TorchcodecFrames:
    """The frames of a picture stream."""

    damaged = lost = 0

    @staticmethod
    def suits(index: MediaIndex) -> bool:
        """Return whether torchcodec is cheaper and returns PyAV's frames.

        In some containers it misses frames; it rounds deeper colours in another way, and it knows neither HDR nor
        pixels that are not square.
        """
        packets = present(index.video)
        plain = index.bits == 8 and index.colours is None and index.aspect == 1 and packets.usable is None
        small = len(packets.pts) <= MOST_PACKETS and packets.longest_group <= LONGEST_GROUP
        return bool(EXACT_CONTAINERS & index.container) and plain and small

    def __init__(self, source, index: MediaIndex):
        self._times = present(index.video)
        self._decoder = _decoders().VideoDecoder(
            _plain(source), stream_index=present(index.info.video).stream, seek_mode="exact", num_ffmpeg_threads=1
        )

    def cost(self, position: int) -> tuple[bool, int]:
        """Return (False, 0): one decoder serves all positions."""
        return False, 0

    def at(self, positions: list[int]) -> Iterator[torch.Tensor]:
        """Yield the frames at rising positions as uint8 (3, H, W), rotated as shown.

        Raises:
            RuntimeError, ValueError, IndexError: torchcodec's, for damaged files; also if it returns other frames than
                the requested ones.
        """
        if not positions:
            return
        # The middle of the time for which a frame is shown finds it whatever the rounding of its ends.
        found = self._decoder.get_frames_played_at([self._times.middle(position) for position in positions])
        expected = [self._times.seconds(position) for position in positions]
        if len(found.data) != len(expected) or np.abs(found.pts_seconds.numpy() - expected).max() > FRAME_TOLERANCE:
            raise RuntimeError("it returns other frames than the requested ones")
        yield from found.data

    def close(self) -> None:
        """Close the file."""
        self._decoder = None


class TorchcodecSound:
    """A sound stream at its own rate; sample k is k / rate seconds after the start of the container."""

    damaged = lost = 0

    def __init__(self, source, index: MediaIndex):
        self._index, self._packets = index, present(index.audio)
        self._stream = present(index.info.audio)
        self.rate = round(self._stream.rate)
        self._decoder = _decoders().AudioDecoder(_plain(source), stream_index=self._stream.stream)

    def suits(self, first: int, last: int) -> bool:
        """Return whether the sound between two samples is cheap to decode and comes out right.

        torchcodec closes gaps between packets and mixes what shares a time.
        """
        near = max(NEAR_SOUND_SECONDS * self.rate, FASTER * (last - first))
        right = not self._packets.gap and self._packets.usable is None
        return last <= min(near, LONGEST_SOUND_SECONDS * self.rate) and right

    def cost(self, first: int) -> tuple[bool, int]:
        """Return (False, 0): one decoder serves all stretches."""
        return False, 0

    def pieces(self, first: int, last: int) -> list[np.ndarray]:
        """Return samples first to last, one array of float32 (channels, samples), with silence where there are none.

        Raises:
            RuntimeError, ValueError: torchcodec's, for damaged files; also if it returns less than the stream holds.
        """
        origin, audio = self._index.origin, self._stream
        begin, end = max(first / self.rate, audio.begin), min(last / self.rate, audio.end)
        out = np.zeros((len(present(self._index.mix)), last - first), dtype=np.float32)
        if begin < end:
            found = self._decoder.get_samples_played_in_range(begin + origin, end + origin)
            samples, at = found.data.numpy(), found.pts_seconds - origin
            missing = max(at - begin, end - at - samples.shape[1] / self.rate)
            if len(samples) != len(out) or missing > PADDING_SECONDS:
                raise RuntimeError(f"it returns {samples.shape[1] / self.rate:.2f} s of {end - begin:.2f} s")
            start = round(at * self.rate) - first
            out[:, max(0, start) : start + samples.shape[1]] = samples[:, max(0, -start) : out.shape[1] - start]
        return [out]

    def close(self) -> None:
        """Close the file."""
        self._decoder = None


__all__ = ["TorchcodecFrames", "TorchcodecSound"]
