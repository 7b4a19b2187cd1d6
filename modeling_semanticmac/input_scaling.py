"""The scale of tower embeddings, from statistics of the training set, and the linear view of a whole stream."""

import torch
from torch import nn
from torch.nn import functional as F

INPUT_SCALINGS = ("standardize", "unit", "none")


class ColumnMoments:
    """Running mean and standard deviation of the columns of rows, in float64.

    The rows are counted from the first one, which keeps the differences of squares small.

    Args:
        width: number of columns D.
    """

    def __init__(self, width: int):
        self.count = 0
        self.origin = torch.zeros(width, dtype=torch.float64)
        self.sums = torch.zeros(2, width, dtype=torch.float64)  # of the differences from the first row, and squared

    def add(self, rows: torch.Tensor) -> None:
        """Add rows (n, D)."""
        rows = rows.detach().to("cpu", torch.float64)
        if len(rows) and not self.count:
            self.origin = rows[0].clone()
        rows = rows - self.origin
        self.count += len(rows)
        self.sums += torch.stack([rows.sum(dim=0), rows.square().sum(dim=0)])

    def mean_and_deviation(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean and the population standard deviation of each column, (D,) each, as float64.

        A column without any spread has the deviation 1, so that dividing by it is harmless.
        """
        mean, square = self.sums / max(self.count, 1)
        deviation = (square - mean.square()).clamp(min=0).sqrt()
        spread = deviation > 1e-6 * (mean + self.origin).abs().clamp(min=1e-6)
        return mean + self.origin, torch.where(spread, deviation, torch.ones_like(deviation))


class InputScaling(nn.Module):
    """Maps embeddings to a common scale (our reading: the towers leave audio and vision on scales that differ by 20).

        standardize   (E - mean) / deviation, for each column, over the valid rows of the training set
        unit          sqrt(D) E / ||E||_2, for each row
        none          E

    The Trainer computes mean and deviation once, before training. They are buffers: a checkpoint holds them. Until then
    (`rows` is 0) "standardize" changes nothing.

    Shapes: (..., D) -> (..., D), float32.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    rows: torch.Tensor

    def __init__(self, width: int, kind: str):
        super().__init__()
        self.kind = kind
        if kind == "standardize":
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("deviation", torch.ones(width))
            self.register_buffer("rows", torch.zeros(()))

    def reset(self) -> None:
        """Forget the statistics."""
        if self.kind == "standardize":
            self.mean.zero_()
            self.deviation.fill_(1.0)
            self.rows.zero_()

    @property
    def is_fitted(self) -> bool:
        """Whether nothing is left to be computed from a training set."""
        return self.kind != "standardize" or bool(self.rows > 0)

    def fit(self, moments: ColumnMoments) -> None:
        """Take over the statistics of a training set; without any row nothing changes."""
        if self.kind == "standardize" and moments.count:
            mean, deviation = moments.mean_and_deviation()
            self.mean.copy_(mean)
            self.deviation.copy_(deviation)
            self.rows.fill_(moments.count)

    def forward(self, embeds: torch.Tensor) -> torch.Tensor:
        """Return the scaled embeddings (..., D)."""
        embeds = embeds.float()
        if self.kind == "standardize":
            return (embeds - self.mean.float()) / self.deviation.float()
        if self.kind == "unit":
            return F.normalize(embeds, dim=-1) * embeds.shape[-1] ** 0.5
        return embeds


def masked_mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over the valid tokens, (B, L, d) and mask (B, L) to (B, d); zeros where no token is valid.

    What stands at the other tokens does not count, NaN neither.
    """
    valid = mask.bool().unsqueeze(-1)  # (B, L, 1)
    total = tokens.masked_fill(~valid, 0).sum(dim=1)  # (B, d)
    return total / valid.sum(dim=1).clamp(min=1).to(tokens.dtype)


def time_summary(embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return mean and population standard deviation over the valid frames of each clip, (B, T, D) to (B, 2D).

    Zeros for a clip without a valid frame. The gradient is defined for one frame, where the deviation is 0.
    """
    mean = masked_mean(embeds, mask)  # (B, D)
    variance = masked_mean((embeds - mean.unsqueeze(1)).square(), mask)
    deviation = torch.where(variance > 0, variance.clamp(min=1e-12).sqrt(), torch.zeros_like(variance))
    return torch.cat([mean, deviation], dim=-1)  # (B, 2D)


def text_summary(tokens: torch.Tensor, mask: torch.Tensor, kind: str) -> torch.Tensor:
    """Return the "mean", "first" or "last" valid token: (B, L, d) and mask (B, L) to (B, d); 0 where none is valid."""
    if kind == "mean" or not tokens.shape[1]:
        return masked_mean(tokens, mask)
    count = mask.long().cumsum(dim=1)  # (B, L), from 1 at the first valid token
    chosen = mask & (count == (1 if kind == "first" else count[:, -1:]))
    return masked_mean(tokens, chosen)


class SummaryProjection(nn.Linear):
    """W and b of `StreamSummary` and `TextSummary`.

    A class of its own because its output starts with unit variance, whatever the width of the stream.
    """


class StreamSummary(nn.Module):
    """A linear view of a whole stream: mean and standard deviation over time, projected to the width d.

        p = W s + b,   s = [mean_t E; deviation_t E], its columns standardised over the training set

    With another scaling than "standardize", s is that of the scaled embeddings, as it is. Zero for a clip without the
    stream.

    Shapes: embeds (B, T, D), mask (B, T) -> (B, d).
    """

    def __init__(self, embed_width: int, width: int, kind: str, dropout: float):
        super().__init__()
        self.frame_scaling = InputScaling(embed_width, "none" if kind == "standardize" else kind)
        self.scaling = InputScaling(2 * embed_width, "standardize" if kind == "standardize" else "none")
        self.dropout = nn.Dropout(dropout)
        self.projection = SummaryProjection(2 * embed_width, width)

    def forward(self, embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return p (B, d)."""
        mask = mask.bool()
        embeds = self.frame_scaling(embeds.masked_fill(~mask.unsqueeze(-1), 0))
        summary = self.dropout(self.scaling(time_summary(embeds, mask)))
        projected = self.projection(summary.to(self.projection.bias.dtype))  # (B, d)
        return projected.masked_fill(~mask.any(dim=1, keepdim=True), 0)


class TextSummary(nn.Module):
    """A linear view of a whole text: its summary h, normalised and projected to the width d.

        p = W (h - mean(h)) / deviation(h) + b,   both over the D values of h

    Language models differ in the scale of their hidden states. Normalised, p begins with unit variance for all of them,
    as the views of sound and pictures do (`StreamSummary`). Without it, the first steps of the predictors are several
    times shorter than those of a linear layer on h: MiniLM's mean token has a deviation of 0.2. Zero for a clip without
    text.

    Shapes: hidden states (B, L, D), mask (B, L) -> (B, d).
    """

    def __init__(self, text_width: int, width: int, kind: str, dropout: float):
        super().__init__()
        self.kind = kind
        self.norm = nn.LayerNorm(text_width, elementwise_affine=False)  # the projection learns scale and shift
        self.dropout = nn.Dropout(dropout)
        self.projection = SummaryProjection(text_width, width)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return p (B, d)."""
        summary = self.dropout(self.norm(text_summary(hidden, mask, self.kind)))
        projected = self.projection(summary.to(self.projection.bias.dtype))  # (B, d)
        return projected.masked_fill(~mask.any(dim=1, keepdim=True), 0)
