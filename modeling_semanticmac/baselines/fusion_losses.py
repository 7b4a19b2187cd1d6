"""Losses between the representations of a batch that several systems add to the loss of their task."""

import torch
from torch.nn import functional as F

from ..affect_heads import task_loss
from ..task_specification import TaskSpecification


def label_loss(logits: torch.Tensor, labels: torch.Tensor, task: TaskSpecification) -> torch.Tensor:
    """Return the loss of each clip (B,) for predictions of a system's own, without class weights.

    Args:
        logits: (B, C).
        labels: `Streams.labels`, on the scale of the logits.
        task: scores have |y^ - y|, classes the cross entropy of `task_loss`.
    """
    if task.is_regression:
        return (logits.float().squeeze(-1) - labels.float().reshape(-1)).abs()
    return task_loss(logits, labels, task)


def paired_contrast(first: torch.Tensor, second: torch.Tensor, valid: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return how well two views of a sample find each other among all views of a batch (NT-Xent, Chen et al. 2020):

        mean over the 2n views of  logsumexp_{j != i} (x_i . x_j / T) - x_i . x_{i's other view} / T

    on vectors of length 1. It is 0 for fewer than two samples.

    Args:
        first, second: the views (G, d).
        valid: bool (G,), the samples that count.
        temperature: T.

    Returns:
        A scalar, in float32.
    """
    views = F.normalize(torch.cat([first, second]).float(), dim=1)
    counts = torch.cat([valid, valid])  # (2G,)
    scores = views @ views.T / temperature
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    lowest = torch.finfo(scores.dtype).min
    others = scores.masked_fill(itself | ~counts, lowest).logsumexp(dim=1)
    own = (views * views.roll(len(first), dims=0)).sum(dim=1) / temperature
    return (others - own).masked_fill(~counts, 0).sum() / counts.sum().clamp(min=1)


def central_moment_discrepancy(
    first: torch.Tensor, second: torch.Tensor, valid: torch.Tensor, moments: int = 5
) -> torch.Tensor:
    """Return how far the distributions of two representations lie apart (CMD, Zellinger et al. 2017):

        ||E x - E y|| + sum over k = 2..K of ||E (x - E x)^k - E (y - E y)^k||

    Args:
        first, second: x and y, (B, d).
        valid: bool (B,), the samples that count; with fewer than two the result is 0.
        moments: K.

    Returns:
        A scalar, in float32.
    """
    weight = valid.float() / valid.sum().clamp(min=1)  # (B,)
    first, second = first.float(), second.float()
    means = weight @ first, weight @ second  # (d,)
    centred = first - means[0], second - means[1]
    distance = torch.linalg.vector_norm(means[0] - means[1])
    for power in range(2, moments + 1):
        distance = distance + torch.linalg.vector_norm(weight @ centred[0] ** power - weight @ centred[1] ** power)
    return distance * (valid.sum() > 1)


def difference_loss(
    first: torch.Tensor, second: torch.Tensor, valid: torch.Tensor, norm_gradient: bool = False
) -> torch.Tensor:
    """Return the mean of squares of X^T Y (d, d), which is 0 for representations that share no direction.

    The rows of X and Y are centred over the batch and divided by their norms. The product is a sum over samples, so the
    loss grows with the square of their number, as in public code.

    Args:
        first, second: (B, d).
        valid: bool (B,), the samples that count; with fewer than two the result is 0.
        norm_gradient: whether a gradient flows through the norms. Without it, as in public code, the loss does not
            depend on the length of the rows and its gradient shortens them all the same, the more the shorter they
            are: with large steps the rows of all samples become equal.

    Returns:
        A scalar, in float32.
    """
    counts = valid.float()[:, None]  # (B, 1)
    products = []
    for rows in (first.float(), second.float()):
        centred = rows - (rows * counts).sum(dim=0) / counts.sum().clamp(min=1)
        norm = torch.linalg.vector_norm(centred if norm_gradient else centred.detach(), dim=1, keepdim=True)
        products.append(centred / (norm + 1e-6) * counts)
    return (products[0].T @ products[1]).square().mean() * (valid.sum() > 1)


def reconstruction_loss(rebuilt: torch.Tensor, original: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of (B, d) over the valid samples (B,) and all dimensions; 0 where none is valid."""
    squares = F.mse_loss(rebuilt.float(), original.float(), reduction="none").mean(dim=1)  # (B,)
    return (squares * valid).sum() / valid.sum().clamp(min=1)


__all__ = [
    "central_moment_discrepancy", "difference_loss", "label_loss", "paired_contrast", "reconstruction_loss",
]  # fmt: skip
