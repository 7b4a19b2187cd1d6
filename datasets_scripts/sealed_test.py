"""The test split under seal: while a model is trained or chosen nobody reads it, not even by mistake."""

import logging
from collections.abc import Iterator, Mapping

import datasets

logger = logging.getLogger(__name__)

TEST = "test"


class SealedTestError(RuntimeError):
    """The test split was asked for before the model was chosen."""


class SealedCorpus(Mapping):
    """The splits of a corpus; `test` raises until `open_test` was called.

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
                "the test split is sealed while a model is trained or chosen; it is opened by --do_predict, after the choice. Use the "
                "validation split to choose."
            )
        return self._corpus[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._corpus)

    def __len__(self) -> int:
        return len(self._corpus)

    def __repr__(self) -> str:
        sealed = "sealed" if self.opened is None else f"opened: {self.opened}"
        return f"SealedCorpus({', '.join(f'{split}: {len(clips)} clips' for split, clips in self._corpus.items())}; test {sealed})"

    def open_test(self, reason: str) -> None:
        """Break the seal for good.

        Args:
            reason: why nothing is chosen from here on; goes into the log and the results.
        """
        self.opened = reason
        logger.info("the test split is opened: %s", reason)


__all__ = ["SealedCorpus", "SealedTestError"]
