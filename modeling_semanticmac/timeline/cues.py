"""Cues of subtitles, and rolling captions, which show each line twice, with each line once."""

from collections.abc import Iterable
from typing import NamedTuple

ADJACENT_SECONDS = 0.1  # between two cues, up to which a line of the first may still stand in the second
FLASH_SECONDS = 0.05  # YouTube writes cues of 10 ms that only repeat


class Cue(NamedTuple):
    """A cue of a subtitle file: the lines that are shown from `start` to `end`, in seconds."""

    start: float
    end: float
    lines: list[str]


def without_repeated_lines(cues: Iterable[Cue]) -> list[Cue]:
    """Return the cues that have words, by their time; of rolling captions without the lines that a cue repeats.

    Automatic captions roll: a cue shows the line of the cue before again, above its own. A file is taken for one of
    these where at least half of its cues, the first one left out, do so right after the cue before; what people say
    twice is kept in all other files, and as a line of its own in these.
    """
    shown = sorted((Cue(cue.start, cue.end, [line for line in cue.lines if line]) for cue in cues), key=lambda c: c[:2])
    shown = [cue for cue in shown if cue.lines]
    new = [_new_lines(before, cue) for before, cue in zip([None, *shown], shown)]
    repeat = [len(lines) < len(cue.lines) for lines, cue in zip(new, shown)]
    if 2 * sum(repeat) < len(shown) - 1 or not any(lines and is_repeat for lines, is_repeat in zip(new, repeat)):
        return shown
    return [Cue(cue.start, cue.end, lines) for lines, cue in zip(new, shown) if lines]


def _new_lines(before: Cue | None, cue: Cue) -> list[str]:
    """The lines of a cue without those at its top that stood at the bottom of the cue right before it."""
    if before is None or abs(cue.start - before.end) > ADJACENT_SECONDS:
        return cue.lines
    for number in range(min(len(cue.lines), len(before.lines)), 0, -1):
        if cue.lines[:number] == before.lines[-number:]:
            # A cue that only repeats is a sentence said twice, unless nobody could read it.
            is_sentence = number == len(cue.lines) and cue.end - cue.start > FLASH_SECONDS
            return cue.lines if is_sentence else cue.lines[number:]
    return cue.lines


__all__ = ["Cue", "without_repeated_lines"]
