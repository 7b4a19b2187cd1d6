"""The corpora: builders over the raw releases as researchers have them on disk."""

from .loading import load_corpus, task_specification

__all__ = ["load_corpus", "task_specification"]
