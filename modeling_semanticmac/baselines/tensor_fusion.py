"""TFN, the tensor fusion network (Zadeh et al. 2017)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .clip_networks import Classifier, MediaNetwork, TextNetwork
from .fusion import Fused, Fusion, Streams


@dataclass(frozen=True)
class TensorFusionOptions:
    """Options of TFN; the defaults are MMSA's for CMU-MOSI.

    Args:
        text_hidden, audio_hidden, vision_hidden: h_t, h_a, h_v.
        text_output: o_t, width of the text vector.
        fusion_hidden: width of the layers after the fusion.
        text_dropout, audio_dropout, vision_dropout: in each modality's network.
        fusion_dropout: after the fusion.
    """

    text_hidden: int = 128
    audio_hidden: int = 32
    vision_hidden: int = 128
    text_output: int = 32
    fusion_hidden: int = 64
    text_dropout: float = 0.3
    audio_dropout: float = 0.3
    vision_dropout: float = 0.3
    fusion_dropout: float = 0.5


def outer_product(audio: Tensor, vision: Tensor, text: Tensor) -> Tensor:
    """Return [1; a] (x) [1; v] (x) [1; t] of vectors (B, a), (B, v), (B, t) as (B, (a+1)(v+1)(t+1)), t fastest."""
    audio, vision, text = (torch.cat([torch.ones_like(x[:, :1]), x], dim=-1) for x in (audio, vision, text))
    return torch.einsum("bi,bj,bk->bijk", audio, vision, text).flatten(1)


class TensorFusion(Fusion):
    """TFN (Zadeh et al. 2017).

        a, v = 3 x (Linear, ReLU) of the normalized mean of the frames;  t = Linear of the last LSTM state
        Z    = [1; a] (x) [1; v] (x) [1; t]     (B, (h_a+1) (h_v+1) (o_t+1)), t varies fastest
        y    = Linear of 2 x (Linear, ReLU) of Z

    A missing modality has the vector 0 and keeps its leading 1, so the products of the others remain.

    Our reading: no score is squashed into a range, vision is not divided by the largest value of the training set, the
    mean is taken over valid frames, and a layer norm replaces the batch norm over it.
    """

    Options = TensorFusionOptions

    def __init__(self, options: TensorFusionOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        self.text = TextNetwork(widths["text"], options.text_hidden, options.text_output, options.text_dropout)
        self.audio = MediaNetwork(widths["audio"], options.audio_hidden, options.audio_dropout)
        self.vision = MediaNetwork(widths["vision"], options.vision_hidden, options.vision_dropout)
        fused = (options.audio_hidden + 1) * (options.vision_hidden + 1) * (options.text_output + 1)
        self.classifier = Classifier(fused, options.fusion_hidden, task.num_labels, options.fusion_dropout)

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        audio = self.audio(streams.audio, streams.audio_mask)
        vision = self.vision(streams.vision, streams.vision_mask)
        text = self.text(streams.text, streams.text_mask)
        return Fused(self.classifier(outer_product(audio, vision, text)))


__all__ = ["TensorFusion", "TensorFusionOptions", "outer_product"]
