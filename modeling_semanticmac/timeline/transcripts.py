"""What is said and when, from a file: SRT, WebVTT, or the JSON of a speech recogniser, to segments.

Subtitles give a segment a cue. Words with times are joined to utterances, at pauses and up to a longest length.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .segments import Segment
from .subtitles import LineError, parse_subtitles

PAUSE_SECONDS = 0.6  # between two words, from which on they belong to two utterances
LONGEST_SECONDS = 15.0
FORMS = (
    'SRT, WebVTT, or JSON: {"segments": [{"start", "end", "text"}]}, {"chunks": [{"timestamp": [start, end], "text"}]} or a list of '
    '{"word", "start", "end"}'
)


class TranscriptError(ValueError):
    """A transcript that cannot be used; the message names the file, the place in it, what was found and what was expected."""


def read_transcript(
    path: str | os.PathLike, pause: float = PAUSE_SECONDS, longest: float = LONGEST_SECONDS
) -> list[Segment]:
    """The segments of a transcript by their time; what kind it is its content says, not its name.

    Encodings: UTF-8 and UTF-16, with or without a mark at the beginning, else Windows-1252.

    Args:
        pause, longest: seconds, for words with times; see `join_words`.

    Raises:
        TranscriptError: no such file, not text, malformed (with the number of the line), or without any words.
    """
    text = _decoded(Path(path))
    start = text.lstrip()[:6]
    try:
        if start[:1] in ("{", "["):
            segments = segments_from_json(json.loads(text), pause, longest)
        else:
            # A file that is named so ought to have WebVTT's header.
            is_vtt = start == "WEBVTT" or Path(path).suffix.lower() == ".vtt"
            segments = parse_subtitles(text, "vtt" if is_vtt else "srt")
    except json.JSONDecodeError as error:
        raise TranscriptError(f"{path}, line {error.lineno}: this begins as JSON but is none: {error.msg}.") from error
    except LineError as error:
        raise TranscriptError(f"{path}, line {error.line}: {error.message}") from error
    except ValueError as error:
        raise TranscriptError(f"{path}: {error}") from error
    if not segments:
        raise TranscriptError(f"{path}: there are no words with times in it; expected {FORMS}.")
    return segments


def _decoded(path: Path) -> str:
    if not path.is_file():
        raise TranscriptError(f"{path}: there is no such file; check the path of the transcript.")
    raw = path.read_bytes()
    encodings = ["utf-8-sig", "cp1252"]
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    elif 0 in raw[:2]:  # every form begins with an ASCII character
        encodings = ["utf-16-be" if raw[0] == 0 else "utf-16-le"]
    for encoding in encodings:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise TranscriptError(f"{path}: this is not text; expected {FORMS}.")


def segments_from_json(value, pause: float = PAUSE_SECONDS, longest: float = LONGEST_SECONDS) -> list[Segment]:
    """Segments from what a speech recogniser gives.

    Args:
        value: Whisper's {"segments": [{"start", "end", "text"}]}; {"chunks": [{"timestamp": (start, end), "text"}]} of transformers' pipeline;
            {"words": [...]} or a list of {"word" or "text", "start", "end"}. Where every item is a single word they are joined by `join_words`.
            An end of None (Whisper's last) is the start of the next item, at most `longest` later. A word without times is said with the one before.

    Raises:
        ValueError: another form, or an item that is malformed, by its number.
    """
    items, name = value, "item"
    if isinstance(value, Mapping):
        name = next((key for key in ("segments", "chunks", "words") if key in value), None)
        if name is None:
            raise ValueError(f"the JSON object has the keys {', '.join(map(str, value)) or 'none'}; expected {FORMS}.")
        items = value[name]
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise ValueError(f"{name} is no list; expected {FORMS}.")
    found: list[tuple[float, float | None, str]] = []
    are_words = True
    for number, item in enumerate(items):
        start, end, text = _item(item, f"{name} {number}", found)
        are_words = are_words and len(text.split()) < 2
        if start is None:
            found[-1] = (*found[-1][:2], found[-1][2] + text)
        else:
            found.append((start, end, text))
    found.sort(key=lambda item: item[0])
    segments = _closed(found, longest)
    if are_words:
        return join_words(segments, pause, longest)
    return [Segment(s.start, s.end, " ".join(s.text.split())) for s in segments if s.text.strip()]


def _item(item, where: str, before: Sequence) -> tuple[float | None, float | None, str]:
    """(start, end, text) of one item; a start of None for a word without times that follows one."""
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


def _closed(items: Sequence[tuple[float, float | None, str]], longest: float) -> list[Segment]:
    """Items by their start as segments; an open end is closed by the next start."""
    following = [item[0] for item in items[1:]] + [float("inf")]
    return [
        Segment(start, min(after, start + longest) if end is None else end, text)
        for (start, end, text), after in zip(items, following)
    ]


def join_words(
    words: Iterable[Segment], pause: float = PAUSE_SECONDS, longest: float = LONGEST_SECONDS
) -> list[Segment]:
    """Words to utterances: a new one after a pause, or where an utterance would get longer than `longest`.

    Args:
        words: by their start. Where words begin with a blank, as Whisper's, they are put together as they are, else with a blank between them.
        pause, longest: seconds.

    Raises:
        ValueError: a pause below 0, or a longest length that is not positive.
    """
    if pause < 0 or not longest > 0:
        raise ValueError(f"pause is {pause} and longest is {longest}; expected seconds, at least 0 and above 0.")
    words = list(words)
    blank = "" if any(word.text[:1].isspace() for word in words) else " "
    utterances: list[list[Segment]] = []
    for word in words:
        last = utterances[-1] if utterances else None
        if last and word.start - last[-1].end <= pause and word.end - last[0].start <= longest:
            last.append(word)
        else:
            utterances.append([word])
    joined = [
        (part[0].start, max(word.end for word in part), blank.join(word.text for word in part)) for part in utterances
    ]
    return [Segment(start, end, " ".join(text.split())) for start, end, text in joined if text.strip()]


__all__ = ["LONGEST_SECONDS", "PAUSE_SECONDS", "TranscriptError", "join_words", "read_transcript", "segments_from_json"]
