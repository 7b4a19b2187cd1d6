"""TBJE: blocks in which text guides audio and vision, with glimpses of each sequence in every block."""

from dataclasses import dataclass

import torch
from torch import nn

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .cross_modal_layers import MaskedAttention
from .fusion import Fused, Fusion, Streams
from .fusion_layers import PackedLSTM, pool_to_steps


@dataclass(frozen=True)
class JointEncodingOptions:
    """Options of [`JointEncoding`]; the defaults are the public settings for CMU-MOSEI.

    Args:
        width: d, of all sequences.
        num_layers, num_heads: of the blocks and their attention.
        feed_forward_width, flat_width: inner width of the feed-forward parts; width of the summaries, and inner width
            of what weighs the steps.
        max_steps: steps of a sequence; a longer one is pooled.
        dropout: everywhere.
    """

    width: int = 512
    num_layers: int = 4
    num_heads: int = 4
    feed_forward_width: int = 1024
    flat_width: int = 1024
    max_steps: int = 60
    dropout: float = 0.1


class Glimpses(nn.Module):
    """Weighted sums of a sequence:  sum_s softmax_s(W_2 ReLU(W_1 x_s))_g x_s,  g = 1 ... G."""

    def __init__(self, width: int, inner: int, count: int, dropout: float):
        super().__init__()
        self.scores = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Dropout(dropout), nn.Linear(inner, count))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (B, G, d) of a sequence (B, S, d) and its mask (B, S); 0 where no step is valid."""
        scores = self.scores(x).masked_fill(~mask[..., None], torch.finfo(x.dtype).min)
        return scores.softmax(dim=1).masked_fill(~mask[..., None], 0.0).transpose(1, 2) @ x


class GuidedBlock(nn.Module):
    """x <- LN(x + MHA(x)), then with a guide  x <- LN(x + MHA(x, y)), then  x <- LN(x + FFN(x)),  for one modality.

    The block's input is added to what comes out. In all blocks but the last the glimpses of that follow, one a step:
    x <- LN(x + glimpses).
    """

    def __init__(self, options: JointEncodingOptions, is_guided: bool, is_last: bool):
        super().__init__()
        o, width = options, options.width
        self.own = MaskedAttention(width, o.num_heads, o.dropout)
        self.guide = MaskedAttention(width, o.num_heads, o.dropout) if is_guided else None
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if is_guided else 2))
        self.feed_forward = nn.Sequential(
            nn.Linear(width, o.feed_forward_width), nn.ReLU(), nn.Dropout(o.dropout),
            nn.Linear(o.feed_forward_width, width),
        )  # fmt: skip
        self.dropout = nn.Dropout(o.dropout)
        self.glimpses = None if is_last else Glimpses(width, o.flat_width, o.max_steps, o.dropout)
        self.glimpse_norm = None if is_last else nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor, guide: torch.Tensor, guide_mask: torch.Tensor):
        """Return x (B, S, d) after the block; the guide is text (B, S_t, d)."""
        norms, start = iter(self.norms), x
        x = next(norms)(x + self.dropout(self.own(x, x, mask)))
        if self.guide is not None:
            x = next(norms)(x + self.dropout(self.guide(x, guide, guide_mask)))
        x = next(norms)(x + self.dropout(self.feed_forward(x))) + start
        if self.glimpses is not None:
            seen = self.glimpses(x, mask)  # (B, max_steps, d), glimpse k for the k-th step
            place = (mask.long().cumsum(dim=1) - 1).clamp(min=0)
            seen = seen.gather(1, place[..., None].expand_as(x))
            x = self.glimpse_norm(x + self.dropout(seen))
        return x.masked_fill(~mask[..., None], 0.0)


class JointEncoding(Fusion):
    """TBJE, "A Transformer-based joint-encoding for Emotion Recognition and Sentiment Analysis" (Delbrouck et al. 2020,
    Challenge-HML).

        X = LSTM(x_t),  Y = Linear x_a,  Z = Linear x_v
        four blocks (`GuidedBlock`):  X with itself,  Y and Z guided by the block's input X
        y = Linear LN(sum over the modalities of Linear of one glimpse)

    Our readings: glimpses need a fixed number of steps (60): longer sequences are pooled to it, and glimpse k belongs
    to step k of a shorter one. Padding is masked in all blocks (public code masks the first) and by the modality's own
    mask; layer norms are torch's; the loss is the mean over the batch. A missing modality has the summary 0. Published
    figures are of ensembles.
    """

    Options = JointEncodingOptions

    def __init__(self, options: JointEncodingOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        o = options
        self.text = PackedLSTM(widths["text"], o.width)
        self.media = nn.ModuleDict({name: nn.Linear(widths[name], o.width) for name in ("audio", "vision")})
        self.blocks = nn.ModuleDict(
            {name: nn.ModuleList(GuidedBlock(o, name != "text", layer == o.num_layers - 1)
                                 for layer in range(o.num_layers)) for name in MODALITIES}
        )  # fmt: skip
        self.glimpses = nn.ModuleDict({name: Glimpses(o.width, o.flat_width, 1, o.dropout) for name in MODALITIES})
        self.flat = nn.ModuleDict({name: nn.Linear(o.width, o.flat_width) for name in MODALITIES})
        self.norm, self.output = nn.LayerNorm(o.flat_width), nn.Linear(o.flat_width, task.num_labels)

    def sequences(self, streams: Streams) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return the three sequences (B, S_m, d) of at most `max_steps` valid steps, and their masks."""
        found, masks = {}, {}
        for name in MODALITIES:
            x, mask = getattr(streams, name), getattr(streams, f"{name}_mask")
            counts = mask.sum(dim=1).clamp(max=self.options.max_steps)
            steps = torch.arange(min(mask.shape[1], self.options.max_steps), device=mask.device) < counts[:, None]
            pooled = pool_to_steps(x, mask, steps)
            found[name] = self.text.states(pooled, steps)[0] if name == "text" else self.media[name](pooled)
            found[name], masks[name] = found[name].masked_fill(~steps[..., None], 0.0), steps
        return found, masks

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        x, masks = self.sequences(streams)
        for layer in range(self.options.num_layers):
            x = {name: self.blocks[name][layer](x[name], masks[name], x["text"], masks["text"]) for name in MODALITIES}
        flat = [
            self.flat[name](self.glimpses[name](x[name], masks[name])[:, 0]) * streams.has(name) for name in MODALITIES
        ]
        return Fused(self.output(self.norm(sum(flat))))


__all__ = ["Glimpses", "GuidedBlock", "JointEncoding", "JointEncodingOptions"]
