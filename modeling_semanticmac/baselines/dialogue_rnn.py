"""DialogueRNN: states of the dialogue, of its speakers and of the emotion (Majumder et al. 2019)."""

from dataclasses import dataclass

import torch
from torch import nn

from .dialogue_data import MAX_UTTERANCES, MODALITIES, DialogueStreams, utterance_vectors, utterance_width
from .dialogue_layers import UtteranceAttention, reverse_valid
from .fusion import Fused, Fusion
from .fusion_layers import compact


@dataclass(frozen=True)
class DialogueRNNOptions:
    """Options of [`DialogueRNN`]; the defaults are public settings for MELD.

    Args:
        modalities: which of text, audio and vision are concatenated.
        global_width: D_g, the state of the dialogue.
        party_width: D_p, the state of a speaker.
        emotion_width: D_e, the state of the emotion, in each direction.
        hidden: D_h; the layer before the output has width D_h in each direction.
        recurrent_dropout: after each cell.
        direction_dropout: after each direction.
        dropout: before the output.
        listener: whether the states of those who listen change too.
        causal: one direction only, so that an utterance does not see those after it.
        max_utterances: longest dialogue; a longer one is split into consecutive parts.
    """

    modalities: tuple[str, ...] = MODALITIES
    global_width: int = 150
    party_width: int = 150
    emotion_width: int = 100
    hidden: int = 100
    recurrent_dropout: float = 0.1
    direction_dropout: float = 0.25
    dropout: float = 0.1
    listener: bool = False
    causal: bool = False
    max_utterances: int = MAX_UTTERANCES


class DialogueDirection(nn.Module):
    """One direction of DialogueRNN. Step i, with the speaker s:

        g_i = GRU_g([u_i; q_s], g_{i-1})
        c_i = sum_{j<i} a_j g_j,   a = softmax_j(g_j . (W u_i)),   0 in the first step
        q_s <- GRU_p([u_i; c_i], q_s);   with `listener` every other party  q <- GRU_l([u_i; q_s], q)
        e_i = GRU_e(q_s, e_{i-1})

    All states start at 0; dropout follows each cell.
    """

    def __init__(self, width: int, options: DialogueRNNOptions):
        super().__init__()
        party = options.party_width
        self.global_cell = nn.GRUCell(width + party, options.global_width)
        self.party_cell = nn.GRUCell(width + options.global_width, party)
        self.emotion_cell = nn.GRUCell(party, options.emotion_width)
        self.listener_cell = nn.GRUCell(width + party, party) if options.listener else None
        self.query = nn.Linear(width, options.global_width, bias=False)
        self.dropout = nn.Dropout(options.recurrent_dropout)

    def forward(self, utterances: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        """Return e (D, U, D_e). What follows in a dialogue never changes what came before it.

        Args:
            utterances: u (D, U, D_m).
            speaker: the party that speaks (D, U), from 0 on.
        """
        size, steps = speaker.shape
        parties = int(speaker.max()) + 1
        rows = torch.arange(size, device=speaker.device)
        state = utterances.new_zeros(size, self.global_cell.hidden_size)
        party_states = utterances.new_zeros(size, parties, self.party_cell.hidden_size)
        emotion = utterances.new_zeros(size, self.emotion_cell.hidden_size)
        queries = self.query(utterances)  # (D, U, D_g)
        history: list[torch.Tensor] = []
        emotions = []
        for step in range(steps):
            said, who = utterances[:, step], speaker[:, step]
            context = self._context(history, queries[:, step])
            own = party_states[rows, who]  # (D, D_p)
            state = self.dropout(self.global_cell(torch.cat([said, own], dim=1), state))
            history.append(state)
            own = self.dropout(self.party_cell(torch.cat([said, context], dim=1), own))
            party_states = self._parties(party_states, said, who, own)
            emotion = self.dropout(self.emotion_cell(own, emotion))
            emotions.append(emotion)
        return torch.stack(emotions, dim=1)  # (D, U, D_e)

    def _context(self, history: list[torch.Tensor], query: torch.Tensor) -> torch.Tensor:
        """Return c (D, D_g) from the earlier states of the dialogue."""
        if not history:
            return torch.zeros_like(query)
        earlier = torch.stack(history, dim=1)  # (D, i, D_g)
        weights = torch.softmax(earlier @ query[..., None], dim=1)  # (D, i, 1)
        return (weights * earlier).sum(dim=1)

    def _parties(self, states: torch.Tensor, said: torch.Tensor, who: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Return the states of all parties (D, P, D_p) after an utterance, the speaker's being `own`."""
        parties = states.shape[1]
        if self.listener_cell is not None:
            heard = torch.cat([said, own], dim=1)[:, None].expand(-1, parties, -1)  # (D, P, D_m + D_p)
            states = self.dropout(self.listener_cell(heard.flatten(0, 1), states.flatten(0, 1)).view_as(states))
        speaks = nn.functional.one_hot(who, parties).bool()[..., None]  # (D, P, 1)
        return torch.where(speaks, own[:, None], states)


def run_directions(
    directions: nn.ModuleList, dropout: nn.Dropout, utterances: torch.Tensor, streams: DialogueStreams
) -> torch.Tensor:
    """Return the states of one or both directions side by side (D, U, n D_e), 0 at invalid utterances.

    Args:
        directions: `DialogueDirection`s, forward and, with two, backward: it reads the valid utterances and their
            speakers in reverse.
        dropout: after each direction.
        utterances: u (D, U, D_m).
        streams: with `dialogue_mask` and `speaker`.
    """
    mask = streams.dialogue_mask
    lengths = mask.sum(dim=1)
    rows, order = compact(utterances, mask)
    speaker = streams.speaker.masked_fill(~mask, 0).gather(1, order)
    states = [directions[0](rows, speaker)]
    if len(directions) == 2:
        backward = directions[1](reverse_valid(rows, lengths), reverse_valid(speaker, lengths))
        states.append(reverse_valid(backward, lengths))
    found = torch.cat([dropout(direction) for direction in states], dim=-1)
    found = torch.zeros_like(found).scatter(1, order[..., None].expand_as(found), found)
    return found.masked_fill(~mask[..., None], 0.0)


class DialogueRNN(Fusion):
    """DialogueRNN, "DialogueRNN: An Attentive RNN for Emotion Detection in Conversations", Majumder et al. 2019, AAAI.

        e = [e forward; e backward],   e~_i = sum_j b_ij e_j,  b_i = softmax_j(e_j . (W e_i + b))
        y_i = W_2 dropout(ReLU(W_1 e~_i))

    `DialogueDirection` has the recurrence. Without `causal` an utterance sees the whole dialogue, also what is said
    after it, as is the convention on IEMOCAP and MELD.

    Differences from public code: recurrence and attention run over valid utterances only; in the backward direction
    the speakers are reversed with their utterances (public code reverses the utterances alone); the number of parties
    is that of the dialogue; the model is not chosen on the test split.
    """

    Options = DialogueRNNOptions

    def __init__(self, options: DialogueRNNOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        directions = 1 if options.causal else 2
        width = utterance_width(widths, options.modalities)
        self.directions = nn.ModuleList(DialogueDirection(width, options) for _ in range(directions))
        self.direction_dropout = nn.Dropout(options.direction_dropout)
        self.attention = UtteranceAttention(directions * options.emotion_width, options.causal)
        self.hidden = nn.Linear(directions * options.emotion_width, directions * options.hidden)
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(directions * options.hidden, task.num_labels)

    def forward(self, streams: DialogueStreams) -> Fused:
        """Return the logits (D, U, C)."""
        utterances = utterance_vectors(streams, self.options.modalities)
        states = run_directions(self.directions, self.direction_dropout, utterances, streams)  # (D, U, 2 D_e)
        states = self.attention(states, streams.dialogue_mask)
        return Fused(self.output(self.dropout(torch.relu(self.hidden(states)))))


__all__ = ["DialogueDirection", "DialogueRNN", "DialogueRNNOptions", "run_directions"]
