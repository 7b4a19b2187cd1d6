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


def grouped_parts(groups: Sequence[Hashable], shares: Sequence[float], seed: int) -> list[list[int]]:
    """Indices of `groups` in parts of about the given shares; members of one group (a speaker, a video) stay together, no part is empty.

    The groups, largest first and those of one size in a drawn order, each go to the part that lacks most. Depends on nothing but the arguments.
    Each part is in ascending order.

    Args:
        groups: of each clip.
        shares: of the clips, a part each; they add up to 1.

    Raises:
        ValueError: fewer groups than parts.
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    if len(members) < len(shares):
        raise ValueError(f"{len(members)} groups cannot make {len(shares)} parts without dividing one.")
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(members[group]))  # stable: the drawn order stays within a size
    parts: list[list[int]] = [[] for _ in shares]
    for place, group in enumerate(order):
        lacking = [share * len(groups) - len(part) for share, part in zip(shares, parts)]
        empty = [number for number, part in enumerate(parts) if not part]
        # The last groups fill what would stay empty.
        open_parts = empty if len(order) - place <= len(empty) else range(len(parts))
        parts[max(open_parts, key=lambda number: lacking[number])] += members[group]
    return [sorted(part) for part in parts]
