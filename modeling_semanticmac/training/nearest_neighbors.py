"""Exact k-nearest neighbours of every row among all other rows (eq. 13), in bounded memory, the same on every machine.

1. Matrix products in single precision find a few candidates more than needed. Their distances are computed again in
   double precision, from differences, and ties go to the lower index.
2. Rows for which rounding could have hidden a neighbour are searched again by products in double precision.
3. What is still undecided are ties: equal rows are then searched once for all, and rows whose distances agree in more
   than ten digits are compared by differences.

Neither the blocks nor the device nor the number of processes can change the result.
"""

import torch

from .full_precision import full_precision
from .neighbor_candidates import NeighborCandidates
from .neighbor_ties import CACHE_BYTES, search_ties

SPARE = 6  # candidates beyond k
NO_FLOAT64 = ("mps",)  # devices without double precision


@full_precision
def nearest_neighbors(
    features: torch.Tensor,
    num_neighbors: int,
    memory_bytes: int = 128 * 2**20,
    rows: torch.Tensor | None = None,
    among: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the K nearest other rows of each row by Euclidean distance, nearest first, ties to the lower index.

    On a device without float64 (Apple's MPS) the search runs on the CPU.

    Args:
        features: (n, d).
        num_neighbors: K; with n <= K rows the other n - 1 are returned.
        memory_bytes: approximate memory of the search beside its result and one float32 copy of the features.
        rows: the rows to search for, ascending (m,); None for all.
        among: only the first so many rows can be neighbours; None: all n.

    Returns:
        Euclidean distances (m, k), float64 (float32 on a device without it), and row indices (m, k),
        k = min(K, n - 1), or min(K, among - 1).

    Raises:
        ValueError: features that are not finite, or K < 1.
    """
    if num_neighbors < 1:
        raise ValueError(f"num_neighbors is {num_neighbors}; expected at least 1.")
    device = features.device
    if among is not None and among < len(features) and rows is None:
        rows = torch.arange(len(features), device=device)
    if device.type in NO_FLOAT64:
        found = _search(features.cpu(), num_neighbors, memory_bytes, None if rows is None else rows.cpu(), among)
        return found[0].sqrt().float().to(device), found[1].to(device)
    squared, indices = _search(features, num_neighbors, memory_bytes, rows, among)
    return squared.sqrt(), indices


def _search(
    features: torch.Tensor,
    num_neighbors: int,
    memory_bytes: int,
    rows: torch.Tensor | None,
    among: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return squared distances (m, k), float64, and indices (m, k).

    Raises:
        ValueError: features that are not finite, or too large to be squared.
    """
    mean = _mean(features, memory_bytes)
    if not torch.isfinite(mean).all():
        raise ValueError("the features hold NaN or infinity: the model has diverged; nearest neighbours do not exist.")
    count = len(features) if among is None else among
    kept = min(num_neighbors, max(count - 1, 0))
    searched = torch.arange(count, device=features.device) if rows is None else rows
    if kept == 0 or len(searched) == 0:
        empty = features.new_zeros(len(searched), kept, dtype=torch.float64)
        return empty, empty.long()
    wanted = min(kept + SPARE, count - 1)
    bound, candidates = NeighborCandidates(features, mean, torch.float32, memory_bytes, among).search(wanted, rows)
    squared, indices = _exact(features, searched, candidates, kept, memory_bytes)
    if wanted == count - 1:
        return squared, indices
    unsure = _unsure(bound, squared)
    if not len(unsure):
        return squared, indices
    products = NeighborCandidates(features, mean, torch.float64, memory_bytes, among)
    if not torch.isfinite(products.largest):
        raise ValueError("the features are too large: their squared distances exceed the range of float64.")
    if rows is None and 2 * len(unsure) > count:
        unsure = searched
        bound, candidates = products.search(wanted)
    else:
        bound, candidates = products.search(wanted, searched[unsure])
    squared[unsure], indices[unsure] = _exact(features, searched[unsure], candidates, kept, memory_bytes)
    tied = unsure[_unsure(bound, squared[unsure])]
    if len(tied):
        squared[tied], indices[tied] = search_ties(
            products, searched[tied], squared[tied, -1], kept, memory_bytes, _search
        )
    return squared, indices


def _mean(features: torch.Tensor, memory_bytes: int) -> torch.Tensor:
    """Return the mean of the rows (d,), float64, without a double copy of them."""
    total = features.new_zeros(features.shape[1], dtype=torch.float64)
    for some in features.split(max(1, memory_bytes // (16 * features.shape[1]))):
        total += some.double().sum(dim=0)
    return total / max(len(features), 1)


def _unsure(bound: torch.Tensor, squared: torch.Tensor) -> torch.Tensor:
    """Return for which rows one that is not a candidate could be as near as the last neighbour."""
    return (~(bound > squared[:, -1])).nonzero().flatten()  # also where the bound is not a number


def _exact(
    features: torch.Tensor, rows: torch.Tensor, candidates: torch.Tensor, kept: int, memory_bytes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the `kept` nearest candidates (m, c) of rows (m,), by differences in double precision."""
    candidates = candidates.sort(dim=1).values  # so that a stable sort by distance leaves ties in order of index
    # Pieces that stay in the processor's cache: several times as fast as pieces that fill the memory allowed.
    chunk = max(1, min(memory_bytes, CACHE_BYTES) // (8 * candidates.shape[1] * features.shape[1]))
    distances, indices = [], []
    for some, others in zip(rows.split(chunk), candidates.split(chunk)):
        differences = features.index_select(0, others.flatten()).double().view(*others.shape, -1)  # (r, c, d)
        squared = differences.sub_(features[some].double()[:, None]).square_().sum(dim=2)  # (r, c)
        squared, order = squared.sort(dim=1, stable=True)
        distances.append(squared[:, :kept])
        indices.append(others.gather(1, order[:, :kept]))
    return torch.cat(distances), torch.cat(indices)


__all__ = ["nearest_neighbors"]
