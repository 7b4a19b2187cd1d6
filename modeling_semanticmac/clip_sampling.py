"""A clip, that is a stretch of a media file, and where in it frames and sound windows are taken. Seconds count from the start of the clip.

Legend: T frames (or windows).
"""

import math
import os
from collections.abc import Iterator, Mapping

import torch

from .media_decoding import MediaError, open_media

TOLERANCE_SECONDS = 1e-3  # durations of containers are this exact
CLIP_KEYS = {"path", "start", "end", "crop"}
BLOCK_SECONDS = 300.0  # sound decoded at once
SHORTEST_SECONDS = 0.04  # what a cut of no length is widened to: a frame at 25 a second


def count(duration: float, frames_per_second: float, num_frames: int | None) -> int:
    """T = ceil(frames_per_second * duration), at least one; or the fixed number."""
    if num_frames is not None:
        return num_frames
    return max(1, math.ceil(frames_per_second * (duration - TOLERANCE_SECONDS)))


def frame_times(duration: float, frames_per_second: float = 2.0, num_frames: int | None = None) -> list[float]:
    """When the frames of a clip are taken: the middles of T equal parts.

        T = ceil(frames_per_second * duration),  t_i = (i + 1/2) / frames_per_second,  i = 0 .. T - 1

    The last time is moved back where it lies behind the end. With a fixed `num_frames` n: t_i = (i + 1/2) * duration / n.

    Args:
        duration: seconds, at least 0; the shortest clip has one frame.

    Returns:
        T times in seconds, rising, below the duration.
    """
    if num_frames is not None:
        return [(i + 0.5) * duration / num_frames for i in range(num_frames)]
    last = max(duration - TOLERANCE_SECONDS, duration / 2)
    return [min((i + 0.5) / frames_per_second, last) for i in range(count(duration, frames_per_second, None))]


def window_starts(
    duration: float, window: float = 2.0, frames_per_second: float = 2.0, num_frames: int | None = None
) -> list[float]:
    """When the sound windows of a clip begin: as many as frames, evenly spaced so that the last one ends with the clip.

        s_i = i * max(0, duration - window) / (T - 1);  one window alone lies in the middle

    In a clip shorter than `window` each window is the whole clip.

    Returns:
        T starts in seconds, rising.
    """
    number = count(duration, frames_per_second, num_frames)
    room = max(0.0, duration - window)
    return [room / 2] if number == 1 else [i * room / (number - 1) for i in range(number)]


class MediaClip:
    """A stretch of an open media file; a context manager.

    Args:
        clip: a path, the bytes of a file, or {"path", "start", "end", "crop"}: seconds or None, "left", "right" or None.

    A start before the file's is its start, an end behind the file's is its end. An end without a start is a limit: shorter files are whole. A cut of no
    length (annotations have such) is one frame. `crop` is the half of the picture to keep.

    Attributes:
        media: the file.
        start, end, duration: seconds of the file.
        crop: "left", "right" or None.
        notes: what is wrong with the clip although it can be used.

    Raises:
        MediaError: the file cannot be opened; the cut ends before it begins or begins behind the end of the file.
        ValueError: unknown keys or crop.
    """

    def __init__(self, clip: str | os.PathLike | bytes | Mapping):
        fields = clip if isinstance(clip, Mapping) else {"path": clip}
        if not set(fields) <= CLIP_KEYS or not fields.get("path"):
            raise ValueError(
                f"a clip has the fields {', '.join(map(str, fields))}; expected a path and, where needed, start, end and crop."
            )
        self.crop = fields.get("crop") or None
        if self.crop not in (None, "left", "right"):
            raise ValueError(f'crop is {self.crop!r}; expected "left", "right" or None.')
        self.media = open_media(fields["path"])
        try:
            self.start, self.end = self._cut(fields.get("start"), fields.get("end"))
        except MediaError:
            self.media.close()
            raise
        self.duration = self.end - self.start

    def __enter__(self) -> "MediaClip":
        return self

    def __exit__(self, *error) -> None:
        self.media.close()

    @property
    def notes(self) -> list[str]:
        return self.media.info.notes

    def _cut(self, start: float | None, end: float | None) -> tuple[float, float]:
        info = self.media.info
        limit = start is None  # an end alone
        start = 0.0 if start is None else max(0.0, float(start))
        wanted = info.duration if end is None else float(end)
        if wanted == start and end is not None:
            self.notes.append(f"the cut at {start:g} s has no length: one frame is taken")
            wanted = start + SHORTEST_SECONDS
        if end is not None and wanted < start:
            raise MediaError(
                info.path,
                "zero length",
                f"the cut from {start:g} s to {wanted:g} s ends before it begins; correct the times or leave the clip out.",
            )
        if start >= info.duration:
            truncated = any("truncated" in note for note in info.notes)
            why = "the file was cut off there; copy or download it again" if truncated else "check the times of the cut"
            raise MediaError(
                info.path,
                "truncated" if truncated else "zero length",
                f"the cut begins at {start:g} s but the file ends at {info.duration:.2f} s: {why}.",
            )
        if wanted > info.duration + 0.1 and not limit:
            self.notes.append(f"the cut asks for {wanted:.2f} s, the file ends at {info.duration:.2f} s")
        return start, min(wanted, info.duration)

    def has(self, kind: str) -> bool:
        """Whether any of the picture ("video") or sound ("audio") stream lies in the clip."""
        stream = getattr(self.media.info, kind)
        return stream is not None and stream.begin < self.end and stream.end > self.start

    def iter_frames(self, times: list[float], chunk: int) -> Iterator[torch.Tensor]:
        """Frames at times of the clip, each moved into it, as uint8 (at most chunk, 3, H, W)."""
        last = self.end - min(TOLERANCE_SECONDS, self.duration / 2)
        yield from self.media.iter_frames([min(max(self.start + time, self.start), last) for time in times], chunk)

    def iter_windows(self, starts: list[float], window: float, sampling_rate: int) -> Iterator[torch.Tensor]:
        """Sound windows that begin at rising times of the clip, float32 (samples,); shorter where the clip ends before the window does."""
        done = 0
        while done < len(starts):
            begin = starts[done]
            block = [start for start in starts[done:] if start <= begin + BLOCK_SECONDS]
            sound = self.media.waveform(
                self.start + begin, min(self.start + block[-1] + window, self.end), sampling_rate
            )
            for start in block:
                offset = round((start - begin) * sampling_rate)
                yield sound[offset : offset + round(window * sampling_rate)]
            done += len(block)


__all__ = ["MediaClip", "frame_times", "window_starts"]
