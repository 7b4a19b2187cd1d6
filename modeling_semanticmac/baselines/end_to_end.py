"""FE2E and MESM on embeddings: a transformer a modality and weighted logits, MESM with few frames chosen by the text.

Legend: B batch, T frames, w inner width, C outputs.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..task_specification import TaskSpecification
from .fusion import Fused, Fusion, Streams
from .fusion_layers import Projection
from .late_fusion_sequence import FEED_FORWARD, SummaryTransformer


@dataclass(frozen=True)
class EndToEndOptions:
    """Options of [`EndToEnd`]; the defaults are the public settings.

    Args:
        media_width: width w of audio and vision.
        num_layers, num_heads, dropout: of the transformers.
    """

    media_width: int = 64
    num_layers: int = 4
    num_heads: int = 4
    dropout: float = 0.1


@dataclass(frozen=True)
class SparseEndToEndOptions(EndToEndOptions):
    """Options of [`SparseEndToEnd`]; the defaults are the public settings.

    Args:
        media_width, num_layers, num_heads, dropout: as in FE2E.
        keep: share of the attention that the kept frames have together; 1: all frames.
    """

    keep: float = 0.8


class EndToEnd(Fusion):
    """FE2E (on embeddings): the upper part of "Multimodal End-to-End Sparse Model for Emotion Recognition" (Dai et al.
    2021, NAACL), without its sparse attention.

        y_t = Linear(text vector);  y_m = Linear(transformer([c; W_m x_m]) at c),  m = a, v
        y_c = sum_m w_m y_{m,c}

    Our reading: the convolutions over faces and spectrograms are the frozen towers here, so that only what is above
    them is this system. The logits of a missing modality are 0.
    """

    Options = EndToEndOptions
    language_model = "tuned"

    def __init__(self, options: EndToEndOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        o, labels = options, task.num_labels
        self.projections = nn.ModuleDict({name: Projection(widths[name], o.media_width) for name in MEDIA_MODALITIES})
        self.transformers = nn.ModuleDict(
            {name: SummaryTransformer(o.media_width, o.num_layers, o.num_heads, FEED_FORWARD, o.dropout)
             for name in MEDIA_MODALITIES}
        )  # fmt: skip
        outputs = {name: widths["text"] if name == "text" else o.media_width for name in MODALITIES}
        self.outputs = nn.ModuleDict({name: nn.Linear(width, labels) for name, width in outputs.items()})
        self.weights = nn.Linear(len(MODALITIES), 1, bias=False)

    def choose(self, name: str, frames: torch.Tensor, mask: torch.Tensor, text: torch.Tensor):
        """Return the frames (B, T, w) and the mask of those that the transformer reads: all."""
        return frames, mask

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C), and those of the modalities (B, 3, C)."""
        vectors = {"text": streams.text_vector * streams.has("text")}
        for name, transformer in self.transformers.items():
            frames = self.projections[name](getattr(streams, name))
            vectors[name] = transformer(*self.choose(name, frames, getattr(streams, f"{name}_mask"), vectors["text"]))
        logits = torch.stack([self.outputs[name](vectors[name]) * streams.has(name) for name in MODALITIES], dim=1)
        return Fused(self.weights(logits.transpose(1, 2)).squeeze(-1), modality_logits=logits, embeds=vectors)


class SparseEndToEnd(EndToEnd):
    """MESM (on embeddings), "Multimodal End-to-End Sparse Model for Emotion Recognition" (Dai et al. 2021, NAACL).

    FE2E, in which the transformer of audio and of vision reads few frames:

        s = softmax over the frames of  u . tanh(W_x x + W_y t)

    keeps the smallest set of frames, in falling order of s, whose sum reaches `keep`. t is the text vector, 0 without
    text.

    Our readings: the frames are chosen once (published: after each of three stages of the convolutions). The choice
    itself has no gradient; the kept frames are read as they are, with the gradient of s x (a straight-through
    estimate), so that u, W_x and W_y learn.
    """

    Options = SparseEndToEndOptions

    def __init__(self, options: SparseEndToEndOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        width = options.media_width
        self.frame_maps = nn.ModuleDict({name: nn.Linear(width, width) for name in MEDIA_MODALITIES})
        self.text_maps = nn.ModuleDict(
            {name: nn.Linear(widths["text"], width, bias=False) for name in MEDIA_MODALITIES}
        )
        self.scores = nn.ModuleDict({name: nn.Linear(width, 1, bias=False) for name in MEDIA_MODALITIES})

    def choose(self, name: str, frames: torch.Tensor, mask: torch.Tensor, text: torch.Tensor):
        """Return the frames (B, T, w) and the mask of those that the transformer reads: the kept ones."""
        hidden = torch.tanh(self.frame_maps[name](frames) + self.text_maps[name](text)[:, None])
        scores = self.scores[name](hidden).squeeze(-1).float()  # (B, T)
        shares = torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), dim=1).masked_fill(~mask, 0)
        kept = mask & largest_shares(shares.detach(), self.options.keep)
        through = (shares - shares.detach()).to(frames.dtype)[..., None]  # 0, with the gradient of the share
        return frames + frames * through, kept


def largest_shares(shares: torch.Tensor, keep: float) -> torch.Tensor:
    """Return the smallest set of positions, in falling order of their shares, whose sum reaches `keep`.

    At least one is kept, and all where rounding never reaches the sum, so that `keep` of 1 keeps all.

    Args:
        shares: (B, T), which add up to 1.
        keep: in [0, 1].

    Returns:
        bool (B, T).
    """
    if keep >= 1:
        return torch.ones_like(shares, dtype=torch.bool)
    ordered, places = shares.sort(dim=1, descending=True, stable=True)
    larger = ordered.cumsum(dim=1)[:, :-1]  # their sum before each but the first
    kept = torch.cat([torch.ones_like(places[:, :1], dtype=torch.bool), larger < keep], dim=1)
    return torch.zeros_like(kept).scatter(1, places, kept)


__all__ = ["EndToEnd", "EndToEndOptions", "SparseEndToEnd", "SparseEndToEndOptions", "largest_shares"]
