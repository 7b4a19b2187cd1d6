"""MuLoT, our reading: optimal transport between the sequences of two modalities (no public code)."""

from dataclasses import dataclass
from itertools import permutations

import torch
from torch import nn
from torch.nn import functional as F

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .cross_modal_layers import CrossModalStack
from .fusion import Fused, Fusion, Streams
from .fusion_layers import Projection, masked_mean

PAIRS = tuple(permutations(MODALITIES, 2))  # target, source


@dataclass(frozen=True)
class MulotOptions:
    """Options of [`Mulot`]; no settings are published.

    Args:
        width: d, to which every modality is projected.
        num_heads: of the self-attention.
        entropy: epsilon of the transport.
        iterations: of Sinkhorn's algorithm.
        dropout: in the self-attention, and before the output.
    """

    width: int = 64
    num_heads: int = 4
    entropy: float = 0.1
    iterations: int = 50
    dropout: float = 0.1


def transport_plan(
    cost: torch.Tensor, target_mask: torch.Tensor, source_mask: torch.Tensor, entropy: float, iterations: int
) -> torch.Tensor:
    """Return the plan P that minimises <P, cost> - entropy H(P), with uniform marginals over the valid positions.

    By Sinkhorn's algorithm on logarithms, in float32. Padded positions get no mass; without a valid position on one
    side the plan is 0.

    Args:
        cost: (B, n, m).
        target_mask, source_mask: bool (B, n), (B, m).
        entropy, iterations: see above.

    Returns:
        (B, n, m), which adds up to 1.
    """
    valid = target_mask[..., None] & source_mask[:, None]  # (B, n, m)
    lowest = -1e9
    kernel = (-cost.float() / entropy).masked_fill(~valid, lowest)
    rows = -target_mask.sum(dim=1, keepdim=True).clamp(min=1).float().log()  # (B, 1), of each valid position
    columns = -source_mask.sum(dim=1, keepdim=True).clamp(min=1).float().log()
    u, v = torch.zeros_like(kernel[:, :, 0]), torch.zeros_like(kernel[:, 0])
    for _ in range(iterations):
        u = (rows - (kernel + v[:, None]).logsumexp(dim=2)).masked_fill(~target_mask, 0.0)
        v = (columns - (kernel + u[..., None]).logsumexp(dim=1)).masked_fill(~source_mask, 0.0)
    return (kernel + u[..., None] + v[:, None]).exp().masked_fill(~valid, 0.0)


class AttentionPooling(nn.Module):
    """A weighted mean of vectors:  sum_k softmax_k(w . tanh(W x_k)) x_k;  0 where none is valid."""

    def __init__(self, width: int):
        super().__init__()
        self.hidden, self.score = nn.Linear(width, width), nn.Linear(width, 1, bias=False)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (B, d) of x (B, K, d) and its mask (B, K)."""
        scores = self.score(torch.tanh(self.hidden(x))).squeeze(-1)
        lowest = torch.finfo(scores.dtype).min
        weights = torch.softmax(scores.masked_fill(~mask, lowest), dim=1).masked_fill(~mask, 0.0)
        return (weights[:, None] @ x)[:, 0]


class Mulot(Fusion):
    """MuLoT, our reading of "Multimodal Learning using Optimal Transport for Sarcasm and Humor Detection" (Pramanick et
    al. 2022, WACV). No public code.

        h_m = self-attention layer of W_m x_m
        h_{m<-n} = n_m P h_n,   P the transport plan of the cost 1 - cos(h_m, h_n)             for the six pairs
        z_m = attention over the means of h_m and of its two h_{m<-n};   y = Linear(attention over z_t, z_a, z_v)

    What the publication states is the use of self-attention, of optimal transport across modalities and of attention to
    fuse them; widths, layers and the pooling are ours.
    """

    Options = MulotOptions

    def __init__(self, options: MulotOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        o = options
        self.projections = nn.ModuleDict({name: Projection(widths[name], o.width) for name in MODALITIES})
        self.own = nn.ModuleDict(
            {name: CrossModalStack(o.width, 1, o.num_heads, o.dropout, o.dropout, o.dropout) for name in MODALITIES}
        )
        self.pooling = nn.ModuleDict({name: AttentionPooling(o.width) for name in MODALITIES})
        self.fusion = AttentionPooling(o.width)
        self.dropout = nn.Dropout(o.dropout)
        self.output = nn.Linear(o.width, task.num_labels)

    def carried(self, target: torch.Tensor, source: torch.Tensor, masks: tuple[torch.Tensor, torch.Tensor]):
        """Return the source (B, m, d) carried to the positions of the target (B, n, d); masks of both."""
        cosine = F.normalize(target.float(), dim=-1) @ F.normalize(source.float(), dim=-1).transpose(1, 2)
        plan = transport_plan(1 - cosine, *masks, self.options.entropy, self.options.iterations)
        count = masks[0].sum(dim=1)[:, None, None]
        return (count * plan).to(source.dtype) @ source

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        masks = {name: getattr(streams, f"{name}_mask") for name in MODALITIES}
        hidden = {name: self.own[name](self.projections[name](getattr(streams, name)), masks[name]) for name in masks}
        means = {name: [masked_mean(hidden[name], masks[name])] for name in MODALITIES}
        there = {name: [masks[name].any(dim=1)] for name in MODALITIES}
        for target, source in PAIRS:
            found = self.carried(hidden[target], hidden[source], (masks[target], masks[source]))
            means[target].append(masked_mean(found, masks[target]))
            there[target].append(masks[target].any(dim=1) & masks[source].any(dim=1))
        pooled = [
            self.pooling[name](torch.stack(means[name], dim=1), torch.stack(there[name], dim=1)) for name in MODALITIES
        ]
        fused = self.fusion(torch.stack(pooled, dim=1), streams.modality_mask)
        return Fused(self.output(self.dropout(fused)), embeds=dict(zip(MODALITIES, pooled)))


__all__ = ["AttentionPooling", "Mulot", "MulotOptions", "transport_plan"]
