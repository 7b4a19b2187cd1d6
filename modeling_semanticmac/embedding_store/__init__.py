"""Embeddings of clips on disk: read, written, checked against what made them, and pushed to the Hub."""

from .fingerprint import FingerprintError, check_fingerprint, make_fingerprint
from .store import ClipRecord, EmbeddingStore, read_fingerprint
from .writer import StoreWriter

__all__ = [
    "ClipRecord",
    "EmbeddingStore",
    "FingerprintError",
    "StoreWriter",
    "check_fingerprint",
    "make_fingerprint",
    "read_fingerprint",
]
