"""Layers of the systems that read whole dialogues."""

import torch
from torch import nn


def reverse_valid(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Reverse the first n utterances of each dialogue, and leave those after them in their place.

    Args:
        values: (D, U, ...).
        lengths: n (D,).
    """
    position = torch.arange(values.shape[1], device=values.device)[None]  # (1, U)
    mirrored = lengths[:, None] - 1 - position  # (D, U)
    index = torch.where(mirrored >= 0, mirrored, position)
    return values.gather(1, index.reshape(*index.shape, *[1] * (values.dim() - 2)).expand_as(values))


class UtteranceAttention(nn.Module):
    """Each utterance as a weighted mean over the dialogue:

        b_ij = softmax_j(e_j . (W e_i + b)),   y_i = sum_j b_ij e_j,   j over the valid utterances

    With `causal` j runs over the utterances up to i. Without a valid utterance y_i is 0.

    Args:
        width: d.
        causal: whether an utterance sees only itself and those before it.
    """

    def __init__(self, width: int, causal: bool = False):
        super().__init__()
        self.query = nn.Linear(width, width)
        self.causal = causal

    def forward(self, utterances: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the weighted means, (D, U, d) -> (D, U, d).

        Args:
            utterances: (D, U, d).
            mask: bool (D, U), the valid ones.
        """
        scores = self.query(utterances) @ utterances.transpose(1, 2)  # (D, U, U)
        seen = mask[:, None, :].expand_as(scores)
        if self.causal:
            seen = seen & torch.ones_like(seen).tril()
        return masked_softmax(scores, seen) @ utterances


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the softmax over the valid entries of the last dimension; zeros where there are none.

    Args:
        scores: (..., n).
        mask: bool, of the same shape.
    """
    lowest = torch.finfo(scores.dtype).min
    return torch.softmax(scores.masked_fill(~mask, lowest), dim=-1).masked_fill(~mask, 0.0)


__all__ = ["UtteranceAttention", "masked_softmax", "reverse_valid"]
