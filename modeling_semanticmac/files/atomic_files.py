"""Files that are whole or not there: written under a temporary name, then renamed."""

import csv
import io
import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def write_whole(path: str | os.PathLike, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it: a reader never sees half a file, and a failure leaves none behind.

    Args:
        write: called with the temporary path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of this thread's own: two may write the same file at once.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, value) -> None:
    """Write JSON, whole or not at all; what JSON does not know is written as its `str`."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text in UTF-8 with the line ends that it has, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def write_csv(path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a table as CSV in UTF-8 (RFC 4180), whole or not at all."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    write_text(path, text.getvalue())
