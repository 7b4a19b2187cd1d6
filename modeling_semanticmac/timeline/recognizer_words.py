"""What a speech recogniser wrote as JSON: segments, or words that are joined to segments."""

import math
import statistics
from collections.abc import Mapping, Sequence

from transformers.utils import logging

from .segments import Segment

logger = logging.get_logger(__name__)

PAUSE_SECONDS = 0.6  # between two words, from which on they belong to two utterances
LONGEST_SECONDS = 15.0
FORMS = (
    'JSON: {"segments": [{"start", "end", "text"}]}, {"chunks": [{"timestamp": [start, end], "text"}]} or a list of '
    '{"word", "start", "end"}'
)
UNITS = ("segment", "word")
KEYS = {"segments": "segment", "chunks": None, "utterances": "segment", "words": "word"}  # of a JSON object -> its unit
LONGEST_WORD = 1.0  # seconds; half of the words of any speech are shorter
SENTENCE_ENDS = tuple(".?!…。？！।؟")
# Characters a second of speech, in any script, with the pauses of a segment.
SLOWEST, FASTEST = 0.3, 60.0


def segments_from_json(
    value,
    pause: float = PAUSE_SECONDS,
    longest: float = LONGEST_SECONDS,
    unit: str | None = None,
    duration: float | None = None,
) -> list[Segment]:
    """Return the segments in what a speech recogniser wrote.

    Args:
        value: Whisper's {"segments": [{"start", "end", "text"}]}; {"chunks": [{"timestamp": (start, end), "text"}]} of
            transformers' pipeline; {"words": [...]} or a list of {"word" or "text", "start", "end"}. An end of None
            (Whisper's last) is the start of the next item, at most `longest` later. A word without times belongs to
            the one before. Times are seconds; milliseconds (AssemblyAI) are recognised by the speed of speech.
        pause, longest: seconds, see `join_words`.
        unit: whether an item is a "segment" or a "word", which are joined by `join_words`; None: what the name says,
            and of "chunks" and of a list of "text", which can be both, what their lengths say.
        duration: of the media, in seconds, if it is known: times in seconds lie within it.

    Raises:
        ValueError: another form, or an item that is malformed, by its number.
    """
    if unit not in (None, *UNITS):
        raise ValueError(f'unit is {unit!r}; expected "segment", "word" or None.')
    items, name = value, "item"
    if isinstance(value, Mapping):
        name = next((key for key in KEYS if value.get(key) is not None), None)
        if name is None:
            raise ValueError(f"the JSON object has the keys {', '.join(map(str, value)) or 'none'}; expected {FORMS}.")
        items, unit = value[name], unit or KEYS[name]
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise ValueError(f"{name} is no list; expected {FORMS}.")
    found: list[tuple[float, float | None, str]] = []
    for number, item in enumerate(items):
        start, end, text = _item(item, f"{name} {number}", found)
        if start is None:
            found[-1] = (*found[-1][:2], found[-1][2] + text)
        else:
            found.append((start, end, text))
    if unit is None:
        are_named = bool(items) and all("word" in item for item in items)
        unit = "word" if are_named or _last_as_words(found) else "segment"
    found = _in_seconds(sorted(found, key=lambda item: item[0]), duration)
    if unit == "word":
        return join_words(_closed(found, longest), pause, longest)
    return [Segment(start, end, " ".join(text.split())) for start, end, text in _closed(found, longest) if text.strip()]


def _item(item, where: str, before: Sequence) -> tuple[float | None, float | None, str]:
    """Return (start, end, text) of one item; the start is None for a word without times that follows one."""
    if not isinstance(item, Mapping):
        raise ValueError(f'{where} is {item!r:.60}; expected {{"start", "end", "text"}}.')
    start, end = item.get("start"), item.get("end")
    if "timestamp" in item:
        stamp = item["timestamp"]
        if not isinstance(stamp, Sequence) or len(stamp) != 2:
            raise ValueError(f"{where} has the timestamp {stamp!r:.60}; expected [start, end] in seconds.")
        start, end = stamp
    text = item.get("word", item.get("text"))
    if not isinstance(text, str):
        raise ValueError(f'{where} has no "text" or "word"; expected {FORMS}.')
    if start is None and before:
        return None, None, text if text[:1].isspace() else " " + text
    is_number = [isinstance(time, int | float) and not isinstance(time, bool) for time in (start, end)]
    if not is_number[0] or not (is_number[1] or end is None) or not 0 <= start <= (start if end is None else end):
        raise ValueError(f"{where} is from {start!r} to {end!r}; expected 0 <= start <= end, numbers of seconds.")
    return start, end, text


def _last_as_words(items: Sequence[tuple[float, float | None, str]]) -> bool:
    """Return whether items of unknown unit are words: short, none with a blank inside, and not all sentences."""
    texts = [text.strip() for _, _, text in items]
    lengths = [end - start for start, end, _ in items if end is not None]
    if not lengths or any(len(text.split()) > 1 for text in texts):
        return False
    return statistics.median(lengths) <= LONGEST_WORD and not all(text.endswith(SENTENCE_ENDS) for text in texts)


def _in_seconds(items: list[tuple[float, float | None, str]], duration: float | None) -> list:
    """Return the items with their times in seconds.

    They are milliseconds where all are whole numbers, do not lie within the media, if its length is known, and where
    nobody speaks as slowly as they say in seconds, but people do in milliseconds.
    """
    ends = [start if end is None else end for start, end, _ in items]
    spoken = sum(end - start for (start, _, _), end in zip(items, ends))
    are_whole = all(float(time).is_integer() for item in items for time in item[:2] if time is not None)
    if not spoken or not are_whole or (duration is not None and max(ends) <= duration):
        return items
    signs = sum(len("".join(text.split())) for _, _, text in items)
    if not signs / FASTEST < spoken / 1000 < spoken < math.inf or signs / spoken >= SLOWEST:
        return items
    logger.warning("The times of the transcript are read as milliseconds: nobody speaks as slowly as they say.")
    return [(start / 1000, None if end is None else end / 1000, text) for start, end, text in items]


def _closed(items: Sequence[tuple[float, float | None, str]], longest: float) -> list[tuple[float, float, str]]:
    """Return items by their start with an end each; an open end is closed by the next start."""
    following = [item[0] for item in items[1:]] + [float("inf")]
    return [
        (start, min(after, start + longest) if end is None else end, text)
        for (start, end, text), after in zip(items, following)
    ]


def join_words(
    words: Sequence[tuple[float, float, str]], pause: float = PAUSE_SECONDS, longest: float = LONGEST_SECONDS
) -> list[Segment]:
    """Join words to utterances: a new one begins after a pause, or where one would get longer than `longest`.

    Args:
        words: (start, end, text) each, by their start. Where words begin with a blank, as Whisper's do, they are put
            together as they are, else with a blank between them.
        pause, longest: seconds.

    Raises:
        ValueError: a pause below 0, or a longest length that is not positive.
    """
    if pause < 0 or not longest > 0:
        raise ValueError(f"pause is {pause} and longest is {longest}; expected seconds, at least 0 and above 0.")
    blank = "" if any(text[:1].isspace() for _, _, text in words) else " "
    utterances: list[list[tuple[float, float, str]]] = []
    for word in words:
        last = utterances[-1] if utterances else None
        if last and word[0] - last[-1][1] <= pause and word[1] - last[0][0] <= longest:
            last.append(word)
        else:
            utterances.append([word])
    joined = [(part[0][0], max(word[1] for word in part), blank.join(word[2] for word in part)) for part in utterances]
    return [Segment(start, end, " ".join(text.split())) for start, end, text in joined if text.strip()]


__all__ = ["FORMS", "LONGEST_SECONDS", "PAUSE_SECONDS", "join_words", "segments_from_json"]
