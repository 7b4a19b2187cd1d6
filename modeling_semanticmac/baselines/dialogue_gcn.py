"""DialogueGCN: a graph of the utterances near each other, with a relation for each pair of speakers."""

from dataclasses import dataclass

import torch
from torch import nn

from .dialogue_data import MAX_UTTERANCES, MODALITIES, DialogueStreams, utterance_vectors, utterance_width
from .dialogue_graph_layers import (
    GraphConvolution,
    RelationalConvolution,
    relation_count,
    speaker_relations,
    window,
)
from .dialogue_layers import UtteranceAttention, masked_softmax
from .fusion import Fused, Fusion
from .fusion_layers import PackedLSTM


@dataclass(frozen=True)
class DialogueGCNOptions:
    """Options of [`DialogueGCN`]; the defaults are the public settings for IEMOCAP.

    Args:
        modalities: which of text, audio and vision are concatenated.
        hidden: width of a direction of the LSTM.
        graph_width: of the convolutions, and of the layer before the output.
        past, future: utterances before and after one that it hears.
        relations: "speaker" (2 P^2 relations) or "same_other" (4, for many speakers).
        parties: P; further speakers count as the last.
        num_bases: matrices of which those of the relations are made.
        dropout: between the layers of the LSTM, and before the output.
        max_utterances: longest dialogue; a longer one is split into consecutive parts.
    """

    modalities: tuple[str, ...] = MODALITIES
    hidden: int = 100
    graph_width: int = 100
    past: int = 10
    future: int = 10
    relations: str = "speaker"
    parties: int = 2
    num_bases: int = 30
    dropout: float = 0.5
    max_utterances: int = MAX_UTTERANCES


class DialogueGCN(Fusion):
    """DialogueGCN, "DialogueGCN: A Graph Convolutional Neural Network for Emotion Recognition in Conversation" (Ghosal
    et al. 2019, EMNLP).

        g = two-layer biLSTM of u;   a_ij = softmax_j(g_i . (W g_j)),  j from i - past to i + future
        h = relational convolution of g with the weights a;   h' = graph convolution of h
        e~ = attention of each utterance over the dialogue, on e = [g; h'];   y = W_2 ReLU(W_1 e~)

    Differences from public code: the weight of an edge is as published, where code has a linear map to 110 absolute
    positions, over padding, that fails on longer dialogues; an utterance hears `past` earlier and `future` later ones
    (code turns the edges round); relations for many speakers (`same_other`), where code makes 162 on MELD; the model is
    not chosen on the test split. The form with DialogueRNN in the place of the LSTM is not built.
    """

    Options = DialogueGCNOptions

    def __init__(self, options: DialogueGCNOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        o, width = options, 2 * options.hidden
        self.recurrence = PackedLSTM(utterance_width(widths, o.modalities), o.hidden, 2, True, o.dropout)
        self.edges = nn.Linear(width, width, bias=False)
        relations = relation_count(o.relations, o.parties)
        self.relational = RelationalConvolution(width, o.graph_width, relations, o.num_bases)
        self.convolution = GraphConvolution(o.graph_width, o.graph_width)
        self.attention = UtteranceAttention(width + o.graph_width)
        self.hidden = nn.Linear(width + o.graph_width, o.graph_width)
        self.dropout = nn.Dropout(o.dropout)
        self.output = nn.Linear(o.graph_width, task.num_labels)

    def edge_weights(self, states: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        """Return a (D, U, U) of states g (D, U, d); each row sums to 1 over what the utterance hears."""
        return masked_softmax(states @ self.edges(states).transpose(1, 2), adjacency)

    def forward(self, streams: DialogueStreams) -> Fused:
        """Return the logits (D, U, C)."""
        o, mask = self.options, streams.dialogue_mask
        states, _ = self.recurrence.states(utterance_vectors(streams, o.modalities), mask)  # (D, U, 2 h)
        adjacency = window(mask, o.past, o.future)
        relation = speaker_relations(streams.speaker, mask, o.relations, o.parties)
        heard = self.relational(states, adjacency, relation, self.edge_weights(states, adjacency))
        joined = torch.cat([states, self.convolution(heard, adjacency)], dim=-1)
        joined = self.attention(joined.masked_fill(~mask[..., None], 0), mask)
        return Fused(self.output(self.dropout(torch.relu(self.hidden(joined)))))


__all__ = ["DialogueGCN", "DialogueGCNOptions"]
