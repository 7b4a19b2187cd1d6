"""Decoding with PyAV: frames by their position, sound on an even clock, resampling."""

import gc
import itertools
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from .image_processing_imagebind import as_bt709
from .media_index import GAP_SECONDS, LOST_SECONDS, MOST_CHANNELS
from .media_info import MediaIndex, open_container, present, require_pyav

av = require_pyav()
FFmpegError = av.FFmpegError


def _collect_garbage() -> None:
    """Collect garbage before a fork, and keep what is left from being collected in the child.

    Freeing a decoder or filter of FFmpeg waits for its threads, which a forked process does not have.
    """
    gc.collect()
    gc.freeze()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_collect_garbage, after_in_parent=gc.unfreeze)

MOST_FAILED_SEEKS = 3  # then the container is read forward only
WORTH_A_SEEK = 12  # frames; decoding fewer is cheaper than a jump to the next key frame
PREROLL_SECONDS = 0.5  # sound decoders need some packets before the requested ones to return the same samples
FRAMES_APART = 3  # in some containers the times of B-frames are only nearly known
SILENCE_SECONDS = 1.0  # longest piece of silence made at once
LAYOUTS = dict(enumerate(("mono", "stereo", "2.1", "quad", "5.0", "5.1", "6.1", "7.1"), start=1))  # by their channels


class _Stream:
    """One stream of an open file: seeks to a packet of the index, decodes from there, counts what cannot be decoded.

    Attributes:
        decoded: Number of frames (of pictures or samples) decoded so far.
        damaged: Number of packets that the decoder refused so far.
        lost: Seconds that should have been decoded but were not.
    """

    def __init__(self, source, stream: int, times):
        self._source, self._number, self._pts, self._usable = source, stream, times.pts, times.usable
        self.decoded = self.damaged = 0
        self.lost = 0.0
        self._seeks = MOST_FAILED_SEEKS if times.usable is None else 0  # seeks that may still fail
        self._container: Any = None
        self._rewind()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _rewind(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = open_container(self._source)
        self._stream = self._container.streams[self._number]
        self._stream.codec_context.thread_count = 1  # one file per worker process
        self._frames = self._decode(self._packets())
        self._fresh = True

    def _seek(self, position: int) -> None:
        """Continue at the packet of a position or one before it; at the start where the container cannot seek."""
        if position == 0 or not self._seeks:  # packets before the index's first one may be needed to decode it
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
        self._seeks -= 1
        self._rewind()

    def _packets(self) -> Iterable:
        """Return the packets from the beginning, to the place where the clock falls back."""
        packets = self._container.demux(self._stream)
        if self._usable is not None:
            flush = av.Packet()
            flush.stream = self._stream
            packets = itertools.chain(itertools.islice((one for one in packets if one.size), self._usable), [flush])
        return packets

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
        except (av.FFmpegError, IndexError):  # the container breaks off, or has packets of streams it does not name
            self.damaged += 1


class PyAVFrames(_Stream):
    """The frames of a picture stream; one pass serves growing positions."""

    def __init__(self, source, index: MediaIndex):
        stream, self._times = present(index.info.video), present(index.video)
        super().__init__(source, stream.stream, self._times)
        self._colours, self._aspect = index.colours, index.aspect
        self._apart = FRAMES_APART / stream.rate
        self._at, self._frame = -1, None
        self._shown: tuple[int, int, int] | None = None  # width, height, turns of the first frame

    def cost(self, position: int) -> tuple[bool, int]:
        """Return whether the reader must go back to reach a position, and about how many frames it has to decode."""
        key = self._key(position)
        if position < self._at:
            return True, position - key
        return False, position - max(self._at, key if key > self._at + WORTH_A_SEEK else -1)

    def at(self, positions: list[int]) -> Iterator[torch.Tensor]:
        """Yield the frames at rising positions as shown, uint8 (3, H, W), of the size and rotation of the first.

        A frame that cannot be decoded is replaced by the next one that can, at the end by the last.
        """
        for position in positions:
            self._advance(position)
            if self._frame is None:
                return
            yield self._picture(self._frame)

    def _picture(self, frame) -> torch.Tensor:
        if self._shown is None:
            self._shown = max(1, round(frame.width * self._aspect)), frame.height, round(frame.rotation / 90)
        width, height, turns = self._shown
        if self._colours is None:
            picture = torch.from_numpy(frame.to_ndarray(format="rgb24", width=width, height=height, threads=1))
        else:
            deep = frame.to_ndarray(format="rgb48le", width=width, height=height, threads=1)
            picture = as_bt709(torch.from_numpy(deep.astype(np.int32)), self._colours)
        return picture.rot90(turns).permute(2, 0, 1)  # (3, H, W); rotation is counter-clockwise

    def _key(self, position: int) -> int:
        """Return the position at which decoding must begin for the frame of a position."""
        before = self._times.keys[self._times.keys <= position]
        return int(before[-1]) if len(before) and self._seeks else 0

    def _advance(self, position: int) -> None:
        """Decode up to the frame of a position."""
        key = self._key(position)
        if position < self._at or key > self._at + WORTH_A_SEEK:
            self._seek(key)
            self._at = -1
        while self._at < position:
            frame = next(self._frames, None)
            if frame is None:
                self._note_loss(position)
                self._at = len(self._pts) - 1
                return
            pts = frame.dts if frame.pts is None else frame.pts
            self._at = self._at + 1 if pts is None else int(np.searchsorted(self._pts, pts, side="right")) - 1
            self._frame = frame
        self._note_loss(position)

    def _note_loss(self, position: int) -> None:
        """Remember by how much the current frame misses the requested one."""
        if self._frame is not None and self._frame.pts is not None:
            missed = abs(float((self._frame.pts - self._pts[position]) * self._times.time_base))
            self.lost = max(self.lost, missed if missed > self._apart else 0.0)


class PyAVSound(_Stream):
    """A sound stream at its own rate; sample k is k / rate seconds after the start of the container."""

    def __init__(self, source, index: MediaIndex):
        self._info, self._times = present(index.info.audio), present(index.audio)
        super().__init__(source, self._info.stream, self._times)
        self._index = index
        self.rate = round(self._info.rate)
        # The last decoded samples with the number of their first one.
        self._held: tuple[int, np.ndarray] | None = None

    def cost(self, first: int) -> tuple[bool, int]:
        """Return whether the reader must go back to reach a sample, and about how many packets it has to decode."""
        if self._held is not None and self._reaches(first):
            return False, self._start_packet(first) - self._start_packet(self._held[0])
        return self._held is not None, 0 if self._seeks else self._start_packet(first)

    def pieces(self, first: int, last: int) -> Iterator[np.ndarray]:
        """Yield samples first to last, float32 (channels, n), in pieces of any length; silence where there are none."""
        stream = self._info
        # Before its beginning and after its end a stream has only the codec's padding.
        start, stop = (min(max(round(moment * self.rate), first), last) for moment in (stream.begin, stream.end))
        if start < stop and not self._reaches(start):
            self._held = None
            self._seek(self._start_packet(start))
            self._parts = self._samples()
        at, silent = first, 0
        for begin, samples in self._on() if start < stop else ():
            if begin + samples.shape[1] <= max(at, start):
                continue
            begin, samples = max(begin, start), samples[:, max(0, start - begin) : max(0, stop - begin)]
            silent += max(0, min(begin, stop) - max(at, start))
            yield from self._silence(min(begin, stop) - at)
            at = max(at, min(begin, stop))
            yield samples[:, at - begin :]
            at = max(at, begin + samples.shape[1])
            if at >= stop:
                break
        silent += max(0, stop - max(at, start))
        if silent > LOST_SECONDS * self.rate and not self._times.gap:
            self.lost = max(self.lost, silent / self.rate)
        yield from self._silence(last - at)

    def _start_packet(self, sample: int) -> int:
        """Return the packet at which decoding begins for a sample."""
        wanted = (sample / self.rate + self._index.origin - PREROLL_SECONDS) / self._times.time_base
        return max(0, int(np.searchsorted(self._pts, wanted, side="right")) - 1)

    def _reaches(self, sample: int) -> bool:
        """Return whether decoding on is the way to a sample: it lies ahead, and near or beyond the reach of a seek."""
        if self._held is None or self._held[0] > sample:
            return False
        return not self._seeks or sample - self._held[0] <= PREROLL_SECONDS * self.rate

    def _on(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield what was decoded last, then what follows."""
        if self._held is not None:
            yield self._held
        for part in self._parts:
            self._held = part
            yield part

    def _silence(self, samples: int) -> Iterator[np.ndarray]:
        longest = round(SILENCE_SECONDS * self.rate)
        for start in range(0, samples, longest):
            yield np.zeros((len(present(self._index.mix)), min(longest, samples - start)), dtype=np.float32)

    def _samples(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number of the first sample, float32 (channels, n)) of each packet; a coarse clock leaves no gaps."""
        wanted = ("fltp", self._stream.layout.name, self.rate)
        converters: dict[tuple, Any] = {}  # by what comes in, which may change within a stream
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
            converter = converters[kind]
            for part in converter.resample(frame) if converter else [frame]:
                samples = part.to_ndarray()  # (channels, n)
                yield begin, samples
                begin += samples.shape[1]
            following = begin


def _joined(pieces: Iterable[np.ndarray], least: int) -> Iterator[np.ndarray]:
    """Yield the same samples in pieces of at least `least` samples (except the last)."""
    waiting, count = [], 0
    for piece in pieces:
        waiting.append(piece)
        count += piece.shape[-1]
        if count >= least:
            yield np.concatenate(waiting, axis=-1)
            waiting, count = [], 0
    if count:
        yield np.concatenate(waiting, axis=-1)


def resample(pieces: Iterable[np.ndarray], rate: int, new_rate: int) -> torch.Tensor:
    """Resample sound; the first sample stays at the same moment.

    Args:
        pieces: The sound in pieces, float32 (samples,) or (channels, samples), at most 8 channels.
        rate, new_rate: In Hz.

    Returns:
        float32, of the same number of dimensions; (0,) without pieces.
    """
    if rate == new_rate:
        parts = list(pieces)
        return (
            torch.from_numpy(np.concatenate(parts, axis=-1).astype(np.float32, copy=False)) if parts else torch.zeros(0)
        )
    resampler: Any = None
    parts, at, flat = [], 0, False
    for piece in _joined(pieces, rate):  # a call costs more than a packet's samples
        flat, piece = piece.ndim == 1, np.ascontiguousarray(np.atleast_2d(piece), dtype=np.float32)
        layout = LAYOUTS[len(piece)]
        resampler = resampler or av.AudioResampler("fltp", layout, new_rate)
        frame = av.AudioFrame.from_ndarray(piece, "fltp", layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), at
        at += piece.shape[1]
        parts += [part.to_ndarray() for part in resampler.resample(frame)]
    if not at:
        return torch.zeros(0)
    parts += [part.to_ndarray() for part in resampler.resample(None)]
    sound = torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32, copy=False))
    return sound[0] if flat else sound


__all__ = ["FFmpegError", "PyAVFrames", "PyAVSound", "resample"]
