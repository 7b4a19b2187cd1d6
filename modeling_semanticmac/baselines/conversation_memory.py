"""CMN and ICON: memories of what a speaker and the others said before, read in several hops.

Legend: D dialogues, U utterances, P speakers, h width.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .dialogue_data import MAX_UTTERANCES, MODALITIES, DialogueStreams, utterance_vectors, utterance_width
from .dialogue_layers import masked_softmax
from .fusion import Fused, Fusion
from .fusion_layers import PackedGRU


@dataclass(frozen=True)
class ConversationMemoryOptions:
    """Options of [`ConversationalMemory`] and [`InteractiveMemory`]; the defaults are the public settings.

    Args:
        modalities: which of text, audio and vision are concatenated.
        width: h, of queries and memories.
        num_hops: times the memory is read.
        history: last utterances that the memory of an utterance holds.
        dropout: on the utterances.
        max_utterances: longest dialogue; a longer one is split into consecutive parts.
    """

    modalities: tuple[str, ...] = MODALITIES
    width: int = 100
    num_hops: int = 3
    history: int = 40
    dropout: float = 0.7
    max_utterances: int = MAX_UTTERANCES


class Parties:
    """Who said what before, from the view of each speaker of a dialogue.

    Args:
        streams: with `dialogue_mask` and `speaker`.
        history: number of utterances before one that it remembers.
    """

    def __init__(self, streams: DialogueStreams, history: int):
        mask, speaker = streams.dialogue_mask, streams.speaker
        count = int(speaker.masked_fill(~mask, 0).max()) + 1
        place = mask.long().cumsum(dim=1)
        distance = place[..., None] - place[:, None]  # i - j
        remembered = (distance > 0) & (distance <= history) & mask[:, None] & mask[..., None]  # (D, U, U)
        speaks = torch.stack([mask & (speaker == party) for party in range(count)], dim=1)  # (D, P, U)
        self.own, self.other, self.all = speaks, mask[:, None] & ~speaks, mask[:, None].expand_as(speaks)
        self._seen = remembered[:, None] & speaks[..., None]  # (D, P, U, U), [p, i, j]: i is of p and remembers j

    def run(self, recurrence: PackedGRU, memory: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the states of a GRU over the utterances in `mask` (D, P, U), of the same shape as memory (D, P, U, h);
        0 elsewhere.
        """
        states, _ = recurrence.states(memory.flatten(0, 1), mask.flatten(0, 1))
        return states.unflatten(0, mask.shape[:2])

    def read(self, queries: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return  r_i = sum_j softmax_j(tanh(q_i . m_j)) m_j  over what utterance i remembers of `mask`; 0 for nothing.

        Args:
            queries: q (D, U, h).
            memory: m (D, P, U, h), of the view of each speaker.
            mask: bool (D, P, U).
        """
        scores = torch.tanh(queries[:, None] @ memory.transpose(2, 3))  # (D, P, U, U)
        return (masked_softmax(scores, self._seen & mask[:, :, None]) @ memory).sum(dim=1)


class ConversationalMemory(Fusion):
    """CMN, "Conversational Memory Network for Emotion Recognition in Dyadic Dialogue Videos" (Hazarika et al. 2018,
    NAACL).

        q_i = tanh(Linear u_i)
        memories: GRU_own over the earlier utterances of the speaker of i, GRU_other over those of all others
        a hop:  r = sum_j softmax_j(tanh(q . m_j)) m_j  in each memory,  q <- tanh(q + r_own + r_other)
                between hops a GRU reads each memory again
        y = Linear q

    Our readings: "other" are all other speakers (published for two); the memory holds the last `history` utterances,
    and its GRU starts with the dialogue; without a memory r = 0. An utterance sees only what was said before it. The
    model is chosen on validation (public code validates on 60 % of the test dialogues).
    """

    Options = ConversationMemoryOptions

    def __init__(self, options: ConversationMemoryOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        o = options
        self.query = nn.Linear(utterance_width(widths, o.modalities), o.width)
        self.make_memory(o.width, o.num_hops)
        self.dropout = nn.Dropout(o.dropout)
        self.output = nn.Linear(o.width, task.num_labels)

    def make_memory(self, width: int, hops: int) -> None:
        """Make the recurrences of the memories."""
        self.own = nn.ModuleList(PackedGRU(width, width) for _ in range(hops))
        self.other = nn.ModuleList(PackedGRU(width, width) for _ in range(hops))

    def reason(self, queries: torch.Tensor, parties: Parties) -> torch.Tensor:
        """Return q (D, U, h) after all hops."""
        said = queries[:, None].expand(-1, parties.own.shape[1], -1, -1)
        own = other = said
        for first, second in zip(self.own, self.other):
            own, other = parties.run(first, own, parties.own), parties.run(second, other, parties.other)
            queries = torch.tanh(
                queries + parties.read(queries, own, parties.own) + parties.read(queries, other, parties.other)
            )
        return queries

    def forward(self, streams: DialogueStreams) -> Fused:
        """Return the logits (D, U, C)."""
        utterances = self.dropout(utterance_vectors(streams, self.options.modalities))
        queries = torch.tanh(self.query(utterances))
        return Fused(self.output(self.reason(queries, Parties(streams, self.options.history))))


class InteractiveMemory(ConversationalMemory):
    """ICON, "ICON: Interactive Conversational Memory Network for Multimodal Emotion Detection" (Hazarika et al. 2018,
    EMNLP).

        q_i = tanh(Linear u_i);   own, other as in CMN;   memory m = GRU(tanh(own + other)) in the order of time
        a hop:  r = sum_j softmax_j(tanh(q . m_j)) m_j,  q <- tanh(q + r),  m <- GRU(m)
        y = Linear q

    Our readings: as for CMN ([`ConversationalMemory`]); at each utterance own or other is 0, that of those who are
    silent.
    """

    def make_memory(self, width: int, hops: int) -> None:
        """Make the recurrences of the memory."""
        self.own = PackedGRU(width, width)
        self.other = PackedGRU(width, width)
        self.common = nn.ModuleList(PackedGRU(width, width) for _ in range(hops))

    def reason(self, queries: torch.Tensor, parties: Parties) -> torch.Tensor:
        """Return q (D, U, h) after all hops."""
        said = queries[:, None].expand(-1, parties.own.shape[1], -1, -1)
        own, other = parties.run(self.own, said, parties.own), parties.run(self.other, said, parties.other)
        memory = torch.tanh(own + other)
        for recurrence in self.common:
            memory = parties.run(recurrence, memory, parties.all)
            queries = torch.tanh(queries + parties.read(queries, memory, parties.all))
        return queries


__all__ = ["ConversationMemoryOptions", "ConversationalMemory", "InteractiveMemory", "Parties"]
