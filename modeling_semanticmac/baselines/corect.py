"""CORECT: a graph of three vertices an utterance, beside cross-modal transformers over the dialogue."""

from dataclasses import dataclass

import torch
from torch import nn

from .cogmen import DialogueTransformer
from .cross_modal_layers import CrossModalStack
from .dialogue_data import MAX_UTTERANCES, MODALITIES, DialogueStreams
from .dialogue_graph_layers import AttentionConvolution, RelationalConvolution, window
from .fusion import Fused, Fusion
from .fusion_layers import Projection

RELATION_COUNT = 15  # past, itself, future in each modality, and the six ordered pairs of modalities


@dataclass(frozen=True)
class CorectOptions:
    """Options of [`Corect`]; the defaults are the public settings for IEMOCAP.

    Args:
        width: d, of the vertices and of the stacks.
        text_width: to which the text is projected before its transformer; None: not at all, as published.
        text_heads, feed_forward: of the transformer over the text, of two layers.
        past, future: utterances before and after one that it hears.
        graph_heads: of the attention convolution.
        num_heads, num_layers, self_layers: of the cross-modal stacks and of those on their pairs.
        parties: speakers that have a vector; further ones have that of the last.
        dropout: in the transformers, and before the output.
        max_utterances: longest dialogue; a longer one is split into consecutive parts.
    """

    width: int = 100
    text_width: int | None = 400
    text_heads: int = 8
    feed_forward: int = 2048
    past: int = 11
    future: int = 5
    graph_heads: int = 7
    num_heads: int = 2
    num_layers: int = 2
    self_layers: int = 3
    parties: int = 2
    dropout: float = 0.5
    max_utterances: int = MAX_UTTERANCES


def modality_relations(mask: torch.Tensor, past: int, future: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the edges between the vertices of a dialogue, and their relations, (D, 3 U, 3 U) each.

    In a modality an utterance hears those from i - past to i + future: relations 0 to 2 of text, 3 to 5 of audio, 6 to
    8 of vision, for the past, itself and the future. The vertices of an utterance hear each other: 9 to 14, text from
    audio and vision, audio from text and vision, vision from text and audio.

    Args:
        mask: bool (D, U), the valid utterances.
        past, future: both ends included.
    """
    near = window(mask, past, future)
    place = mask.long().cumsum(dim=1)
    order = (place[:, None] - place[..., None]).sign() + 1  # 0 past, 1 itself, 2 future
    same = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device) & mask[:, None]
    edges, relations, number = [], [], 3 * len(MODALITIES)
    for target in range(len(MODALITIES)):
        row: list[torch.Tensor] = []
        for source in range(len(MODALITIES)):
            if source == target:
                row.append(order + 3 * target)
            else:
                row.append(torch.full_like(order, number))
                number += 1
        relations.append(torch.cat(row, dim=2))
        edges.append(torch.cat([near if source == target else same for source in range(len(MODALITIES))], dim=2))
    return torch.cat(edges, dim=1), torch.cat(relations, dim=1)


class Corect(Fusion):
    """CORECT, "Conversation Understanding using Relational Temporal Graph Neural Networks with Auxiliary Cross-Modality
    Interaction" (Nguyen et al. 2023, EMNLP).

        t = Linear(transformer of two layers over t);  a, v = 2 x (Linear, ReLU);  each + vector of the speaker
        graph: three vertices an utterance, 15 relations (`modality_relations`);
               LeakyReLU(LN(attention convolution(relational convolution))), the three vertices side by side
        cross: six stacks of MulT over the utterances, a self-attention stack on each pair
        y = W_2 ReLU(W_1 [graph; cross])

    Differences from public code, or our readings: padding is masked, and a vertex of a missing modality has no edges
    and is 0; the window includes i + future (code stops one short) and is not turned round; a layer norm replaces the
    batch norm; the text is projected to `text_width` first.
    """

    Options = CorectOptions

    def __init__(self, options: CorectOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        o, d = options, options.width
        text = o.text_width or widths["text"]
        self.text_projection = Projection(widths["text"], text) if o.text_width else nn.Identity()
        self.text_transformer = DialogueTransformer(text, 2, o.text_heads, o.feed_forward, o.dropout)
        self.encoders = nn.ModuleDict({"text": nn.Linear(text, d)})
        for name in ("audio", "vision"):
            self.encoders[name] = nn.Sequential(nn.Linear(widths[name], d), nn.ReLU(), nn.Linear(d, d), nn.ReLU())
        self.speakers = nn.Embedding(o.parties, d)
        self.relational = RelationalConvolution(d, d, RELATION_COUNT)
        self.attention = AttentionConvolution(d, d, o.graph_heads)
        self.norm, self.activation = nn.LayerNorm(o.graph_heads * d), nn.LeakyReLU()
        pairs = [(target, source) for target in MODALITIES for source in MODALITIES if source != target]
        self.cross = nn.ModuleDict(
            {f"{target}_from_{source}": CrossModalStack(d, o.num_layers, o.num_heads) for target, source in pairs}
        )
        self.own = nn.ModuleDict({name: CrossModalStack(2 * d, o.self_layers, o.num_heads) for name in MODALITIES})
        self.hidden = nn.Linear(3 * o.graph_heads * d + 6 * d, d)
        self.dropout = nn.Dropout(o.dropout)
        self.output = nn.Linear(d, task.num_labels)

    def vertices(self, streams: DialogueStreams, present: torch.Tensor) -> list[torch.Tensor]:
        """Return one vector a modality and utterance, three (D, U, d); 0 where `present` (D, U, 3) says so."""
        who = self.speakers(streams.speaker.clamp(max=self.options.parties - 1))
        found = []
        for place, name in enumerate(MODALITIES):
            has = present[..., place, None]
            x = getattr(streams, name).masked_fill(~has, 0.0)
            if name == "text":
                x = self.text_transformer(self.text_projection(x), present[..., 0])
            found.append((self.encoders[name](x) + who).masked_fill(~has, 0.0))
        return found

    def crossed(self, vertices: list[torch.Tensor], present: torch.Tensor) -> torch.Tensor:
        """Return what the stacks make of the vertices (D, U, 6 d); 0 where the target is missing."""
        sequences, found = dict(zip(MODALITIES, vertices)), []
        masks = {name: present[..., place] for place, name in enumerate(MODALITIES)}
        for target in MODALITIES:
            pair = [
                self.cross[f"{target}_from_{source}"](
                    sequences[target], masks[target], sequences[source], masks[source]
                )
                for source in MODALITIES
                if source != target
            ]
            own = self.own[target](torch.cat(pair, dim=-1), masks[target])
            found.append(own.masked_fill(~masks[target][..., None], 0.0))
        return torch.cat(found, dim=-1)

    def forward(self, streams: DialogueStreams) -> Fused:
        """Return the logits (D, U, C)."""
        o, mask = self.options, streams.dialogue_mask
        present = streams.modality_mask & mask[..., None]  # (D, U, 3)
        vertices = self.vertices(streams, present)
        edges, relations = modality_relations(mask, o.past, o.future)
        there = present.transpose(1, 2).flatten(1)  # (D, 3 U)
        edges = edges & there[:, None] & there[..., None]
        x = self.relational(torch.cat(vertices, dim=1), edges, relations)
        x = self.activation(self.norm(self.attention(x, edges))).masked_fill(~there[..., None], 0.0)
        graph = torch.cat(x.unflatten(1, (len(MODALITIES), -1)).unbind(dim=1), dim=-1)  # (D, U, 3 heads d)
        joined = torch.cat([graph, self.crossed(vertices, present)], dim=-1)
        return Fused(self.output(self.dropout(torch.relu(self.hidden(joined)))))


__all__ = ["Corect", "CorectOptions", "modality_relations"]
