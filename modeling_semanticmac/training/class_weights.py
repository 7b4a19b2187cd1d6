"""Weights of classes in the task loss: by their frequency, or given by name."""

import math
from collections.abc import Sequence

import torch

from ..configuration_semanticmac import TaskSpecification


def balanced_class_weight(labels: torch.Tensor, task: TaskSpecification) -> torch.Tensor:
    """Return weights that give every class the same total weight in the training set.

    Single label: n / (C n_c), as scikit-learn's "balanced". Multi-label: negatives / positives of each class (the
    weight of its positives).

    Args:
        labels: (n,) class ids or (n, C) multi-hot of the whole training set.
        task: the task specification.

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
    """Return the weights of `--class_weights` in the order of the classes, (C,) float32; a class that is not named has
    weight 1.

    Args:
        weights: NAME=WEIGHT for some classes. Single label: the weight of the loss of the clips of that class.
            Multi-label: of its positives.

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
                f"class_weights has {str(entry)!r}; expected NAME=WEIGHT with a positive number, at most once for each "
                "of "
                f"{', '.join(task.label_names)}."
            )
        found[name] = value
    return torch.tensor([found.get(name, 1.0) for name in task.label_names])


__all__ = ["balanced_class_weight", "own_class_weight"]
