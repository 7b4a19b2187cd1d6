"""Attention over padded sets, and the small blocks that perceiver and bridge attention are made of."""

import torch
from torch import nn
from torch.nn import functional as F


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the softmax over the last axis among the allowed keys, computed in float32; the others get exactly zero.

    A row without any allowed key is all zeros, not NaN: attention to nothing adds nothing.

    Args:
        scores: logits (..., L_q, L_k).
        mask: True (or 1) for allowed keys, broadcastable to the scores; None allows all.

    Returns:
        Weights of the shape and dtype of the scores.
    """
    weights = scores.float()
    if mask is not None:
        weights = weights.masked_fill(~mask.bool(), torch.finfo(torch.float32).min)
    weights = weights.softmax(dim=-1)
    if mask is not None:
        weights = weights * mask.bool()
    return weights.to(scores.dtype)


def attention_weights(queries: torch.Tensor, keys: torch.Tensor, key_mask: torch.Tensor | None) -> torch.Tensor:
    """Return softmax(Q K^T / sqrt(d_h)) among the allowed keys; shapes as in `attend`, result (B, h, L_q, L_k).

    The weights that `attend` applies without showing them.
    """
    scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5  # (B, h, L_q, L_k)
    return masked_softmax(scores, None if key_mask is None else key_mask[:, None, None, :])


def attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    key_mask: torch.Tensor | None = None,
    dropout: nn.Module | None = None,
) -> torch.Tensor:
    """Return softmax(Q K^T / sqrt(d_h)) V among the allowed keys; zeros for a sample without any allowed key.

    Args:
        queries: (B, h, L_q, d_h).
        keys, values: (B, h, L_k, d_h), or (B, 1, L_k, d_h) for one head that all queries share (multi-query).
        key_mask: (B, L_k), True for valid keys; None allows all.
        dropout: an `nn.Dropout` for the weights; any other module, or None, drops nothing.

    Returns:
        (B, h, L_q, d_h).
    """
    heads = queries.shape[1]
    p = dropout.p if isinstance(dropout, nn.Dropout) and dropout.training else 0.0
    keys, values = keys.expand(-1, heads, -1, -1), values.expand(-1, heads, -1, -1)
    if key_mask is None:
        return F.scaled_dot_product_attention(queries, keys, values, dropout_p=p)
    if not keys.shape[2]:
        return queries @ keys.transpose(-1, -2) @ values  # zeros, and part of the graph on every device
    key_mask = key_mask.bool()
    # A fully masked row has other results on other devices: such samples see all keys, and are set to zero afterwards.
    empty = ~key_mask.any(dim=1)  # (B,)
    allowed = (key_mask | empty[:, None])[:, None, None, :]
    attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=allowed, dropout_p=p)
    return attended.masked_fill(empty[:, None, None, None], 0)


def split_heads(hidden: torch.Tensor, head_width: int) -> torch.Tensor:
    """Reshape (B, L, h * d_h) to (B, h, L, d_h)."""
    return hidden.unflatten(-1, (-1, head_width)).transpose(1, 2)


def merge_heads(hidden: torch.Tensor) -> torch.Tensor:
    """Reshape (B, h, L, d_h) to (B, L, h * d_h)."""
    return hidden.transpose(1, 2).flatten(2)


def masked_mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over the valid tokens, (B, L, d) and mask (B, L) to (B, d); zeros where no token is valid."""
    weights = mask.to(tokens.dtype).unsqueeze(-1)  # (B, L, 1)
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)  # (B, d)


class FeedForward(nn.Module):
    """A feed-forward block: FFN(x) = W_2 act(W_1 x), d -> 4d -> d, with dropout after the activation."""

    def __init__(self, width: int, activation: nn.Module, dropout: float):
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.contract(self.dropout(self.activation(self.expand(hidden))))
