"""Small MP4 files, H.264 and AAC, that every browser plays, written with PyAV."""

import itertools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from .atomic_files import write_whole

SAMPLES_AT_A_TIME = 1024  # an AAC frame


def write_video(
    path: Path, frames: Iterable[np.ndarray] | None, frame_rate: int, sound: np.ndarray | None, sampling_rate: int
) -> None:
    """Write a file completely or not at all. The same input gives the same bytes on any number of cores.

    Args:
        path: of the file.
        frames: at least one, uint8 (H, W, 3) each, H and W even; None: no picture.
        frame_rate: frames per second.
        sound: mono, float32 (samples,); None: no sound.
        sampling_rate: Hz.
    """
    write_whole(path, lambda temporary: _encode(temporary, frames, frame_rate, sound, sampling_rate))


def _encode(path: Path, frames, frame_rate: int, sound, sampling_rate: int) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        video = audio = None
        if frames is not None:
            frames = iter(frames)
            first = next(frames)
            video = container.add_stream("libx264", rate=frame_rate, options={"preset": "superfast", "crf": "26"})
            video.height, video.width = first.shape[:2]
            video.pix_fmt = "yuv420p"
            video.codec_context.thread_count = 1  # the bytes must not depend on the machine's cores
        if sound is not None:
            audio = container.add_stream("aac", rate=sampling_rate, layout="mono", bit_rate=64000)
            audio.options = {"aac_coder": "fast"}
        if video is not None:
            for index, picture in enumerate(itertools.chain([first], frames)):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, frame_rate)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None:
            for start in range(0, len(sound), SAMPLES_AT_A_TIME):
                frame = av.AudioFrame.from_ndarray(sound[None, start : start + SAMPLES_AT_A_TIME], "fltp", "mono")
                frame.sample_rate, frame.pts, frame.time_base = sampling_rate, start, Fraction(1, sampling_rate)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))


__all__ = ["write_video"]
