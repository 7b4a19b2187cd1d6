"""The order of clips in training and evaluation: clips of similar length in one batch, which leaves little to pad."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

CLIPS_AT_ONCE = 512


def clip_lengths(clips, collator) -> list[int]:
    """Return the length of every clip, to which the work on it is about proportional.

    Args:
        clips: a dataset of clips.
        collator: its `lengths` is used; of a collator without it, clips have the characters of their context and text.
    """
    count = getattr(collator, "lengths", _characters)
    pieces = (range(start, min(start + CLIPS_AT_ONCE, len(clips))) for start in range(0, len(clips), CLIPS_AT_ONCE))
    return [length for piece in pieces for length in count([clips[row] for row in piece])]


def _characters(rows: Sequence[dict]) -> list[int]:
    # A dialogue has a list of texts, and so the length of its utterances.
    return [len(row["text"] or "") + sum(len(text or "") for text in row["context"]) for row in rows]


def length_grouped_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[int]:
    """Return the rows in an order whose batches hold clips of similar length: a function of its arguments alone.

    As in transformers' `LengthGroupedSampler`, rows are shuffled, cut into pieces of up to 50 batches (at least four
    pieces, so that batches differ from epoch to epoch) and sorted by length within each piece. Then the batches are
    shuffled; an incomplete one stays the last.

    Args:
        lengths: of the rows.
        batch_size: of all processes together.
        seed, epoch: another order for each.
    """
    generator = np.random.default_rng([seed, epoch])
    rows = generator.permutation(len(lengths))
    piece = batch_size * max(1, min(len(lengths) // (4 * batch_size), 50))
    pieces = [rows[start : start + piece] for start in range(0, len(rows), piece)]
    rows = np.concatenate([part[np.argsort(-np.asarray(lengths)[part], kind="stable")] for part in pieces])
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    last = [batches.pop()] if len(batches[-1]) < batch_size else []
    return np.concatenate([*(batches[i] for i in generator.permutation(len(batches))), *last]).tolist()


class LengthGrouped(Sampler[int]):
    """Sampler of the rows in `length_grouped_order`.

    Args:
        lengths: of the rows.
        batch_size: of all processes together.
        seed: of the run.
        epoch: returns the epoch, counted from 0, when an iteration begins. A sampler that counts iterations itself
            would begin with the wrong one in a resumed run.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, epoch: Callable[[], int]):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, epoch

    def __iter__(self) -> Iterator[int]:
        return iter(length_grouped_order(self.lengths, self.batch_size, self.seed, self.epoch()))

    def __len__(self) -> int:
        return len(self.lengths)


class WholeBatches(Sampler[int]):
    """Sampler of rows in a given order, then of the last one again until the last batch is complete.

    Accelerate fills up the last batches of several processes too, so that each process has the same number, and removes
    the added rows from the gathered predictions. A single process would compute its last batch in another
    shape, which changes the last digits. With this sampler every process computes a batch that a single process
    computes too: predictions and metrics are equal to the last digit at the same batch size per process.

    Args:
        order: n rows.
        batch_size: of one process.
    """

    def __init__(self, order: Sequence[int], batch_size: int):
        self.order = order
        self.total = -(-len(order) // batch_size) * batch_size

    def __iter__(self) -> Iterator[int]:
        return (self.order[min(place, len(self.order) - 1)] for place in range(self.total))

    def __len__(self) -> int:
        return self.total


def longest_first(lengths: Sequence[int]) -> list[int]:
    """Return the rows from the longest to the shortest, equally long ones in order: if memory is short, the first batch
    shows it.
    """
    return np.argsort(-np.asarray(lengths), kind="stable").tolist()


def in_clip_order(values, order: Sequence[int]):
    """Return arrays whose rows came in an order, with the rows in the order of the clips.

    Args:
        values: an array (n, ...), a tuple, list or dict of such, or None.
        order: the clip of each row.
    """
    if values is None:
        return None
    if isinstance(values, dict):
        return {name: in_clip_order(value, order) for name, value in values.items()}
    if isinstance(values, (tuple, list)):
        return type(values)(in_clip_order(value, order) for value in values)
    restored = torch.empty_like(values) if torch.is_tensor(values) else np.empty_like(values)
    restored[order] = values
    return restored


__all__ = ["LengthGrouped", "WholeBatches", "clip_lengths", "in_clip_order", "length_grouped_order", "longest_first"]
