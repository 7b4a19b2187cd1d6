"""Nearest neighbours with the work shared by all processes."""

import torch
import torch.distributed as dist

from .nearest_neighbors import nearest_neighbors


def shared_nearest_neighbors(
    features: torch.Tensor, num_neighbors: int, memory_bytes: int, among: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `nearest_neighbors` returns for all rows, where every process searches for a part of them.

    Process r of R searches for the rows r, r + R, ...; the results are gathered. The search for all rows computes half
    of the products, so two processes take as long as one, eight a quarter.

    Args:
        features: (n, d), equal on all processes.
        num_neighbors, memory_bytes, among: as in `nearest_neighbors`.
    """
    processes = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if processes == 1:
        return nearest_neighbors(features, num_neighbors, memory_bytes, among=among)
    count = len(features)
    rows = torch.arange(dist.get_rank(), count, processes, device=features.device)
    found = nearest_neighbors(features, num_neighbors, memory_bytes, rows, among)
    distances, indices = (_interleave(part, count, processes) for part in found)
    return distances, indices


def _interleave(part: torch.Tensor, count: int, processes: int) -> torch.Tensor:
    """Gather the rows r, r + R, ... (m, k) of all processes, (n, k)."""
    longest = -(-count // processes)
    padded = part.new_zeros(longest, part.shape[1])
    padded[: len(part)] = part
    gathered = padded.new_empty(processes * longest, part.shape[1])
    dist.all_gather_into_tensor(gathered, padded)
    return gathered.view(processes, longest, -1).transpose(0, 1).reshape(processes * longest, -1)[:count]


__all__ = ["shared_nearest_neighbors"]
