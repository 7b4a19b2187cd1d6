"""ALMT: a few tokens a modality; text, at several depths, picks what audio and vision add to common tokens."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..affective_perceiver import merge_heads, split_heads
from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..task_specification import TaskSpecification
from .cross_modal_layers import CrossModalLayer, sinusoidal_positions
from .fusion import Fused, Fusion, Streams
from .fusion_layers import Projection


@dataclass(frozen=True)
class HyperModalityOptions:
    """Options of [`HyperModality`]; the defaults are the public settings for CMU-MOSI.

    Args:
        width: d, of all tokens.
        num_tokens: tokens of a modality, and common ones.
        num_heads: of all attention.
        feed_forward_width: inner width of the transformers.
        depth: layers in which text picks, each from a deeper layer of its transformer.
        fusion_layers: layers in which text reads the common tokens.
        dropout: in the transformers.
    """

    width: int = 128
    num_tokens: int = 8
    num_heads: int = 8
    feed_forward_width: int = 128
    depth: int = 3
    fusion_layers: int = 2
    dropout: float = 0.0


class TokenEncoder(nn.Module):
    """Learnt tokens before a projected sequence, one pre-norm transformer layer, and what it makes of the tokens."""

    def __init__(self, input_width: int, options: HyperModalityOptions):
        super().__init__()
        o = options
        self.projection = Projection(input_width, o.width)
        self.tokens = nn.Parameter(torch.randn(o.num_tokens, o.width) * 0.02)
        self.layer = _layer(o)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (B, K, d) of a stream (B, T, D) and its mask (B, T)."""
        x = self.projection(x)
        x = x + sinusoidal_positions(mask.long().cumsum(dim=1), x.shape[-1]).to(x.dtype)
        x = torch.cat([self.tokens.to(x.dtype).expand(len(x), -1, -1), x], dim=1)
        seen = F.pad(mask, (len(self.tokens), 0), value=True)
        return self.layer(x, src_key_padding_mask=~seen)[:, : len(self.tokens)]


def _layer(options: HyperModalityOptions) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        options.width, options.num_heads, options.feed_forward_width, options.dropout, "gelu", batch_first=True,
        norm_first=True,
    )  # fmt: skip


class HyperLayer(nn.Module):
    """h <- h + W [softmax(Q K_a^T / sqrt(d_h)) V_a + softmax(Q K_v^T / sqrt(d_h)) V_v],  Q of the text."""

    def __init__(self, options: HyperModalityOptions):
        super().__init__()
        width = options.width
        if width % options.num_heads:
            raise ValueError(
                f"the width {width} is not a multiple of the {options.num_heads} heads; choose one that is."
            )
        self.head_width = width // options.num_heads
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in MODALITIES})
        self.query = nn.Linear(width, width, bias=False)
        self.keys = nn.ModuleDict({name: nn.Linear(width, width, bias=False) for name in MEDIA_MODALITIES})
        self.values = nn.ModuleDict({name: nn.Linear(width, width, bias=False) for name in MEDIA_MODALITIES})
        self.output = nn.Linear(width, width)

    def forward(
        self, hyper: torch.Tensor, text: torch.Tensor, media: dict[str, torch.Tensor], has: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Return the common tokens (B, K, d) after the layer.

        Args:
            hyper, text: (B, K, d).
            media: tokens of audio and vision, (B, K, d).
            has: which clips have them, (B, 1); others add nothing.
        """
        query = split_heads(self.query(self.norms["text"](text)), self.head_width)
        found = torch.zeros_like(text)
        for name, tokens in media.items():
            normed = self.norms[name](tokens)
            key, value = (split_heads(part[name](normed), self.head_width) for part in (self.keys, self.values))
            found = found + merge_heads(F.scaled_dot_product_attention(query, key, value)) * has[name][..., None]
        return hyper + self.output(found)


class HyperModality(Fusion):
    """ALMT, "Learning Language-guided Adaptive Hyper-modality Representation for Multimodal Sentiment Analysis" (Zhang
    et al. 2023, EMNLP).

        t, a, v  = eight tokens of each modality (`TokenEncoder`);  t_0 = t, t_1, t_2 = layers of a transformer on t
        h        = learnt tokens, then `HyperLayer` with t_0, t_1, t_2
        y        = Linear of a learnt token c, after cross-modal layers of MulT in which [c; t_2] reads [c; h]

    Differences from public code: padding is masked, so positions are sinusoidal and count valid steps; heads share the
    width (128 / 8), where code has 64 each in the transformers; a missing modality adds nothing to h, and missing text
    has tokens of 0; the common tokens are not changed in place.
    """

    Options = HyperModalityOptions
    language_model = "tuned"

    def __init__(self, options: HyperModalityOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        o = options
        self.encoders = nn.ModuleDict({name: TokenEncoder(widths[name], o) for name in MODALITIES})
        self.text_layers = nn.ModuleList(_layer(o) for _ in range(o.depth - 1))
        self.hyper = nn.Parameter(torch.ones(o.num_tokens, o.width))
        self.hyper_layers = nn.ModuleList(HyperLayer(o) for _ in range(o.depth))
        self.first = nn.Parameter(torch.randn(o.width) * 0.02)
        sizes = (o.width, o.num_heads, o.dropout, o.dropout, o.dropout)
        self.fusion = nn.ModuleList(CrossModalLayer(*sizes) for _ in range(o.fusion_layers))
        self.output = nn.Linear(o.width, task.num_labels)

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        has = {name: streams.has(name) for name in MODALITIES}  # (B, 1)
        tokens = {
            name: encoder(getattr(streams, name), getattr(streams, f"{name}_mask")) * has[name][..., None]
            for name, encoder in self.encoders.items()
        }
        text, media = tokens["text"], {name: tokens[name] for name in MEDIA_MODALITIES}
        hyper = self.hyper.to(text.dtype).expand(len(text), -1, -1)
        for depth, layer in enumerate(self.hyper_layers):
            if depth:
                text = self.text_layers[depth - 1](text) * has["text"][..., None]
            hyper = layer(hyper, text, media, has)
        first = self.first.to(text.dtype).expand(len(text), 1, -1)
        target, source = torch.cat([first, text], dim=1), torch.cat([first, hyper], dim=1)
        every = torch.ones(source.shape[:2], dtype=torch.bool, device=source.device)
        for layer in self.fusion:
            target = layer(target, source, every)
        return Fused(self.output(target[:, 0]), embeds={"multimodal": target[:, 0]})


__all__ = ["HyperLayer", "HyperModality", "HyperModalityOptions", "TokenEncoder"]
