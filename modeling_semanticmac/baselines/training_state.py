"""What a method keeps between the steps of a training: pseudo labels, memories, moving averages."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch


@dataclass
class Observed:
    """What a model returned for a batch, without gradient: rows of all processes in order of their rank.

    Args:
        modality_mask: (B, 3), bool.
        logits: (B, C); None where a method does not keep them.
        modality_logits: (B, 3, C), where the system has them.
        embeds: representations by name, (B, d), where the system has them.
    """

    modality_mask: torch.Tensor
    logits: torch.Tensor | None = None
    modality_logits: torch.Tensor | None = None
    embeds: dict[str, torch.Tensor] | None = None

    @classmethod
    def of(cls, output: Any) -> "Observed":
        """Return the fields of an output of `FusionForAffect`, detached."""
        found = cls(*(getattr(output, field.name) for field in fields(cls)))
        return found.map(torch.Tensor.detach)

    def tensors(self) -> list[torch.Tensor]:
        """Return every tensor, in the order of `map`."""
        found: list[torch.Tensor] = []

        def keep(rows: torch.Tensor) -> torch.Tensor:
            found.append(rows)
            return rows

        self.map(keep)
        return found

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Observed":
        """Return the same with a function applied to every tensor."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if isinstance(value, dict):
                values[name] = {key: function(rows) for key, rows in value.items()}
            elif value is not None:
                values[name] = function(value)
        return Observed(**values)


def check_num_clips(state: dict[str, torch.Tensor], num_clips: int) -> None:
    """Refuse a saved state with another number of training clips, `num_clips`, than this run has.

    Raises:
        ValueError: the numbers differ.
    """
    saved = int(state["num_clips"])
    if saved != num_clips:
        raise ValueError(
            f"training state: it was saved with {saved} training clips, this run has {num_clips}; resume with the same "
            "clips."
        )


class TrainingState(Protocol):
    """The state of a method in one training; the trainer makes it from the training labels and saves it in checkpoints.

    A class that follows it is made as `State(labels, task, options, device=...)`: labels of the whole training set on
    the scale of the loss (`modeling_fusion.learnt_labels`), the [`TaskSpecification`], the options of the system.
    With an attribute `reads_clips` that is true it gets the training set too, as `clips`. In a
    step the trainer calls `begin_epoch`, `targets`, forward and backward pass, `observe`, and after the optimizer
    `after_step`.
    """

    def begin_epoch(self, epoch: int) -> dict[str, float]:
        """Prepare an epoch, counted from 1; a second call for the same epoch does nothing. Returns figures to log."""

    def targets(self, clip_index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the loss of a batch needs, by name; `Streams.targets` passes it to the system.

        Args:
            clip_index: rows of the training set (B,).
        """

    def observe(self, clip_index: torch.Tensor, labels: torch.Tensor, output: Observed) -> None:
        """Take in a batch after its backward pass: rows of all processes in order of their rank.

        Args:
            clip_index: rows of the training set (B,); -1 for a clip that only fills up the last batch of several
                processes and must change nothing. Nothing may wait for the device here: write such rows into a spare
                one, rather than choose the others.
            labels: their labels, on the scale of the loss.
            output: what the forward pass returned for them.
        """

    def after_step(self, model: torch.nn.Module) -> None:
        """Follow the weights of the model after a step of the optimizer."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return everything that later steps depend on, as tensors."""

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: the state is that of another training set.
        """


__all__ = ["Observed", "TrainingState", "check_num_clips"]
