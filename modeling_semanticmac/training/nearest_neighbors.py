"""Exact k-nearest neighbours of every row among all other rows (eq. 13), in bounded memory, the same on every machine.

Fast single-precision blocks find a few candidates more than needed; their distances are then computed again in double
precision, and ties go to the lower index. Rows for which rounding could have hidden a neighbour are searched again
exactly. Neither the blocks nor the device nor the number of processes can change the result.
"""

import torch

from .full_precision import full_precision

SPARE = 6  # candidates beyond k
CACHE_BYTES = 2**21
GROUP = 16  # columns whose minimum is compared first; a power of two


@full_precision
def nearest_neighbors(
    features: torch.Tensor, num_neighbors: int, memory_bytes: int = 128 * 2**20
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the K nearest other rows of each row by Euclidean distance, nearest first, ties to the lower index.

    Each block of distances serves both its rows and its columns, so half of the matrix is computed.

    Args:
        features: (n, d).
        num_neighbors: K; with n <= K rows the other n - 1 are returned.
        memory_bytes: approximate memory of the search beside its result.

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
    """Return the approximate squared distance of the last candidate (n,) and the candidates (n, wanted) of each row,
    unordered.
    """
    count = len(rows)
    # A block of float32 distances, its minima and the candidates of both sides.
    size = int((memory_bytes / 12) ** 0.5) // GROUP * GROUP
    size = max(GROUP, min(size, 2048, -(-count // GROUP) * GROUP))
    squares = rows.square().sum(dim=1)
    best = rows.new_full((count, wanted), float("inf"))
    index = torch.zeros(count, wanted, dtype=torch.long, device=rows.device)
    blocks = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    # The diagonal first: with some neighbours known for every row, most of the following values can be skipped.
    pairs = [(here, here) for here in blocks]
    pairs += [(here, there) for i, here in enumerate(blocks) for there in blocks[i + 1 :]]
    for here, there in pairs:
        block = torch.addmm(squares[None, there], rows[here], rows[there].T, alpha=-2.0)
        block += squares[here, None]
        if here == there:
            block.fill_diagonal_(float("inf"))
        _merge(block, there.start, best[here], index[here])
        if here != there:
            _merge(block.T, here.start, best[there], index[there])
    return best.amax(dim=1), index


def _merge(block: torch.Tensor, offset: int, best: torch.Tensor, index: torch.Tensor) -> None:
    """Merge the distances (r, c) to the columns from `offset` on into the best so far (r, wanted), in place."""
    limit = best.amax(dim=1)  # (r,)
    if block.shape[1] % GROUP or torch.isinf(limit).any():
        values, columns = block.topk(min(best.shape[1], block.shape[1]), dim=1, largest=False, sorted=False)
    else:
        values, columns = _below(block, limit)
    values, numbers = torch.cat([best, values], dim=1), torch.cat([index, columns + offset], dim=1)
    best[:], chosen = values.topk(best.shape[1], dim=1, largest=False, sorted=False)
    index[:] = numbers.gather(1, chosen)


def _below(block: torch.Tensor, limit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the values below each row's limit and their columns, (r, p) each, padded with infinity.

    A plain search spends its time sorting every row. The minimum of each group of columns, computed in a few cheap
    passes, shows which groups to search.
    """
    minima = block
    while minima.shape[1] > block.shape[1] // GROUP:
        half = minima.shape[1] // 2
        minima = torch.minimum(minima[:, :half], minima[:, half:])  # (r, c / GROUP) in the end
    row, group = (minima < limit[:, None]).nonzero(as_tuple=True)
    stride = minima.shape[1]
    columns = group[:, None] + stride * torch.arange(GROUP, device=block.device)  # (h, GROUP)
    values = block[row[:, None], columns]
    hit, member = (values < limit[row, None]).nonzero(as_tuple=True)
    row, columns, values = row[hit], columns[hit, member], values[hit, member]
    counts = torch.bincount(row, minlength=len(block))
    place = torch.arange(len(row), device=block.device) - (counts.cumsum(0) - counts)[row]
    shape = (len(block), int(counts.max()))
    padded = block.new_full(shape, float("inf"))
    numbers = torch.zeros(shape, dtype=torch.long, device=block.device)
    padded[row, place], numbers[row, place] = values, columns
    return padded, numbers


def _exact(
    features: torch.Tensor, candidates: torch.Tensor, kept: int, memory_bytes: int, rows: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the `kept` nearest candidates (r, m) of the given rows (all by default), by differences in double
    precision.
    """
    rows = torch.arange(len(features), device=features.device) if rows is None else rows
    candidates = candidates.sort(dim=1).values  # so that a stable sort by distance leaves ties in order of index
    # Pieces that stay in the processor's cache: several times as fast as pieces that fill the memory allowed.
    chunk = max(1, min(memory_bytes, CACHE_BYTES) // (8 * candidates.shape[1] * features.shape[1]))
    distances, indices = [], []
    for some, others in zip(rows.split(chunk), candidates.split(chunk)):
        squared = (features[others].double() - features[some].double()[:, None]).square_().sum(dim=2)  # (r, m)
        squared, order = squared.sort(dim=1, stable=True)
        distances.append(squared[:, :kept].sqrt())
        indices.append(others.gather(1, order[:, :kept]))
    return torch.cat(distances), torch.cat(indices)
