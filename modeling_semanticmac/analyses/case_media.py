"""The media of a case: a strip of frames, the outline of the sound, a small copy of the clip for a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ..clip_sampling import MediaClip, frame_times
from ..files.media_writing import write_video
from ..image_processing_imagebind import cut_side
from ..media_decoding import MediaError

SAMPLING_RATE = 16000
OUTLINE_BINS = 600
COPY_HEIGHT = 240  # pixels
COPY_RATE = 12  # frames per second
COPY_SECONDS = 60.0  # about 2 MB
CHUNK = 32


@dataclass(frozen=True)
class CaseMedia:
    """Hold what could be read of the media of a clip.

    Args:
        duration: seconds; None where the file cannot be opened.
        frames: from the middles of equal parts of the clip, uint8 (n, H, W, 3); None without a picture.
        outline: lowest and highest sample in [-1, 1] of equal parts of the clip, float32 (bins, 2); None without sound.
        missing: why picture, sound or file are missing.
    """

    duration: float | None = None
    frames: np.ndarray | None = None
    outline: np.ndarray | None = None
    missing: tuple[str, ...] = ()


def read_case_media(media: Mapping, num_frames: int = 8) -> CaseMedia:
    """Read the strip and the outline of a clip. What cannot be read is named in `missing` and does not raise.

    Args:
        media: path, start, end, crop as in the clip schema.
        num_frames: frames of the strip.
    """
    if not media.get("path"):
        return CaseMedia(missing=("the clip has no media file",))
    try:
        with MediaClip(media) as clip:
            frames, no_picture = _try("picture", lambda: _strip(clip, num_frames))
            outline, no_sound = _try("sound", lambda: _outline(clip))
            return CaseMedia(clip.duration, frames, outline, no_picture + no_sound)
    except MediaError as error:
        return CaseMedia(missing=(f"the media file cannot be used: {error.reason}",))


def write_case_copy(media: Mapping, path: Path) -> str | None:
    """Write a small copy of the clip as MP4: 240 pixels high, 12 frames per second, at most its first minute.

    Returns:
        The HTML element that plays it, "video" or "audio"; None where nothing could be copied.
    """
    if not media.get("path"):
        return None
    try:
        with MediaClip(media) as clip:
            seconds = min(clip.duration, COPY_SECONDS)
            frames = _small_frames(clip, seconds) if clip.has("video") else None
            sound = _sound(clip, seconds).numpy() if clip.has("audio") else None
            if frames is None and sound is None:
                return None
            write_video(path, frames, COPY_RATE, sound, SAMPLING_RATE)
            return "audio" if frames is None else "video"
    except MediaError:
        return None


def _try(what: str, read) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return what `read` returns, or None and the reason."""
    try:
        return read(), ()
    except MediaError as error:
        return None, (f"no {what}: {error.reason}",)


def _strip(clip: MediaClip, num_frames: int) -> np.ndarray:
    """Return the frames of the strip, uint8 (n, H, W, 3)."""
    times = frame_times(clip.duration, num_frames=num_frames)
    frames = torch.cat([cut_side(part, clip.crop) for part in clip.iter_frames(times, CHUNK)])  # (n, 3, H, W)
    return frames.permute(0, 2, 3, 1).numpy()


def _sound(clip: MediaClip, seconds: float) -> torch.Tensor:
    """Return the first seconds of the waveform at 16 kHz, (samples,)."""
    return clip.media.waveform(clip.start, clip.start + seconds, SAMPLING_RATE)


def _outline(clip: MediaClip) -> np.ndarray:
    """Return the lowest and highest sample of equal parts of the clip, (bins, 2)."""
    sound = _sound(clip, clip.duration).numpy()
    edges = np.linspace(0, len(sound), min(OUTLINE_BINS, len(sound)) + 1).astype(int)
    return np.stack([np.minimum.reduceat(sound, edges[:-1]), np.maximum.reduceat(sound, edges[:-1])], axis=1)


def _small_frames(clip: MediaClip, seconds: float):
    """Yield frames, uint8 (H, W, 3) with even sides, H at most COPY_HEIGHT."""
    for part in clip.iter_frames(frame_times(seconds, COPY_RATE), CHUNK):
        part = cut_side(part, clip.crop)
        height, width = part.shape[2:]
        scale = min(1.0, COPY_HEIGHT / height)
        size = [max(2, round(side * scale) // 2 * 2) for side in (height, width)]
        small = part if size == [height, width] else F.interpolate(part, size, mode="bilinear", antialias=True)
        yield from small.permute(0, 2, 3, 1).contiguous().numpy()


__all__ = ["CaseMedia", "read_case_media", "write_case_copy"]
