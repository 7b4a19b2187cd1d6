"""LMF, low-rank multimodal fusion (Liu et al. 2018)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .clip_networks import MediaNetwork, TextNetwork
from .fusion import Fused, Fusion, Streams


@dataclass(frozen=True)
class LowRankFusionOptions:
    """Options of LMF; the defaults are MMSA's for CMU-MOSI.

    Args:
        text_hidden, audio_hidden, vision_hidden: h_t, h_a, h_v; the text vector has the width h_t / 2.
        rank: R.
        dropout: in each modality's network.
    """

    text_hidden: int = 128
    audio_hidden: int = 16
    vision_hidden: int = 128
    rank: int = 3
    dropout: float = 0.3


class LowRankProduct(nn.Module):
    """The fusion of LMF: b + sum over r of w_r times the product over modalities of [1; z_m] W_m^r.

    Args:
        widths: d_m of each modality.
        rank: R.
        num_labels: C.
    """

    def __init__(self, widths: list[int], rank: int, num_labels: int):
        super().__init__()
        self.factors = nn.ParameterList([torch.empty(rank, width + 1, num_labels) for width in widths])
        self.weight, self.bias = nn.Parameter(torch.empty(1, rank)), nn.Parameter(torch.zeros(num_labels))
        for parameter in [*self.factors, self.weight]:
            nn.init.xavier_normal_(parameter)

    def forward(self, vectors: list[Tensor]) -> Tensor:
        """Return (B, C) of one vector (B, d_m) a modality."""
        product = torch.ones((), dtype=vectors[0].dtype, device=vectors[0].device)
        for vector, factor in zip(vectors, self.factors):
            with_one = torch.cat([torch.ones_like(vector[:, :1]), vector], dim=-1)
            product = product * torch.einsum("bd,rdc->brc", with_one, factor)  # (B, R, C)
        return torch.einsum("r,brc->bc", self.weight[0], product) + self.bias


class LowRankFusion(Fusion):
    """LMF (Liu et al. 2018).

        z_a, z_v, z_t as in TFN, with o_t = h_t / 2
        y_c = b_c + sum_r w_r  prod_m ([1; z_m] W_m^r)_c       W_m (R, d_m + 1, C), w (R,), b (C,)

    which equals TFN with one linear layer on Z whose weights have the rank R.

    Our reading: all factors, w and b are trained (a public optimizer leaves out w and b); the networks of the
    modalities are those of TFN.
    """

    Options = LowRankFusionOptions

    def __init__(self, options: LowRankFusionOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        text_output = options.text_hidden // 2
        self.text = TextNetwork(widths["text"], options.text_hidden, text_output, options.dropout)
        self.audio = MediaNetwork(widths["audio"], options.audio_hidden, options.dropout)
        self.vision = MediaNetwork(widths["vision"], options.vision_hidden, options.dropout)
        self.product = LowRankProduct(
            [options.audio_hidden, options.vision_hidden, text_output], options.rank, task.num_labels
        )

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        audio = self.audio(streams.audio, streams.audio_mask)
        vision = self.vision(streams.vision, streams.vision_mask)
        text = self.text(streams.text, streams.text_mask)
        return Fused(self.product([audio, vision, text]))


__all__ = ["LowRankFusion", "LowRankFusionOptions", "LowRankProduct"]
