"""What is said and when, from a file, as segments: subtitles, the track of a video file, the JSON of a recogniser.

Subtitles give one segment a cue. Words with times are joined to utterances, at pauses and up to a longest length.
"""

import json
import os
from pathlib import Path

from ..clip_input import MEDIA_SUFFIXES
from ..media_info import MediaError
from . import recognizer_words
from .cues import without_repeated_lines
from .recognizer_words import LONGEST_SECONDS, PAUSE_SECONDS, join_words, segments_from_json
from .segments import Segment
from .subtitle_tracks import track_cues
from .subtitles import LineError, parse_subtitles, subtitle_form
from .transcript_encoding import decode_transcript

FORMS = f"SRT, WebVTT, SBV, ASS, TTML, LRC, a video file with a subtitle track, or {recognizer_words.FORMS}"


class TranscriptError(ValueError):
    """A transcript that cannot be used.

    The message names the file, the place in it, what was found and what was expected.
    """


def read_transcript(
    path: str | os.PathLike,
    pause: float = PAUSE_SECONDS,
    longest: float = LONGEST_SECONDS,
    encoding: str | None = None,
    duration: float | None = None,
) -> list[Segment]:
    """Return the segments of a transcript by their time. Its content, not its name, says of which form it is.

    Args:
        path: a file of subtitles or of a recogniser's JSON, or a video file with a subtitle track.
        pause, longest: seconds, for words with times; see `join_words`.
        encoding: of the text; None: UTF-8, UTF-16 or one that can be told, which a warning names.
        duration: of the media, in seconds, if it is known; see `segments_from_json`.

    Raises:
        TranscriptError: no such file, not text, malformed (with the number of the line), or without any words.
    """
    path = Path(path)
    if not path.is_file():
        raise TranscriptError(f"{path}: there is no such file; check the path of the transcript.")
    try:
        if _is_media(path):
            segments = [Segment(*cue[:2], " ".join(cue.lines)) for cue in without_repeated_lines(track_cues(path))]
        else:
            segments = _parse(path, pause, longest, encoding, duration)
    except json.JSONDecodeError as error:
        raise TranscriptError(f"{path}, line {error.lineno}: this begins as JSON but is none: {error.msg}.") from error
    except LineError as error:
        raise TranscriptError(f"{path}, line {error.line}: {error.message}") from error
    except MediaError as error:
        raise TranscriptError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise TranscriptError(f"{path}: {error or type(error).__name__}") from error
    if not segments:
        raise TranscriptError(f"{path}: there are no words with times in it; expected {FORMS}.")
    return segments


def _is_media(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(12)
    return head[:4] == b"\x1aE\xdf\xa3" or head[4:8] == b"ftyp" or path.suffix.lower() in MEDIA_SUFFIXES


def _parse(path: Path, pause: float, longest: float, encoding: str | None, duration: float | None) -> list[Segment]:
    text = decode_transcript(path.read_bytes(), encoding, str(path))
    form = subtitle_form(text)
    if form == "srt" and text.lstrip()[:1] in ("{", "["):
        return segments_from_json(json.loads(text), pause, longest, duration=duration)
    if form == "srt" and path.suffix.lower() == ".vtt":
        form = "vtt"  # a file with this name is meant to have WebVTT's header
    return parse_subtitles(text, form, longest)


__all__ = ["LONGEST_SECONDS", "PAUSE_SECONDS", "TranscriptError", "join_words", "read_transcript", "segments_from_json"]
