"""What a user gives for a clip (a path, bytes, an address, words, or several of these) as one description with named fields."""

import math
import numbers
import os
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

from .media_info import MediaError

CLIP_FIELDS = ("video", "audio", "text", "context", "start", "end", "crop")
MEDIA_SUFFIXES = set(
    ".3gp .aac .avi .flac .flv .m4a .m4v .mkv .mov .mp3 .mp4 .mpeg .mpg .mts .oga .ogg .ogv .opus .ts .wav .webm .wma .wmv".split()
)
DOWNLOAD_SECONDS = 60.0  # without an answer


def is_address(source) -> bool:
    """Whether this is an http(s) URL."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def media_files(folder: str | os.PathLike) -> list[str]:
    """The video and sound files of a folder (not of folders in it), known by their endings, sorted by name.

    Raises:
        ValueError: there is none.
    """
    paths = sorted(Path(folder).iterdir())
    found = [str(path) for path in paths if path.suffix.lower() in MEDIA_SUFFIXES and path.is_file()]
    if not found:
        raise ValueError(
            f"{os.fspath(folder)}: the folder holds no video or sound file (.mp4, .mkv, .wav, ...); name the folder that does, or the files."
        )
    return found


def as_clip(given) -> dict:
    """One clip as a dict with all of `CLIP_FIELDS`, None for what was not given.

    Args:
        given: a path, an address, the bytes of a file, or a mapping of some of `CLIP_FIELDS`.

    Raises:
        MediaError: a string that is no file.
        ValueError: something else, unknown fields, nothing at all.
    """
    if isinstance(given, str | os.PathLike | bytes):
        given = {"video": given}
    if not isinstance(given, Mapping):
        raise ValueError(
            f"a clip is given as {type(given).__name__}; expected a path, bytes, or a dict with some of {', '.join(CLIP_FIELDS)}."
        )
    unknown = [str(name) for name in given if name not in CLIP_FIELDS]
    if unknown:
        raise ValueError(f"a clip has the unknown field {unknown[0]!r}; expected some of {', '.join(CLIP_FIELDS)}.")
    clip = {name: given.get(name) for name in CLIP_FIELDS}
    for name in ("video", "audio"):
        clip[name] = _checked(clip[name])
    for name in ("start", "end"):
        if clip[name] is not None and not (isinstance(clip[name], numbers.Real) and math.isfinite(clip[name])):
            raise ValueError(f"{name} is {clip[name]!r}; expected a number of seconds, or None.")
    if not isinstance(clip["text"], str | None):
        raise ValueError(f"text is {clip['text']!r}; expected words in a string, or None.")
    clip["context"] = list(clip["context"] or ()) if not isinstance(clip["context"], str) else clip["context"]
    if not isinstance(clip["context"], list) or not all(isinstance(earlier, str) for earlier in clip["context"]):
        raise ValueError(f"context is {clip['context']!r}; expected a list of the earlier utterances, oldest first.")
    return clip


def _checked(source):
    """A media source, None for an empty one."""
    if source is None or source == "":
        return None
    if source == b"":
        raise MediaError("<0 bytes>", "not media", "the file is empty; read it again.")
    if isinstance(source, bytes) or is_address(source) or os.path.exists(source):
        return source
    raise MediaError(
        os.fspath(source),
        "no file",
        'there is no such file; check the path, or give words as {"text": "..."}.',
    )


def source_name(given) -> str | None:
    """What a clip is called in messages: its file or address, or the beginning of its words."""
    if isinstance(given, Mapping):
        named = given.get("video") or given.get("audio") or given.get("text")
        given = named if named is not None else dict(given)
    return f"<{len(given)} bytes>" if isinstance(given, bytes) else str(given)


def fetch(address: str, allow_download: bool) -> bytes:
    """The bytes behind an http(s) URL, into memory.

    Raises:
        ValueError: downloading was not allowed.
        MediaError: the address does not give a file.
    """
    if not allow_download:
        raise ValueError(
            f"{address}: this is an address, and nothing is downloaded unless allow_download=True says so; or download the file and give its path."
        )
    try:
        with urllib.request.urlopen(address, timeout=DOWNLOAD_SECONDS) as answer:
            return answer.read()
    except (OSError, ValueError, HTTPException) as error:  # no server, no answer, no such file, no address
        found = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MediaError(
            address, "no file", f"it cannot be downloaded ({found}); check the address, or download the file yourself."
        ) from error


__all__ = ["CLIP_FIELDS", "as_clip", "fetch", "is_address", "media_files", "source_name"]
