"""Exact k-nearest neighbours of every row among all other rows (eq. 13), in bounded memory, the same on every machine.

Fast single-precision blocks find a few candidates too many; their distances are then computed anew in double precision, and ties go to the lower
index. Rows for which rounding could have hidden a neighbour are searched once more exactly. So neither the blocks nor the device nor the number of
processes can change the result.
"""

import torch

SPARE = 6  # candidates beyond k
GROUP = 16  # columns whose minimum is looked at first


def nearest_neighbors(
    features: torch.Tensor, num_neighbors: int, memory_bytes: int = 128 * 2**20
) -> tuple[torch.Tensor, torch.Tensor]:
    """The K nearest other rows of each row by Euclidean distance, nearest first, ties to the lower index.

    Each block of distances serves both its rows and its columns, so half of the matrix is computed.

    Args:
        features: (n, d).
        num_neighbors: K; with n <= K rows the other n - 1 are given.
        memory_bytes: what the search may take beside its result, roughly.

    Returns:
        Euclidean distances (n, k), float64, and row indices (n, k), k = min(K, n - 1).

    Raises:
        ValueError: features that are not finite, or K < 1.
    """
    if num_neighbors < 1:
        raise ValueError(f"num_neighbors is {num_neighbors}; expected at least 1.")
    if not torch.isfinite(features).all():
        raise ValueError("the features hold NaN or infinity: the model has diverged; nearest neighbours do not exist.")
    count = len(features)
    kept = min(num_neighbors, max(count - 1, 0))
    if kept == 0:
        return features.new_zeros(count, 0, dtype=torch.float64), features.new_zeros(count, 0, dtype=torch.long)
    # Around their mean the rows are shorter, and a difference of squares loses fewer digits.
    centred = (features.double() - features.double().mean(dim=0)).float()
    bound, candidates = _candidates(centred, min(kept + SPARE, count - 1), memory_bytes)
    distances, indices = _exact(features, candidates, kept, memory_bytes)
    if candidates.shape[1] < count - 1:
        # The last candidate's approximate distance minus the rounding of both: no row outside can be nearer than that.
        norms = centred.square().sum(dim=1).max().item()
        rounding = 2 * torch.finfo(torch.float32).eps * (features.shape[1] + 8) * 2 * norms
        unsure = (bound.double() - rounding <= distances[:, -1].square()).nonzero().flatten()
        for rows in unsure.split(max(1, memory_bytes // (64 * count))):
            everyone = torch.arange(count, device=features.device).expand(len(rows), -1)
            everyone = everyone[everyone != rows[:, None]].view(len(rows), count - 1)
            distances[rows], indices[rows] = _exact(features, everyone, kept, memory_bytes, rows)
    return distances, indices


def _candidates(rows: torch.Tensor, wanted: int, memory_bytes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Approximate squared distance of the last candidate (n,) and the candidates (n, wanted) of each row, in no order."""
    count = len(rows)
    # A block of float32 distances, its minima and the candidates of both sides.
    size = int((memory_bytes / 12) ** 0.5) // GROUP * GROUP
    size = max(GROUP, min(size, 2048, -(-count // GROUP) * GROUP))
    squares = rows.square().sum(dim=1)
    best = rows.new_full((count, wanted), float("inf"))
    index = torch.zeros(count, wanted, dtype=torch.long, device=rows.device)
    for top in range(0, count, size):
        here = slice(top, min(top + size, count))
        for left in range(top, count, size):
            there = slice(left, min(left + size, count))
            block = torch.addmm(squares[None, there], rows[here], rows[there].T, alpha=-2.0)
            block += squares[here, None]
            if top == left:
                block.fill_diagonal_(float("inf"))
            _merge(block, left, here, best, index)
            if left > top:
                _merge(block.T, top, there, best, index)
    return best.amax(dim=1), index


def _merge(block: torch.Tensor, offset: int, rows: slice, best: torch.Tensor, index: torch.Tensor) -> None:
    """Fold the distances (r, c) to columns `offset`... into the best so far of the rows."""
    height, width = block.shape
    wanted = best.shape[1]
    columns = None
    if width % GROUP == 0 and width // GROUP > wanted:
        # The nearest columns lie in the groups of the nearest minima: only those groups are sorted.
        grouped = block.unflatten(1, (-1, GROUP))  # (r, c / g, g)
        groups = grouped.amin(dim=2).topk(wanted, dim=1, largest=False, sorted=False).indices  # (r, wanted)
        columns = (groups[..., None] * GROUP + torch.arange(GROUP, device=block.device)).flatten(1)  # (r, wanted * g)
        block = block.gather(1, columns)
    found, place = block.topk(min(wanted, block.shape[1]), dim=1, largest=False, sorted=False)
    place = (place if columns is None else columns.gather(1, place)) + offset
    values, numbers = torch.cat([best[rows], found], dim=1), torch.cat([index[rows], place], dim=1)
    best[rows], chosen = values.topk(wanted, dim=1, largest=False, sorted=False)
    index[rows] = numbers.gather(1, chosen)


def _exact(
    features: torch.Tensor, candidates: torch.Tensor, kept: int, memory_bytes: int, rows: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `kept` nearest among the candidates (r, m) of the given rows (all by default), by differences in double precision."""
    rows = torch.arange(len(features), device=features.device) if rows is None else rows
    candidates = candidates.sort(dim=1).values  # so that a stable sort by distance leaves ties in order of index
    chunk = max(1, memory_bytes // (16 * candidates.shape[1] * features.shape[1]))
    distances, indices = [], []
    for some, others in zip(rows.split(chunk), candidates.split(chunk)):
        squared = (features[others].double() - features[some].double()[:, None]).square_().sum(dim=2)  # (r, m)
        squared, order = squared.sort(dim=1, stable=True)
        distances.append(squared[:, :kept].sqrt())
        indices.append(others.gather(1, order[:, :kept]))
    return torch.cat(distances), torch.cat(indices)
