"""Candidates for the nearest neighbours of rows: the smallest distances by blocks of matrix products.

A distance from a matrix product is fast but rounded. `NeighborCandidates` therefore says how far its distances may be
from the true ones, and the caller computes those of the candidates again.
"""

import torch

GROUP = 16  # columns whose minimum is compared first
# Blocks of distances that stay in a processor's cache; a GPU wants few large ones.
LARGEST_BLOCK = {"cpu": 1024, "cuda": 8192}


class NeighborCandidates:
    """The nearest other rows of rows, by squared distances that are rounded to a given precision.

    Rows are centred around their mean, so that a difference of squares loses fewer digits, and extended so that one
    matrix product gives squared distances:

        [-2 a, |a|^2, 1] . [b, 1, |b|^2] = |a - b|^2

    Args:
        features: (n, d); float32 or wider for an exact bound.
        mean: (d,), float64.
        dtype: precision of the products, float32 or float64.
        memory_bytes: approximate memory of the blocks. In float32 a copy of the features comes on top of it; in
            float64 rows are converted block by block.
        among: only the first so many rows can be neighbours; None: all.
    """

    def __init__(
        self, features: torch.Tensor, mean: torch.Tensor, dtype: torch.dtype, memory_bytes: int,
        among: int | None = None,
    ):  # fmt: skip
        self.features, self.mean, self.dtype = features, mean, dtype
        self.count = len(features) if among is None else among
        # A block of distances and, for few of its entries, values and places of both sides.
        size = int((memory_bytes / (3 * dtype.itemsize)) ** 0.5) // GROUP * GROUP
        whole = -(-self.count // GROUP) * GROUP
        self.size = max(GROUP, min(size, LARGEST_BLOCK.get(features.device.type, 1024), whole))
        self.blocks = [slice(start, min(start + self.size, whole)) for start in range(0, whole, self.size)]
        self._extended: torch.Tensor | None = None
        if dtype == torch.float32:
            extended = features.new_empty(whole, features.shape[1] + 2, dtype=dtype)
            for block in self.blocks:
                extended[block] = self._block(block)
            self._extended = extended
        self.largest = max(self._squares(block).max().double() for block in self.blocks)  # squared norm

    def _block(self, rows: slice) -> torch.Tensor:
        """Return [b, 1, |b|^2] of a block of rows; rows that only fill up the last block lie at infinity."""
        if self._extended is not None:
            return self._extended[rows]
        extended = self._extend(self.features[rows.start : min(rows.stop, self.count)])
        missing = rows.stop - rows.start - len(extended)
        if missing:
            filling = extended.new_zeros(missing, extended.shape[1])
            filling[:, -2], filling[:, -1] = 1, float("inf")
            extended = torch.cat([extended, filling])
        return extended

    def _squares(self, rows: slice) -> torch.Tensor:
        """Return the squared norms of a block of rows."""
        return self._block(rows)[: self.count - rows.start, -1]

    def _extend(self, rows: torch.Tensor) -> torch.Tensor:
        centred = (rows.double() - self.mean).to(self.dtype)
        ones = centred.new_ones(len(rows), 1)
        return torch.cat([centred, ones, centred.square().sum(dim=1, keepdim=True)], dim=1)

    def search(self, wanted: int, queries: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the candidates of rows.

        Args:
            wanted: number of candidates, at most n - 1, or `among` - 1.
            queries: rows to search for, ascending (m,); None for all, where all can be neighbours. For all, a block
                serves its rows and its columns, so that half of the products are computed.

        Returns:
            A bound (m,), float64: no row that is not among the candidates is nearer, by its true squared distance; and
            the candidates (m, wanted), unordered.
        """
        if queries is None:
            best, index = self._search_all(wanted)
            squares = torch.cat([self._squares(block) for block in self.blocks])
        else:
            found = [self._search_some(wanted, some) for some in queries.split(self.size)]
            best, index, squares = (torch.cat(parts) for parts in zip(*found))
        # Where distances overflow, a row that only fills up the last block may be among the candidates.
        return best.amax(dim=1).double() - self._rounding(squares.double()), index.clamp_(max=self.count - 1)

    def pairs_below(self, queries: torch.Tensor, limit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the pairs of a query and another row whose squared distance can be at most the query's limit.

        Args:
            queries: rows, ascending (m,); at most `size` of them.
            limit: squared distance (m,), float64.

        Returns:
            Places in `queries` and rows (p,), in order of both.
        """
        extended = self._extend(self.features[queries])
        limit = limit + self._rounding(extended[:, -1].double())
        pairs = []
        for block in self.blocks:
            distances = self._distances(extended, queries, block)
            place, column = (distances <= limit[:, None]).nonzero(as_tuple=True)
            pairs.append(torch.stack([place, column + block.start]))
        place, row = torch.cat(pairs, dim=1)
        order = place.sort(stable=True).indices
        return place[order], row[order]

    def _rounding(self, squares: torch.Tensor) -> torch.Tensor:
        """Return how far the distances of rows with the given squared norms may be from the true ones, at most.

        A sum of d + 2 products is off by at most (d + 2) u times the sum of their magnitudes, here
        2 |a| |b| + |a|^2 + |b|^2 <= 2 (|a|^2 + |b|^2), with u half of eps; rounding the centred rows adds a few u.
        Twice that covers the rounding of the exact distances that the caller compares; the last term stands for numbers
        too small to be represented in full.
        """
        info, width = torch.finfo(self.dtype), self.features.shape[1]
        return 2 * info.eps * (width + 8) * (squares + self.largest) + 4 * width * info.tiny

    def _search_all(self, wanted: int) -> tuple[torch.Tensor, torch.Tensor]:
        whole = self.blocks[-1].stop
        best = self.features.new_full((whole, wanted), float("inf"), dtype=self.dtype)
        best[self.count :] = -float("inf")  # nothing is looked for
        index = torch.zeros(whole, wanted, dtype=torch.long, device=self.features.device)
        # The diagonal first: with some neighbours known for every row, most of the following values can be skipped.
        pairs = [(here, here) for here in self.blocks]
        pairs += [(here, there) for i, here in enumerate(self.blocks) for there in self.blocks[i + 1 :]]
        for here, there in pairs:
            block = _left(self._block(here)) @ self._block(there).T
            if here == there:
                block.fill_diagonal_(float("inf"))
            _merge(block, there.start, best[here], index[here])
            if here != there:
                _merge(block.T, here.start, best[there], index[there])
        return best[: self.count], index[: self.count]

    def _search_some(self, wanted: int, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        extended = self._extend(self.features[queries])
        best = extended.new_full((len(queries), wanted), float("inf"))
        index = torch.zeros(len(queries), wanted, dtype=torch.long, device=queries.device)
        for block in self.blocks:
            _merge(self._distances(extended, queries, block), block.start, best, index)
        return best, index, extended[:, -1]

    def _distances(self, extended: torch.Tensor, queries: torch.Tensor, block: slice) -> torch.Tensor:
        """Return the squared distances of queries to a block of rows, infinity to themselves."""
        distances = _left(extended) @ self._block(block).T
        own = ((queries >= block.start) & (queries < block.stop)).nonzero().flatten()
        distances[own, queries[own] - block.start] = float("inf")
        return distances


def _left(extended: torch.Tensor) -> torch.Tensor:
    """Return [-2 a, |a|^2, 1] from [a, 1, |a|^2]."""
    return torch.cat([-2 * extended[:, :-2], extended[:, -1:], extended[:, -2:-1]], dim=1)


def _merge(block: torch.Tensor, offset: int, best: torch.Tensor, index: torch.Tensor) -> None:
    """Merge the distances (r, c) to the columns from `offset` on into the best so far (r, wanted), in place."""
    wanted = best.shape[1]
    # The smallest distance of each group of columns, (r, c / GROUP), shows which groups to search: sorting every row
    # would take longer than the product. A reduction is fast where its result has the layout of its input, so a
    # transposed block is reduced as it lies.
    minima = _group_minima(block, 1) if block.is_contiguous() else _group_minima(block.T, 0).T
    limit = best.amax(dim=1)
    found = None
    if (limit < float("inf")).all():
        found = _below(block, minima, limit)
    elif minima.shape[1] > wanted:
        # At least `wanted` values lie below the next smallest minimum, unless some are equal.
        limit = minima.topk(wanted + 1, dim=1, largest=False).values[:, -1]
        found = _below(block, minima, limit, at_least=wanted)
    if found is None:
        found = block.topk(min(wanted, block.shape[1]), dim=1, largest=False, sorted=False)
    values, columns = found
    values, numbers = torch.cat([best, values], dim=1), torch.cat([index, columns + offset], dim=1)
    best[:], chosen = values.topk(wanted, dim=1, largest=False, sorted=False)
    index[:] = numbers.gather(1, chosen)


def _group_minima(block: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the minima of groups of GROUP entries along a dimension; the members of a group are a stride apart."""
    return block.unflatten(dim, (GROUP, block.shape[dim] // GROUP)).amin(dim=dim)


def _below(
    block: torch.Tensor, minima: torch.Tensor, limit: torch.Tensor, at_least: int = 0
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the values below each row's limit and their columns, (r, p) each, padded with infinity; None where a row
    has fewer than `at_least`.
    """
    row, group = (minima < limit[:, None]).nonzero(as_tuple=True)
    columns = group[:, None] + minima.shape[1] * torch.arange(GROUP, device=block.device)  # (h, GROUP)
    values = block[row[:, None], columns]
    hit, member = (values < limit[row, None]).nonzero(as_tuple=True)
    row, columns, values = row[hit], columns[hit, member], values[hit, member]
    counts = torch.bincount(row, minlength=len(block))
    if at_least and int(counts.min()) < at_least:
        return None
    place = torch.arange(len(row), device=block.device) - (counts.cumsum(0) - counts)[row]
    shape = (len(block), int(counts.max()))
    padded = block.new_full(shape, float("inf"))
    numbers = torch.zeros(shape, dtype=torch.long, device=block.device)
    padded[row, place], numbers[row, place] = values, columns
    return padded, numbers


__all__ = ["NeighborCandidates"]
