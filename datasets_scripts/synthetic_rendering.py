"""Clips of the synthetic corpus as MP4 files: a drawn face speaking."""

from pathlib import Path

import numpy as np

from modeling_semanticmac.files.media_writing import write_video

from .synthetic_face import Expression, draw_camera, draw_frame, draw_head
from .synthetic_voice import SAMPLING_RATE, draw_voice, speak

FRAME_RATE = 12
SECONDS = (2.0, 6.0)  # shortest and longest clip


def render_clip(path: Path, scores: tuple[float, float, float], speaker_seed: list[int], clip_seed: list[int]) -> None:
    """Draw and write one clip; the file is complete or absent.

    Args:
        path: path of the MP4 file.
        scores: planted scores of words, voice and face; the voice babbles instead of saying the words.
        speaker_seed: seed of the speaker's features; clips of one speaker share it.
        clip_seed: seed of everything else.
    """
    speaker, generator = np.random.default_rng(speaker_seed), np.random.default_rng(clip_seed)
    head, voice = draw_head(speaker), draw_voice(speaker)
    seconds = round(generator.uniform(*SECONDS) * FRAME_RATE) / FRAME_RATE
    sound, envelope = speak(scores[1], voice, seconds, generator)
    expressions = perform(scores[2], envelope, round(seconds * FRAME_RATE), generator)
    camera = draw_camera(generator)
    frames = (draw_frame(head, camera, expression) for expression in expressions)
    write_video(path, frames, FRAME_RATE, sound, SAMPLING_RATE)


def perform(score: float, envelope: np.ndarray, num_frames: int, generator: np.random.Generator) -> list[Expression]:
    """Yield the expression of each frame: it varies a little around the score, the mouth follows the voice, the head
    nods, the eyes blink.

    Args:
        envelope: envelope of the voice, one value for each sample.
    """
    times = (np.arange(num_frames) + 0.5) / FRAME_RATE
    openings = envelope[(times * SAMPLING_RATE).astype(int)]
    sway, rate = generator.uniform(0, 2 * np.pi, size=2), generator.uniform(0.3, 0.6, size=2)
    scores = (score + 0.25 * np.sin(2 * np.pi * rate[0] * times + sway[0])).clip(-3, 3)
    # Lively when the score is high, still when it is low.
    nods = (0.02 + 0.008 * (score + 3)) * np.sin(2 * np.pi * rate[1] * times + sway[1])
    blinks = generator.random(num_frames) < 0.04
    return [Expression(*values) for values in zip(scores.tolist(), openings.tolist(), nods.tolist(), blinks.tolist())]
