"""Networks that turn one stream of a clip into one vector, shared by LF-DNN, TFN and LMF.

Legend: B batch, T frames or tokens, D width of the stream.
"""

import torch
from torch import Tensor, nn

from .fusion_layers import PackedLSTM, masked_mean


class MediaNetwork(nn.Module):
    """The mean of the valid frames through three layers: LN -> dropout -> 3 x (Linear, ReLU).

    The published networks normalize the mean over the padded length with the statistics of the batch; the layer norm
    has as many weights, and does not depend on padding or on the other clips.

    Args:
        width: D of the stream.
        hidden: width of the layers and of the result.
        dropout: before the first layer.
    """

    def __init__(self, width: int, hidden: int, dropout: float):
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.layers = nn.ModuleList([nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)])

    def forward(self, stream: Tensor, mask: Tensor) -> Tensor:
        """Return (B, hidden) of a stream (B, T, D) and its mask (B, T); exactly 0 where no frame is valid."""
        hidden = self.dropout(self.norm(masked_mean(stream, mask)))
        for layer in self.layers:
            hidden = torch.relu(layer(hidden))
        return hidden * mask.any(dim=1, keepdim=True)


class TextNetwork(nn.Module):
    """The last state of an LSTM over the valid tokens, then dropout and a linear layer.

    Args:
        width: D of the tokens.
        hidden: width of the LSTM.
        output: width of the result.
        dropout: between the LSTM and the linear layer.
    """

    def __init__(self, width: int, hidden: int, output: int, dropout: float):
        super().__init__()
        self.recurrence, self.dropout = PackedLSTM(width, hidden), nn.Dropout(dropout)
        self.projection = nn.Linear(hidden, output)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return (B, output) of tokens (B, T, D) and their mask (B, T); exactly 0 where no token is valid."""
        states = self.projection(self.dropout(self.recurrence(tokens, mask)))
        return states * mask.any(dim=1, keepdim=True)


class Classifier(nn.Module):
    """dropout -> 2 x (Linear, ReLU) -> Linear.

    Args:
        width: of the fused vector.
        hidden: width of the two layers.
        num_labels: C, number of outputs.
        dropout: before the first layer.
    """

    def __init__(self, width: int, hidden: int, num_labels: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList([nn.Linear(width, hidden), nn.Linear(hidden, hidden)])
        self.output = nn.Linear(hidden, num_labels)

    def forward(self, fused: Tensor) -> Tensor:
        """Return logits (B, C) of fused vectors (B, width)."""
        hidden = self.dropout(fused)
        for layer in self.layers:
            hidden = torch.relu(layer(hidden))
        return self.output(hidden)


__all__ = ["Classifier", "MediaNetwork", "TextNetwork"]
