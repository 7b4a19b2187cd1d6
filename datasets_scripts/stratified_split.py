"""Seeded splits of a corpus that comes without them."""

import random
from collections.abc import Hashable, Sequence


def stratified_parts(labels: Sequence[Hashable], sizes: Sequence[int], seed: int) -> list[list[int]]:
    """Indices of `labels` in parts of exactly the given sizes, each with the classes in the proportions of the whole, to one clip a class.

    Every class is shuffled and spread evenly over one line; the parts are cut from that line. Depends on nothing but the arguments (Python's
    own generator, whose shuffle is the same in every version). Each part is in ascending order.

    Raises:
        ValueError: the sizes do not add up to the number of labels.
    """
    if sum(sizes) != len(labels):
        raise ValueError(f"parts of {list(sizes)} clips make {sum(sizes)}; there are {len(labels)}.")
    members: dict[Hashable, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    generator = random.Random(seed)
    line = []
    for rank, label in enumerate(sorted(members)):
        indices = members[label]
        generator.shuffle(indices)
        line += [((place + 0.5) / len(indices), rank, index) for place, index in enumerate(indices)]
    order = [index for *_, index in sorted(line)]
    cuts = [sum(sizes[:part]) for part in range(len(sizes) + 1)]
    return [sorted(order[start:end]) for start, end in zip(cuts, cuts[1:])]
