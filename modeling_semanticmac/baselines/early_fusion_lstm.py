"""EF-LSTM: one LSTM over concatenated steps (Williams et al. 2018)."""

from dataclasses import dataclass

import torch
from torch import nn

from ..task_specification import TaskSpecification
from .fusion import Fused, Fusion, Streams
from .fusion_layers import PackedLSTM, word_steps


@dataclass(frozen=True)
class EarlyFusionLSTMOptions:
    """Options of [`EarlyFusionLSTM`]; the defaults are public settings for CMU-MOSI.

    Args:
        hidden_size: width h of the LSTM.
        num_layers: layers of the LSTM.
        dropout: probability between the layers of the output.
        input_norm: "layer" for a layer norm of each step, or "none".
    """

    hidden_size: int = 128
    num_layers: int = 4
    dropout: float = 0.5
    input_norm: str = "layer"

    def __post_init__(self):
        if self.input_norm not in ("layer", "none"):
            raise ValueError(f"input_norm is {self.input_norm!r}; expected layer or none.")


class EarlyFusionLSTM(Fusion):
    """EF-LSTM (Williams et al. 2018, challenge of human multimodal language).

        x_s = LN([t_s; a_s; v_s]),  z = last state of LSTM(x_1 ... x_S)
        y = W_2 dropout(ReLU(W_1 dropout(z) + b_1)) + b_2

    Steps are the words; audio and vision are pooled to them (`word_steps`). A missing modality is 0 in x_s.
    Public code applies a batch norm over the positions of a fixed length and runs the LSTM over padding; here a layer
    norm over the width takes its place, and padding is not seen.
    """

    Options = EarlyFusionLSTMOptions

    def __init__(self, options: EarlyFusionLSTMOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        width, hidden = sum(widths.values()), options.hidden_size
        self.norm = nn.LayerNorm(width) if options.input_norm == "layer" else nn.Identity()
        self.lstm = PackedLSTM(width, hidden, options.num_layers)
        self.hidden = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, task.num_labels)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        steps = word_steps(streams)
        joined = self.norm(torch.cat([steps.text, steps.audio, steps.vision], dim=-1))  # (B, S, D)
        state = self.dropout(self.lstm(joined, steps.mask))  # (B, h)
        return Fused(self.output(self.dropout(torch.relu(self.hidden(state)))))


__all__ = ["EarlyFusionLSTM", "EarlyFusionLSTMOptions"]
