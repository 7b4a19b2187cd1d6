"""Cues of subtitle files as segments: SRT, WebVTT and SBV by webvtt-py, ASS, SSA and TTML by pysubs2, LRC by FFmpeg.

The libraries leave out what they cannot read. Here every line that should hold times is checked before, so that
nothing is lost in silence and an error names its line.
"""

import html
import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence

import pysubs2
import webvtt

from .cues import Cue, without_repeated_lines
from .segments import Segment
from .subtitle_tracks import lyrics_cues

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_ARROW = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")  # settings or coordinates may follow
_COMMA = re.compile(rf"\s*{_TIME}\s*,\s*{_TIME}\s*")
# A line that is meant to hold the times of a cue, well written or not.
_MEANT = {
    "srt": re.compile(r".*-->|\s*\d+:\d+:\d+\S*\s*[^\s\w]{1,4}\s*\d+:\d+:\d"),
    "vtt": re.compile(r".*-->"),
    "sbv": re.compile(r"\s*\d+:\d+:[^\s,]*\s*,\s*\d+:\d+:"),
}
_WELL_WRITTEN = {"srt": _ARROW, "vtt": _ARROW, "sbv": _COMMA}
EXAMPLES = {
    "srt": "00:00:01,000 --> 00:00:02,500",
    "vtt": "00:01.000 --> 00:02.500",
    "sbv": "0:00:01.000,0:00:02.500",
    "ass": "Dialogue: 0,0:00:01.00,0:00:02.50,...",
    "lrc": "[00:01.00]words",
}
_WITHOUT_WORDS = re.compile(r"(NOTE|STYLE|REGION)(\s|$)")  # blocks of WebVTT
_TAGS = {"srt": re.compile(r"</?[A-Za-z][^<>]*>|\{\\[^{}]*\}"), "vtt": re.compile(r"<[^>]*>")}
_ASS_TIME = r"\s*\d{1,2}:\d{1,2}:\d{1,2}[.,]\d{1,3}\s*"
_ASS_CUE = re.compile(rf"Dialogue:[^,]*,{_ASS_TIME},{_ASS_TIME},(?:[^,]*,){{6}}.*")
_ASS_FORMAT = re.compile(r"Format:\s*(?:Layer|Marked)\s*,\s*Start\s*,\s*End\s*,.*,\s*Text\s*")
_LRC_LINE = re.compile(r"\s*(\[[^\[\]]*\]\s*)+.*")
_TTML = "{http://www.w3.org/ns/ttml}"


class LineError(ValueError):
    """A line of a subtitle file that cannot be read.

    Attributes:
        line: its number, from 1.
        message: what was found and what was expected.
    """

    def __init__(self, line: int, message: str):
        super().__init__(f"line {line}: {message}")
        self.line, self.message = line, message


def subtitle_form(text: str) -> str:
    """Return "vtt", "ass", "ttml", "lrc" or "sbv" by how the text begins; "srt" for everything else."""
    start = text.lstrip()
    if re.match(r"WEBVTT(\s|$)", start):
        return "vtt"
    if start.startswith("<"):
        return "ttml"
    if re.match(r"\[[^\]\n]*\b(Script Info|V4\+? Styles|Events)\]", start, re.IGNORECASE):
        return "ass"
    if re.match(r"\[\d{1,3}:\d{2}([.:]\d{1,3})?\]|\[[a-zA-Z]{1,8}:[^\]\n]*\]", start):
        return "lrc"
    return "sbv" if _MEANT["sbv"].match(start) else "srt"


def parse_subtitles(text: str, form: str, longest: float = 15.0) -> list[Segment]:
    """Return the cues of a subtitle file as segments, by their time.

    Cues may overlap; those without words are left out. The lines of a cue are joined by a blank, tags are removed and
    character references are resolved. Rolling captions, which show each line twice, have each line once.

    Args:
        form: "srt", "vtt", "sbv", "ass" (also SSA), "ttml" or "lrc".
        longest: seconds of a line of LRC, which has no end but the next line.

    Raises:
        LineError: the first line that is neither times, nor words of a cue, nor what may stand between cues.
        ValueError: TTML that pysubs2 does not read.
    """
    # CR CR LF is what a text gets that was converted to the line ends of Windows twice.
    lines = re.split(r"\r\r\n|\r\n|\r|\n", text)
    read = {"vtt": _vtt_cues, "ass": _ass_cues, "ttml": _ttml_cues, "lrc": _lrc_cues}.get(form, _srt_cues)
    cues = [
        Cue(cue.start, cue.end, [_words(line, "vtt" if form in ("vtt", "lrc") else "srt") for line in cue.lines])
        for cue in read(lines, form)
    ]
    if form == "lrc":
        cues = [Cue(cue.start, min(cue.end, cue.start + longest), cue.lines) for cue in cues]
    return [Segment(cue.start, cue.end, " ".join(cue.lines)) for cue in without_repeated_lines(cues)]


def _words(line: str, tags: str) -> str:
    text = _TAGS[tags].sub("", line)
    return " ".join((html.unescape(text) if tags == "vtt" else text).split())


def _srt_cues(lines: Sequence[str], form: str) -> list[Cue]:
    """SRT as players read it: without numbers, hours or blank lines between cues too; and SBV."""
    written, started = [], False
    for at, line in enumerate(lines):
        times = _times(lines, at, form)
        if times:
            is_number = written and written[-1].isdecimal()
            written += [times] if is_number else ["0", times]
            started = True
        elif started:
            written.append(line.strip())
        elif line.strip():
            if not line.strip().isdecimal() or at + 1 == len(lines) or not _MEANT[form].match(lines[at + 1]):
                is_number = line.strip().isdecimal() and "".join(lines[at + 1 : at + 2]).strip()
                raise _no_times(lines, at + 1 if is_number else at, form)
            written.append(line.strip())
    return _captions(written, "srt") if started else []


def _vtt_cues(lines: Sequence[str], form: str) -> list[Cue]:
    if not re.match(r"WEBVTT(\s|$)", lines[0]):
        raise LineError(1, f"found {_shown(lines[0])}; a WebVTT file begins with WEBVTT.")
    written = [_times(lines, at, form) or line for at, line in enumerate(lines)]
    begins, in_header = True, True  # a block ends at an empty line; one that holds a blank is part of it
    for at, line in enumerate(lines):
        has_times = "-->" in line or "-->" in "".join(lines[at + 1 : at + 2])
        if begins and line and not in_header and not _WITHOUT_WORDS.match(line) and not has_times:
            raise _no_times(lines, at, form)
        begins = not line
        in_header = in_header and not begins and "-->" not in line
    return _captions(written, "vtt")


def _captions(lines: Sequence[str], form: str) -> list[Cue]:
    try:  # blank lines at the end: webvtt-py wants SRT to have three lines
        captions = webvtt.from_buffer(io.StringIO("\n".join(lines) + "\n\n"), format=form)
    except (webvtt.errors.MalformedFileError, webvtt.errors.MalformedCaptionError) as error:
        raise ValueError(f"this is not {form.upper()} that webvtt-py can read ({error}).") from error
    return [
        Cue(caption.start_time.in_milliseconds() / 1000, caption.end_time.in_milliseconds() / 1000, caption.lines)
        for caption in captions
    ]


def _times(lines: Sequence[str], at: int, form: str) -> str | None:
    """Return the times of a cue as webvtt-py reads them, None where a line is not meant to hold any.

    Raises:
        LineError: times that cannot be.
    """
    if not _MEANT[form].match(lines[at]):
        return None
    found = _WELL_WRITTEN[form].fullmatch(lines[at])
    if found is None:
        raise _no_times(lines, at, form)
    start, end = (_milliseconds(*found.groups()[part : part + 4], at + 1) for part in (0, 4))
    if end < start:
        raise LineError(
            at + 1, f"the cue ends at {end / 1000:g} s before it begins at {start / 1000:g} s; correct its times."
        )
    return " --> ".join(
        f"{moment // 3_600_000:02d}:{moment // 60_000 % 60:02d}:{moment // 1000 % 60:02d}.{moment % 1000:03d}"
        for moment in (start, end)
    )


def _milliseconds(hours: str | None, minutes: str, seconds: str, fraction: str | None, number: int) -> int:
    if int(minutes) > 59 or int(seconds) > 59:
        raise LineError(number, f"found {minutes} minutes and {seconds} seconds; expected each below 60.")
    return 1000 * (3600 * int(hours or 0) + 60 * int(minutes) + int(seconds)) + int((fraction or "0").ljust(3, "0"))


def _ass_cues(lines: Sequence[str], form: str) -> Iterator[Cue]:
    in_events, dialogue = False, 0
    for at, line in enumerate(line.strip() for line in lines):
        if line.startswith("["):
            in_events = line.lower() == "[events]"
        if line.startswith("Dialogue:"):
            dialogue += 1
            if not _ASS_CUE.fullmatch(line):
                raise LineError(at + 1, f"found {_shown(line)}; expected {EXAMPLES['ass']}.")
        if in_events and line.startswith("Format:") and not _ASS_FORMAT.fullmatch(line):
            raise LineError(at + 1, f"found {_shown(line)}; expected the fields Layer, Start, End, ..., Text.")
    style = re.search(r"V4 Styles", "\n".join(lines), re.IGNORECASE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fonts and margins, which do not matter here
            events = pysubs2.SSAFile.from_string("\n".join(lines), format_="ssa" if style else "ass")
    except (pysubs2.exceptions.Pysubs2Error, ValueError, NotImplementedError, IndexError) as error:
        raise ValueError(f"this begins as ASS or SSA but is not ({error}); convert it to SRT.") from error
    if sum(event.type == "Dialogue" for event in events) != dialogue:
        raise ValueError(f"{dialogue} lines of dialogue, of which not all can be read; convert it to SRT.")
    for event in events:
        if event.is_text:
            yield Cue(event.start / 1000, max(event.start, event.end) / 1000, event.plaintext.splitlines())


def _ttml_cues(lines: Sequence[str], form: str) -> Iterator[Cue]:
    text = "\n".join(lines).lstrip()
    try:
        root = ElementTree.fromstring(re.sub(r"^<\?xml[^>]*\?>", "", text))
    except ElementTree.ParseError as error:
        raise LineError(error.position[0], f"this begins as XML but is not: {error}.") from error
    if root.tag != f"{_TTML}tt":
        raise ValueError(
            f"this is XML with the root {root.tag!r:.80}; expected TTML ({_TTML}tt). Convert it to SRT or WebVTT."
        )
    paragraphs = list(root.iter(f"{_TTML}p"))
    for number, paragraph in enumerate(paragraphs, 1):
        if "dur" in paragraph.attrib:  # as the standard names it; pysubs2 looks for another name
            paragraph.set("duration", paragraph.get("dur"))
        if "begin" not in paragraph.attrib or not paragraph.attrib.keys() & {"end", "duration"}:
            raise ValueError(f"paragraph {number} of the TTML has no begin and end; expected both, or begin and dur.")
    try:
        events = pysubs2.SSAFile.from_string(ElementTree.tostring(root, encoding="unicode"), format_="ttml")
    except (pysubs2.exceptions.Pysubs2Error, NotImplementedError, ValueError, KeyError) as error:
        raise ValueError(f"the TTML is of a kind that is not read here ({error}); convert it to SRT.") from error
    if len(events) != len(paragraphs):
        found = f"{len(events)} of the {len(paragraphs)} paragraphs of the TTML stand directly in a div of the body"
        raise ValueError(f"{found}, the others would be lost; convert it to SRT.")
    for event in events:
        yield Cue(event.start / 1000, max(event.start, event.end) / 1000, event.plaintext.splitlines())


def _lrc_cues(lines: Sequence[str], form: str) -> list[Cue]:
    for at, line in enumerate(lines):
        if line.strip() and not _LRC_LINE.fullmatch(line):
            raise _no_times(lines, at, form)
    return lyrics_cues("\n".join(lines) + "\n")


def _no_times(lines: Sequence[str], at: int, form: str) -> LineError:
    return LineError(at + 1, f"found {_shown(lines[at])}; expected the times of a cue, {EXAMPLES[form]}.")


def _shown(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:57] + "...")


__all__ = ["LineError", "parse_subtitles", "subtitle_form"]
