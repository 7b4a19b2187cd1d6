"""What a comparison system is: a module from the streams of a batch to its logits.

Legend: B batch, L tokens, T_a and T_v frames, D_m width of a stream, C outputs. Triples are in the order text, audio,
vision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .fusion_layers import text_summary
from .training_state import TrainingState


def own_rows(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows of one process as they are: with one process they are all rows."""
    return rows


@dataclass
class Streams:
    """The streams of a batch: never None, without NaN, 0 at masked positions.

    A modality that the whole batch lacks is zeros (B, 1, D) with a mask of zeros.

    Args:
        text: last hidden states of the language model (B, L, D_t).
        text_mask: valid tokens (B, L), bool.
        content_mask: those of them that are words, not [CLS], [SEP] or padding (B, L), bool.
        audio, audio_mask: (B, T_a, D_a), (B, T_a) bool.
        vision, vision_mask: (B, T_v, D_v), (B, T_v) bool.
        modality_mask: which modalities each clip has (B, 3), bool.
        summary: how the text is summed up, see `text_vector`.
        labels: in training, the labels on the scale of the logits: (B,) scores or class ids, or (B, C) multi-hot; else
            None, and no loss that needs them is made.
        targets: in training, what the `TrainingState` of the system returned for the batch; else None.
        gather: returns the rows (B, ...) of all processes, (G, ...), with gradient, for losses between samples.
        counts: in training, which clips count (B,), bool: all but those that only fill up the last batch of several
            processes. None: all.
    """

    text: torch.Tensor
    text_mask: torch.Tensor
    content_mask: torch.Tensor
    audio: torch.Tensor
    audio_mask: torch.Tensor
    vision: torch.Tensor
    vision_mask: torch.Tensor
    modality_mask: torch.Tensor
    summary: str = "first"
    labels: torch.Tensor | None = None
    targets: dict[str, torch.Tensor] | None = None
    gather: Callable[[torch.Tensor], torch.Tensor] = own_rows
    counts: torch.Tensor | None = None

    @property
    def text_vector(self) -> torch.Tensor:
        """One vector for the whole text (B, D_t), as `FusionConfig.text_summary` says."""
        return text_summary(self.text, self.text_mask, self.content_mask, self.summary)

    def mean(self, values: torch.Tensor, has: torch.Tensor | None = None) -> torch.Tensor:
        """Return the mean of a loss over the clips of all processes, as this process's share of it.

        The mean of the shares over the processes, which distributed training takes, is the mean over the clips. It is 0
        where no clip has the loss.

        Args:
            values: loss of each clip (B,).
            has: which clips have it (B,), bool; None: all.
        """
        has = torch.ones_like(values, dtype=torch.bool) if has is None else has
        has = has if self.counts is None else has & self.counts
        everyone = self.gather(has.to(values.dtype))  # (G,)
        return values.masked_fill(~has, 0).sum() * (len(everyone) / len(has)) / everyone.sum().clamp(min=1)

    def counted(self, has: torch.Tensor) -> torch.Tensor:
        """Return which clips of all processes count in a loss, bool (G,); `has` (B,) says which of this one have it."""
        has = has if self.counts is None else has & self.counts
        return self.gather(has.to(self.text.dtype)) > 0

    def has(self, modality: str) -> torch.Tensor:
        """Return which clips have a modality, (B, 1) in the dtype of the streams, to multiply its vector with."""
        return self.modality_mask[:, MODALITIES.index(modality), None].to(self.text.dtype)


@dataclass
class Fused:
    """What a system returns for a batch.

    Args:
        logits: (B, C).
        modality_logits: predictions from text, audio and vision alone (B, 3, C), where the system has them.
        embeds: representations by name (B, d), which its `TrainingState` or an analysis reads.
        losses: further terms of the training loss by name, scalars with their weights applied; made in training only.
    """

    logits: torch.Tensor
    modality_logits: torch.Tensor | None = None
    embeds: dict[str, torch.Tensor] | None = None
    losses: dict[str, torch.Tensor] | None = None


class Fusion(nn.Module):
    """Base of the systems.

    A system draws its own weights when it is made (torch's initialisation, unless its publication has another), and has
    no buffer that a checkpoint leaves out (`persistent=False`): loading would not fill it.

    Attributes:
        Options: a frozen dataclass with defaults, which are public settings for CMU-MOSI.
        language_model: "frozen" or "tuned", unless the configuration says otherwise.
        inside_language_model: whether it has weights that run inside the language model; they are trained where that is
            frozen, too.
        state: class of what the method keeps between training steps, see [`TrainingState`]; None: nothing.
        can_be_bounded: whether scores may be mapped into their range after it; not where its own losses compare scores.

    Args:
        options: of the class `Options`.
        widths: modality -> width of its stream, D_t, D_a, D_v.
        task: what is predicted.
    """

    Options: type
    language_model = "frozen"
    inside_language_model = False
    state: type[TrainingState] | None = None
    can_be_bounded = True

    def __init__(self, options: Any, widths: dict[str, int], task: TaskSpecification):
        super().__init__()
        self.options, self.widths, self.task = options, dict(widths), task

    def attach(self, language_model: PreTrainedModel) -> None:
        """Prepare the language model of a system that works inside it; called once, when the model is made."""

    def read_labels(self, language_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Take in the names of the labels, in a system that reads them; called once, when a new model is made."""

    def freeze(self, language_model: PreTrainedModel) -> None:
        """Take parts of a tuned language model out of the training; called when the model is made, and when loaded."""

    def before_text(self, streams: Streams) -> None:
        """Take in the media before the language model reads the text, in a system that works inside it.

        Args:
            streams: complete but for `text`, which is zeros.
        """

    def forward(self, streams: Any) -> Fused:
        """Return the prediction of a batch.

        Args:
            streams: [`Streams`], or `DialogueStreams` for a system that reads dialogues.
        """
        raise NotImplementedError


__all__ = ["Fused", "Fusion", "Streams", "own_rows"]
