"""The uploads of visitors: each file is deleted when the last visitor who uploaded it leaves."""

import contextlib
import os
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def upload_folder() -> Iterator[Path]:
    """Give gradio a folder for uploads that is removed at the end, and turn its analytics off.

    Gradio reads both from the environment when it is imported, so import it inside of this context.
    """
    with tempfile.TemporaryDirectory(prefix="semanticmac-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        yield Path(folder)


class Uploads:
    """Which visitor holds which uploaded file.

    Gradio names the folder of an upload after its content, so visitors who upload the same file share it: the second
    upload replaces the first one's file by an equal one. A file is therefore deleted only when no visitor holds it, and
    only if nobody has uploaded it again since a visitor who leaves has seen it.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._holders: dict[Path, set[str]] = defaultdict(set)
        self._seen: dict[Path, int] = {}  # number of the file on disk (inode) that the latest holder has seen

    def hold(self, visitor: str | None, path: str | os.PathLike | None) -> None:
        """Keep a file until this visitor leaves; a path that is None or absent is ignored."""
        if visitor is None or path is None:
            return
        path = Path(path)
        with self._lock, contextlib.suppress(OSError):
            self._seen[path] = path.stat().st_ino
            self._holders[path].add(visitor)

    def leave(self, visitor: str | None) -> None:
        """Delete the files that only this visitor holds."""
        with self._lock:
            for path in [path for path, holders in self._holders.items() if visitor in holders]:
                self._holders[path].discard(visitor)
                if not self._holders[path]:
                    del self._holders[path]
                    _delete(path, self._seen.pop(path))


def _delete(path: Path, seen: int) -> None:
    """Delete a file that is still the one that was seen, and its folder where it is empty then."""
    with contextlib.suppress(OSError):
        if path.stat().st_ino == seen:
            path.unlink()
            path.parent.rmdir()


def without_folders(message: str, *paths: str | os.PathLike | None) -> str:
    """Return a message that names files without the folders of this machine."""
    for path in paths:
        if path is not None:
            message = message.replace(os.fspath(path), Path(path).name)
    return message


__all__ = ["Uploads", "upload_folder", "without_folders"]
