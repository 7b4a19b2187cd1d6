"""The order of clips in evaluation: that of the dataset, in batches that are all complete."""

from collections.abc import Iterator, Sized

from torch.utils.data import Sampler


class WholeBatches(Sampler[int]):
    """Sampler of the rows 0 ... n - 1 in order, then of those from 0 on until the last batch is complete.

    Accelerate fills up the last batches of several processes in this way, so that each process has the same number, and
    removes the added rows from the gathered predictions. A single process would compute its last batch in another
    shape, which changes the last digits. With this sampler every process computes a batch that a single process
    computes too: predictions and metrics are equal to the last digit at the same batch size per process.

    Args:
        dataset: n rows.
        batch_size: of one process.
    """

    def __init__(self, dataset: Sized, batch_size: int):
        self.count = len(dataset)
        self.total = -(-self.count // batch_size) * batch_size

    def __iter__(self) -> Iterator[int]:
        return (index % self.count for index in range(self.total))

    def __len__(self) -> int:
        return self.total


__all__ = ["WholeBatches"]
