"""Attention over padded sets: the masked softmax and the small blocks that perceiver and bridge attention are made of."""

import torch
from torch import nn


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Softmax over the last axis among the allowed keys, in float32; exactly zero for the others.

    A row without any allowed key gives all zeros, not NaN: attention to nothing adds nothing.

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
    """softmax(Q K^T / sqrt(d_h)) among the allowed keys, shapes as in `attend` -> (B, h, L_q, L_k)."""
    scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5  # (B, h, L_q, L_k)
    return masked_softmax(scores, None if key_mask is None else key_mask[:, None, None, :])


def attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, key_mask: torch.Tensor | None, dropout: nn.Module
) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d_h)) V among the allowed keys.

    Args:
        queries: (B, h, L_q, d_h).
        keys, values: (B, h, L_k, d_h), or (B, 1, L_k, d_h) for one head that all queries share (multi-query).
        key_mask: (B, L_k), True for valid keys; None for all.
        dropout: applied to the weights.

    Returns:
        (B, h, L_q, d_h).
    """
    return dropout(attention_weights(queries, keys, key_mask)) @ values  # (B, h, L_q, d_h)


def split_heads(hidden: torch.Tensor, head_width: int) -> torch.Tensor:
    """(B, L, h * d_h) -> (B, h, L, d_h)."""
    return hidden.unflatten(-1, (-1, head_width)).transpose(1, 2)


def merge_heads(hidden: torch.Tensor) -> torch.Tensor:
    """(B, h, L, d_h) -> (B, L, h * d_h)."""
    return hidden.transpose(1, 2).flatten(2)


def masked_mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the valid tokens: (B, L, d), (B, L) -> (B, d); zeros where no token is valid."""
    weights = mask.to(tokens.dtype).unsqueeze(-1)  # (B, L, 1)
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)  # (B, d)


class FeedForward(nn.Module):
    """FFN(x) = W_2 act(W_1 x), d -> 4d -> d, dropout after the activation."""

    def __init__(self, width: int, activation: nn.Module, dropout: float):
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.contract(self.dropout(self.activation(self.expand(hidden))))
