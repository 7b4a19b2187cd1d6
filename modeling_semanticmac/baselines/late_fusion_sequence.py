"""LF-LSTM and LF-Transformer: one sequence model a modality, whose logits are added with weights (Dai et al. 2021).

Legend: B batch, T tokens or frames, w inner width, C outputs.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .cross_modal_layers import sinusoidal_positions
from .fusion import Fused, Fusion, Streams
from .fusion_layers import PackedLSTM, Projection

FEED_FORWARD = 2048  # inner width of the transformers, as published


@dataclass(frozen=True)
class LateFusionLSTMOptions:
    """Options of [`LateFusionLSTM`].

    Args:
        media_width: width w that every stream is projected to; None: the stream's own, as published.
    """

    media_width: int | None = 64


@dataclass(frozen=True)
class LateFusionTransformerOptions:
    """Options of [`LateFusionTransformer`].

    Args:
        media_width: width w that every stream is projected to; None: the stream's own.
        num_layers: layers of each transformer.
        num_heads: attention heads; w must be a multiple of it.
        dropout: in the transformers.
        positions: "sinusoidal", or "none" as in public code.
    """

    media_width: int | None = 64
    num_layers: int = 4
    num_heads: int = 4
    dropout: float = 0.1
    positions: str = "sinusoidal"

    def __post_init__(self):
        if self.positions not in ("sinusoidal", "none"):
            raise ValueError(f"positions is {self.positions!r}; expected sinusoidal or none.")


class RecurrentBranch(nn.Module):
    """The prediction of one modality: final states of a BiLSTM -> Linear(2w, w) -> ReLU -> Linear(w, C)."""

    def __init__(self, width: int, num_labels: int):
        super().__init__()
        self.lstm = PackedLSTM(width, width, bidirectional=True)
        self.hidden, self.output = nn.Linear(2 * width, width), nn.Linear(width, num_labels)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, C) of a sequence (B, T, w)."""
        return self.output(torch.relu(self.hidden(self.lstm(x, mask))))


class SummaryTransformer(nn.Module):
    """A learnt vector before the sequence, post-norm transformer layers, and what they make of that vector.

    Args:
        width: w.
        num_layers, num_heads, feed_forward, dropout: of the layers; w must be a multiple of the heads.
        positions: add sinusoidal positions.
    """

    def __init__(
        self, width: int, num_layers: int, num_heads: int, feed_forward: int, dropout: float, positions: bool = True
    ):
        super().__init__()
        if width % num_heads:
            raise ValueError(
                f"num_heads is {num_heads}, which does not divide the width {width} of a stream; set media_width to a "
                "multiple of it."
            )
        self.has_positions = positions
        self.first = nn.Parameter(torch.randn(width))
        layer = nn.TransformerEncoderLayer(width, num_heads, feed_forward, dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the summary (B, w) of a sequence (B, T, w) with its mask (B, T)."""
        if self.has_positions:
            x = x + sinusoidal_positions(mask.long().cumsum(dim=1), x.shape[-1]).to(x.dtype)
        x = torch.cat([self.first.to(x.dtype).expand(len(x), 1, -1), x], dim=1)  # (B, 1 + T, w)
        seen = torch.cat([mask.new_ones(len(mask), 1), mask], dim=1)
        return self.layers(x, src_key_padding_mask=~seen)[:, 0]


class TransformerBranch(SummaryTransformer):
    """The prediction of one modality: the summary -> Linear(w, w/2) -> ReLU -> Linear(w/2, C)."""

    def __init__(self, width: int, num_labels: int, options: LateFusionTransformerOptions):
        positions = options.positions == "sinusoidal"
        super().__init__(width, options.num_layers, options.num_heads, FEED_FORWARD, options.dropout, positions)
        self.hidden, self.output = nn.Linear(width, width // 2), nn.Linear(width // 2, num_labels)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, C) of a sequence (B, T, w)."""
        return self.output(torch.relu(self.hidden(super().forward(x, mask))))


class _LateFusion(Fusion):
    """A weighted sum of the predictions of the modalities:  y_c = sum_m w_m y_{m,c}.

    The three weights have no bias and are the same for all classes. The prediction of a missing modality is 0, and the
    weights of the others stay as they are.
    """

    def __init__(self, options, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        width = options.media_width
        self.projections = nn.ModuleDict(
            {name: Projection(widths[name], width) if width else nn.Identity() for name in MODALITIES}
        )
        self.branches = nn.ModuleDict(
            {name: self.branch(width or widths[name], task.num_labels) for name in MODALITIES}
        )
        self.weights = nn.Linear(len(MODALITIES), 1, bias=False)

    def branch(self, width: int, num_labels: int) -> nn.Module:
        """Return the network of one modality."""
        raise NotImplementedError

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C), and those of the modalities (B, 3, C)."""
        found = []
        for name, branch in self.branches.items():
            x = self.projections[name](getattr(streams, name))
            found.append(branch(x, getattr(streams, f"{name}_mask")) * streams.has(name))  # (B, C)
        logits = torch.stack(found, dim=1)
        return Fused(self.weights(logits.transpose(1, 2)).squeeze(-1), modality_logits=logits)


class LateFusionLSTM(_LateFusion):
    """LF-LSTM (baseline of Dai et al. 2021).

        y_m = W_2 ReLU(W_1 [h_forward; h_backward] + b_1) + b_2,   h = final states of BiLSTM(x_m)
        y_c = sum_m w_m y_{m,c}

    Our reading: streams are projected to a width of their own first, since the published widths follow the input.
    Public code reads the text at the last, padded position and runs the recurrences over padding; here padding is not
    seen.
    """

    Options = LateFusionLSTMOptions

    def branch(self, width: int, num_labels: int) -> nn.Module:
        """Return the recurrent network of one modality."""
        return RecurrentBranch(width, num_labels)


class LateFusionTransformer(_LateFusion):
    """LF-Transformer (baseline of Dai et al. 2021).

        y_m = W_2 ReLU(W_1 z + b_1) + b_2,   z = place of the learnt vector in Transformer([c; x_m])
        y_c = sum_m w_m y_{m,c}

    Our reading: streams are projected to a width of their own, positions are added (public code has none), and the text
    has a mask too.
    """

    Options = LateFusionTransformerOptions

    def branch(self, width: int, num_labels: int) -> nn.Module:
        """Return the transformer of one modality."""
        return TransformerBranch(width, num_labels, self.options)


__all__ = [
    "LateFusionLSTM", "LateFusionLSTMOptions", "LateFusionTransformer", "LateFusionTransformerOptions",
    "SummaryTransformer",
]  # fmt: skip
