"""Clips of media files and folders, of object storage, of WebDataset archives and of Parquet files."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pyarrow.types as types
from transformers.utils.logging import get_logger

from ..clip_input import MEDIA_SUFFIXES
from ..media_storage import is_address, local_copy, split_address, tar_members

logger = get_logger(__name__)

TEXT_SUFFIX, FIELDS_SUFFIX = ".txt", ".json"  # of a sample of WebDataset, beside its media
COLUMNS = ("video", "audio", "media", "bytes")  # of Parquet files, sought in this order; then names like mp4
IDS = ("id", "__key__", "key")
CUT = ("start", "end", "crop", "audio_stream")
KEPT = ("text", "context", "speaker", "video_id", "label")  # of what is known of a clip beside its media


def media_clips(paths: Sequence[str | os.PathLike]) -> list[dict]:
    """Return the clips of media files, folders, tar archives and Parquet files, here or in object storage.

    Args:
        paths: files, folders and addresses. The id of a clip is its path within a folder or archive, or its name. Of
            folders those files are taken whose name says media or has no suffix, and archives and Parquet files. Tars
            are as WebDataset writes them: KEY.mp4, and the text of KEY.txt and the fields of KEY.json beside it.
            Parquet files have a column of bytes or {"bytes", "path"} (`video`, `audio`, `media`, `bytes` or a suffix
            such as `mp4`), and ids in `id` or `__key__`; rows without one are named FILE/ROW.

    Returns:
        Rows with `id`, `media`, and, of archives and Parquet files, `text`, `context`, `label`, ... where they are.

    Raises:
        ValueError: two clips would have the same id, or a file has no column of media.
        FileNotFoundError: there is no file or folder of that name.
    """
    clips: dict[str, dict] = {}
    left: list[str] = []
    for path in map(os.fspath, paths):
        for name, file in _files(path, left):
            for row in _rows(name, file):
                if row["id"] in clips:
                    both = f"{row['media']['path']} and {clips[row['id']]['media']['path']}"
                    raise ValueError(f"{both} would both be clip {row['id']!r}; extract them into two stores.")
                clips[row["id"]] = row
    if left:
        logger.info(f"{len(left)} file(s) are not media by their names and are left out: {', '.join(left)}")
    return list(clips.values())


def _files(path: str, left: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the path or address of a file, or of each file of a folder; names of others go to `left`."""
    if is_address(path):
        yield from _stored_files(path, left)
        return
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is neither a file nor a folder {path}.")
    if not os.path.isdir(path):
        yield Path(path).name, str(Path(path).absolute())
        return
    for file in sorted(file for file in Path(path).rglob("*") if file.is_file()):
        name = file.relative_to(path).as_posix()
        if _may_be_media(PurePosixPath(name)):
            yield name, str(file.absolute())
        else:
            left.append(name)


def _stored_files(address: str, left: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the address of an object, or of each object below an address."""
    import fsspec

    kind, member, file = split_address(address)
    if kind is not None or not is_address(file):
        yield member or os.path.basename(file), address if kind else os.path.abspath(file)
        return
    try:
        system, root = fsspec.core.url_to_fs(file)
        found = [root] if system.isfile(root) else sorted(system.find(root))
    except (OSError, ValueError, ImportError) as error:
        raise FileNotFoundError(f"{address} cannot be read ({error}).") from error
    if not found:
        raise FileNotFoundError(f"there is neither a file nor a folder {address}.")
    for path in found:
        name = path.rpartition("/")[2] if path == root else path[len(root) :].lstrip("/")
        if path == root or _may_be_media(PurePosixPath(name)):
            yield name, system.unstrip_protocol(path)
        else:
            left.append(name)


def _may_be_media(name: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") for part in name.parts)
    return not hidden and (not name.suffix or name.suffix.lower() in MEDIA_SUFFIXES | {".tar", ".parquet"})


def _rows(name: str, file: str) -> Iterator[dict]:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".tar":
        yield from _tar_rows(file)
    elif suffix == ".parquet":
        yield from _parquet_rows(name, file)
    else:
        yield {"id": name, "media": _media(file)}


def _media(path: str) -> dict:
    return {"path": path, "start": None, "end": None, "crop": None}


def _tar_rows(file: str) -> Iterator[dict]:
    """Yield a clip for each media member of a tar archive, with what KEY.txt and KEY.json say of it."""
    copy = local_copy(file) if is_address(file) else None
    path = file if copy is None else copy.path
    members = tar_members(path)
    found = [name for name in members if PurePosixPath(name).suffix.lower() in MEDIA_SUFFIXES]
    if not found:
        raise ValueError(f"{file} holds no video or sound file (KEY.mp4, KEY.wav, ...) among {len(members)} members.")
    with open(path, "rb") as archive:

        def content(name: str) -> bytes | None:
            if name not in members:
                return None
            archive.seek(members[name][0])
            return archive.read(members[name][1])

        for name in found:
            key = _key(name)
            row = {"id": name, "media": _media(f"tar://{name}::{file}")}
            text, more = content(f"{key}{TEXT_SUFFIX}"), content(f"{key}{FIELDS_SUFFIX}")
            if more is not None:
                fields = _fields(more, f"{key}{FIELDS_SUFFIX} of {file}")
                row |= {name: fields[name] for name in KEPT if name in fields}
                row["media"] |= {name: fields[name] for name in CUT if fields.get(name) is not None}
            if text is not None:
                row["text"] = text.decode("utf-8").strip()
            yield row


def _key(name: str) -> str:
    """Return the key of a member, as WebDataset splits it: up to the first dot of the last part."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}" if folder else last.partition(".")[0]


def _fields(content: bytes, name: str) -> dict:
    """Return the fields of a JSON object.

    Raises:
        ValueError: it is something else.
    """
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON ({error}); write it again.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{name} holds {type(found).__name__}; expected an object of fields.")
    return found


def _parquet_rows(name: str, file: str) -> Iterator[dict]:
    """Yield a clip for each row of a Parquet file that holds bytes."""
    import pyarrow.parquet as pq

    copy = local_copy(file) if is_address(file) else None
    table = pq.ParquetFile(file if copy is None else copy.path)
    schema = table.schema_arrow
    column = _media_column(schema, file)
    known = [other for other in schema.names if other in (*IDS, *KEPT)]
    identity = next((other for other in IDS if other in known), None)
    rows = table.read(columns=known).to_pylist() if known else [{} for _ in range(table.metadata.num_rows)]
    for number, row in enumerate(rows):
        clip = f"{name}/{number}" if identity is None else str(row[identity])
        kept = {other: row[other] for other in KEPT if other in row}
        yield {"id": clip, "media": _media(f"parquet://{column}/{number}::{file}"), **kept}


def _media_column(schema, file: str) -> str:
    """Return the column of a Parquet file that holds media.

    Raises:
        ValueError: there is none.
    """
    suffixes = [suffix.removeprefix(".") for suffix in sorted(MEDIA_SUFFIXES)]
    for column in (*COLUMNS, *suffixes):
        if column in schema.names:
            kind = schema.field(column).type
            if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                kind = kind.field("bytes").type
            if types.is_binary(kind) or types.is_large_binary(kind):
                return column
    raise ValueError(
        f"{file} has the columns {', '.join(schema.names)}, none of which is media: expected one of "
        f"{', '.join(COLUMNS)}, mp4, wav, ... of bytes or {{bytes, path}}."
    )


__all__ = ["media_clips"]
