"""Slow copies of parts of a model, and weights of the modalities that follow their losses (MTMD)."""

import torch

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .training_state import check_num_clips


class MomentumModel:
    """What MTMD keeps between steps: the weights of the modalities. Its slow copy lies in the model.

    After a step of the optimizer the copy and the weights in the model follow.

    Args:
        labels: scores of the training clips on the scale of the loss (N,); only the number is used.
        task: not used.
        options: with `momentum`.
        device: of the batches.
    """

    def __init__(self, labels: torch.Tensor, task: TaskSpecification, options, device: torch.device | str = "cpu"):
        self.num_clips, self.momentum = len(labels), options.momentum
        self.weights = torch.full((len(MODALITIES),), 1 / len(MODALITIES), device=device)

    def begin_epoch(self, epoch: int) -> dict[str, float]:
        """Do nothing: nothing depends on the epoch."""
        return {}

    def targets(self, clip_index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return nothing: the targets are predictions of the model."""
        return {}

    def observe(self, clip_index: torch.Tensor, labels: torch.Tensor, output) -> None:
        """Move the weights to  softmax(-L_m),  L_m the mean error of a modality over the clips that have it.

        A modality that no clip of the batch has takes part with the mean of the others.

        Args:
            clip_index: rows of the training set (B,), -1 for what does not count.
            labels: their scores (B,), on the scale of the loss.
            output: with the modalities' own scores in `embeds`, "scores" (B, 3), on that scale, and `modality_mask`.
        """
        counts = output.modality_mask.bool() & (clip_index >= 0)[:, None]  # (B, 3)
        errors = (output.embeds["scores"].float() - labels.reshape(-1, 1)).abs() * counts
        known = counts.any(dim=0)
        means = errors.sum(dim=0) / counts.sum(dim=0).clamp(min=1)  # (3,)
        means = torch.where(known, means, means.sum() / known.sum().clamp(min=1))
        self.weights.lerp_(torch.softmax(-means, dim=0), 1 - self.momentum)

    def after_step(self, model: torch.nn.Module) -> None:
        """Move the slow copy toward the branch of the text, and set the weights of the modalities."""
        fusion = getattr(model, "module", model).fusion
        with torch.no_grad():
            for slow, weight in zip(fusion.teacher.parameters(), fusion.branches["text"].parameters()):
                slow.lerp_(weight.to(slow), 1 - self.momentum)
            fusion.weights.copy_(self.weights)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the weights of the modalities, and the number of training clips."""
        return {"weights": self.weights, "num_clips": torch.tensor(self.num_clips)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: the state is that of another training set.
        """
        check_num_clips(state, self.num_clips)
        self.weights.copy_(state["weights"])


__all__ = ["MomentumModel"]
