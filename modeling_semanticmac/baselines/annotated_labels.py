"""Labels of single modalities as the corpus has them (CH-SIMS, CH-SIMS v2), for AV-MC."""

import numpy as np
import torch

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .modeling_fusion import learnt_labels


class AnnotatedLabels:
    """The label of each modality of every training clip: the annotated score, or the label of the clip without one.

    Nothing of it changes in a training, so a checkpoint keeps nothing of it.

    Attributes:
        reads_clips: the trainer passes the training set.

    Args:
        labels: of the training clips on the scale of the loss (N,) or (N, C).
        task: the task specification; annotations are scores, so classes have the label of the clip.
        options: not used.
        device: of the batches.
        clips: the training set, with the columns `label_text`, `label_audio`, `label_vision`; None: no annotations.
    """

    reads_clips = True

    def __init__(
        self, labels: torch.Tensor, task: TaskSpecification, options, device: torch.device | str = "cpu", clips=None
    ):
        self.labels = {}
        for name in MODALITIES:
            found = labels
            if task.is_regression and clips is not None and f"label_{name}" in clips.column_names:
                annotated = torch.as_tensor(np.array(clips[f"label_{name}"][:], dtype=np.float32))  # None: NaN
                found = torch.where(annotated.isnan(), labels.float(), learnt_labels(annotated, task))
            self.labels[name] = found.to(device)

    def begin_epoch(self, epoch: int) -> dict[str, float]:
        """Do nothing: the labels are those of the corpus."""
        return {}

    def targets(self, clip_index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the labels of a batch, modality -> (B,) or (B, C)."""
        return {name: labels[clip_index] for name, labels in self.labels.items()}

    def observe(self, clip_index: torch.Tensor, labels: torch.Tensor, output) -> None:
        """Do nothing."""

    def after_step(self, model: torch.nn.Module) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return nothing: the corpus has the labels."""
        return {}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Do nothing."""


__all__ = ["AnnotatedLabels"]
