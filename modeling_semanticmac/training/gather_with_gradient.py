"""Gather the rows of all processes in one tensor, with gradients that return to the process of each row."""

import torch
import torch.distributed as dist


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: torch.Tensor) -> torch.Tensor:
        gathered = rows.new_empty(dist.get_world_size() * len(rows), *rows.shape[1:])
        dist.all_gather_into_tensor(gathered, rows.contiguous())
        return gathered

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        # The loss of every process depends on these rows; the sum of their gradients belongs to the process of the
        # rows.
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes in order of their rank, (B, ...) -> (G, ...).

    The gradient of a row is the sum over the losses of all processes; the averaging of `DistributedDataParallel` turns
    it into that of the mean. Every process must give the same number of rows and run the backward pass.
    """
    return _GatherRows.apply(rows)


__all__ = ["gather_rows"]
