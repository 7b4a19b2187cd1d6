"""LF-DNN: late fusion of one vector a modality (Cambria et al. 2017)."""

from dataclasses import dataclass

import torch

from .clip_networks import Classifier, MediaNetwork, TextNetwork
from .fusion import Fused, Fusion, Streams


@dataclass(frozen=True)
class LateFusionDnnOptions:
    """Options of LF-DNN; the defaults are MMSA's for CMU-MOSI.

    Args:
        text_hidden, audio_hidden, vision_hidden: h_t, h_a, h_v.
        text_output: o_t, width of the text vector.
        fusion_hidden: width of the layers after the fusion.
        dropout: in each modality's network.
        fusion_dropout: after the fusion.
    """

    text_hidden: int = 128
    audio_hidden: int = 16
    vision_hidden: int = 128
    text_output: int = 256
    fusion_hidden: int = 128
    dropout: float = 0.2
    fusion_dropout: float = 0.2


class LateFusionDnn(Fusion):
    """LF-DNN (Cambria et al. 2017, as rebuilt by MMSA).

        a, v = 3 x (Linear, ReLU) of the normalized mean of the frames      (B, h_a), (B, h_v)
        t    = Linear of the last LSTM state                                (B, o_t)
        y    = Linear of 2 x (Linear, ReLU) of [a; v; t]                    (B, C)

    Our reading: the mean is taken over valid frames only, and a layer norm replaces the batch norm over it.
    """

    Options = LateFusionDnnOptions

    def __init__(self, options: LateFusionDnnOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        self.text = TextNetwork(widths["text"], options.text_hidden, options.text_output, options.dropout)
        self.audio = MediaNetwork(widths["audio"], options.audio_hidden, options.dropout)
        self.vision = MediaNetwork(widths["vision"], options.vision_hidden, options.dropout)
        fused = options.audio_hidden + options.vision_hidden + options.text_output
        self.classifier = Classifier(fused, options.fusion_hidden, task.num_labels, options.fusion_dropout)

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        audio = self.audio(streams.audio, streams.audio_mask)
        vision = self.vision(streams.vision, streams.vision_mask)
        text = self.text(streams.text, streams.text_mask)
        return Fused(self.classifier(torch.cat([audio, vision, text], dim=-1)))


__all__ = ["LateFusionDnn", "LateFusionDnnOptions"]
