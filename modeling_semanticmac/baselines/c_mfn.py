"""C-MFN: the Memory Fusion Network of a punchline, whose states start from its context."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .fusion import Fused, Streams
from .fusion_layers import PackedLSTM, masked_mean, word_steps
from .mfn import MemoryFusionNetwork, MemoryFusionOptions


@dataclass(frozen=True)
class ContextualMemoryOptions(MemoryFusionOptions):
    """Options of [`ContextualMemoryFusion`]; those of MFN, and

    Args:
        context_width: of the vectors of the context.
        context_heads: of the transformer layer over them.
    """

    context_width: int = 64
    context_heads: int = 4


class ContextualMemoryFusion(MemoryFusionNetwork):
    """C-MFN, "UR-FUNNY: A Multimodal Language Dataset for Understanding Humor" (Hasan et al. 2019, EMNLP).

        c = LSTM over the tokens of the context;  initial cell of the text = Linear(last state)
        initial memory u = Linear(mean of a transformer layer over c)
        then MFN ([`MemoryFusionNetwork`]) on the punchline

    Our readings, since the code of the model is not public: the punchline is what follows the last separator of a text
    with context (`use_context`), the context all before it. The context is kept as text alone, so the initial cells of
    audio and vision are 0. One recurrence runs over the words of the context, where the publication has one a sentence
    and another over the sentences. A clip without context starts from 0 and is MFN.
    """

    Options = ContextualMemoryOptions

    def __init__(self, options: ContextualMemoryOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        width = options.context_width
        self.context = PackedLSTM(widths["text"], width)
        self.cell = nn.Linear(width, options.text_hidden)
        self.context_transformer = nn.TransformerEncoderLayer(width, options.context_heads, 4 * width, batch_first=True)
        self.memory = nn.Linear(width, options.memory_width)

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C)."""
        punchline = last_words(streams.text_mask, streams.content_mask)
        context = streams.content_mask & ~punchline
        steps = word_steps(replace(streams, content_mask=punchline))
        some = context.any(dim=1, keepdim=True)
        tokens, final = self.context.states(streams.text, context)
        encoded = self.context_transformer(tokens, src_key_padding_mask=~(context | ~some))
        memory = self.memory(masked_mean(encoded, context)) * some
        cells = [self.cell(final) * some] + [
            final.new_zeros(len(final), self.cells[name].hidden_size) for name in MODALITIES[1:]
        ]
        states = [(torch.zeros_like(cell), cell) for cell in cells]
        embeds = self.run(steps, streams.modality_mask, states, memory)
        return Fused(logits=self.output(torch.cat(list(embeds.values()), dim=-1)), embeds=embeds)


def last_words(text_mask: torch.Tensor, content_mask: torch.Tensor) -> torch.Tensor:
    """Return the last run of words without a special token between them, bool (B, L).

    Args:
        text_mask: valid tokens (B, L).
        content_mask: those of them that are words (B, L).
    """
    words_after = content_mask.long().flip(1).cumsum(dim=1).flip(1)  # itself included
    separators = (text_mask & ~content_mask & (words_after > 0)).long()
    return content_mask & (separators.flip(1).cumsum(dim=1).flip(1) == 0)


__all__ = ["ContextualMemoryFusion", "ContextualMemoryOptions", "last_words"]
