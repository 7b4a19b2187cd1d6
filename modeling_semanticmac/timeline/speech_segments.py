"""Segments between the pauses of speech, found by the energy of the sound.

This is a simple detector: sound that is louder than the noise floor by a margin counts as speech, also music and
applause; words below the noise do not. For words and their times use a transcript or a speech recogniser.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from ..media_decoding import Media
from .segments import Segment

RATE = 8000  # Hz; the energy of speech lies below 4 kHz
FRAME_SECONDS = 0.02
BLOCK_SECONDS = 30  # sound in memory at once
SMOOTHED = 5  # frames; the floor is a level that lasts for a tenth of a second
QUIETEST_DB = -60.0  # dBFS; the lowest noise floor, also of digital silence
PAD_SECONDS = 0.1  # of the pause, added to a segment on each side: words begin and end softly


def speech_segments(
    media: Media, pause: float = 0.5, shortest: float = 0.4, longest: float = 15.0, margin: float = 10.0
) -> Iterator[Segment]:
    """Yield stretches of speech between pauses while the sound is read; memory does not grow with its length.

        level_i = 10 log10(mean x^2) over 20 ms;  speech where level_i > floor + margin
        floor = the lowest level that lasts for 0.1 s, in this half minute and the one before; at least -60 dBFS

    If the noise suddenly gets louder, up to a minute of it counts as speech.

    Args:
        media: with sound. The PyAV backend reads a long file in one pass; torchcodec starts again at its beginning for
            every half minute.
        pause: seconds of quiet that end a segment.
        shortest: seconds; shorter speech is left out.
        longest: seconds; a segment without a pause is cut at its quietest moment between half of this and this.
        margin: dB above the noise floor.

    Raises:
        MediaError: no sound, or none that can be decoded.
        ValueError: lengths that do not fit each other.
    """
    if not (pause >= FRAME_SECONDS and 0 <= shortest <= longest and longest >= 1):
        raise ValueError(
            f"pause is {pause}, shortest {shortest} and longest {longest}; expected seconds, pause at least "
            f"{FRAME_SECONDS}, longest at least 1 and shortest no more than longest."
        )
    pad = min(PAD_SECONDS, pause / 2)
    frames = [round(seconds / FRAME_SECONDS) for seconds in (pause, longest - 2 * pad)]
    before = 0.0
    for first, last, is_cut in _stretches(_levels(media, margin), *frames):
        start, end = max(before, first * FRAME_SECONDS - pad), last * FRAME_SECONDS + (0 if is_cut else pad)
        before = end = min(end, media.info.duration)
        if (last - first) * FRAME_SECONDS >= shortest:
            yield Segment(start, end)


def _levels(media: Media, margin: float) -> Iterator[tuple[float, bool]]:
    """Yield (level in dBFS, whether it is speech) of each frame."""
    size, floor_before = round(FRAME_SECONDS * RATE), np.inf
    start = 0.0
    while start < media.info.duration:
        end = min(start + BLOCK_SECONDS, media.info.duration)
        sound = media.waveform(start, end, RATE).double().numpy()
        power = np.square(np.pad(sound, (0, -len(sound) % size))).reshape(-1, size).mean(axis=1)  # (frames,)
        smooth = np.convolve(power, np.full(SMOOTHED, 1 / SMOOTHED), mode="valid" if len(power) > SMOOTHED else "same")
        floor = max(_decibels(smooth).min(), QUIETEST_DB)
        levels = _decibels(power)
        yield from zip(levels.tolist(), (levels > min(floor, floor_before) + margin).tolist())
        start, floor_before = end, floor


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 1e-12))


def _stretches(frames: Iterable[tuple[float, bool]], pause: int, longest: int) -> Iterator[tuple[int, int, bool]]:
    """Yield (first, last + 1, whether speech goes on after this cut) of each stretch of speech, in frames."""
    start = last = position = 0
    levels: list[float] | None = None  # of the open stretch, from `start` on
    for position, (level, is_speech) in enumerate(frames):
        if is_speech:
            last = position
            if levels is None:
                start, levels = position, []
        if levels is None:
            continue
        levels.append(level)
        if position - last >= pause:
            yield start, last + 1, False
            levels = None
        elif len(levels) >= longest:
            half = longest // 2
            cut = half + int(np.argmin(levels[half:]))
            is_cut = last >= start + cut
            yield start, start + cut if is_cut else last + 1, is_cut
            start, levels = start + cut, levels[cut:] if is_cut else None
    if levels is not None:
        yield start, last + 1, False


__all__ = ["speech_segments"]
