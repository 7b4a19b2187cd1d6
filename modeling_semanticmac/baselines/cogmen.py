"""COGMEN: a transformer over the dialogue, then a graph of near utterances, whose edges know the speakers."""

from dataclasses import dataclass

import torch
from torch import nn

from .dialogue_data import MAX_UTTERANCES, MODALITIES, DialogueStreams, utterance_vectors, utterance_width
from .dialogue_graph_layers import (
    AttentionConvolution,
    RelationalConvolution,
    relation_count,
    speaker_relations,
    window,
)
from .fusion import Fused, Fusion
from .fusion_layers import Projection


@dataclass(frozen=True)
class CogmenOptions:
    """Options of [`Cogmen`]; the defaults are the public settings for IEMOCAP, but for `width` and `num_heads`.

    Args:
        modalities: which of text, audio and vision are concatenated.
        width: to which the utterances are projected before the transformer; None: not at all, as published.
        num_layers, num_heads, feed_forward: of the transformer.
        graph_width: of the convolutions.
        past, future: utterances before and after one that it hears.
        relations: "speaker" (2 P^2 relations) or "same_other" (4, for many speakers).
        parties: P; further speakers count as the last.
        dropout: in the transformer, and before the output.
        max_utterances: longest dialogue; a longer one is split into consecutive parts.
    """

    modalities: tuple[str, ...] = MODALITIES
    width: int | None = 400
    num_layers: int = 2
    num_heads: int = 8
    feed_forward: int = 2048
    graph_width: int = 100
    past: int = 5
    future: int = 5
    relations: str = "speaker"
    parties: int = 2
    dropout: float = 0.5
    max_utterances: int = MAX_UTTERANCES


class DialogueTransformer(nn.Module):
    """Post-norm transformer layers over the valid utterances of a dialogue, without positions; 0 at invalid ones."""

    def __init__(self, width: int, num_layers: int, num_heads: int, feed_forward: int, dropout: float):
        super().__init__()
        if width % num_heads:
            raise ValueError(f"num_heads is {num_heads}, which does not divide the width {width}; choose a divisor.")
        layer = nn.TransformerEncoderLayer(width, num_heads, feed_forward, dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (D, U, w) of utterances (D, U, w) with their mask (D, U)."""
        empty = ~mask.any(dim=1, keepdim=True)  # attends to itself, and is set to 0 afterwards
        return self.layers(x, src_key_padding_mask=~(mask | empty)).masked_fill(~mask[..., None], 0.0)


class Cogmen(Fusion):
    """COGMEN, "COGMEN: COntextualized GNN based Multimodal Emotion recognitioN" (Joshi et al. 2022, NAACL).

        g = Linear(transformer over u)
        h = LeakyReLU(LN(attention convolution(relational convolution of g)))
        y = W_2 ReLU(W_1 h)

    `dialogue_graph_layers` has the convolutions, over utterances from i - past to i + future.

    Our readings: utterances are projected to `width` first (at their published width of 1380 the transformer has 27
    million weights); a layer norm replaces the batch norm over padded utterances; padding is masked; an utterance hears
    `past` earlier and `future` later ones (public code turns the edges round).
    """

    Options = CogmenOptions

    def __init__(self, options: CogmenOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        o, given = options, utterance_width(widths, options.modalities)
        width, graph = o.width or given, o.graph_width
        self.projection = Projection(given, width) if o.width else nn.Identity()
        self.transformer = DialogueTransformer(width, o.num_layers, o.num_heads, o.feed_forward, o.dropout)
        self.reduction = nn.Linear(width, graph)
        self.relational = RelationalConvolution(graph, graph, relation_count(o.relations, o.parties))
        self.attention = AttentionConvolution(graph, graph, 1)
        self.norm, self.activation = nn.LayerNorm(graph), nn.LeakyReLU()
        self.hidden, self.dropout = nn.Linear(graph, graph), nn.Dropout(o.dropout)
        self.output = nn.Linear(graph, task.num_labels)

    def forward(self, streams: DialogueStreams) -> Fused:
        """Return the logits (D, U, C)."""
        o, mask = self.options, streams.dialogue_mask
        x = self.projection(utterance_vectors(streams, o.modalities))
        x = self.reduction(self.transformer(x, mask))
        adjacency = window(mask, o.past, o.future)
        x = self.relational(x, adjacency, speaker_relations(streams.speaker, mask, o.relations, o.parties))
        x = self.activation(self.norm(self.attention(x, adjacency)))
        return Fused(self.output(self.dropout(torch.relu(self.hidden(x)))))


__all__ = ["Cogmen", "CogmenOptions", "DialogueTransformer"]
