"""Files that are complete or absent: written under a temporary name, then renamed."""

import csv
import io
import json
import math
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def write_whole(path: str | os.PathLike, write: Callable[[Path], object], durable: bool = False) -> None:
    """Write a file completely or not at all: a reader never sees half a file, and a failure leaves nothing behind.

    The file gets the permissions that the umask allows, also where `write` sets its own (safetensors writes 0600).

    Args:
        path: the file; its folder is created.
        write: called with the temporary path beside `path`, which it fills.
        durable: flush the content to the disk before the rename, so that a power failure cannot leave an empty file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Unique to this thread: two threads or processes may write the same file at once.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        temporary.touch()
        allowed = stat.S_IMODE(temporary.stat().st_mode)
        write(temporary)
        if stat.S_IMODE(temporary.stat().st_mode) != allowed:
            temporary.chmod(allowed)
        if durable:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def move_entries(source: Path, target: Path, last: str) -> None:
    """Move all files and folders of a folder into another one, in place of those of the same name.

    Each file is whole at every moment. What says that the rest is there is moved last.

    Args:
        source: folder on the same disk; empty afterwards.
        target: folder.
        last: name of the entry that is moved last.
    """
    for entry in sorted(source.iterdir(), key=lambda entry: (entry.name == last, entry.name)):
        if entry.is_dir() and (target / entry.name).is_dir():
            shutil.rmtree(target / entry.name)
        os.replace(entry, target / entry.name)


def write_json(path: str | os.PathLike, value) -> None:
    """Write a value as JSON, completely or not at all.

    Objects that JSON does not know are written as their `str`; NaN and infinity, for which JSON has no word, as null.
    """
    text = json.dumps(_without_non_finite(value), indent=2, sort_keys=True, default=str, allow_nan=False)
    write_text(path, text + "\n")


def _without_non_finite(value):
    if isinstance(value, dict):
        return {name: _without_non_finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text in UTF-8 completely or not at all; line ends stay as they are."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def write_csv(path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a table as CSV in UTF-8 (RFC 4180), completely or not at all."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    write_text(path, text.getvalue())


__all__ = ["move_entries", "write_csv", "write_json", "write_text", "write_whole"]
