"""Encode each clip once with the frozen towers and write the embeddings to a store."""

from .clip_encoder import ClipEncoder
from .clip_sources import media_clips
from .extraction import extract_embeddings, store_batches, store_clips
from .report import ExtractionReport, usable_clips
from .towers import TowerChoice

__all__ = [
    "ClipEncoder",
    "ExtractionReport",
    "TowerChoice",
    "extract_embeddings",
    "media_clips",
    "store_batches",
    "store_clips",
    "usable_clips",
]
