"""Find the files of a corpus on disk, and fingerprint what was found."""

import difflib
import hashlib
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class CorpusFiles:
    """Files of a corpus found on disk.

    Args:
        annotations: role of each annotation file -> its absolute path.
        media: clip id -> absolute path of its media file; clips without media are left out.
    """

    annotations: dict[str, Path]
    media: dict[str, Path] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Return a digest of the builders' code, the content of the annotation files and the paths of the media files.

        It names the cache folder: after an edit of an annotation file or of the code, or when a media file was added,
        the rows are built again. The content of the media files does not matter to the rows.
        """
        digest = hashlib.sha256(_sources_digest().encode())
        for role, path in sorted(self.annotations.items()):
            with open(path, "rb") as file:
                digest.update(f"{role}\0{path}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
        for clip, path in sorted(self.media.items()):
            digest.update(f"{clip}\0{path}\0".encode())
        return digest.hexdigest()[:32]


@cache
def _sources_digest() -> str:
    """Return a digest of every module and manifest in this folder: a builder uses its siblings, and rebuilding the rows
    takes seconds.
    """
    digest, folder = hashlib.sha256(), Path(__file__).parent
    for path in sorted([*folder.glob("*.py"), *folder.glob("manifests/*.json")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def find_one(folder: Path, candidates: Iterable[str], what: str) -> Path:
    """Return the one of several relative paths that exists in `folder`.

    Raises:
        FileNotFoundError: none exists.
        ValueError: several exist with different contents, so it is unclear which one is meant.
    """
    candidates = list(candidates)
    found = [folder / candidate for candidate in candidates if (folder / candidate).is_file()]
    if not found:
        raise FileNotFoundError(
            f"no {what}: looked in {folder} for {', '.join(candidates)}; {_contents(folder)} Point data_dir to "
            "the corpus's own folder."
        )
    if len({path.read_bytes() for path in found}) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise ValueError(
            f"several files could be the {what} in {folder}, and they differ: {names}. Move all but one away."
        )
    return found[0]


def find_name(folder: Path, name: str, suffixes: Iterable[str]) -> Path | None:
    """Find a file below a folder by a name that another system wrote.

    Backslashes separate folders. Case, the two Unicode forms of an accented letter, and a missing ending make no
    difference, as long as exactly one file matches.

    Args:
        suffixes: endings with a dot that may be missing, in lower case.

    Returns:
        The file; None where no file matches, or several do.
    """
    current = folder
    parts = Path(name.replace("\\", "/")).parts
    for position, part in enumerate(parts):
        if (current / part).exists() and (position < len(parts) - 1 or (current / part).is_file()):
            current = current / part
            continue
        try:
            entries = [entry for entry in os.scandir(current) if not entry.name.startswith("._")]
        except OSError:
            return None
        found = [entry for entry in entries if _same_name(entry.name) == _same_name(part)]
        if not found and position == len(parts) - 1:
            stems = [entry for entry in entries if os.path.splitext(entry.name)[1].lower() in suffixes]
            found = [entry for entry in stems if _same_name(os.path.splitext(entry.name)[0]) == _same_name(part)]
        if len(found) != 1:
            return None
        current = Path(found[0].path)
    return current if current.is_file() else None


def nearest_name(folder: Path, name: str) -> str | None:
    """Return the file below a folder whose path looks most like `name`; None where none does."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return next(iter(difflib.get_close_matches(name.replace("\\", "/"), names, n=1)), None)


def _same_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def media_in(folders: Iterable[Path], suffix: str = ".mp4") -> dict[str, Path]:
    """Return the media files directly inside some folders by their names without suffix; earlier folders win, `._name`
    files of macOS are ignored.
    """
    found = {}
    for folder in folders:
        if folder.is_dir():
            for entry in os.scandir(folder):
                if entry.name.endswith(suffix) and not entry.name.startswith("._"):
                    found.setdefault(entry.name.removesuffix(suffix), Path(entry.path))
    return found


def _contents(folder: Path, limit: int = 12) -> str:
    if not folder.is_dir():
        return f"there is no such folder as {folder}."
    names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(folder))
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"it holds {', '.join(names[:limit])}{more}." if names else "it is empty."
