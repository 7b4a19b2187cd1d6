"""What the comparison systems share: means, recurrences and pooling that do not see padding.

Legend: B batch, T frames, L tokens, S steps, D width. A mask is bool, True at valid positions, which may lie anywhere
in a row. Every function gives 0 where a row has no valid position.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..input_scaling import masked_mean

MAX_STEPS = 50  # of a clip without text, in systems that need one step for all modalities


def first_state(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the vector at the first valid position: (B, T, D), (B, T) -> (B, D)."""
    return _at(x, mask.int().argmax(dim=1), mask)


def last_state(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the vector at the last valid position: (B, T, D), (B, T) -> (B, D)."""
    position = torch.arange(mask.shape[1], device=mask.device) * mask  # 0 where invalid
    return _at(x, position.argmax(dim=1), mask)


def _at(x: torch.Tensor, index: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    found = x[torch.arange(len(x), device=x.device), index]  # (B, D)
    return found.masked_fill(~mask.any(dim=1, keepdim=True), 0)


def text_summary(text: torch.Tensor, text_mask: torch.Tensor, content_mask: torch.Tensor, how: str) -> torch.Tensor:
    """Return one vector for the whole text, (B, L, D) -> (B, D).

    Args:
        text_mask: valid tokens (B, L).
        content_mask: those of them that are words (B, L).
        how: "first" valid token, "mean" of the words, or "last" valid token.
    """
    if how == "mean":
        return masked_mean(text, content_mask)
    return first_state(text, text_mask) if how == "first" else last_state(text, text_mask)


def gradient_free(x: torch.Tensor) -> torch.Tensor:
    """Return the values without their gradient, for memories."""
    return x.detach()


def compact(x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Move the valid positions of each row to its front, in order.

    Returns:
        The rows (B, T, D), and the index (B, T) of the position that each came from.
    """
    order = torch.sort(~mask, dim=1, stable=True).indices
    return x.gather(1, order[..., None].expand_as(x)), order


class _Packed(nn.Module):
    """A recurrence over the valid steps of each row; a row without any gets 0."""

    @property
    def recurrence(self) -> nn.RNNBase:
        """The layers, with their sequence in the second dimension."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the final hidden state of the last layer, forward and backward: (B, T, D) -> (B, directions h)."""
        return self.states(x, mask)[1]

    def states(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the hidden states at all steps, (B, T, directions h), 0 at invalid ones; and the final ones."""
        lengths = mask.sum(dim=1)
        rows, order = compact(x.masked_fill(~mask[..., None], 0), mask)
        packed = pack_padded_sequence(rows, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        states, hidden = self.recurrence(packed)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        padded, _ = pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])  # (B, T, directions h)
        back = torch.zeros_like(padded).scatter(1, order[..., None].expand_as(padded), padded)
        last = 2 if self.recurrence.bidirectional else 1
        final = torch.cat(list(hidden[-last:]), dim=-1)
        return back.masked_fill(~mask[..., None], 0), final.masked_fill((lengths == 0)[:, None], 0)


class PackedLSTM(_Packed):
    """LSTM over the valid steps of each row; a row without any gets 0.

    Args:
        input_size, hidden_size, num_layers, bidirectional, dropout: as in `torch.nn.LSTM`.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bidirectional: bool = False, dropout: float = 0.0
    ):
        super().__init__()
        self.lstm = nn.LSTM(
            input_size, hidden_size, num_layers, batch_first=True, bidirectional=bidirectional, dropout=dropout
        )

    @property
    def recurrence(self) -> nn.RNNBase:
        """The LSTM."""
        return self.lstm


class PackedGRU(_Packed):
    """GRU over the valid steps of each row; a row without any gets 0.

    Args:
        input_size, hidden_size, bidirectional: as in `torch.nn.GRU`.
    """

    def __init__(self, input_size: int, hidden_size: int, bidirectional: bool = False):
        super().__init__()
        self.gru = nn.GRU(input_size, hidden_size, batch_first=True, bidirectional=bidirectional)

    @property
    def recurrence(self) -> nn.RNNBase:
        """The GRU."""
        return self.gru


class Projection(nn.Linear):
    """Linear map of a stream to a width of its own, for systems whose inner widths would follow the input width."""


def pool_to_steps(x: torch.Tensor, mask: torch.Tensor, steps_mask: torch.Tensor) -> torch.Tensor:
    """Pool frames to steps: step j of the n valid ones of a row is the mean of the frames j T/n ... (j + 1) T/n - 1.

    T counts the valid frames of the row; the limits are rounded down and up as in adaptive average pooling, so that
    more steps than frames repeat frames. Invalid steps get 0.

    Args:
        x: frames (B, T, D).
        mask: valid frames (B, T).
        steps_mask: valid steps (B, S).

    Returns:
        (B, S, D).
    """
    frames, steps = mask.sum(dim=1)[:, None], steps_mask.sum(dim=1)[:, None].clamp(min=1)  # (B, 1)
    rank = steps_mask.cumsum(dim=1) - 1  # (B, S)
    start = (rank * frames) // steps
    end = -((-(rank + 1) * frames) // steps)
    position = (mask.cumsum(dim=1) - 1)[:, None]  # (B, 1, T)
    inside = (position >= start[..., None]) & (position < end[..., None]) & mask[:, None] & steps_mask[..., None]
    weights = inside.to(x.dtype) / inside.sum(dim=-1, keepdim=True).clamp(min=1).to(x.dtype)  # (B, S, T)
    return weights @ x.masked_fill(~mask[..., None], 0)


class Steps(NamedTuple):
    """The streams at one step for all modalities.

    Args:
        text, audio, vision: (B, S, D_m), 0 at invalid steps and for a missing modality.
        mask: valid steps (B, S).
    """

    text: torch.Tensor
    audio: torch.Tensor
    vision: torch.Tensor
    mask: torch.Tensor


def word_steps(streams) -> Steps:
    """Return streams aligned to the words: audio and vision are pooled to the tokens that are words (`pool_to_steps`).

    Published systems take the span of each word in time; here the words of a clip share its duration evenly. A clip
    without words has min(50, max(T_a, T_v)) steps of equal length, at which text is 0.

    Args:
        streams: a `Streams`.
    """
    counts = _wordless_steps(streams)
    # The width may not depend on a row's company, but to its right nothing is valid: any width serves.
    width = max(streams.text.shape[1], int(counts.max()))
    content = _widen(streams.content_mask, width)
    mask = content | (torch.arange(width, device=counts.device) < counts[:, None])
    text = _widen(streams.text, width).masked_fill(~content[..., None], 0)
    audio = pool_to_steps(streams.audio, streams.audio_mask, mask)
    return Steps(text, audio, pool_to_steps(streams.vision, streams.vision_mask, mask), mask)


def summary_steps(streams) -> Steps:
    """Return streams aligned to all tokens: audio and vision as in `word_steps` at words, their mean at other tokens.

    The first valid step is a summary of each modality, as [CLS] is of the text. A clip without text has one such step
    before those of `word_steps`.

    Args:
        streams: a `Streams`.
    """
    counts = _wordless_steps(streams)
    special = streams.text_mask & ~streams.content_mask
    width = max(streams.text.shape[1], int(counts.max()) + 1)
    content, special = _widen(streams.content_mask, width), _widen(special, width)
    text_mask = content | special
    place = torch.arange(width, device=counts.device)
    bare = ~streams.text_mask.any(dim=1, keepdim=True)  # (B, 1), not even special tokens
    special = special | bare & (place == 0)
    content = content | bare & (place > 0) & (place <= counts[:, None])
    parts = []
    for name in ("audio", "vision"):
        frames, mask = getattr(streams, name), getattr(streams, f"{name}_mask")
        pooled = pool_to_steps(frames, mask, content)
        parts.append(pooled + masked_mean(frames, mask)[:, None] * special[..., None])
    text = _widen(streams.text, width).masked_fill(~text_mask[..., None], 0)
    return Steps(text, *parts, content | special)


def _wordless_steps(streams) -> torch.Tensor:
    """Return the number of steps of each clip without words (B,), min(50, max(T_a, T_v)); 0 for clips with words."""
    frames = torch.stack([streams.audio_mask.sum(dim=1), streams.vision_mask.sum(dim=1)]).amax(dim=0)
    return frames.clamp(max=MAX_STEPS) * ~streams.content_mask.any(dim=1)


def _widen(x: torch.Tensor, width: int) -> torch.Tensor:
    """Add positions of 0 or False on the right, up to a number of positions."""
    return torch.cat([x, x.new_zeros(x.shape[0], width - x.shape[1], *x.shape[2:])], dim=1)


__all__ = [
    "MAX_STEPS", "PackedGRU", "PackedLSTM", "Projection", "Steps", "compact", "first_state", "gradient_free",
    "last_state", "masked_mean", "pool_to_steps", "summary_steps", "text_summary", "word_steps",
]  # fmt: skip
