"""Attention from one padded sequence to another: the layers that MulT and the systems after it are built of."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from ..affective_perceiver import merge_heads, split_heads


class MaskedAttention(nn.Module):
    """Multi-head attention over valid keys.

    It has the weights and, where all keys are valid, the results of `nn.MultiheadAttention`. A sample without a valid
    key gets exactly 0, the output's bias included.

    Shapes: queries (B, L_q, d), keys (B, L_k, d) -> (B, L_q, d).

    Args:
        width: d.
        num_heads: heads, a divisor of d.
        dropout: of the attention weights.

    Raises:
        ValueError: d is not a multiple of the heads.
    """

    def __init__(self, width: int, num_heads: int, dropout: float):
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise ValueError(f"the width {width} is not a multiple of the {num_heads} heads; choose one that is.")
        self.head_width, self.dropout = width // num_heads, nn.Dropout(dropout)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        for part in (self.query, self.key, self.value, self.output):
            # As in public code, where the weights of query, key and value are drawn as one matrix (3d, d).
            nn.init.xavier_uniform_(part.weight, gain=1.0 if part is self.output else 2**-0.5)
            nn.init.zeros_(part.bias)

    def forward(
        self, queries: torch.Tensor, keys: torch.Tensor, key_mask: torch.Tensor, visible: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attend from queries to valid keys.

        Args:
            queries: (B, L_q, d).
            keys: (B, L_k, d), values too.
            key_mask: bool (B, L_k).
            visible: bool (B, L_q, L_k), the keys that each query may see; None: all.
        """
        allowed = key_mask[:, None] if visible is None else key_mask[:, None] & visible  # (B, 1 or L_q, L_k)
        some = allowed.any(dim=-1, keepdim=True)  # (B, 1 or L_q, 1)
        attended = F.scaled_dot_product_attention(
            *(split_heads(part, self.head_width) for part in (self.query(queries), self.key(keys), self.value(keys))),
            # A query without keys sees all, and is set to 0 afterwards: a softmax over nothing is NaN.
            attn_mask=(allowed | ~some)[:, None],
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        return self.output(merge_heads(attended)) * some


class CrossModalLayer(nn.Module):
    """One layer of the crossmodal transformer of MulT, with normalisation before each part:

        x <- x + drop(MHA(LN_0(x), LN_0(y), LN_0(y)))
        x <- x + drop(W_2 drop(ReLU(W_1 LN_1(x))))         inner width 4d

    Shapes: x (B, L_q, d), y (B, L_k, d) -> (B, L_q, d).

    Args:
        width, num_heads, attention_dropout: of the attention.
        relu_dropout: after the ReLU.
        residual_dropout: before each addition.
    """

    def __init__(
        self, width: int, num_heads: int, attention_dropout: float, relu_dropout: float, residual_dropout: float
    ):
        super().__init__()
        self.attention = MaskedAttention(width, num_heads, attention_dropout)
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Dropout(relu_dropout), nn.Linear(4 * width, width)
        )
        self.residual_dropout = nn.Dropout(residual_dropout)
        for part in (self.feed_forward[0], self.feed_forward[-1]):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)

    def forward(
        self, target: torch.Tensor, source: torch.Tensor, source_mask: torch.Tensor, visible: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return x after the layer; x is the target, y the source; masks as in [`MaskedAttention`]."""
        normed = self.attention_norm(source)
        attended = self.attention(self.attention_norm(target), normed, source_mask, visible)
        target = target + self.residual_dropout(attended)
        return target + self.residual_dropout(self.feed_forward(self.feed_forward_norm(target)))


class CrossModalStack(nn.Module):
    """Layers of [`CrossModalLayer`] with one source for all, and a LayerNorm after the last.

    Target and source are first embedded: sqrt(d) x + position, then dropout. Without a source each layer attends to its
    own target.

    Args:
        width: d.
        num_layers: N; 0 leaves LN(embedded target).
        num_heads, attention_dropout, relu_dropout, residual_dropout: of the layers.
        embedding_dropout: after the positions.
        positions: whether sinusoidal positions are added.
        causal: whether a step sees only source steps that begin before it ends, in time relative to the whole clip.
    """

    def __init__(
        self,
        width: int,
        num_layers: int,
        num_heads: int,
        attention_dropout: float = 0.0,
        relu_dropout: float = 0.0,
        residual_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        positions: bool = True,
        causal: bool = False,
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            CrossModalLayer(width, num_heads, attention_dropout, relu_dropout, residual_dropout)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.positions, self.causal = positions, causal

    def embed(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return a sequence (B, L, d) as the layers read it; positions count the valid steps (B, L) from 1."""
        embedded = sequence * sequence.shape[-1] ** 0.5
        if self.positions:
            embedded = embedded + sinusoidal_positions(mask.long().cumsum(dim=1), sequence.shape[-1]).to(embedded.dtype)
        return self.embedding_dropout(embedded)

    def forward(
        self,
        target: torch.Tensor,
        target_mask: torch.Tensor,
        source: torch.Tensor | None = None,
        source_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the target (B, L_q, d) after all layers; masks (B, L_q), (B, L_k)."""
        hidden = self.embed(target, target_mask)
        keys = None if source is None else self.embed(source, source_mask)
        key_mask = target_mask if source is None else source_mask
        visible = earlier_steps(target_mask, key_mask) if self.causal else None
        for layer in self.layers:
            hidden = layer(hidden, hidden if keys is None else keys, key_mask, visible)
        return self.norm(hidden)


def sinusoidal_positions(positions: torch.Tensor, width: int) -> torch.Tensor:
    """Return sin(p w_i) for the first half of the width and cos(p w_i) for the second, w_i = 10000^(-i / (d/2 - 1)).

    The last of an odd width is 0.

    Args:
        positions: integers (B, L).
        width: d.

    Returns:
        (B, L, d).
    """
    half = width // 2
    steps = torch.arange(half, device=positions.device, dtype=torch.float32)
    angles = positions[..., None] * torch.exp(-math.log(10000.0) / max(half - 1, 1) * steps)  # (B, L, d/2)
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=-1), (0, width - 2 * half))


def earlier_steps(target_mask: torch.Tensor, source_mask: torch.Tensor) -> torch.Tensor:
    """Return which source steps begin before a target step ends, j / n_source < (i + 1) / n_target.

    i and j count valid steps, so padding changes nothing; for a sequence with itself this is j <= i.

    Args:
        target_mask: bool (B, L_q).
        source_mask: bool (B, L_k).

    Returns:
        bool (B, L_q, L_k).
    """
    ends, begins = target_mask.long().cumsum(dim=1), source_mask.long().cumsum(dim=1) - 1  # i + 1, j
    counts = target_mask.sum(dim=1)[:, None, None], source_mask.sum(dim=1)[:, None, None]
    return begins[:, None] * counts[0] < ends[..., None] * counts[1]


__all__ = ["CrossModalLayer", "CrossModalStack", "MaskedAttention", "earlier_steps", "sinusoidal_positions"]
