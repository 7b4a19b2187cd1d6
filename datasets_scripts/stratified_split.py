"""Seeded splits for corpora that are released without splits."""

import random
from collections.abc import Hashable, Sequence


def stratified_parts(labels: Sequence[Hashable], sizes: Sequence[int], seed: int) -> list[list[int]]:
    """Split the indices of `labels` into parts of exactly the given sizes, with the class proportions of the whole to
    within one clip a class.

    Every class is shuffled and spread evenly over one line; the parts are cut from that line. The result depends on the
    arguments only (Python's generator shuffles the same way in every version). Each part is in ascending order.

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


def grouped_parts(groups: Sequence[Hashable], shares: Sequence[float], seed: int) -> list[list[int]]:
    """Split the indices of `groups` into parts of about the given shares; members of a group (a speaker, a video) stay
    together, no part is empty.

    Groups are assigned from the largest on, groups of one size in a random order, each to the part that lacks most. The
    result depends on the arguments only. Each part is in ascending order.

    Args:
        groups: the group of each clip.
        shares: the share of clips of each part; they add up to 1.

    Raises:
        ValueError: there are fewer groups than parts.
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    if len(members) < len(shares):
        raise ValueError(f"{len(members)} groups cannot make {len(shares)} parts without dividing one.")
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(members[group]))  # a stable sort keeps the random order within a size
    parts: list[list[int]] = [[] for _ in shares]
    for place, group in enumerate(order):
        lacking = [share * len(groups) - len(part) for share, part in zip(shares, parts)]
        empty = [number for number, part in enumerate(parts) if not part]
        # The last groups fill parts that would stay empty.
        open_parts = empty if len(order) - place <= len(empty) else range(len(parts))
        parts[max(open_parts, key=lambda number: lacking[number])] += members[group]
    return [sorted(part) for part in parts]
