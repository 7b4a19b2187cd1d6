"""Clips as users pass them (a path, bytes, an address, arrays, a row of a dataset), as named fields."""

import math
import numbers
import os
import re
import sys
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

import numpy as np
import torch
from transformers.utils import logging

from .media_decoding import Media
from .media_info import MediaError
from .media_storage import is_address

logger = logging.get_logger(__name__)

CLIP_FIELDS = (
    "video", "audio", "text", "context", "speaker", "context_speakers", "start", "end", "crop", "audio_stream",
)  # fmt: skip
# Fields of a row of a corpus that are not predicted from: they may stay in a clip.
ROW_FIELDS = {
    *("id", "video_id", "split", "label", "labels", "label_text", "label_audio", "label_vision"),
}
# How the names of video and sound files end; the files of a folder that are taken for media.
MEDIA_SUFFIXES = set(
    ".3gp .aac .ac3 .aif .aiff .amr .asf .avi .f4v .flac .flv .m2ts .m4a .m4v .mka .mkv .mov .mp3 .mp4 .mpeg .mpg .mts "
    ".mxf .oga .ogg .ogv .opus .ts .vob .wav .webm .wma .wmv".split()
)
DOWNLOAD_SECONDS = 60.0  # without an answer
OFFLINE_SCHEMES = {"file", "local", "memory", "tar", "zip"}  # fsspec reads these without a network
EXPECTED = (
    'a path, an address, bytes, an open file, {"path", "bytes"}, {"array", "sampling_rate"}, {"frames", "fps"} or a '
    "decoder of datasets"
)


class Sound(NamedTuple):
    """Samples of a whole clip, (samples,) or (channels, samples), and how many there are a second."""

    array: np.ndarray | torch.Tensor | Sequence
    sampling_rate: int


class Frames(NamedTuple):
    """Pictures of a whole clip, uint8 (n, H, W, 3) or (n, 3, H, W) or n PIL images, and how many there are a second."""

    frames: np.ndarray | torch.Tensor | Sequence
    fps: float

    @property
    def duration(self) -> float:
        return len(self.frames) / self.fps

    def at(self, times: Sequence[float]) -> list:
        return [self.frames[min(max(int(time * self.fps), 0), len(self.frames) - 1)] for time in times]


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
            f"{os.fspath(folder)}: the folder holds no video or sound file (.mp4, .mkv, .wav, ...); name the folder "
            "that does, or the files."
        )
    return found


def table_rows(inputs) -> Iterable[Mapping] | None:
    """Return the rows of a `datasets.Dataset`, an `IterableDataset` or a `pandas.DataFrame`; None for anything else.

    Columns that are not fields of a clip, such as labels, are left out. Media columns are not decoded by `datasets`.

    Raises:
        ValueError: several splits, or a table without any field of a clip.
    """
    datasets, pandas = sys.modules.get("datasets"), sys.modules.get("pandas")
    if pandas is not None and isinstance(inputs, pandas.DataFrame):
        names, rows = list(inputs.columns), inputs.to_dict("records")
    elif datasets is not None and isinstance(inputs, datasets.DatasetDict | datasets.IterableDatasetDict):
        names = list(inputs)
        raise ValueError(f"this is a {type(inputs).__name__} of the splits {', '.join(names)}; give one of them.")
    elif datasets is not None and isinstance(inputs, datasets.Dataset | datasets.IterableDataset):
        for name, feature in (inputs.features or {}).items():
            if name in ("video", "audio") and getattr(feature, "decode", False):
                inputs = inputs.cast_column(name, replace(feature, decode=False))
        names, rows = list(inputs.column_names or CLIP_FIELDS), inputs
    else:
        return None
    fields = [name for name in names if name in (*CLIP_FIELDS, "media")]
    if not fields:
        raise ValueError(f"the table has the columns {', '.join(map(str, names))}; expected some of {_fields_text()}.")
    unread = [str(name) for name in names if name not in fields and name not in ROW_FIELDS]
    if unread:
        logger.warning(f"Columns that are not read: {', '.join(unread)}; read are {', '.join(fields)}.")
    return ({name: None if is_nan(row[name]) else row[name] for name in fields} for row in rows)


def as_clip(given) -> dict:
    """Return one clip as a dict with all of `CLIP_FIELDS`, None for what was not given.

    Args:
        given: a media value (see `media_source`), a mapping of some of `CLIP_FIELDS`, or a row of a corpus, with its
            `media`. What a row says about the clip, such as its label, is left out.

    Returns:
        `video` and `audio` as `media_source` returns them, the other fields as they were given.

    Raises:
        MediaError: a string that is not a file.
        ValueError: something else, unknown fields, nothing at all.
    """
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(given, pandas.Series):
        given = {name: None if is_nan(value) else value for name, value in given.items()}
    if not isinstance(given, Mapping) or is_media_value(given):
        given = {"video": given}
    if "media" in given:
        given = _from_row(given)
    unknown = [str(name) for name in given if name not in CLIP_FIELDS and name not in ROW_FIELDS]
    if unknown:
        raise ValueError(f"a clip has the unknown field {unknown[0]!r}; expected some of {_fields_text()}.")
    clip: dict[str, Any] = {name: given.get(name) for name in CLIP_FIELDS}
    for name in ("video", "audio"):
        clip[name] = media_source(clip[name], name)
    if isinstance(clip["video"], Sound) and clip["audio"] is None:
        clip["video"], clip["audio"] = None, clip["video"]
    for name in ("start", "end"):
        if clip[name] is not None and not (isinstance(clip[name], numbers.Real) and math.isfinite(clip[name])):
            raise ValueError(f"{name} is {clip[name]!r}; expected a number of seconds, or None.")
    for name, meaning in (("text", "words"), ("speaker", "a name")):
        clip[name] = None if is_nan(clip[name]) else clip[name]
        if not isinstance(clip[name], str | None):
            raise ValueError(f"{name} is {clip[name]!r}; expected {meaning} in a string, or None.")
    for name, meaning in (("context", "the earlier utterances"), ("context_speakers", "the names of their speakers")):
        value = None if is_nan(clip[name]) else clip[name]
        clip[name] = value if isinstance(value, str) else list(_or_empty(value))
        if not isinstance(clip[name], list) or not all(isinstance(earlier, str) for earlier in clip[name]):
            raise ValueError(f"{name} is {value!r}; expected a list of {meaning}, oldest first.")
    if clip["context_speakers"] and len(clip["context_speakers"]) != len(clip["context"]):
        raise ValueError(
            f"context_speakers has {len(clip['context_speakers'])} names for a context of {len(clip['context'])} "
            "utterances; expected one each."
        )
    return clip


def _fields_text() -> str:
    return ", ".join(CLIP_FIELDS)


def _or_empty(context):
    return () if context is None else context


def _from_row(row: Mapping) -> dict:
    """The fields of a row of the clip schema, whose media has a path, a cut and a crop."""
    media = row["media"] or {}
    if not isinstance(media, Mapping):
        raise ValueError(f'media is {type(media).__name__}; expected {{"path", "start", "end", "crop"}}, or use video.')
    cut = {name: media.get(name) for name in ("start", "end", "crop", "audio_stream") if name in media}
    return {"video": media.get("path"), **cut, **{name: value for name, value in row.items() if name != "media"}}


def is_nan(value) -> bool:
    """Whether this is what pandas has for nothing: NaN, NaT or NA."""
    if isinstance(value, float):
        return math.isnan(value)
    return type(value).__name__ in ("NaTType", "NAType")


def is_media_value(value: Mapping) -> bool:
    keys = set(value)
    return {"array", "sampling_rate"} <= keys or {"frames", "fps"} <= keys or bool(keys) and keys <= {"path", "bytes"}


def media_source(value, name: str = "video"):
    """Return a media value as None, a path, an address, bytes, an open `Media`, `Sound` or `Frames`.

    Args:
        value: a path; an address, also `file://` and those of fsspec; bytes; an open file or `Media`; {"path", "bytes"}
            of an undecoded `datasets` value; {"array", "sampling_rate"}; {"frames", "fps"}; a decoder that `datasets`
            returns, or an AudioDecoder of torchcodec; None, NaN or "" for nothing.
        name: of the field, for messages.

    Raises:
        MediaError: a string that is not a file, or an empty file.
        ValueError: anything else, with its type.
    """
    if value is None or is_nan(value) or (isinstance(value, str) and not value):
        return None
    if isinstance(value, Media):
        return value
    if isinstance(value, str | os.PathLike):
        return _checked_path(value)
    if isinstance(value, bytes | bytearray | memoryview):
        if not len(value):
            raise MediaError("<0 bytes>", "not media", "the file is empty; read it again.")
        return bytes(value)
    encoded = getattr(value, "_hf_encoded", None)  # by which `datasets` keeps what a decoder decodes
    if isinstance(encoded, Mapping):
        return media_source(encoded, name)
    if isinstance(value, Mapping):
        return _from_mapping(value, name)
    if hasattr(value, "get_all_samples"):
        samples = value.get_all_samples()
        return Sound(samples.data, samples.sample_rate)
    if hasattr(value, "read"):
        return media_source(_read(value, name), name)
    if _has_pictures(value):
        found = f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else type(value).__name__
        raise ValueError(
            f"{name} is a {found}, and when they are shown is not known; give the file, or "
            '{"frames": ..., "fps": frames a second}.'
        )
    raise ValueError(f"{name} is given as {type(value).__name__}; expected {EXPECTED}.")


def _has_pictures(value) -> bool:
    return hasattr(value, "shape") or (
        isinstance(value, list | tuple) and bool(value) and all(hasattr(item, "size") for item in value)
    )


def _checked_path(value: str | os.PathLike):
    if isinstance(value, str) and is_address(value):
        scheme = urlparse(value)
        if scheme.scheme.lower() != "file":
            return value
        value = unquote(scheme.path if not scheme.netloc else f"//{scheme.netloc}{scheme.path}")
    if os.path.exists(value):
        return value
    raise MediaError(
        os.fspath(value),
        "no file",
        'there is no such file; check the path, or give words as {"text": "..."}.',
    )


def _from_mapping(value: Mapping, name: str):
    if {"array", "sampling_rate"} <= set(value):
        return Sound(value["array"], value["sampling_rate"])
    if {"frames", "fps"} <= set(value):
        if not is_positive(value["fps"]) or not len(value["frames"]):
            raise ValueError(f"{name} has {len(value['frames'])} frames at {value['fps']!r} a second; expected some.")
        return Frames(value["frames"], float(value["fps"]))
    if value.get("bytes") is not None:
        return media_source(value["bytes"], name)
    if value.get("path") is not None:
        return media_source(value["path"], name)
    if set(value) <= {"path", "bytes"}:
        return None
    raise ValueError(f"{name} is a dict with {', '.join(map(str, value)) or 'nothing'}; expected {EXPECTED}.")


def is_positive(value) -> bool:
    return isinstance(value, numbers.Real) and 0 < float(value) < math.inf


def _read(file, name: str) -> bytes:
    """The bytes of an open file, from its beginning where it can go back."""
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)
    found = file.read()
    if not isinstance(found, bytes):
        raise ValueError(f'{name} is an open file of {type(found).__name__}; open it in binary mode, open(path, "rb").')
    return found


def source_name(given) -> str:
    """Return what a clip is called in messages: its file or address, its type, or the beginning of its words."""
    if isinstance(given, Mapping) and not is_media_value(given):
        media = given.get("media")
        named = [given.get("video"), given.get("audio"), media.get("path") if isinstance(media, Mapping) else media]
        present = [value for value in (*named, given.get("text")) if value is not None and not is_nan(value)]
        given = present[0] if present else dict(given)
    if isinstance(given, Mapping) and given.get("path"):
        given = given["path"]
    if isinstance(given, bytes | bytearray | memoryview):
        return f"<{len(given)} bytes>"
    if isinstance(given, Sound | Frames):
        given = given[0]
    if isinstance(given, Mapping) and given:
        return f"<{', '.join(map(str, given))}>"
    if isinstance(given, str | os.PathLike | Mapping | int | float) or given is None:
        return str(given)
    return given.info.path if isinstance(given, Media) else f"<{type(given).__name__}>"


def fetch(address: str, allow_download: bool) -> bytes:
    """Return the bytes behind an address, in memory.

    Args:
        address: of http(s), or of a file system of fsspec such as `hf://`, `s3://` or `zip://`.
        allow_download: whether the network may be used.

    Raises:
        ValueError: downloading was not allowed.
        MediaError: the address does not return a file.
    """
    schemes = {scheme.lower() for scheme in re.findall(r"([a-zA-Z][a-zA-Z0-9+.-]*)://", address)}
    if not allow_download and not schemes <= OFFLINE_SCHEMES:
        raise ValueError(
            f"{address}: this is an address, and nothing is downloaded unless allow_download=True says so; or download "
            "the file and give its path."
        )
    try:
        if schemes <= {"http", "https"}:
            with urllib.request.urlopen(address, timeout=DOWNLOAD_SECONDS) as answer:
                return answer.read()
        import fsspec

        with fsspec.open(address, "rb") as file:
            return file.read()
    except (OSError, ValueError, HTTPException, ImportError) as error:  # no server, no answer, no such file or scheme
        found = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MediaError(
            address, "no file", f"it cannot be downloaded ({found}); check the address, or download the file yourself."
        ) from error


__all__ = [
    "CLIP_FIELDS",
    "Frames",
    "MEDIA_SUFFIXES",
    "Sound",
    "as_clip",
    "fetch",
    "is_address",
    "media_files",
    "media_source",
    "source_name",
    "table_rows",
]
