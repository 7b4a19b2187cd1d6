"""Nearest neighbours that even products in double precision cannot tell apart: equal rows, and distances that agree in
more than ten digits.
"""

from collections.abc import Callable

import torch

from .neighbor_candidates import NeighborCandidates

# Squared distances and indices (m, k) of the k nearest other rows of rows: features, k, memory in bytes, rows.
Search = Callable[[torch.Tensor, int, int, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
CACHE_BYTES = 2**21  # pieces of this size stay in a processor's cache


def search_ties(
    products: NeighborCandidates, rows: torch.Tensor, limit: torch.Tensor, kept: int, memory_bytes: int, search: Search
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest other rows of rows for which products in double precision leave open which these are.

    Equal rows are searched once for all. Without equal rows, only rows that lie much closer together than the whole set
    is wide can be undecided: they are searched by themselves, around a mean of their own.

    Args:
        products: candidates in double precision of the whole set, n rows.
        rows: rows to search for, ascending (m,).
        limit: their squared distance to some k-th neighbour, at least that of the true one (m,).
        kept: k, at most n - 1.
        memory_bytes: approximate memory.
        search: finds the neighbours in a smaller set.

    Returns:
        Squared distances (m, k), float64, nearest first, ties in order of index, and indices (m, k).
    """
    features = products.features
    if products.count < len(features):  # searched among some rows only
        return _search_pairs(products, rows, limit, kept, memory_bytes)
    unique, group = torch.unique(features, dim=0, return_inverse=True)
    if len(unique) < len(features):
        return _search_groups(features, group, rows, kept, memory_bytes, search)
    squared = limit.new_empty(len(rows), kept)
    indices = rows.new_empty(len(rows), kept)
    left = torch.arange(len(rows), device=rows.device)
    reach = limit.sqrt()
    while len(left):
        # All of the undecided rows near the first one, and every row that can be a neighbour of one of them.
        distances = squared_distances(features, rows[left[:1]], memory_bytes).sqrt()
        near = distances[rows[left]] <= 2 * reach[left[0]]
        mine, left = left[near], left[~near]
        radius = (distances[rows[mine]] + reach[mine]).max() * (1 + 1e-9)
        columns = (distances <= radius).nonzero().flatten()
        if len(columns) > 0.9 * len(features):
            squared[mine], indices[mine] = _search_pairs(products, rows[mine], limit[mine], kept, memory_bytes)
        else:
            places = torch.searchsorted(columns, rows[mine])
            squared[mine], found = search(features[columns], kept, memory_bytes, places)
            indices[mine] = columns[found]
    return squared, indices


def squared_distances(features: torch.Tensor, row: torch.Tensor, memory_bytes: int) -> torch.Tensor:
    """Return the squared distances of one row (1,) to all (n,), by differences in double precision."""
    chunk = max(1, min(memory_bytes, CACHE_BYTES) // (8 * features.shape[1]))
    own = features[row].double()
    return torch.cat([(some.double() - own).square_().sum(dim=1) for some in features.split(chunk)])


def _search_groups(
    features: torch.Tensor, group: torch.Tensor, rows: torch.Tensor, kept: int, memory_bytes: int, search: Search
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest other rows where some rows are equal: those of a group have the same distance to all.

    Args:
        group: number of the group of equal rows of each row (n,).
    """
    count, device = len(features), features.device
    everyone = torch.arange(count, device=device)
    # Groups in order of their first member, so that of two groups at one distance the lower index comes first.
    sizes = torch.bincount(group)
    first, order = torch.full_like(sizes, count).scatter_reduce(0, group, everyone, "amin").sort()
    group, sizes = order.argsort()[group], sizes[order]
    members = group.argsort(stable=True)
    start = sizes.cumsum(0) - sizes
    searched = group[rows].unique()
    between, near = search(features[first], kept, memory_bytes, searched)  # (g, k')
    slots = torch.arange(min(int(sizes.max()), kept + 1), device=device)  # more members than that are never needed
    squared, indices = [], []
    for some in rows.split(max(1, memory_bytes // (64 * (near.shape[1] + 1) * len(slots)))):
        own = group[some]
        place = torch.searchsorted(searched, own)
        groups = torch.cat([own[:, None], near[place]], dim=1)[:, :, None]  # (r, 1 + k', 1)
        found = members[(start[groups] + slots).clamp(max=count - 1)]  # (r, 1 + k', slots)
        values = torch.nn.functional.pad(between[place], (1, 0))[:, :, None].expand(found.shape)
        values = values.masked_fill((slots >= sizes[groups]) | (found == some[:, None, None]), float("inf"))
        found, by_index = found.flatten(1).sort(dim=1)
        values, by_distance = values.flatten(1).gather(1, by_index).sort(dim=1, stable=True)
        squared.append(values[:, :kept])
        indices.append(found.gather(1, by_distance[:, :kept]))
    return torch.cat(squared), torch.cat(indices)


def _search_pairs(
    products: NeighborCandidates, rows: torch.Tensor, limit: torch.Tensor, kept: int, memory_bytes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest other rows by the differences to every row that can be one."""
    features = products.features
    chunk = max(1, min(products.size, memory_bytes // (64 * len(features))))
    pairs = max(1, min(memory_bytes, CACHE_BYTES) // (8 * features.shape[1]))
    squared, indices = [], []
    for some, far in zip(rows.split(chunk), limit.split(chunk)):
        place, other = products.pairs_below(some, far)
        values = torch.cat([
            (features[theirs].double() - features[mine].double()).square_().sum(dim=1)
            for mine, theirs in zip(some[place].split(pairs), other.split(pairs))
        ])  # fmt: skip
        order = values.sort(stable=True).indices
        order = order[place[order].sort(stable=True).indices]  # by row, then distance, then index
        counts = torch.bincount(place, minlength=len(some))
        chosen = order[(counts.cumsum(0) - counts)[:, None] + torch.arange(kept, device=rows.device)]
        squared.append(values[chosen])
        indices.append(other[chosen])
    return torch.cat(squared), torch.cat(indices)


__all__ = ["search_ties"]
