"""BBFN: text with audio and text with vision, in gated cross-modal layers that see how the two sides differ."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..task_specification import TaskSpecification
from .cross_modal_layers import CrossModalLayer
from .fusion import Fused, Fusion, Streams
from .fusion_layers import PackedGRU, Steps, first_state, masked_mean, summary_steps

SIDES = ("text", "media")


@dataclass(frozen=True)
class BiBimodalOptions:
    """Options of [`BiBimodalFusion`]; the defaults are the public settings for CMU-MOSI.

    Args:
        width: d, to which every modality is mapped.
        num_heads, num_layers: of the cross-modal layers, N.
        kernel: odd width of the convolutions.
        attention_dropout, relu_dropout, residual_dropout: of the layers.
        embedding_dropout: after the convolutions.
        output_dropout: in the output layers.
        separation_weight: of the loss that tells the two sides apart.
    """

    width: int = 40
    num_heads: int = 5
    num_layers: int = 5
    kernel: int = 3
    attention_dropout: float = 0.1
    relu_dropout: float = 0.1
    residual_dropout: float = 0.1
    embedding_dropout: float = 0.25
    output_dropout: float = 0.0
    separation_weight: float = 0.1

    def __post_init__(self):
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; expected an odd number, so that the length stays.")


class GatedLayer(CrossModalLayer):
    """One direction of a layer: a cross-modal layer whose attention and residual have gates.

        x <- sigmoid(F c) * MHA(LN x, LN y, LN y) + sigmoid(M c) * x
        x <- x + W_2 ReLU(W_1 LN x)                        inner width 4d

    Shapes: x (B, S, d), y (B, S, d), c (B, 2d).
    """

    def __init__(self, width: int, num_heads: int, attention: float, relu: float, residual: float):
        super().__init__(width, num_heads, attention, relu, residual)
        self.forget, self.mix = nn.Linear(2 * width, width), nn.Linear(2 * width, width)

    def gated(self, target: torch.Tensor, source: torch.Tensor, mask: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Return x after the layer: x is the target, y the source with its mask (B, S)."""
        attended = self.attention(self.attention_norm(target), self.attention_norm(source), mask)
        attended = self.residual_dropout(attended)
        target = torch.sigmoid(self.forget(c))[:, None] * attended + torch.sigmoid(self.mix(c))[:, None] * target
        return target + self.residual_dropout(self.feed_forward(self.feed_forward_norm(target)))


class PairLayer(nn.Module):
    """A layer of both directions of a pair, with a summary of each side and what tells the summaries apart.

    The summary is a linear map of the mean in the first layer, later the mean of a biGRU with its directions averaged.
    """

    def __init__(self, options: BiBimodalOptions, is_first: bool):
        super().__init__()
        o, width = options, options.width
        self.summaries = nn.ModuleDict(
            {side: nn.Linear(width, width) if is_first else PackedGRU(width, width, True) for side in SIDES}
        )
        for name, weight in self.summaries.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(weight)
        self.layers = nn.ModuleDict(
            {side: GatedLayer(width, o.num_heads, o.attention_dropout, o.relu_dropout, o.residual_dropout)
             for side in SIDES}
        )  # fmt: skip
        self.discriminator = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, 1))

    def summary(self, side: str, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return e (B, d) of a side (B, S, d)."""
        module = self.summaries[side]
        if isinstance(module, PackedGRU):
            states, _ = module.states(x, mask)
            return masked_mean(torch.stack(states.chunk(2, dim=-1)).mean(dim=0), mask)
        return module(masked_mean(x, mask))

    def forward(self, sides: dict[str, torch.Tensor], masks: dict[str, torch.Tensor]):
        """Return both sides (B, S, d) after the layer, and the logit (B, 2) that each summary is of the media.

        Args:
            sides, masks: of text and media, (B, S, d) and (B, S); a missing one has a mask of zeros.
        """
        found = [self.summary(side, sides[side], masks[side]) for side in SIDES]
        found = [e * masks[side].any(dim=1, keepdim=True) for e, side in zip(found, SIDES)]
        c = torch.cat(found, dim=-1)
        new = {
            side: self.layers[side].gated(sides[side], sides[other], masks[other], c)
            for side, other in zip(SIDES, SIDES[::-1])
        }
        return new, torch.cat([self.discriminator(e) for e in found], dim=-1)


class BiBimodalFusion(Fusion):
    """BBFN, "Bi-Bimodal Modality Fusion for Correlation-Controlled Multimodal Sentiment Analysis" (Han et al. 2021,
    ICMI).

        x_m = Conv1d_m(E_m)                                     (B, S, d), without bias
        two pairs, (t, a) and (t, v), each through N layers of `PairLayer`, both directions from the layer's inputs
        z   = [t|a; a|t; t|v; v|t] at the first step            (4d)
        y   = W_3 (z + W_2 ReLU(W_1 z))
        L   = task + w sum over pairs and layers of the cross entropy of telling the summaries e_t and e_m apart

    Our readings: audio and vision are pooled to the tokens (public data are aligned), and have the mean of their frames
    at special tokens; a clip without text has one such step first, and the steps of MFN after it. A missing side is no
    key, has the summary 0, and its direction is 0 in z. The discriminator is trained to tell the sides apart, and the
    sides help it: as in public code, no gradient is reversed. Positions and a norm that public code makes but does not
    use are left out.
    """

    Options = BiBimodalOptions
    language_model = "tuned"

    def __init__(self, options: BiBimodalOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        width = options.width
        self.convolutions = nn.ModuleDict(
            {name: nn.Conv1d(widths[name], width, options.kernel, padding="same", bias=False) for name in MODALITIES}
        )
        self.embedding_dropout = nn.Dropout(options.embedding_dropout)
        self.pairs = nn.ModuleDict(
            {name: nn.ModuleList(PairLayer(options, is_first=not layer) for layer in range(options.num_layers))
             for name in MEDIA_MODALITIES}
        )  # fmt: skip
        self.residual = nn.Sequential(
            nn.Linear(4 * width, 4 * width), nn.ReLU(), nn.Dropout(options.output_dropout),
            nn.Linear(4 * width, 4 * width),
        )  # fmt: skip
        self.output = nn.Linear(4 * width, task.num_labels)

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C), and in training the loss of the discriminators."""
        steps: Steps = summary_steps(streams)
        mapped = {
            name: self.embedding_dropout(convolve(getattr(steps, name).transpose(1, 2)).transpose(1, 2))
            for name, convolve in self.convolutions.items()
        }  # (B, S, d)
        masks = {name: steps.mask & streams.has(name).bool() for name in MODALITIES}
        first, separation = [], streams.text.new_zeros(())
        for name, layers in self.pairs.items():
            sides = {"text": mapped["text"], "media": mapped[name]}
            for layer in layers:
                sides, told = layer(sides, {"text": masks["text"], "media": masks[name]})
                if self.training:
                    separation = separation + self._separation(streams, name, told)
            first += [first_state(sides["text"], masks["text"]), first_state(sides["media"], masks[name])]
        joined = torch.cat(first, dim=-1)
        losses = {"separation": self.options.separation_weight * separation} if self.training else None
        return Fused(self.output(joined + self.residual(joined)), embeds={"multimodal": joined}, losses=losses)

    def _separation(self, streams: Streams, name: str, told: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy of the sides, the mean over the clips that have both."""
        truth = torch.tensor([0.0, 1.0], device=told.device).expand_as(told)
        each = F.binary_cross_entropy_with_logits(told.float(), truth, reduction="none").mean(dim=1)
        return streams.mean(each, streams.modality_mask[:, 0] & streams.modality_mask[:, MODALITIES.index(name)])


__all__ = ["BiBimodalFusion", "BiBimodalOptions", "GatedLayer", "PairLayer"]
