"""Subtitles as text: cues of SRT and WebVTT to segments, and back.

SRT has no written standard; what FFmpeg and players take is taken: missing numbers, a dot for the comma, missing blank lines. WebVTT is the W3C's:
https://www.w3.org/TR/webvtt1/
"""

import html
import re
from collections.abc import Iterable, Iterator

from .segments import Segment

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")  # settings or coordinates may follow
_BLOCKS = re.compile(r"(NOTE|STYLE|REGION)(\s|$)")  # of WebVTT, without words
_TAGS = {"srt": re.compile(r"</?[A-Za-z][^<>]*>|\{\\[^{}]*\}"), "vtt": re.compile(r"<[^>]*>")}
EXAMPLES = {"srt": "00:00:01,000 --> 00:00:02,500", "vtt": "00:01.000 --> 00:02.500"}


class LineError(ValueError):
    """A line of a subtitle file that cannot be read.

    Attributes:
        line: its number, from 1.
        message: what was found and what was expected.
    """

    def __init__(self, line: int, message: str):
        super().__init__(f"line {line}: {message}")
        self.line, self.message = line, message


def parse_subtitles(text: str, form: str) -> list[Segment]:
    """The cues of SRT or WebVTT, by their time; cues may overlap, those without words are left out.

    Lines of a cue are joined by a blank, tags and character references are resolved.

    Args:
        form: "srt" or "vtt".

    Raises:
        LineError: the first line that is neither times, nor words of a cue, nor what may stand between cues.
    """
    lines = re.split(r"\r\n|\r|\n", text)
    first = _after_header(lines) if form == "vtt" else 0
    cues = (Segment(start, end, _words(words, form)) for start, end, words in _cues(lines, first, form))
    return sorted((cue for cue in cues if cue.text), key=lambda cue: (cue.start, cue.end))


def _after_header(lines: list[str]) -> int:
    if not re.match(r"WEBVTT(\s|$)", lines[0]):
        raise LineError(1, f"found {_shown(lines[0])}; a WebVTT file begins with WEBVTT.")
    return _block_end(lines, 1)


def _block_end(lines: list[str], at: int) -> int:
    while at < len(lines) and lines[at].strip() and not _has_times(lines, at):
        at += 1
    return at


def _cues(lines: list[str], at: int, form: str) -> Iterator[tuple[float, float, list[str]]]:
    """(start, end, lines of words) of each cue, in the order of the file."""
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        if form == "vtt" and _BLOCKS.match(lines[at]) and not _has_times(lines, at + 1):
            at = _block_end(lines, at)
            continue
        if not _has_times(lines, at):  # a number or name may stand before the times
            if not _has_times(lines, at + 1):
                is_number = lines[at].strip().isdecimal() and "".join(lines[at + 1 : at + 2]).strip()
                raise _no_times(lines, at + 1 if is_number else at, form)
            at += 1
        start, end = _times(lines, at, form)
        last = at + 1
        while last < len(lines) and lines[last].strip() and not _begins_cue(lines, last):
            last += 1
        yield start, end, lines[at + 1 : last]
        at = last


def _has_times(lines: list[str], at: int) -> bool:
    return at < len(lines) and "-->" in lines[at]


def _begins_cue(lines: list[str], at: int) -> bool:
    """Whether the next cue begins here, without the blank line that should stand before it."""
    return _has_times(lines, at) or (lines[at].strip().isdecimal() and _has_times(lines, at + 1))


def _no_times(lines: list[str], at: int, form: str) -> LineError:
    return LineError(at + 1, f"found {_shown(lines[at])}; expected the times of a cue, {EXAMPLES[form]}.")


def _times(lines: list[str], at: int, form: str) -> tuple[float, float]:
    found = _TIMES.fullmatch(lines[at])
    if found is None:
        raise _no_times(lines, at, form)
    start, end = (_seconds(*found.groups()[part : part + 4], at + 1) for part in (0, 4))
    if end < start:
        raise LineError(at + 1, f"the cue ends at {end:g} s before it begins at {start:g} s; correct its times.")
    return start, end


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str | None, number: int) -> float:
    if int(minutes) > 59 or int(seconds) > 59:
        raise LineError(number, f"found {minutes} minutes and {seconds} seconds; expected each below 60.")
    whole = 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds)
    return (1000 * whole + int((fraction or "0").ljust(3, "0"))) / 1000


def _words(lines: list[str], form: str) -> str:
    text = _TAGS[form].sub("", " ".join(lines))
    if form == "vtt":
        text = html.unescape(text)
    return " ".join(text.split())


def _shown(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:57] + "...")


def srt_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """SRT, a piece a cue. Line ends in a text stay; empty lines are left out."""
    for number, segment in enumerate(segments, 1):
        times = f"{_clock(segment.start, ',')} --> {_clock(segment.end, ',')}"
        yield f"{number}\n{times}\n{_without_empty_lines(segment.text)}\n\n"


def vtt_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """WebVTT, a piece a cue; `&`, `<` and `>` are escaped."""
    yield "WEBVTT\n\n"
    for segment in segments:
        text = html.escape(_without_empty_lines(segment.text), quote=False)
        yield f"{_clock(segment.start, '.')} --> {_clock(segment.end, '.')}\n{text}\n\n"


def _without_empty_lines(text: str | None) -> str:
    # An arrow would be taken for the times of a cue.
    lines = (text or "").replace("-->", "->").splitlines()
    return "\n".join(line for line in lines if line.strip())


def _clock(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{milliseconds:03d}"


__all__ = ["LineError", "parse_subtitles", "srt_lines", "vtt_lines"]
