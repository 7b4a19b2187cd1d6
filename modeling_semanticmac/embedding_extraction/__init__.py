"""Encode each clip once with the frozen towers and write the embeddings to a store."""

from .extraction import extract_embeddings
from .report import ExtractionReport, usable_clips

__all__ = ["ExtractionReport", "extract_embeddings", "usable_clips"]
