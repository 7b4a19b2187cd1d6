"""ME2ET, our reading: attention in which one modality guides the others, twice (no public code)."""

from dataclasses import dataclass

import torch
from torch import nn

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .cross_modal_layers import MaskedAttention
from .fusion import Fused, Fusion, Streams
from .fusion_layers import Projection, masked_mean


@dataclass(frozen=True)
class ME2ETOptions:
    """Options of [`ME2ET`]; no settings are in reach.

    Args:
        width: d, to which every modality is projected.
        num_heads: of all attention.
        feed_forward_width: inner width of the fusion layer.
        dropout: of the attention, and in the fusion layer.
    """

    width: int = 64
    num_heads: int = 4
    feed_forward_width: int = 256
    dropout: float = 0.1


class ME2ET(Fusion):
    """ME2ET, our reading of "Multimodal End-to-End Model for Emotion Recognition with Progressive Tri-modal Attention"
    (Wu et al. 2023), on embeddings. No public code in reach.

        first pass    a' = attention(a; t),  v' = attention(v; t)
        second pass   t'' = attention(t; [a'; v']),  a'' = attention(a'; [t''; v']),  v'' = attention(v'; [t''; a''])
        attention(x; y) = LN(x + MHA(x, y, y))
        y = Linear of the three means, as tokens through one transformer layer, side by side

    Known is that one pair of modalities guides the third in two passes, and that a layer over all three fuses them;
    widths and what is pooled are ours. A missing modality is no key, and its mean is 0 and no token.
    """

    Options = ME2ETOptions
    language_model = "tuned"

    def __init__(self, options: ME2ETOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        o = options
        self.projections = nn.ModuleDict({name: Projection(widths[name], o.width) for name in MODALITIES})
        passes = ("audio_first", "vision_first", "text", "audio", "vision")
        self.attentions = nn.ModuleDict({name: MaskedAttention(o.width, o.num_heads, o.dropout) for name in passes})
        self.norms = nn.ModuleDict({name: nn.LayerNorm(o.width) for name in passes})
        self.fusion = nn.TransformerEncoderLayer(
            o.width, o.num_heads, o.feed_forward_width, o.dropout, batch_first=True
        )
        self.output = nn.Linear(len(MODALITIES) * o.width, task.num_labels)

    def guided(self, name: str, x: torch.Tensor, *guides: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return attention(x; y) for a sequence (B, T, d) and guides y with their masks."""
        keys, masks = torch.cat([guide for guide, _ in guides], dim=1), torch.cat([mask for _, mask in guides], dim=1)
        return self.norms[name](x + self.attentions[name](x, keys, masks))

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        t, a, v = (self.projections[name](getattr(streams, name)) for name in MODALITIES)
        t_mask, a_mask, v_mask = (getattr(streams, f"{name}_mask") for name in MODALITIES)
        a = self.guided("audio_first", a, (t, t_mask))
        v = self.guided("vision_first", v, (t, t_mask))
        t = self.guided("text", t, (a, a_mask), (v, v_mask))
        a = self.guided("audio", a, (t, t_mask), (v, v_mask))
        v = self.guided("vision", v, (t, t_mask), (a, a_mask))
        tokens = torch.stack([masked_mean(t, t_mask), masked_mean(a, a_mask), masked_mean(v, v_mask)], dim=1)
        missing = ~streams.modality_mask  # (B, 3)
        fused = self.fusion(tokens, src_key_padding_mask=missing & ~missing.all(dim=1, keepdim=True))
        fused = fused.masked_fill(missing[..., None], 0.0)
        return Fused(self.output(fused.flatten(1)), embeds=dict(zip(MODALITIES, tokens.unbind(dim=1))))


__all__ = ["ME2ET", "ME2ETOptions"]
