"""A clip, which is a stretch of a media file, and the times in it at which frames and sound windows are taken;
the padding of what was taken from several clips.

Times are seconds from the start of the clip. Legend: T frames (or windows).
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers.utils import logging

from .feature_extraction_imagebind import is_silent, mix_channels
from .image_processing_imagebind import cut_side, is_one_colour
from .media_decoding import Media, MediaError, open_media
from .media_info import BLANK

logger = logging.get_logger(__name__)

TOLERANCE_SECONDS = 1e-3  # durations of containers are this exact
CLIP_KEYS = {"path", "start", "end", "crop", "audio_stream"}
BLOCK_SECONDS = 300.0  # sound decoded at once
SHORTEST_SECONDS = 0.04  # length given to a cut of no length: a frame at 25 per second


def num_time_steps(duration: float, frames_per_second: float, num_frames: int | None) -> int:
    """Return T = ceil(frames_per_second * duration), at least one, or the fixed number."""
    if num_frames is not None:
        return num_frames
    return max(1, math.ceil(frames_per_second * (duration - TOLERANCE_SECONDS)))


def frame_times(duration: float, frames_per_second: float = 2.0, num_frames: int | None = None) -> list[float]:
    """Return the times at which the frames of a clip are taken: the middles of T equal parts.

        T = ceil(frames_per_second * duration),  t_i = (i + 1/2) / frames_per_second,  i = 0 .. T - 1

    The last time is moved back where it lies past the end. With a fixed `num_frames` n: t_i = (i + 1/2) * duration / n.

    Args:
        duration: Seconds, at least 0; the shortest clip has one frame.

    Returns:
        T times in seconds, rising, below the duration.
    """
    if num_frames is not None:
        return [(i + 0.5) * duration / num_frames for i in range(num_frames)]
    last = max(duration - TOLERANCE_SECONDS, duration / 2)
    return [min((i + 0.5) / frames_per_second, last) for i in range(num_time_steps(duration, frames_per_second, None))]


def window_starts(
    duration: float, window: float = 2.0, frames_per_second: float = 2.0, num_frames: int | None = None
) -> list[float]:
    """Return when the sound windows of a clip begin: as many as frames, evenly spaced, the last ends with the clip.

        s_i = i * max(0, duration - window) / (T - 1);  a single window lies in the middle

    In a clip shorter than `window` each window is the whole clip.

    Returns:
        T starts in seconds, rising.
    """
    number = num_time_steps(duration, frames_per_second, num_frames)
    room = max(0.0, duration - window)
    return [room / 2] if number == 1 else [i * room / (number - 1) for i in range(number)]


def cut_windows(sound: torch.Tensor, starts: Sequence[float], window: float, sampling_rate: int) -> list[torch.Tensor]:
    """Cut windows of `window` seconds out of a sound (samples,); those that reach past its end are shorter."""
    size = round(window * sampling_rate)
    return [sound[round(start * sampling_rate) : round(start * sampling_rate) + size] for start in starts]


def waveform_windows(
    waveform,
    sampling_rate: int | None,
    new_rate: int,
    window: float,
    frames_per_second: float = 2.0,
    num_frames: int | None = None,
) -> list[torch.Tensor]:
    """Cut the sound windows of a whole clip out of an array.

    Args:
        waveform: Sound in [-1, 1], (samples,) or (channels, samples).
        sampling_rate: Of the waveform, in Hz.
        new_rate: Of the windows, in Hz.
        window, frames_per_second, num_frames: As in `window_starts`.

    Returns:
        T windows, float32 (samples,); none where the sound is silent throughout.

    Raises:
        ValueError: If the array is not sound, or its sampling rate is missing.
    """
    if not sampling_rate:
        raise ValueError("a waveform was given without sampling_rate; give its samples per second.")
    sound = torch.as_tensor(waveform, dtype=torch.float32)
    if sound.ndim == 2:
        sound, _ = mix_channels(sound)  # (samples,)
    if sound.ndim != 1 or not len(sound):
        raise ValueError(
            f"the waveform has shape {tuple(sound.shape)}; expected sound, (samples,) or (channels, samples), or None "
            "where there is none."
        )
    if is_silent(sound):
        logger.info("The waveform of a clip is silent throughout; its sound counts as missing.")
        return []
    duration = len(sound) / sampling_rate
    if sampling_rate != new_rate:
        from .media_pyav import resample

        sound = resample([sound.numpy()], sampling_rate, new_rate)
    return cut_windows(sound, window_starts(duration, window, frames_per_second, num_frames), window, new_rate)


class MediaClip:
    """A stretch of an open media file; a context manager.

    A start before the file's is its start, an end past the file's is its end. An end without a start is a limit:
    shorter files are used whole. A cut of no length (some annotations have them) is one frame.

    Args:
        clip: A path, the bytes of a file, an open `Media`, or {"path", "start", "end", "crop", "audio_stream"}: `path`
            is one of these, start and end are seconds or None, crop is the half of the picture to keep ("left" or
            "right") or None, audio_stream the number of the sound track. An open `Media` stays open, so the clips of a
            long file, in their order, are decoded in one pass.
        audio_stream: Number of the sound track, counted from 0, where the clip names none; None: FFmpeg's choice.

    Attributes:
        faces: Time steps in which a face was looked for, and those without one, after its picture was read.
        media: The file.
        start, end, duration: Seconds of the file.
        crop: "left", "right" or None.

    Raises:
        MediaError: If the file cannot be opened, or the cut ends before it begins or begins past the end of the file.
        ValueError: If keys, crop or audio_stream are unknown.
    """

    def __init__(self, clip: str | os.PathLike | bytes | Media | Mapping, audio_stream: int | None = None):
        fields: Mapping[str, Any] = clip if isinstance(clip, Mapping) else {"path": clip}
        if not set(fields) <= CLIP_KEYS or not fields.get("path"):
            raise ValueError(
                f"a clip has the fields {', '.join(map(str, fields))}; expected a path and, where needed, start, end, "
                "crop and audio_stream."
            )
        self.crop = fields.get("crop") or None
        if self.crop not in (None, "left", "right"):
            raise ValueError(f'crop is {self.crop!r}; expected "left", "right" or None.')
        source = fields["path"]
        self._notes: list[str] = []
        self.faces = (0, 0)
        track = audio_stream if fields.get("audio_stream") is None else fields["audio_stream"]
        self._keeps_open = isinstance(source, Media)
        if self._keeps_open and track not in (None, source.audio_stream):
            raise ValueError(
                f"the open file reads sound track {source.audio_stream}, not {track}; open it with {track}."
            )
        if self._keeps_open:
            source.forget_notes()
        self.media = source if self._keeps_open else open_media(source, audio_stream=track)
        try:
            self.start, self.end = self._cut(fields.get("start"), fields.get("end"))
        except MediaError:
            self.close()
            raise
        self.duration = self.end - self.start

    def __enter__(self) -> "MediaClip":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, unless it was passed as an open `Media`."""
        if not self._keeps_open:
            self.media.close()

    @property
    def notes(self) -> list[str]:
        """Phrases about the file and about this clip, although both can be used."""
        return [*self.media.info.notes, *self._notes]

    def count_faces(self, steps: int, without_face: int) -> None:
        """Keep in how many time steps a face was looked for, and how many have none; the notes say the latter."""
        self.faces = (steps, without_face)
        if without_face:
            self._notes.append(f"no face in {without_face} of {steps} time steps: the whole frame is used")

    def _cut(self, start: float | None, end: float | None) -> tuple[float, float]:
        info = self.media.info
        limit = start is None  # an end alone
        start = 0.0 if start is None else max(0.0, float(start))
        wanted = info.duration if end is None else float(end)
        if wanted == start and end is not None:
            self._notes.append(f"the cut at {start:g} s has no length: one frame is taken")
            wanted = start + SHORTEST_SECONDS
        if end is not None and wanted < start:
            text = f"the cut from {start:g} s to {wanted:g} s ends before it begins"
            raise MediaError(info.path, "zero length", f"{text}; correct the times or leave the clip out.")
        if start >= info.duration:
            truncated = any("truncated" in note for note in info.notes)
            why = "the file was cut off there; copy or download it again" if truncated else "check the times of the cut"
            raise MediaError(
                info.path,
                "truncated" if truncated else "zero length",
                f"the cut begins at {start:g} s but the file ends at {info.duration:.2f} s: {why}.",
            )
        if wanted > info.duration + 0.1 and not limit:
            self._notes.append(f"the cut ends at {wanted:.2f} s, the file at {info.duration:.2f} s")
        return start, min(wanted, info.duration)

    def has(self, kind: str) -> bool:
        """Return whether any of the picture ("video") or sound ("audio") stream lies in the clip."""
        stream = getattr(self.media.info, kind)
        return stream is not None and stream.begin < self.end and stream.end > self.start

    def iter_frames(self, times: list[float], chunk: int) -> Iterator[torch.Tensor]:
        """Yield frames at times of the clip, each moved into it, as uint8 (at most chunk, 3, H, W)."""
        last = self.end - min(TOLERANCE_SECONDS, self.duration / 2)
        yield from self.media.iter_frames([min(max(self.start + time, self.start), last) for time in times], chunk)

    def iter_windows(self, starts: list[float], window: float, sampling_rate: int) -> Iterator[torch.Tensor]:
        """Yield sound windows that begin at rising times of the clip, float32 (samples,).

        A window is shorter where the clip ends before it does.
        """
        done = 0
        while done < len(starts):
            begin = starts[done]
            block = [start for start in starts[done:] if start <= begin + BLOCK_SECONDS]
            end = min(self.start + block[-1] + window, self.end)
            sound = self.media.waveform(self.start + begin, end, sampling_rate)
            yield from cut_windows(sound, [start - begin for start in block], window, sampling_rate)
            done += len(block)

    def require(self, kind: str) -> None:
        """Raise MediaError if nothing of the picture ("video") or sound ("audio") stream lies in the clip."""
        if not self.has(kind):
            name = {"video": "picture", "audio": "sound"}[kind]
            text = f"there is no {name} between {self.start:.2f} s and {self.end:.2f} s"
            raise MediaError(
                self.media.info.path, f"no {kind} stream", f"{text}; use another clip or do without {name}."
            )

    def require_picture(self, frames: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the frames; raise MediaError at the end if all of them, as cropped, are of one colour."""
        yield from self._require(frames, lambda part: is_one_colour(cut_side(part, self.crop)), "video")

    def require_sound(self, windows: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the windows; raise MediaError at the end if all of them are silent."""
        yield from self._require(windows, is_silent, "audio")

    def _require(self, parts: Iterator[torch.Tensor], is_blank, kind: str) -> Iterator[torch.Tensor]:
        blank = True
        for part in parts:
            blank = blank and is_blank(part)
            yield part
        if blank:
            note = {"video": "the picture is one colour throughout", "audio": "the sound is silent throughout"}[kind]
            self._notes.append(note)
            raise MediaError(self.media.info.path, BLANK[kind], f"{note}; it counts as missing: check the recording.")


def pad_streams(name: str, mask_name: str, streams: Sequence[torch.Tensor | None]) -> dict[str, torch.Tensor]:
    """Pad the streams of the clips of a batch.

    Args:
        name, mask_name: keys of the result.
        streams: (T_i, ...) of each clip; None or T_i = 0 where a clip lacks the modality.

    Returns:
        {name: (B, T, ...), mask_name: (B, T)}; empty where no clip has the modality.
    """
    present = [stream for stream in streams if stream is not None and len(stream)]
    if not present:
        return {}
    empty = present[0][:0]
    padded = pad_sequence([empty if stream is None else stream for stream in streams], batch_first=True)  # (B, T, ...)
    lengths = torch.tensor([0 if stream is None else len(stream) for stream in streams])
    mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()  # (B, T)
    return {name: padded, mask_name: mask.to(padded.device)}


__all__ = [
    "MediaClip",
    "cut_windows",
    "frame_times",
    "num_time_steps",
    "pad_streams",
    "waveform_windows",
    "window_starts",
]
