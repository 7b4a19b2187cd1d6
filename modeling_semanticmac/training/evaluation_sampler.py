"""The order of clips in evaluation: theirs, in batches that are all whole."""

from collections.abc import Iterator, Sized

from torch.utils.data import Sampler


class WholeBatches(Sampler[int]):
    """The rows 0 ... n - 1 in order, then from 0 on until the last batch is whole.

    Accelerate fills up the last batches of several processes in this way, so that each has as many, and takes what was added out of the gathered
    predictions; a single process would compute its last batch in another shape, which moves its last digits. With this sampler every process computes a
    batch that one process alone computes too: the same predictions and metrics, to the last digit, at the same batch size a process.

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
