"""The rows of all processes in one tensor, through which gradients flow back to the process that made them."""

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
        # Every process's loss depends on these rows; the sum of what they say belongs to the process that made them.
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows of all processes in order of their rank, (B, ...) -> (G, ...).

    The gradient of a row is the sum over the losses of all processes; with the averaging of `DistributedDataParallel` it becomes that of the mean. Every
    process must give as many rows and run the backward pass.
    """
    return _GatherRows.apply(rows)


__all__ = ["gather_rows"]
