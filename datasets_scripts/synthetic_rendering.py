"""Clips of the synthetic corpus as MP4 files: a drawn face speaking, H.264 and AAC, written with PyAV."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from modeling_semanticmac.atomic_files import write_whole

from .synthetic_face import SIZE, Expression, draw_camera, draw_frame, draw_head
from .synthetic_voice import SAMPLING_RATE, draw_voice, speak

FRAME_RATE = 12
SECONDS = (2.0, 6.0)  # shortest and longest clip
SAMPLES_AT_A_TIME = 1024  # an AAC frame


def render_clip(path: Path, scores: tuple[float, float, float], speaker_seed: list[int], clip_seed: list[int]) -> None:
    """Draw and write one clip; the file is complete or not there.

    Args:
        path: of the MP4 file.
        scores: planted scores of words, voice and face; the words are not heard, the voice babbles.
        speaker_seed: of what belongs to the speaker; clips of one speaker share it.
        clip_seed: of everything else.
    """
    speaker, generator = np.random.default_rng(speaker_seed), np.random.default_rng(clip_seed)
    head, voice = draw_head(speaker), draw_voice(speaker)
    seconds = round(generator.uniform(*SECONDS) * FRAME_RATE) / FRAME_RATE
    sound, envelope = speak(scores[1], voice, seconds, generator)
    expressions = perform(scores[2], envelope, round(seconds * FRAME_RATE), generator)
    camera = draw_camera(generator)
    write_video(path, (draw_frame(head, camera, expression) for expression in expressions), sound)


def perform(score: float, envelope: np.ndarray, num_frames: int, generator: np.random.Generator) -> list[Expression]:
    """What the face does in each frame: the expression comes and goes a little, the mouth follows the voice, the head nods, the eyes blink.

    Args:
        envelope: of the voice, one value a sample.
    """
    times = (np.arange(num_frames) + 0.5) / FRAME_RATE
    openings = envelope[(times * SAMPLING_RATE).astype(int)]
    sway, rate = generator.uniform(0, 2 * np.pi, size=2), generator.uniform(0.3, 0.6, size=2)
    scores = (score + 0.25 * np.sin(2 * np.pi * rate[0] * times + sway[0])).clip(-3, 3)
    # Lively when the score is high, still when it is low.
    nods = (0.02 + 0.008 * (score + 3)) * np.sin(2 * np.pi * rate[1] * times + sway[1])
    blinks = generator.random(num_frames) < 0.04
    return [Expression(*values) for values in zip(scores.tolist(), openings.tolist(), nods.tolist(), blinks.tolist())]


def write_video(path: Path, frames: Iterable[np.ndarray], sound: np.ndarray) -> None:
    """Frames uint8 (SIZE, SIZE, 3) and mono sound (samples,) as an MP4 file, whole or not at all."""
    write_whole(path, lambda temporary: _encode(temporary, frames, sound))


def _encode(path: Path, frames: Iterable[np.ndarray], sound: np.ndarray) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=FRAME_RATE, options={"preset": "superfast", "crf": "26"})
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1  # the bytes must not depend on the machine's cores
        audio = container.add_stream("aac", rate=SAMPLING_RATE, layout="mono", bit_rate=64000)
        audio.options = {"aac_coder": "fast"}
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, len(sound), SAMPLES_AT_A_TIME):
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + SAMPLES_AT_A_TIME], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = SAMPLING_RATE, start, Fraction(1, SAMPLING_RATE)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
