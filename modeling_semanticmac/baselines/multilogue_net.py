"""Multilogue-Net: a DialogueRNN a modality, and attention between the utterances of every two modalities."""

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import nn

from .dialogue_data import MAX_UTTERANCES, MODALITIES, DialogueStreams
from .dialogue_layers import masked_softmax
from .dialogue_rnn import DialogueDirection, DialogueRNNOptions, run_directions
from .fusion import Fused, Fusion

PAIRS = tuple(combinations(range(len(MODALITIES)), 2))


@dataclass(frozen=True)
class MultilogueNetOptions:
    """Options of [`MultilogueNet`]; the defaults are the public settings for CMU-MOSEI.

    Args:
        global_width, party_width, emotion_width: D_g, D_p, D_e, states of the dialogue, a speaker, the emotion.
        hidden: D_h, half the width of the vector of an utterance in each modality.
        recurrent_dropout: after each cell.
        dropout: after each direction, and before the output.
        max_utterances: longest dialogue; a longer one is split into consecutive parts.
    """

    global_width: int = 150
    party_width: int = 150
    emotion_width: int = 100
    hidden: int = 100
    recurrent_dropout: float = 0.1
    dropout: float = 0.5
    max_utterances: int = MAX_UTTERANCES


class MultilogueNet(Fusion):
    """Multilogue-Net, "Multilogue-Net: A Context-Aware RNN for Multi-modal Emotion Detection and Sentiment Analysis in
    Conversation" (Shenoy, Sardana 2020, Challenge-HML).

        M_m = ReLU(Linear(both directions of DialogueRNN's recurrence over the modality m))          (D, U, 2 D_h)
        N_{m,n} = softmax(M_m M_n^T) M_n                                   over the utterances, for (t,a), (t,v), (a,v)
        y = Linear [M_t; M_a; M_v; N_{t,a} * M_t; N_{a,t} * M_a; ...]                                (18 D_h)

    Differences from public code: attention sees valid utterances that have the modality only; M of a missing modality
    is 0; one model for all emotions, where code has a binary one for each; the model is not chosen on the test split.
    An utterance sees the whole dialogue, as there.
    """

    Options = MultilogueNetOptions

    def __init__(self, options: MultilogueNetOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        o = options
        cells = DialogueRNNOptions(
            global_width=o.global_width, party_width=o.party_width, emotion_width=o.emotion_width,
            recurrent_dropout=o.recurrent_dropout,
        )  # fmt: skip
        self.directions = nn.ModuleDict(
            {name: nn.ModuleList(DialogueDirection(widths[name], cells) for _ in range(2)) for name in MODALITIES}
        )
        self.maps = nn.ModuleDict({name: nn.Linear(2 * o.emotion_width, 2 * o.hidden) for name in MODALITIES})
        self.dropout = nn.Dropout(o.dropout)
        self.output = nn.Linear(18 * o.hidden, task.num_labels)

    def forward(self, streams: DialogueStreams) -> Fused:
        """Return the logits (D, U, C)."""
        present = streams.modality_mask & streams.dialogue_mask[..., None]  # (D, U, 3)
        vectors = []
        for place, name in enumerate(MODALITIES):
            has = present[..., place, None]
            said = getattr(streams, name).masked_fill(~has, 0.0)
            states = run_directions(self.directions[name], self.dropout, said, streams)
            vectors.append(torch.relu(self.maps[name](states)).masked_fill(~has, 0.0))
        joined = list(vectors)
        for first, second in PAIRS:
            for one, other in ((first, second), (second, first)):
                joined.append(attend(vectors[one], vectors[other], present[..., other]) * vectors[one])
        return Fused(self.output(self.dropout(torch.cat(joined, dim=-1))))


def attend(queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return  softmax(Q K^T) K  over the valid keys, (D, U, d); 0 where there is none.

    Args:
        queries, keys: (D, U, d).
        mask: of the keys, bool (D, U).
    """
    scores = queries @ keys.transpose(1, 2)
    return masked_softmax(scores, mask[:, None].expand_as(scores)) @ keys


__all__ = ["MultilogueNet", "MultilogueNetOptions", "attend"]
