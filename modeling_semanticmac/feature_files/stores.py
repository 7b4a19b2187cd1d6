"""Embedding stores as feature files: what towers or an earlier import made, without the towers."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ..embedding_store import EmbeddingStore, read_fingerprint
from ..embedding_store.fingerprint import FINGERPRINT
from .streams import FIELDS, FeatureClip


def is_store(path: Path) -> bool:
    """Return whether a folder is an embedding store."""
    return (path / FINGERPRINT).is_file()


def encoded_streams(path: Path) -> frozenset[str]:
    """Return the streams of a store that a tower made: their values are as the tower gave them."""
    fingerprint = read_fingerprint(path) or {}
    return frozenset(stream for stream in FIELDS if "front_end" in (fingerprint.get(stream) or {}))


def read_store(path: Path) -> Iterator[FeatureClip]:
    """Yield the clips of a store that did not fail; a stream that a clip lacks has no rows.

    Raises:
        DamagedClipError: embeddings are not those that were written.
    """
    store = EmbeddingStore(path)
    present = [stream for stream in FIELDS if store.fingerprint.get(stream)]
    for clip in store:
        if store.status(clip).status != "failed":
            yield FeatureClip(clip, **{FIELDS[m]: store.stream(clip, m).float().numpy() for m in present})


def store_digest(path: Path) -> str:
    """Return a digest of what a store holds: of its fingerprint, and of the names of its index files, which bear the
    checksums of their content.
    """
    digest = hashlib.sha256((path / FINGERPRINT).read_bytes())
    for file in sorted((path / "index").glob("*.parquet")):
        digest.update(f"{file.name}\0".encode())
    return digest.hexdigest()


__all__ = ["encoded_streams", "is_store", "read_store", "store_digest"]
