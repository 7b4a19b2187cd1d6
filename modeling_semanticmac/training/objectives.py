"""The training objective: task losses of the five sub-tasks, contrastive terms, weights (section III-F, eq. 19, 21,
22).
"""

import torch

from ..affect_heads import SemanticMACForAffectOutput, task_loss
from ..configuration_semanticmac import SUBTASKS, TaskSpecification
from .global_batch import GlobalBatch, field
from .semantic_contrast import inter_sample_loss, intra_sample_loss, shares_label
from .semantic_labels import SUBTASK_MODALITY


class LossParts:
    """Running sums of the terms of the loss since they were last logged."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.steps = 0

    def add(self, parts: dict[str, torch.Tensor]) -> None:
        """Add the terms of one step, scalars by name."""
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
        self.steps += 1

    def take_means(self, accelerator) -> dict[str, float]:
        """Return the mean of each term over steps and processes, and start again."""
        means = torch.stack(list(self.sums.values())) / self.steps  # (parts,)
        names, means = list(self.sums), accelerator.reduce(means, reduction="mean")
        self.sums, self.steps = {}, 0
        return dict(zip(names, means.tolist()))


def weighted_sum(losses: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Return sum_i w_i l_i, or the mean without weights: (B,) -> scalar."""
    return losses.mean() if weight is None else (losses * weight).sum()


def subtask_losses(
    output: SemanticMACForAffectOutput,
    targets: dict[str, torch.Tensor],
    task: TaskSpecification,
    regression_loss: str = "l1",
    class_weight: torch.Tensor | None = None,
    sample_weight: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Return the terms of eq. (21):  L_s = (1 / N_b) sum_i l(y^_s^i, y_s^i), one scalar for each sub-task that has a
    target.

    The term of a sample that lacks the modality of a sub-task is 0; the divisor stays N_b.

    Args:
        output: of the head, logits (B, C) and subtask_logits (B, 4, C).
        targets: sub-task name -> labels as `task_loss` takes them; M holds the ground truth, S, T, A, V the pseudo
            labels. A sub-task without a target has no loss.
        task: the task specification.
        regression_loss: "l1" or "mse".
        class_weight: (C,) or None.
        sample_weight: weight of each sample (B,); None: 1 / N_b each.
    """
    losses = {}
    for subtask, labels in targets.items():
        logits = field(output.logits)  # (B, C)
        if subtask != "M":
            logits = field(output.subtask_logits)[:, SUBTASKS.index(subtask)]
        each = task_loss(logits, labels, task, regression_loss, class_weight)  # (B,)
        if subtask in SUBTASK_MODALITY:
            each = each * field(output.modality_mask)[:, SUBTASK_MODALITY[subtask]]
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
    """Return the two terms of eq. (19) as scalars: "intra" within samples, "inter" between this process's samples and
    the global batch.

    Args:
        output: of the head.
        labels: ground truth of this process's samples.
        gathered: the global batch.
        task: the task specification.
        intra_temperature, inter_temperature: tau_1 and tau_2.
        sentiment_threshold: of `shares_label`.
    """
    specific, shared, mask = map(field, (output.specific_embeds, output.shared_embeds, output.modality_mask))
    intra = intra_sample_loss(specific, shared, mask, intra_temperature)
    positives = shares_label(labels, gathered.labels, task, sentiment_threshold)
    excluded = gathered.is_self | ~gathered.counts
    inter = inter_sample_loss(
        field(output.multimodal_embeds), gathered.multimodal_embeds, positives, excluded, inter_temperature
    )
    weight = gathered.sample_weight
    return {"intra": weighted_sum(intra, weight), "inter": weighted_sum(inter, weight)}
