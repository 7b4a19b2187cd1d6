"""Embeddings of clips on disk: read, verified, written, checked against what made them, and pushed to the Hub."""

from .fingerprint import FingerprintError, check_fingerprint, make_fingerprint
from .store import ClipRecord, DamagedClipError, EmbeddingStore, read_fingerprint
from .verification import Verification, verify
from .writer import StoreWriter

__all__ = [
    "ClipRecord",
    "DamagedClipError",
    "EmbeddingStore",
    "FingerprintError",
    "StoreWriter",
    "Verification",
    "check_fingerprint",
    "make_fingerprint",
    "read_fingerprint",
    "verify",
]
