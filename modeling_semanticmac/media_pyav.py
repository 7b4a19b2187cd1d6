"""Decoding with PyAV: frames by their position, sound as one channel on an even clock, resampling."""

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
import torch

from .media_index import GAP_SECONDS, MOST_CHANNELS, open_container
from .media_info import MediaIndex, require_pyav

av = require_pyav()
FFmpegError = av.FFmpegError

WORTH_A_SEEK = 12  # frames; decoding fewer is cheaper than a jump to the next key frame
PREROLL_SECONDS = 0.5  # sound decoders need some packets before the wanted ones to give the same samples
SILENCE_SECONDS = 1.0  # longest piece of silence made at once


class _Stream:
    """One stream of an open file: seek to a packet known from the index, decode from there, count what cannot be decoded.

    Attributes:
        decoded: frames (of pictures or samples) decoded so far.
        damaged: packets that the decoder refused so far.
    """

    def __init__(self, source, stream: int, pts: np.ndarray):
        self._source, self._number, self._pts = source, stream, pts
        self.decoded = self.damaged = 0
        self._container = None
        self._rewind()

    def close(self) -> None:
        self._container.close()

    def _rewind(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = open_container(self._source)
        self._stream = self._container.streams[self._number]
        self._stream.codec_context.thread_count = 1  # one file a worker process
        self._frames = self._decode(self._container.demux(self._stream))
        self._fresh = True

    def _seek(self, position: int) -> None:
        """Continue at the packet of a position or one before it; at the start of the file where the container cannot seek exactly."""
        if position == 0:  # packets before the first one of the index may be needed to decode it
            if not self._fresh:
                self._rewind()
            return
        wanted = int(self._pts[position])
        try:
            self._container.seek(wanted, stream=self._stream)
            packets = self._container.demux(self._stream)
            first = next(packets)
            pts = first.dts if first.pts is None else first.pts
            known = pts is not None and pts <= wanted and self._pts[np.searchsorted(self._pts, pts)] == pts
            if known and first.is_keyframe:
                self._frames = self._decode(itertools.chain([first], packets))
                return
        except (av.FFmpegError, StopIteration):
            pass
        self._rewind()

    def _decode(self, packets: Iterable) -> Iterator:
        self._fresh = False
        try:
            for packet in packets:
                try:
                    for frame in packet.decode():
                        self.decoded += 1
                        yield frame
                except av.FFmpegError:
                    self.damaged += 1
        except (
            av.FFmpegError,
            IndexError,
        ):  # the container breaks off, or has packets of streams that it does not name
            self.damaged += 1


class PyAVFrames(_Stream):
    """The frames of a picture stream."""

    def __init__(self, source, index: MediaIndex):
        super().__init__(source, index.info.video.stream, index.video.pts)
        self._keys = index.video.keys
        self._at, self._frame, self._shown = -1, None, None

    def at(self, positions: list[int]) -> Iterator[torch.Tensor]:
        """The frames at rising positions as uint8 (3, H, W), rotated as shown; all of the size and rotation of the first.

        Where a frame cannot be decoded the next one that can stands for it, at the end the last one. Ends at once where none can be decoded.
        """
        for position in positions:
            self._advance(position)
            if self._frame is None:
                return
            frame = self._frame
            self._shown = self._shown or (frame.width, frame.height, round(frame.rotation / 90))
            width, height, turns = self._shown
            picture = torch.from_numpy(frame.to_ndarray(format="rgb24", width=width, height=height, threads=1))
            yield picture.rot90(turns).permute(2, 0, 1)  # (3, H, W); rotation is counter-clockwise

    def _advance(self, position: int) -> None:
        """Decode up to the frame of a position."""
        before = self._keys[self._keys <= position]
        key = int(before[-1]) if len(before) else 0
        if position < self._at or key > self._at + WORTH_A_SEEK:
            self._seek(key)
            self._at = -1
        while self._at < position:
            frame = next(self._frames, None)
            if frame is None:
                self._at = len(self._pts) - 1
                return
            pts = frame.dts if frame.pts is None else frame.pts
            self._at = self._at + 1 if pts is None else int(np.searchsorted(self._pts, pts, side="right")) - 1
            self._frame = frame


class PyAVSound(_Stream):
    """A sound stream as one channel at its own rate; sample k is k / rate seconds after the start of the container."""

    def __init__(self, source, index: MediaIndex):
        super().__init__(source, index.info.audio.stream, index.audio.pts)
        self._index = index
        self.rate = round(index.info.audio.rate)

    def pieces(self, first: int, last: int) -> Iterator[np.ndarray]:
        """Samples first to last, float32, in pieces of any length; silence where the stream has none."""
        times, stream = self._index.audio, self._index.info.audio
        # Before its beginning and behind its end a stream has only the codec's filling.
        start, stop = (min(max(round(moment * self.rate), first), last) for moment in (stream.begin, stream.end))
        wanted = (start / self.rate + self._index.origin - PREROLL_SECONDS) / times.time_base
        self._seek(max(0, int(np.searchsorted(self._pts, wanted, side="right")) - 1))
        at = first
        for begin, samples in self._samples() if start < stop else ():
            if begin + len(samples) <= max(at, start):
                continue
            begin, samples = max(begin, start), samples[max(0, start - begin) : max(0, stop - begin)]
            yield from self._silence(min(begin, stop) - at)
            at = max(at, min(begin, stop))
            yield samples[at - begin :]
            at = max(at, begin + len(samples))
            if at >= stop:
                break
        yield from self._silence(last - at)

    def _silence(self, samples: int) -> Iterator[np.ndarray]:
        longest = round(SILENCE_SECONDS * self.rate)
        for start in range(0, samples, longest):
            yield np.zeros(min(longest, samples - start), dtype=np.float32)

    def _samples(self) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first sample, samples of the mono mix) of each decoded packet; without holes where the packets' clock is only coarse."""
        layout = self._stream.layout.name
        wanted = ("fltp", layout, self.rate)
        converters = {}  # by what comes in, which may change within a stream
        following = None
        for frame in self._frames:
            pts = frame.dts if frame.pts is None else frame.pts
            begin = following or 0
            if pts is not None:
                begin = round((float(pts * frame.time_base) - self._index.origin) * self.rate)
            if following is not None and abs(begin - following) <= GAP_SECONDS * self.rate:
                begin = following
            if frame.layout.nb_channels > MOST_CHANNELS:
                self.damaged += 1
                continue
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            if kind not in converters:
                converters[kind] = None if kind == wanted else av.AudioResampler(*wanted)
            for part in converters[kind].resample(frame) if converters[kind] else [frame]:
                samples = self._index.mix @ part.to_ndarray()  # (samples,)
                yield begin, samples
                begin += len(samples)
            following = begin


def _joined(pieces: Iterable[np.ndarray], least: int) -> Iterator[np.ndarray]:
    """The same samples in pieces of at least `least` samples (but the last)."""
    waiting, count = [], 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        if count >= least:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if count:
        yield np.concatenate(waiting)


def resample(pieces: Iterable[np.ndarray], rate: int, new_rate: int) -> torch.Tensor:
    """One channel of sound, given in pieces (float32), at another rate; float32 (samples,), the first sample at the same moment."""
    if rate == new_rate:
        parts = list(pieces)
    else:
        resampler, parts, at = av.AudioResampler("fltp", "mono", new_rate), [], 0
        for piece in _joined(pieces, rate):  # a call costs more than a packet's samples
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece, dtype=np.float32)[None], "fltp", "mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), at
            at += len(piece)
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
        if at:
            parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return torch.from_numpy(np.concatenate(parts).astype(np.float32, copy=False)) if parts else torch.zeros(0)


__all__ = ["FFmpegError", "PyAVFrames", "PyAVSound", "resample"]
