"""What a method keeps between the steps of a training: pseudo labels, memories, moving averages."""

from typing import Any, Protocol

import torch


class TrainingState(Protocol):
    """The state of a method in one training; the trainer makes it from the training labels and saves it in checkpoints.

    A class that follows it is made as `State(labels, task, options, device=...)`: labels of the whole training set on
    the scale of the loss (`modeling_fusion.learnt_labels`), the [`TaskSpecification`], the options of the system. In a
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

    def observe(self, clip_index: torch.Tensor, labels: torch.Tensor, output: Any) -> None:
        """Take in a batch: rows of all processes in order of their rank, without gradient, each clip once.

        Args:
            clip_index: rows of the training set (B,).
            labels: their labels, on the scale of the loss.
            output: what the forward pass returned for them, with `logits`, `modality_logits`, `embeds` (name -> rows)
                and `modality_mask`.
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


__all__ = ["TrainingState"]
