"""Memory Fusion Network: three recurrences, an attention over the change of their memories, a gated memory."""

from dataclasses import dataclass

import torch
from torch import nn

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .fusion import Fused, Fusion, Streams
from .fusion_layers import Steps, word_steps

State = tuple[torch.Tensor, torch.Tensor]  # h and c of a cell, (B, h_m)


@dataclass(frozen=True)
class MemoryFusionOptions:
    """Options of [`MemoryFusionNetwork`]; the defaults are the public settings for CMU-MOSI.

    Args:
        text_hidden, audio_hidden, vision_hidden: widths h_t, h_a, h_v of the LSTM cells.
        memory_width: width m of the shared memory u.
        attention_hidden, attention_dropout: inner width and dropout of A1.
        candidate_hidden, candidate_dropout: of A2.
        retain_hidden, retain_dropout: of G1, the gate on the old memory.
        update_hidden, update_dropout: of G2, the gate on the new one.
        output_hidden, output_dropout: of the output layers.
    """

    text_hidden: int = 256
    audio_hidden: int = 32
    vision_hidden: int = 256
    memory_width: int = 400
    attention_hidden: int = 32
    attention_dropout: float = 0.2
    candidate_hidden: int = 64
    candidate_dropout: float = 0.0
    retain_hidden: int = 256
    retain_dropout: float = 0.7
    update_hidden: int = 32
    update_dropout: float = 0.5
    output_hidden: int = 128
    output_dropout: float = 0.0


def two_layers(width: int, hidden: int, output: int, dropout: float) -> nn.Sequential:
    """Return Linear, ReLU, dropout, Linear."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, output))


class MemoryFusionNetwork(Fusion):
    r"""MFN (Zadeh et al. 2018, "Memory Fusion Network for Multi-view Sequential Learning", AAAI).

    At each step s of a sequence that text, audio and vision share, with H = h_t + h_a + h_v:

        h_m, c_m = LSTMCell_m(x_m, (h_m, c_m)),  m = t, a, v
        c* = [c_t; c_a; c_v] before the step, then [c_t; c_a; c_v] after it           (2H)
        c^ = softmax(A1(c*)) * c*                                                     (2H)
        u^ = tanh(A2(c^))                                                             (m)
        u  = sigmoid(G1([c^; u])) * u + sigmoid(G2([c^; u])) * u^                     (m)

    and at the end y^ = W_2 dropout(ReLU(W_1 [h_t; h_a; h_v; u])). A1, A2, G1 and G2 are Linear, ReLU, dropout, Linear;
    all states start at 0.

    Our readings: the steps are the sub-words of the text, and audio and vision are pooled to them (the publication
    aligns words by force). A step of padding leaves every state as it is; public code lets the recurrence run over it.
    A missing modality keeps h = c = 0; in public code its cell runs on its biases.
    """

    Options = MemoryFusionOptions

    def __init__(self, options: MemoryFusionOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        hidden = {name: getattr(options, f"{name}_hidden") for name in MODALITIES}
        total, memory = sum(hidden.values()), options.memory_width
        self.cells = nn.ModuleDict({name: nn.LSTMCell(widths[name], hidden[name]) for name in hidden})
        attended = self.make_attention(hidden)  # width of what the gates read beside the memory
        self.candidate = two_layers(attended, options.candidate_hidden, memory, options.candidate_dropout)
        self.retain = two_layers(attended + memory, options.retain_hidden, memory, options.retain_dropout)
        self.update = two_layers(attended + memory, options.update_hidden, memory, options.update_dropout)
        self.output = two_layers(total + memory, options.output_hidden, task.num_labels, options.output_dropout)

    def make_attention(self, hidden: dict[str, int]) -> int:
        """Make A1, and return the width of c^; the widths of the cells are given."""
        total = sum(hidden.values())
        self.attention = two_layers(2 * total, self.options.attention_hidden, 2 * total, self.options.attention_dropout)
        return 2 * total

    def attend(self, before: list[State], after: list[State]) -> torch.Tensor:
        """Return c^ (B, 2H) from the states (h, c) of the cells before and after a step."""
        cells = torch.cat([cell for _, cell in before + after], dim=-1)  # c* (B, 2H)
        return self.attention(cells).softmax(dim=-1) * cells

    def remember(self, attended: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Return the memory u (B, m) after a step, from c^ (B, 2H) and u before it."""
        candidate = torch.tanh(self.candidate(attended))  # (B, m)
        both = torch.cat([attended, memory], dim=-1)  # (B, 2H + m)
        return torch.sigmoid(self.retain(both)) * memory + torch.sigmoid(self.update(both)) * candidate

    def run(
        self, steps: Steps, present: torch.Tensor, states: list[State] | None = None, memory: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the states after the last step: h_t, h_a and h_v (B, h_m) by modality, and u (B, m) as "memory".

        Args:
            steps: the streams at common steps.
            present: bool (B, 3); a modality that a clip lacks keeps its state.
            states: (h, c) of the three cells before the first step; None: 0.
            memory: u before it; None: 0.
        """
        *sequences, mask = steps
        if states is None:
            zeros = [sequences[0].new_zeros(len(mask), self.cells[name].hidden_size) for name in MODALITIES]
            states = [(zero, zero) for zero in zeros]
        if memory is None:
            memory = sequences[0].new_zeros(len(mask), self.options.memory_width)
        present = present.unsqueeze(-1)  # (B, 3, 1)
        for step in range(mask.shape[1]):
            valid = mask[:, step, None]  # (B, 1)
            before = list(states)
            for m, name in enumerate(MODALITIES):
                new = self.cells[name](sequences[m][:, step], states[m])
                runs = valid & present[:, m]
                states[m] = tuple(torch.where(runs, after, old) for after, old in zip(new, before[m]))
            memory = torch.where(valid, self.remember(self.attend(before, states), memory), memory)
        return {name: hidden for name, (hidden, _) in zip(MODALITIES, states)} | {"memory": memory}

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        embeds = self.run(word_steps(streams), streams.modality_mask)
        return Fused(logits=self.output(torch.cat(list(embeds.values()), dim=-1)), embeds=embeds)


__all__ = ["MemoryFusionNetwork", "MemoryFusionOptions", "State", "two_layers"]
