"""Rows of a long computation as JSON lines: each is on disk at once, so that an interrupted run resumes."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path


class RowFile:
    """JSON lines that are appended to `<name>.partial`, which is renamed when it is complete.

    Args:
        path: of the complete file.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")

    @property
    def is_complete(self) -> bool:
        """Whether `finish` was called."""
        return self.path.exists()

    def read(self) -> Iterator[dict]:
        """Yield the rows on disk; a last line that was half written is cut off the file."""
        if self.is_complete:
            with open(self.path, encoding="utf-8") as file:
                yield from map(json.loads, file)
        elif self.partial.exists():
            with open(self.partial, "rb+") as file:
                while line := file.readline():
                    if not line.endswith(b"\n"):
                        file.truncate(file.tell() - len(line))
                        return
                    yield json.loads(line)

    def append(self, rows: Iterable[Mapping]) -> None:
        """Append rows to those that `read` returned."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.partial, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def finish(self) -> None:
        """Give the file its own name: all rows are there."""
        if not self.is_complete:
            self.partial.touch()
            os.replace(self.partial, self.path)


__all__ = ["RowFile"]
