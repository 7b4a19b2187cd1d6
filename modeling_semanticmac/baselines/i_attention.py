"""I-Attention: attention between the same segments of two modalities, and within a segment of all three."""

from dataclasses import dataclass
from itertools import permutations

import torch
from torch import nn

from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..task_specification import TaskSpecification
from .fusion import Fused, Fusion, Streams
from .fusion_layers import PackedGRU, masked_mean

PAIRS = tuple(permutations(range(len(MODALITIES)), 2))


@dataclass(frozen=True)
class SegmentAttentionOptions:
    """Options of [`SegmentAttention`]; the defaults are the public settings, but for `segments`.

    Args:
        text_hidden: width of a direction of the GRU over the text.
        width: of the vector of each modality.
        segments: into which the vectors are cut, a divisor of the width. In public code they are as many as the width,
            so that each softmax is over one value and the attention is a product.
        dropout: after the vectors, and before the output.
    """

    text_hidden: int = 300
    width: int = 50
    segments: int = 5
    dropout: float = 0.3


def attended(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Return  softmax(x y^T) y * x  of segments x, y (B, S, w), over the elements of each segment."""
    scores = queries[..., :, None] * keys[..., None, :]  # (B, S, w, w)
    return (scores.softmax(dim=-1) @ keys[..., None]).squeeze(-1) * queries


class SegmentAttention(Fusion):
    """I-Attention, "Sentiment and Emotion help Sarcasm? A Multi-task Learning Framework for Multi-Modal Sarcasm,
    Sentiment and Emotion Analysis" (Chauhan et al. 2020, ACL), its task of sarcasm alone.

        t = Linear(last states of a biGRU);  a, v = Linear of the mean;  each cut in segments of equal width
        between modalities  softmax(x y^T) y * x  of a segment of two, for the six pairs
        within a segment    the same of the three side by side with themselves
        y = MLP(biGRU over the segments of a Linear of all)

    Our readings: five segments of ten elements, see `segments`; the auxiliary tasks (sentiment and emotion) are left
    out, since the corpora have no such labels; the context precedes the text (`use_context`). The model is not chosen
    on the fold that is reported.
    """

    Options = SegmentAttentionOptions

    def __init__(self, options: SegmentAttentionOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        o, width = options, options.width
        if o.segments < 1 or width % o.segments:
            raise ValueError(f"segments is {o.segments}, which does not divide the width {width}; choose a divisor.")
        self.text = PackedGRU(widths["text"], o.text_hidden, bidirectional=True)
        self.maps = nn.ModuleDict({"text": nn.Linear(2 * o.text_hidden, width)})
        self.maps.update({name: nn.Linear(widths[name], width) for name in MEDIA_MODALITIES})
        parts = len(PAIRS) + len(MODALITIES)
        self.joined = nn.Linear(parts * width // o.segments, width)
        self.recurrence = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.hidden, self.dropout = nn.Linear(2 * width, width), nn.Dropout(o.dropout)
        self.output = nn.Linear(width, task.num_labels)

    def segments(self, streams: Streams) -> list[torch.Tensor]:
        """Return the segments (B, S, w) of text, audio and vision; 0 where one is missing."""
        vectors = {"text": self.text(streams.text, streams.text_mask)}
        for name in MEDIA_MODALITIES:
            vectors[name] = masked_mean(getattr(streams, name), getattr(streams, f"{name}_mask"))
        return [
            (self.dropout(torch.tanh(self.maps[name](vectors[name]))) * streams.has(name)).unflatten(
                1, (self.options.segments, -1)
            )
            for name in MODALITIES
        ]

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        parts = self.segments(streams)
        together = torch.cat(parts, dim=-1)
        found = [attended(parts[one], parts[other]) for one, other in PAIRS] + [attended(together, together)]
        _, final = self.recurrence(torch.relu(self.joined(torch.cat(found, dim=-1))))
        hidden = torch.relu(self.hidden(torch.cat(list(final), dim=-1)))
        return Fused(self.output(self.dropout(hidden)))


__all__ = ["SegmentAttention", "SegmentAttentionOptions", "attended"]
