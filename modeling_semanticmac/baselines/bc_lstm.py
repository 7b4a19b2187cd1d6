"""bc-LSTM: an LSTM over the utterances of a dialogue (Poria et al. 2017)."""

from dataclasses import dataclass

import torch
from torch import nn

from .dialogue_data import MAX_UTTERANCES, MODALITIES, DialogueStreams, utterance_vectors, utterance_width
from .dialogue_layers import UtteranceAttention
from .fusion import Fused, Fusion
from .fusion_layers import PackedLSTM


@dataclass(frozen=True)
class BcLSTMOptions:
    """Options of [`BcLSTM`]; the defaults are the public settings.

    Args:
        modalities: which of text, audio and vision are concatenated.
        hidden: width of a direction of the LSTM, and of the layer after it.
        num_layers: of the LSTM.
        dropout: between the layers, and before the output.
        attention: attention between the utterances after the LSTM.
        causal: one direction only, so that an utterance does not see those after it.
        max_utterances: longest dialogue; a longer one is split into consecutive parts.
    """

    modalities: tuple[str, ...] = MODALITIES
    hidden: int = 100
    num_layers: int = 2
    dropout: float = 0.25
    attention: bool = False
    causal: bool = False
    max_utterances: int = MAX_UTTERANCES


class BcLSTM(Fusion):
    """bc-LSTM, "Context-Dependent Sentiment Analysis in User-Generated Videos", Poria et al. 2017, ACL.

        u_i = [t_i; a_i; v_i],  h = biLSTM(u),  y_i = W_2 dropout(ReLU(W_1 h_i))

    t_i is the summary of the utterance's text, a_i and v_i are the means over its frames. Without `causal` an
    utterance sees the whole dialogue, also what is said after it, as is the convention on IEMOCAP and MELD.

    Differences from public code: the LSTM runs over valid utterances only; the model is not chosen on the test split.
    """

    Options = BcLSTMOptions

    def __init__(self, options: BcLSTMOptions, widths: dict[str, int], task):
        super().__init__(options, widths, task)
        width = options.hidden * (1 if options.causal else 2)
        self.recurrence = PackedLSTM(
            utterance_width(widths, options.modalities), options.hidden, options.num_layers,
            bidirectional=not options.causal, dropout=options.dropout if options.num_layers > 1 else 0.0,
        )  # fmt: skip
        self.attention = UtteranceAttention(width, options.causal) if options.attention else None
        self.hidden = nn.Linear(width, options.hidden)
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(options.hidden, task.num_labels)

    def forward(self, streams: DialogueStreams) -> Fused:
        """Return the logits (D, U, C)."""
        utterances = utterance_vectors(streams, self.options.modalities)
        states, _ = self.recurrence.states(utterances, streams.dialogue_mask)  # (D, U, 2 h)
        if self.attention is not None:
            states = self.attention(states, streams.dialogue_mask)
        return Fused(self.output(self.dropout(torch.relu(self.hidden(states)))))


__all__ = ["BcLSTM", "BcLSTMOptions"]
