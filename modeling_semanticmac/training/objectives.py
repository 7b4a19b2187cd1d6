"""The training objective: task losses of the five sub-tasks, contrastive terms, weights (section III-F, eq. 19, 21, 22)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..affect_heads import SemanticMACForAffectOutput, task_loss
from ..configuration_semanticmac import MODALITIES, SUBTASKS, TaskSpecification
from .semantic_contrast import inter_sample_loss, intra_sample_loss, shares_label

# Which modality a semantic-specific sub-task needs; M and S answer from whatever is there.
SUBTASK_MODALITY = {"T": MODALITIES.index("text"), "A": MODALITIES.index("audio"), "V": MODALITIES.index("vision")}


@dataclass
class GlobalBatch:
    """What a process must know of the batch that all processes share.

    Args:
        multimodal_embeds: F_M of all samples, with gradient, (G, d).
        labels: ground truth of all samples, (G,) or (G, C).
        is_self: bool (B, G), where this process's samples stand among them.
        counts: bool (G,), False for samples that only fill up the last batch.
        sample_weight: what each of this process's samples counts (B,), so that the mean over processes is the mean over the global batch;
            None: 1 / B.
    """

    multimodal_embeds: torch.Tensor
    labels: torch.Tensor
    is_self: torch.Tensor
    counts: torch.Tensor
    sample_weight: torch.Tensor | None = None

    @classmethod
    def of_one_process(cls, output: SemanticMACForAffectOutput, labels: torch.Tensor) -> "GlobalBatch":
        """The batch itself."""
        size, device = len(labels), labels.device
        everyone = torch.ones(size, dtype=torch.bool, device=device)
        return cls(output.multimodal_embeds, labels, torch.eye(size, dtype=torch.bool, device=device), everyone)


def weighted_sum(losses: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """sum_i w_i l_i, or the mean: (B,) -> scalar."""
    return losses.mean() if weight is None else (losses * weight).sum()


def subtask_losses(
    output: SemanticMACForAffectOutput,
    targets: dict[str, torch.Tensor],
    task: TaskSpecification,
    regression_loss: str = "l1",
    class_weight: torch.Tensor | None = None,
    sample_weight: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """The terms of eq. (21):  L_s = (1 / N_b) sum_i l(y^_s^i, y_s^i), one scalar for each sub-task that has a target.

    A sample that lacks a modality takes no part in that modality's sub-task: its term is 0, the divisor stays N_b.

    Args:
        output: of the head, logits (B, C) and subtask_logits (B, 4, C).
        targets: sub-task name -> labels as `task_loss` takes them; M holds the ground truth, S, T, A, V the pseudo labels. A sub-task without a
            target has no loss.
        regression_loss: "l1" or "mse".
        class_weight: (C,) or None.
        sample_weight: what each sample counts (B,); None: 1 / N_b each.
    """
    losses = {}
    for subtask, labels in targets.items():
        logits = output.logits if subtask == "M" else output.subtask_logits[:, SUBTASKS.index(subtask)]  # (B, C)
        each = task_loss(logits, labels, task, regression_loss, class_weight)  # (B,)
        if subtask in SUBTASK_MODALITY:
            each = each * output.modality_mask[:, SUBTASK_MODALITY[subtask]]
        losses[subtask] = weighted_sum(each, sample_weight)
    return losses


def contrastive_losses(
    output: SemanticMACForAffectOutput,
    labels: torch.Tensor,
    gathered: GlobalBatch,
    task: TaskSpecification,
    intra_temperature: float,
    inter_temperature: float,
    sentiment_threshold: float = 0.0,
) -> dict[str, torch.Tensor]:
    """The two terms of eq. (19), scalars: "intra" within samples, "inter" between this process's samples and the global batch.

    Args:
        output: of the head.
        labels: ground truth of this process's samples.
        gathered: the global batch.
    """
    intra = intra_sample_loss(output.specific_embeds, output.shared_embeds, output.modality_mask, intra_temperature)
    positives = shares_label(labels, gathered.labels, task, sentiment_threshold)
    excluded = gathered.is_self | ~gathered.counts
    inter = inter_sample_loss(
        output.multimodal_embeds, gathered.multimodal_embeds, positives, excluded, inter_temperature
    )
    weight = gathered.sample_weight
    return {"intra": weighted_sum(intra, weight), "inter": weighted_sum(inter, weight)}


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


def own_class_weight(weights: Sequence[str], task: TaskSpecification) -> torch.Tensor:
    """Return the weights of `--class_weights` in the order of the classes, (C,) float32; a class that is not named has weight 1.

    Args:
        weights: NAME=WEIGHT for some classes. Single label: the weight of the loss of the clips of that class. Multi-label: of its positives.

    Raises:
        ValueError: for a regression, an unknown or repeated class, or a weight that is not a positive number.
    """
    if task.is_regression:
        raise ValueError(f"class_weights need classes; task {task.name!r} is a regression. Leave them out.")
    found: dict[str, float] = {}
    for entry in weights:
        name, _, weight = str(entry).rpartition("=")
        try:
            value = float(weight)
        except ValueError:
            value = math.nan
        if name not in task.label_names or name in found or not 0 < value < math.inf:
            raise ValueError(
                f"class_weights has {str(entry)!r}; expected NAME=WEIGHT with a positive number, at most once for each of "
                f"{', '.join(task.label_names)}."
            )
        found[name] = value
    return torch.tensor([found.get(name, 1.0) for name in task.label_names])
