"""Mean pooling and one linear layer: the simplest system that uses everything the others use."""

from dataclasses import dataclass

import torch
from torch import nn

from ..task_specification import TaskSpecification
from .fusion import Fused, Fusion, Streams
from .fusion_layers import masked_mean


@dataclass(frozen=True)
class MeanPoolingOptions:
    """Options of [`MeanPooling`].

    Args:
        audio, vision: whether the mean of the audio and of the vision embeddings is used beside that of the text.
        dropout: probability in front of the linear layer.
    """

    audio: bool = False
    vision: bool = False
    dropout: float = 0.1


class MeanPooling(Fusion):
    """Mean of the text tokens, and of audio and vision where asked, concatenated; one linear layer.

        y = W [mean t; mean a; mean v] + b

    The mean of the text is over all valid tokens, as in sentence-transformers. The language model is tuned. There is no
    publication: it shows what the language model and the towers do without any fusion.
    """

    Options = MeanPoolingOptions
    language_model = "tuned"

    def __init__(self, options: MeanPoolingOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        self.modalities = ("text", *(name for name in ("audio", "vision") if getattr(options, name)))
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(sum(widths[name] for name in self.modalities), task.num_labels)

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        means = [masked_mean(getattr(streams, name), getattr(streams, f"{name}_mask")) for name in self.modalities]
        return Fused(self.output(self.dropout(torch.cat(means, dim=-1))))


__all__ = ["MeanPooling", "MeanPoolingOptions"]
