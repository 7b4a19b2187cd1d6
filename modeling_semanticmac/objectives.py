"""The training objective: task losses of the five sub-tasks and their total (section III-F, eq. 21-22)."""

import torch

from .affect_heads import SUBTASKS, SemanticMACForAffectOutput
from .configuration_semanticmac import TaskSpecification
from .semantic_interaction import MODALITIES
from .task_loss import task_loss

# Which modality a semantic-specific sub-task needs; M and S answer from whatever is there.
SUBTASK_MODALITY = {"T": MODALITIES.index("text"), "A": MODALITIES.index("audio"), "V": MODALITIES.index("vision")}


def subtask_losses(
    output: SemanticMACForAffectOutput,
    targets: dict[str, torch.Tensor],
    task: TaskSpecification,
    regression_loss: str = "l1",
    class_weight: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """The terms of eq. (21):  L_s = (1 / N_b) sum_i l(y^_s^i, y_s^i), one scalar for each sub-task that has a target.

    A sample that lacks a modality takes no part in that modality's sub-task: its term is 0, the divisor stays N_b.

    Args:
        output: of the head, logits (B, C) and subtask_logits (B, 4, C).
        targets: sub-task name -> labels as `task_loss` takes them; M holds the ground truth, S, T, A, V the pseudo labels. A sub-task without a
            target has no loss.
        regression_loss: "l1" or "mse".
        class_weight: (C,) or None.
    """
    losses = {}
    for subtask, labels in targets.items():
        logits = output.logits if subtask == "M" else output.subtask_logits[:, SUBTASKS.index(subtask)]  # (B, C)
        each = task_loss(logits, labels, task, regression_loss, class_weight)  # (B,)
        if subtask in SUBTASK_MODALITY:
            each = each * output.modality_mask[:, SUBTASK_MODALITY[subtask]]
        losses[subtask] = each.mean()
    return losses


def balanced_class_weight(labels: torch.Tensor, task: TaskSpecification) -> torch.Tensor:
    """Weights that give rare classes the same say, from the labels of the training set.

    Single label: n / (C n_c), as scikit-learn's "balanced". Multi-label: negatives / positives of each class (the weight of its positives).

    Args:
        labels: (n,) class ids or (n, C) multi-hot of the whole training set.

    Returns:
        (C,) float32.

    Raises:
        ValueError: for a regression, or a class that the training set lacks.
    """
    if task.is_regression:
        raise ValueError(
            f"class_weight='balanced' needs classes; task {task.name!r} is a regression. Use class_weight='none'."
        )
    if task.is_multi_label:
        positives = labels.float().sum(dim=0)  # (C,)
    else:
        positives = torch.bincount(labels.long(), minlength=task.num_labels).float()
    if (positives == 0).any():
        absent = [name for name, count in zip(task.label_names, positives) if count == 0]
        raise ValueError(
            f"class_weight='balanced': the training set has no clip of {', '.join(absent)}; use class_weight='none'."
        )
    if task.is_multi_label:
        return (len(labels) - positives) / positives
    return len(labels) / (task.num_labels * positives)
