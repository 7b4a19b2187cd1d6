"""What a user gives for a clip (a path, bytes, an address, words, or several of these) as one description with named fields."""

import math
import numbers
import os
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from .clip_sampling import MediaClip
from .configuration_semanticmac import MODALITIES
from .media_info import MediaError
from .text_encoding import is_missing

CLIP_FIELDS = ("video", "audio", "text", "context", "start", "end", "crop")
# How the names of video and sound files end; the files of a folder that are taken for media.
MEDIA_SUFFIXES = set(
    ".3gp .aac .ac3 .aif .aiff .amr .asf .avi .f4v .flac .flv .m2ts .m4a .m4v .mka .mkv .mov .mp3 .mp4 .mpeg .mpg .mts "
    ".mxf .oga .ogg .ogv .opus .ts .vob .wav .webm .wma .wmv".split()
)
DOWNLOAD_SECONDS = 60.0  # without an answer


def is_address(source) -> bool:
    """Whether this is an http(s) URL."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def media_files(folder: str | os.PathLike) -> list[str]:
    """Return the video and sound files of a folder (not of folders in it), known by their endings, sorted by name.

    Hidden files are left out: `._clip.mov`, which macOS writes beside `clip.mov`, is not media.

    Raises:
        ValueError: there is none.
    """
    paths = sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))
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
    clip: dict[str, Any] = {name: given.get(name) for name in CLIP_FIELDS}
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


MAX_SECONDS = 600.0


def read_clip(
    given,
    processor,
    readable: Sequence[str],
    modalities: Sequence[str] = MODALITIES,
    allow_download: bool = False,
    max_seconds: float | None = MAX_SECONDS,
) -> dict:
    """The words and streams of one clip.

    Args:
        given: as `as_clip` takes it.
        processor: SemanticMACProcessor.
        readable: those of "text", "audio" and "vision" that the model reads.
        modalities: those of them to use.
        allow_download: let an http(s) URL be downloaded.
        max_seconds: longer clips are an error; None: any length.

    Returns:
        `text` or None, `context`, `pixel_values` (T, 3, H, W) or None, `input_features` (T, 1, M, F) or None, and `report` (None without media): path,
        start, end, duration (seconds), `missing` (reasons by modality), `notes`, and `audio`, the path of a separate sound file.

    Raises:
        MediaError: a file that cannot be used.
        ValueError: an input that cannot be understood, or nothing in it to predict from.
    """
    clip = as_clip(given)
    unread = {modality: "not read by this model" for modality in MODALITIES if modality not in readable}
    unread |= {modality: "left out as asked" for modality in MODALITIES if modality not in modalities}
    text = None if "text" in unread else clip["text"]
    found = {"pixel_values": None, "input_features": None, "report": None}
    cut = {name: clip[name] for name in ("start", "end", "crop")}
    for kind, streams in (("video", ("vision", "audio")), ("audio", ("audio",))):
        if clip[kind] is not None:
            streams = ("vision",) if kind == "video" and clip["audio"] is not None else streams
            read = _read_file(clip[kind], cut, streams, unread, processor, allow_download, max_seconds)
            found = read if found["report"] is None else _joined(found, read)
    if is_missing(text) and found["pixel_values"] is None and found["input_features"] is None:
        used = " and ".join(modality for modality in MODALITIES if modality not in unread)
        raise ValueError(f"{source_name(given)}: the clip holds nothing to predict from; the model reads {used} here.")
    return {**found, "text": text, "context": clip["context"]}


def _read_file(
    source, cut: dict, streams, unread: dict, processor, allow_download: bool, max_seconds: float | None
) -> dict:
    """What the processor makes of one file; errors and report with the name that the user gave."""
    name = source_name(source) or "clip"
    media = {"path": fetch(source, allow_download) if is_address(source) else source, **cut}
    try:
        if max_seconds is not None:
            with MediaClip(media) as opened:
                _check_length(name, opened.duration, max_seconds)
        found = processor.encode_media(media, [modality for modality in streams if modality not in unread])
    except MediaError as error:
        raise MediaError(name, error.reason, error.message) from error
    except ValueError:
        raise
    except Exception as error:  # whatever a decoder makes of broken bytes
        message = f"decoding ends with {type(error).__name__}: {error}; copy or convert the file again."
        raise MediaError(name, "cannot decode", message) from error
    missing = found["report"]["missing"] | {modality: unread[modality] for modality in streams if modality in unread}
    return {**found, "report": {**found["report"], "path": name, "missing": missing}}


def _check_length(name: str, duration: float, max_seconds: float) -> None:
    if duration > max_seconds:
        raise MediaError(
            name,
            "over the length limit",
            f"the clip lasts {duration:.1f} s, the limit is {max_seconds:g} s; cut it with start and end, or give a larger max_seconds.",
        )


def _joined(picture: dict, sound: dict) -> dict:
    """The picture of one file with the sound of another."""
    video, audio = picture["report"], sound["report"]
    both = {"missing": video["missing"] | audio["missing"], "notes": video["notes"] + audio["notes"]}
    return {**sound, "pixel_values": picture["pixel_values"], "report": {**video, **both, "audio": audio["path"]}}


__all__ = ["CLIP_FIELDS", "MAX_SECONDS", "as_clip", "fetch", "is_address", "media_files", "read_clip", "source_name"]
