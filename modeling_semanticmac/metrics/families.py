"""All metrics of a task, by the family that its specification names; docs/metrics.md defines them."""

import numpy as np
from scipy.special import expit

from ..configuration_semanticmac import TaskSpecification
from .classification import (
    conversation_metrics,
    weighted_metrics,
)
from .inputs import class_pair, logits_of_classes, require_classes
from .multi_label import multi_label_metrics
from .scores import scores_metrics
from .sentiment import mosi_metrics, sims_metrics

LOWER_IS_BETTER = ("loss", "mae")  # ends of the names of these figures

__all__ = ["LOWER_IS_BETTER", "class_scores", "compute_metrics", "logit_predictions", "prediction_metrics"]


def class_scores(logits) -> np.ndarray:
    """Return the sigmoid of multi-label logits in float64, same shape: the scores that `tune_thresholds` takes."""
    return expit(np.asarray(logits, dtype=np.float64))


def compute_metrics(task: TaskSpecification, logits, labels, thresholds=None) -> dict[str, float]:
    """Return every metric of the task's family over the given clips.

        "mosi"          acc7, acc5, acc3, acc2_neg_pos, f1_neg_pos, acc2_neg_nonneg, f1_neg_nonneg, mae, pearson
        "sims"          sims_acc2, sims_f1, sims_acc3, sims_acc5, sims_mae, sims_pearson
        "scores"        mae, pearson, polarity_acc, polarity_f1, polarity_macro_f1
        "multi_label"   macro_f1; n_acc, s_acc, b_f1, w_f1 and each with _<class>;
                        with thresholds also <metric>_tuned and <metric>_tuned_<class>
        "conversation"  w_acc, w_f1, macro_f1, f1_<class>
        "weighted"      w_precision, w_recall, w_f1, w_acc, macro_f1

    Every family of classes has `w_f1`, which selects the best model on validation, and `macro_f1`, which does so with
    `metric_for_best_model="macro_f1"`.

    Args:
        task: the specification.
        logits: (n, 1) or (n,) scores; (n, C) logits otherwise. A single label is the class with the largest logit.
        labels: (n,) or (n, 1) scores; (n,) class ids; (n, C) multi-hot.
        thresholds: (C,) from `tune_thresholds` on the validation split; multi-label tasks only.

    Raises:
        ValueError: shapes that do not fit the task or each other, unknown class ids, NaN, no clips.

    Example:
        >>> task = TaskSpecification("sentiment", "regression", ("sentiment",), (1.0, 5.0))
        >>> compute_metrics(task, [1.5, 4.5], [1.0, 4.0])["polarity_acc"]
        1.0
    """
    if thresholds is not None and not task.is_multi_label:
        raise ValueError(
            f"thresholds belong to multi-label tasks; task {task.name!r} is {task.problem_type}. Leave them out."
        )
    if task.is_regression:
        return prediction_metrics(task, logits, labels)
    logits = logits_of_classes(logits, labels, task.label_names)
    return prediction_metrics(task, logit_predictions(task, logits), labels, thresholds)


def logit_predictions(task: TaskSpecification, logits) -> np.ndarray:
    """Return what `prediction_metrics` takes, from logits (n, C).

    Returns:
        (n,) scores, (n,) class ids, or (n, C) sigmoid scores of several labels.
    """
    if task.is_regression:
        return np.asarray(logits)[:, 0]
    return class_scores(logits) if task.is_multi_label else np.argmax(logits, axis=1)


def prediction_metrics(task: TaskSpecification, predictions, labels, thresholds=None) -> dict[str, float]:
    """Return the metrics of `compute_metrics` from predictions in place of logits.

    Args:
        task, labels, thresholds: as in `compute_metrics`.
        predictions: (n,) scores, (n,) class ids, or (n, C) sigmoid scores of several labels.
    """
    if task.is_regression:
        if task.metrics == "scores":
            return scores_metrics(predictions, labels, task.label_range)
        return mosi_metrics(predictions, labels) if task.metrics == "mosi" else sims_metrics(predictions, labels)
    if task.is_multi_label:
        return multi_label_metrics(predictions, labels, task.label_names, thresholds)
    predictions, labels = class_pair(predictions, labels)
    require_classes(labels, f"labels of task {task.name!r}", task.num_labels)
    if task.metrics == "conversation":
        return conversation_metrics(predictions, labels, task.label_names)
    return weighted_metrics(predictions, labels)
