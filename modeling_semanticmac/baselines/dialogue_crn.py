"""DialogueCRN: turns of reasoning over the dialogue and over what its speakers said before."""

from dataclasses import dataclass

import torch
from torch import nn

from .dialogue_data import MAX_UTTERANCES, MODALITIES, DialogueStreams, utterance_vectors, utterance_width
from .dialogue_layers import masked_softmax
from .fusion import Fused, Fusion
from .fusion_layers import PackedLSTM


@dataclass(frozen=True)
class DialogueCRNOptions:
    """Options of [`DialogueCRN`]; the defaults are the public settings for IEMOCAP.

    Args:
        modalities: which of text, audio and vision are concatenated.
        hidden: width of a direction of the LSTMs.
        situation_turns, speaker_turns: turns of reasoning over the dialogue, and over the utterances by speaker.
        dropout: between the layers of the LSTMs, and before the output.
        max_utterances: longest dialogue; a longer one is split into consecutive parts.
    """

    modalities: tuple[str, ...] = MODALITIES
    hidden: int = 100
    situation_turns: int = 3
    speaker_turns: int = 4
    dropout: float = 0.2
    max_utterances: int = MAX_UTTERANCES


class Reasoning(nn.Module):
    """K turns over a bank:  q = LSTM(q*, state),  r = sum_j softmax_j(q . b_j) b_j,  q* = [q; r].

    Args:
        width: of the bank, w; q* has 2w.
        turns: K; 0 leaves q* as it is.
    """

    def __init__(self, width: int, turns: int):
        super().__init__()
        self.turns, self.width = turns, width
        self.cell = nn.LSTMCell(2 * width, width) if turns else None

    def forward(self, start: torch.Tensor, bank: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return q* (D, U, 2w) of q* (D, U, 2w), a bank (D, U, w) and its mask (D, U)."""
        if self.cell is None:
            return start
        shape, query, states = start.shape[:2], start, None
        seen = mask[:, None].expand(-1, shape[1], -1)
        for _ in range(self.turns):
            states = self.cell(query.flatten(0, 1), states)
            asked = states[0].unflatten(0, shape)  # (D, U, w)
            found = masked_softmax(asked @ bank.transpose(1, 2), seen) @ bank
            query = torch.cat([asked, found], dim=-1)
        return query


class DialogueCRN(Fusion):
    """DialogueCRN, "DialogueCRN: Contextual Reasoning Networks for Emotion Recognition in Conversations" (Hu, Wei, Huai
    2021, ACL).

        S = two-layer biLSTM over the utterances of the dialogue;  V = another one over those of each speaker alone
        q* = Linear of S, and of V, with one set of weights; then `Reasoning` over S, and over V
        y = Linear(ReLU [q*_V; q*_S])

    Differences from public code: recurrences stop at padding; the task has its usual loss, with class weights where the
    recipe says so (public code has a focal loss on MELD); the model is not chosen on the test split.
    """

    Options = DialogueCRNOptions

    def __init__(self, options: DialogueCRNOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        o, width = options, 2 * options.hidden
        sizes = (utterance_width(widths, o.modalities), o.hidden, 2, True, o.dropout)
        self.situation, self.speaker = PackedLSTM(*sizes), PackedLSTM(*sizes)
        self.start = nn.Linear(width, 2 * width)
        self.over_speaker = Reasoning(width, o.speaker_turns)
        self.over_situation = Reasoning(width, o.situation_turns)
        self.dropout = nn.Dropout(o.dropout)
        self.output = nn.Linear(4 * width, task.num_labels)

    def by_speaker(self, utterances: torch.Tensor, streams: DialogueStreams) -> torch.Tensor:
        """Return V (D, U, w): the states of each speaker's utterances, each in its own place."""
        mask, speaker = streams.dialogue_mask, streams.speaker
        parties = int(speaker.masked_fill(~mask, 0).max()) + 1
        size, length = mask.shape
        masks = torch.stack([mask & (speaker == party) for party in range(parties)], dim=1).flatten(0, 1)  # (D P, U)
        repeated = utterances[:, None].expand(-1, parties, -1, -1).flatten(0, 1)
        states, _ = self.speaker.states(repeated, masks)  # 0 where the speaker is silent
        return states.unflatten(0, (size, parties)).sum(dim=1).view(size, length, -1)

    def forward(self, streams: DialogueStreams) -> Fused:
        """Return the logits (D, U, C)."""
        mask = streams.dialogue_mask
        utterances = utterance_vectors(streams, self.options.modalities)
        situation, _ = self.situation.states(utterances, mask)
        speaker = self.by_speaker(utterances, streams)
        reasoned = [
            self.over_speaker(self.start(speaker), speaker, mask),
            self.over_situation(self.start(situation), situation, mask),
        ]
        return Fused(self.output(self.dropout(torch.relu(torch.cat(reasoned, dim=-1)))))


__all__ = ["DialogueCRN", "DialogueCRNOptions", "Reasoning"]
