"""A sealed test split: it cannot be read while a model is trained or chosen, not even by mistake."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping

import datasets

logger = logging.getLogger(__name__)

TEST = "test"


class SealedTestError(RuntimeError):
    """The test split was read before the model was chosen."""


class SealedCorpus(Mapping):
    """The splits of a corpus; `test` raises until `open_test` is called.

    Args:
        corpus: the splits by name.

    Attributes:
        opened: why the test split was opened; None while it is sealed.
    """

    def __init__(self, corpus: Mapping[str, datasets.Dataset]):
        self._corpus = dict(corpus)
        self.opened: str | None = None

    def __getitem__(self, split: str) -> datasets.Dataset:
        if split == TEST and self.opened is None:
            raise SealedTestError(
                "the test split is sealed while a model is trained or chosen; --do_predict opens it after the choice. "
                "Use the validation split to choose."
            )
        return self._corpus[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._corpus)

    def __len__(self) -> int:
        return len(self._corpus)

    def __repr__(self) -> str:
        sealed = "sealed" if self.opened is None else f"opened: {self.opened}"
        splits = ", ".join(f"{split}: {len(clips)} clips" for split, clips in self._corpus.items())
        return f"SealedCorpus({splits}; test {sealed})"

    def num_clips(self, split: str) -> int:
        """Return the number of clips of a split, also of the sealed one; 0 for an absent split."""
        return len(self._corpus.get(split, ()))

    def ids(self, split: str) -> list[str]:
        """Return the ids of the clips of a split, also of the sealed one: they say nothing of texts and labels."""
        return list(self._corpus[split]["id"][:])

    def digests(self) -> dict[str, str]:
        """Return a digest of ids, order, labels and texts of each split, also of the sealed one."""
        found = {}
        for split, clips in self._corpus.items():
            columns = [clips[name][:] for name in ("id", "label", "text", "context") if name in clips.column_names]
            found[split] = hashlib.sha256(json.dumps(columns, default=str).encode()).hexdigest()[:16]
        return found

    def open_test(self, reason: str) -> None:
        """Break the seal permanently.

        Args:
            reason: why the model is final; written to the log and the results.
        """
        self.opened = reason
        logger.info("the test split is opened: %s", reason)


__all__ = ["SealedCorpus", "SealedTestError"]
