"""MMGCN: a deep graph convolution over three vertices an utterance, one a modality."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from .dialogue_data import MAX_UTTERANCES, MODALITIES, DialogueStreams
from .fusion import Fused, Fusion
from .fusion_layers import PackedLSTM

SHRINK = 0.99999  # keeps the derivative of arccos finite


@dataclass(frozen=True)
class MMGCNOptions:
    """Options of [`MMGCN`]; the defaults are the public settings for IEMOCAP.

    Args:
        width: of the vertices; the biLSTM over the text has half of it in a direction.
        graph_width: of the convolutions.
        num_layers: of them.
        alpha: share of the first layer in every layer.
        theta: lambda; layer l has the share ln(lambda / l + 1) of its weights.
        parties: speakers that have a vector; further ones have that of the last.
        speakers_on_all: add the vectors of the speakers to audio and vision too.
        dropout: before the convolutions and the output.
        max_utterances: longest dialogue; a longer one is split into consecutive parts.
    """

    width: int = 200
    graph_width: int = 100
    num_layers: int = 64
    alpha: float = 0.1
    theta: float = 0.5
    parties: int = 2
    speakers_on_all: bool = False
    dropout: float = 0.4
    max_utterances: int = MAX_UTTERANCES


def angular_adjacency(vertices: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """Return the normalised weights D^-1/2 A D^-1/2 (D, N, N),  A_ij = 1 - arccos(0.99999 cos(x_i, x_j)) / pi.

    In float32; a vertex without edges has a row of zeros.

    Args:
        vertices: x (D, N, d).
        edges: bool (D, N, N), where A is not 0.
    """
    with torch.autocast(vertices.device.type, enabled=False):
        unit = nn.functional.normalize(vertices.float(), dim=-1, eps=1e-6)
        cosine = (unit @ unit.transpose(1, 2)).clamp(-1, 1)
        weights = (1 - torch.arccos(SHRINK * cosine) / math.pi) * edges
        degree = weights.sum(dim=-1)
        scale = torch.where(degree > 0, degree.clamp(min=1e-12).rsqrt(), 0.0)
        return scale[..., None] * weights * scale[:, None]


class DeepConvolution(nn.Module):
    """Layer l:  x <- ReLU(t [A x; x_0] W + (1 - t) ((1 - a) A x + a x_0)),  t = ln(theta / l + 1)  (GCNII)."""

    def __init__(self, width: int, number: int, alpha: float, theta: float):
        super().__init__()
        self.alpha, self.share = alpha, math.log(theta / number + 1)
        self.weight = nn.Parameter(torch.empty(2 * width, width).uniform_(-(width**-0.5), width**-0.5))

    def forward(self, x: torch.Tensor, first: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        """Return x (D, N, w) after the layer; `first` is x_0."""
        heard = adjacency @ x
        mixed = (1 - self.alpha) * heard + self.alpha * first
        return torch.relu(self.share * (torch.cat([heard, first], dim=-1) @ self.weight) + (1 - self.share) * mixed)


class MMGCN(Fusion):
    """MMGCN, "MMGCN: Multimodal Fusion via Deep Graph Convolution Network for Emotion Recognition in Conversation" (Hu
    et al. 2021, ACL).

        t = biLSTM(Linear t) + vector of the speaker;  a, v = Linear a, Linear v          three vertices an utterance
        edges: all pairs of one modality in the dialogue, and the three vertices of an utterance, `angular_adjacency`
        x_0 = ReLU(Linear x),  then `num_layers` of `DeepConvolution`
        y = Linear(ReLU([x; x_l] of the three vertices))

    Differences from public code: the number of layers is the option's (code always has 64); a vertex of a missing
    modality has no edges and is 0 in the output; a vertex of zeros is finite; the model is not chosen on the test
    split. As there, a gradient flows through the weights of the edges.
    """

    Options = MMGCNOptions

    def __init__(self, options: MMGCNOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        o = options
        if o.width % 2:
            raise ValueError(f"width is {o.width}; expected an even number, half of it for each direction of the LSTM.")
        self.projections = nn.ModuleDict({name: nn.Linear(widths[name], o.width) for name in MODALITIES})
        self.recurrence = PackedLSTM(o.width, o.width // 2, bidirectional=True)
        self.speakers = nn.Embedding(o.parties, o.width)
        self.first = nn.Linear(o.width, o.graph_width)
        self.layers = nn.ModuleList(
            DeepConvolution(o.graph_width, number, o.alpha, o.theta) for number in range(1, o.num_layers + 1)
        )
        self.dropout = nn.Dropout(o.dropout)
        self.output = nn.Linear(len(MODALITIES) * (o.width + o.graph_width), task.num_labels)

    def vertices(self, streams: DialogueStreams) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vertices (D, 3 U, w), modality by modality, and which there are (D, 3 U)."""
        present = streams.modality_mask & streams.dialogue_mask[..., None]  # (D, U, 3)
        who = self.speakers(streams.speaker.clamp(max=self.options.parties - 1))
        found = []
        for place, name in enumerate(MODALITIES):
            has = present[..., place, None]
            x = self.projections[name](getattr(streams, name).masked_fill(~has, 0.0))
            if name == "text":
                x, _ = self.recurrence.states(x, present[..., 0])
            if name == "text" or self.options.speakers_on_all:
                x = x + who
            found.append(x.masked_fill(~has, 0.0))
        return torch.cat(found, dim=1), present.transpose(1, 2).flatten(1)

    def forward(self, streams: DialogueStreams) -> Fused:
        """Return the logits (D, U, C)."""
        x, present = self.vertices(streams)
        utterances = streams.dialogue_mask.shape[1]
        place = torch.arange(len(MODALITIES) * utterances, device=x.device)
        same_modality = place[:, None] // utterances == place // utterances
        same_utterance = place[:, None] % utterances == place % utterances
        edges = (same_modality | same_utterance) & present[:, None] & present[..., None]
        adjacency = angular_adjacency(x, edges).to(x.dtype)
        first = hidden = torch.relu(self.first(self.dropout(x))).masked_fill(~present[..., None], 0.0)
        for layer in self.layers:
            hidden = layer(self.dropout(hidden), first, adjacency)
        joined = torch.cat([self.dropout(x), hidden], dim=-1)  # (D, 3 U, w + g)
        joined = torch.cat(joined.unflatten(1, (len(MODALITIES), utterances)).unbind(dim=1), dim=-1)
        return Fused(self.output(self.dropout(torch.relu(joined))))


__all__ = ["DeepConvolution", "MMGCN", "MMGCNOptions", "angular_adjacency"]
