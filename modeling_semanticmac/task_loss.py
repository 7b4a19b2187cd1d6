"""The loss of one sub-task, by the task's problem type (inside eq. 21), and the check of labels against the task."""

import torch
from torch.nn import functional as F

from .configuration_semanticmac import TaskSpecification

REGRESSION_LOSSES = ("l1", "mse")


def task_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    task: TaskSpecification,
    regression_loss: str = "l1",
    class_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Loss of one sub-task for each sample, in float32: l(y^_s, y_s) of eq. (21).

    Scores: |y^ - y| ("l1", the default) or (y^ - y)^2 ("mse"). Single label: cross entropy, with class ids or with soft targets on the simplex.
    Multi-label: binary cross entropy with logits, mean over classes, targets in [0, 1] (which of these the paper uses for multi-label is our
    reading).

    Args:
        logits: (B, C).
        targets: (B,) or (B, 1) scores; (B,) class ids or (B, C) probabilities; (B, C) multi-hot.
        regression_loss: "l1" or "mse".
        class_weight: (C,) weight of each class (single label), or of the positives of each class (multi-label).

    Returns:
        (B,) losses.
    """
    logits = logits.float()
    if task.is_regression:
        difference = logits.squeeze(-1) - targets.float().reshape(logits.shape[0])
        return difference.abs() if regression_loss == "l1" else difference.square()
    if task.is_multi_label:
        losses = F.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none", pos_weight=class_weight)
        return losses.mean(dim=-1)  # (B, C) -> (B,)
    if targets.dim() == 1:
        targets = targets.long()
    else:
        targets = targets.float()
    return F.cross_entropy(logits, targets, weight=class_weight, reduction="none")


def check_labels(labels: torch.Tensor, task: TaskSpecification, batch_size: int | None = None) -> None:
    """Raise ValueError, with a sentence, where labels cannot belong to the task.

    Shapes are always checked; values (range, class ids, multi-hot) only on the CPU, where looking costs no synchronisation.

    Args:
        labels: (B,) scores, (B,) class ids or (B, C) multi-hot, as the task asks.
        batch_size: B, when known.
    """
    where = f"labels of task {task.name!r} ({task.problem_type})"
    expected = (task.num_labels,) if task.is_multi_label else ()
    shape = tuple(labels.shape)
    if task.is_regression and shape[1:] == (1,):
        shape = shape[:1]
    if len(shape) < 1 or shape[1:] != expected or (batch_size is not None and shape[0] != batch_size):
        wanted = (batch_size if batch_size is not None else "B", *expected)
        raise ValueError(
            f"{where} have shape {tuple(labels.shape)}; expected ({', '.join(map(str, wanted))}{',' * (not expected)})."
        )
    if labels.device.type != "cpu":
        return
    if task.is_regression:
        low, high = task.label_range
        bad = ~((labels >= low) & (labels <= high))  # written so that NaN is bad too
        allowed = f"scores in [{low:g}, {high:g}]"
    elif task.is_multi_label:
        bad = (labels != 0) & (labels != 1)
        allowed = f"{task.num_labels} zeros and ones for {', '.join(task.label_names)}"
    else:
        bad = (labels < 0) | (labels >= task.num_labels) | (labels != labels.round())
        allowed = f"class ids 0 to {task.num_labels - 1} for {', '.join(task.label_names)}"
    if bad.any():
        raise ValueError(
            f"{where} hold {labels[bad].flatten()[0].item():g}; expected {allowed}. Check the corpus, or the task's definition."
        )
