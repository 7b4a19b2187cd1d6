"""Multimodal Transformer: each modality attends to the two others, without aligning them."""

from dataclasses import dataclass

import torch
from torch import nn

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .cross_modal_layers import CrossModalStack
from .fusion import Fused, Fusion, Streams
from .fusion_layers import last_state


@dataclass(frozen=True)
class MultimodalTransformerOptions:
    """Options of [`MultimodalTransformer`]; the defaults are the public settings for CMU-MOSI.

    Args:
        width: d, to which every modality is mapped.
        num_heads: heads of every stack, a divisor of d.
        num_layers: layers N of each crossmodal stack.
        self_layers: least layers of each self-attention stack, which has max(N, self_layers).
        text_kernel, audio_kernel, vision_kernel: odd widths of the convolutions.
        text_dropout: of the text before everything.
        text_attention_dropout, audio_attention_dropout, vision_attention_dropout: of the attention weights, by the
            modality that is attended to; the self-attention stacks use the text's.
        relu_dropout, residual_dropout, embedding_dropout: of the layers.
        output_dropout: before the output.
        positions: add sinusoidal positions.
        causal: let a step see only what begins before it ends.
    """

    width: int = 50
    num_heads: int = 10
    num_layers: int = 4
    self_layers: int = 3
    text_kernel: int = 5
    audio_kernel: int = 5
    vision_kernel: int = 5
    text_dropout: float = 0.5
    text_attention_dropout: float = 0.3
    audio_attention_dropout: float = 0.2
    vision_attention_dropout: float = 0.0
    relu_dropout: float = 0.0
    residual_dropout: float = 0.0
    embedding_dropout: float = 0.2
    output_dropout: float = 0.5
    positions: bool = True
    causal: bool = False


class MultimodalTransformer(Fusion):
    r"""MulT (Tsai et al. 2019, "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL).

        x_m      = Conv1d_m(E_m)                                       (B, T_m, d), without bias
        x_{m<-n} = crossmodal stack of N layers: queries x_m, keys and values x_n, for the six pairs m != n
        h_m      = last valid step of a self-attention stack on [x_{m<-n}; x_{m<-k}]                      (2d)
        z        = [h_t; h_a; h_v]                                                                        (6d)
        y^       = W_3 (z + W_2 dropout(ReLU(W_1 z)))

    The layers are those of [`CrossModalStack`]; the pairs are in the order t<-a, t<-v, a<-t, a<-v, v<-t, v<-a.

    Our readings: the convolutions pad with zeros, so that T_m and the masks keep their meaning (public code shortens
    the sequences; with kernels of 1 both are equal). Padding is masked and the summary is the last valid step; public
    code attends to padding and reads the last step of the padded batch. Attention sees the whole clip: public code
    hides source steps by the difference of the padded lengths, which makes a result depend on the batch; the option
    `causal` is its form in relative time. Where the source of a stack is missing, its attention adds 0; where the
    target is missing, its h_m is 0.
    """

    Options = MultimodalTransformerOptions

    def __init__(self, options: MultimodalTransformerOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        width, shared = options.width, (options.relu_dropout, options.residual_dropout, options.embedding_dropout)
        kernels = {name: getattr(options, f"{name}_kernel") for name in MODALITIES}
        attention = {name: getattr(options, f"{name}_attention_dropout") for name in MODALITIES}
        for name, kernel in kernels.items():
            if kernel < 1 or kernel % 2 == 0:
                raise ValueError(f"{name}_kernel is {kernel}; expected an odd number, so that the length stays.")
        self.text_dropout = nn.Dropout(options.text_dropout)
        self.convolutions = nn.ModuleDict(
            {name: nn.Conv1d(widths[name], width, kernels[name], padding="same", bias=False) for name in MODALITIES}
        )

        def stack(width: int, layers: int, dropout: float) -> CrossModalStack:
            sizes = (width, layers, options.num_heads, dropout)
            return CrossModalStack(*sizes, *shared, options.positions, options.causal)

        self.cross = nn.ModuleDict(
            {
                f"{target}_from_{source}": stack(width, options.num_layers, attention[source])
                for target in MODALITIES
                for source in MODALITIES
                if source != target
            }
        )
        layers = max(options.num_layers, options.self_layers)
        self.own = nn.ModuleDict({name: stack(2 * width, layers, attention["text"]) for name in MODALITIES})
        self.residual = nn.Sequential(
            nn.Linear(6 * width, 6 * width), nn.ReLU(), nn.Dropout(options.output_dropout),
            nn.Linear(6 * width, 6 * width),
        )  # fmt: skip
        self.output = nn.Linear(6 * width, task.num_labels)

    def summaries(self, streams: Streams) -> dict[str, torch.Tensor]:
        """Return h_m (B, 2d) of each modality; 0 where it is missing."""
        masks = {name: getattr(streams, f"{name}_mask") for name in MODALITIES}
        given = {name: getattr(streams, name) for name in MODALITIES}
        given["text"] = self.text_dropout(given["text"])
        mapped = {
            name: convolve(given[name].transpose(1, 2)).transpose(1, 2) for name, convolve in self.convolutions.items()
        }  # (B, T_m, d)
        summaries = {}
        for target, mask in masks.items():
            others = [source for source in MODALITIES if source != target]
            crossed = [
                self.cross[f"{target}_from_{source}"](mapped[target], mask, mapped[source], masks[source])
                for source in others
            ]
            summaries[target] = last_state(self.own[target](torch.cat(crossed, dim=-1), mask), mask)
        return summaries

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        embeds = self.summaries(streams)
        joined = torch.cat([embeds[name] for name in MODALITIES], dim=-1)  # (B, 6d)
        return Fused(logits=self.output(joined + self.residual(joined)), embeds=embeds)


__all__ = ["MultimodalTransformer", "MultimodalTransformerOptions"]
