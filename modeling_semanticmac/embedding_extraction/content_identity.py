"""The content of a clip: the bytes of its file and the cut; what tells whether the store holds it already."""

import functools
import hashlib
import os

from ..embedding_store import ClipRecord
from ..media_decoding import MediaError
from ..media_storage import is_address, storage_hash, stored_identity


def content_hash(media: dict) -> tuple[str, int, int]:
    """Return a hash of a clip's content (the file's bytes and the cut), and the file's size and time of change.

    A file in object storage is known by its ETag and size (`media_storage.storage_hash`), so that it need not be read.

    Returns:
        ("<BLAKE2b of the bytes, hex>:<cut_name>", bytes, nanoseconds).

    Raises:
        MediaError: If there is no file.
    """
    path = media.get("path")
    if not path:
        raise MediaError("", "no file", "the clip names no media file.")
    if isinstance(path, bytes):
        found, size, mtime_ns = _digest(path), len(path), 0
    elif is_address(path):
        found, size, mtime_ns = storage_hash(path)
    else:
        if not os.path.isfile(path):
            raise MediaError(str(path), "no file", "there is no such file; check the path of the media file.")
        stat = os.stat(path)
        size, mtime_ns = stat.st_size, stat.st_mtime_ns
        found = _file_hash(path, size, mtime_ns)
    return f"{found}:{cut_name(media)}", size, mtime_ns


def cut_name(media: dict) -> str:
    """Return the cut of a clip as text, "<start>-<end>:<crop>", each part empty where there is none.

    A clip that names its own sound track has ":<audio_stream>" after it.
    """
    start, end = ("" if media.get(name) is None else repr(float(media[name])) for name in ("start", "end"))
    track = "" if media.get("audio_stream") is None else f":{media['audio_stream']}"
    return f"{start}-{end}:{media.get('crop') or ''}{track}"


def holds_embeddings(record: ClipRecord | None, max_seconds: float | None) -> bool:
    """Return whether a record of the store has embeddings of a clip that is not too long."""
    if record is None or record.status == "failed":
        return False
    return max_seconds is None or record.duration <= max_seconds


def kind_of_reuse(media: dict, known: ClipRecord | None, max_seconds: float | None) -> str | None:
    """Return how a clip can be taken from the store without reading its file.

    Args:
        media: of the clip.
        known: the record that the store holds of it.
        max_seconds: longer clips are not used.

    Returns:
        "reused" where the file has not changed since, "unchecked" where it is not there to compare, None where it must
        be read.
    """
    if known is None or not holds_embeddings(known, max_seconds):
        return None
    if known.content_hash.partition(":")[2] != cut_name(media):
        return None
    path = media.get("path") or ""
    if isinstance(path, bytes):
        return None  # reading them costs nothing
    try:
        if is_address(path):
            identity = stored_identity(path)
            if identity.tag is not None:
                return "reused" if content_hash(media)[0] == known.content_hash else None
            if not identity.mtime_ns:
                return None  # nothing tells a changed file of the same size
            found = identity.size, identity.mtime_ns
        elif os.path.isfile(path):
            stat = os.stat(path)
            found = stat.st_size, stat.st_mtime_ns
        else:
            return "unchecked"
    except MediaError:
        return "unchecked"
    return "reused" if found == (known.file_size, known.file_mtime_ns) else None


@functools.lru_cache(maxsize=16)  # clips of one file mostly follow each other
def _file_hash(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=20).hexdigest()


__all__ = ["content_hash", "cut_name", "holds_embeddings", "kind_of_reuse"]
