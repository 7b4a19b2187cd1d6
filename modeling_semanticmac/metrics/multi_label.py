"""Metrics of several labels per clip, and the thresholds above which a label counts as present."""

from collections.abc import Callable, Sequence

import numpy as np

from .classification import b_f1, n_acc, s_acc, w_f1
from .inputs import multi_hot_pair

THRESHOLD_GRID = np.arange(1, 20) / 20  # 0.05, 0.10, ... 0.95


def tune_thresholds(
    scores, labels, criterion: Callable[..., float] = b_f1, grid: Sequence[float] = THRESHOLD_GRID
) -> np.ndarray:
    """Find for each class the threshold t of `grid` with the best `criterion(scores > t, labels)`.

    Use VALIDATION scores only. MESM tunes the F1 of the positive class over 0.05, 0.10, ... 0.95 and applies the result
    to the test split. The lowest of equally good thresholds is taken. A class without positive clips cannot be tuned
    (its F1 is always 0) and keeps 0.5.

    Args:
        scores: (n, C) sigmoid scores in [0, 1].
        labels: (n, C) multi-hot.
        criterion: a metric of one class, f(predictions, labels), higher is better: `b_f1`, `n_acc`, `w_f1`.
        grid: the thresholds to try, in [0, 1).

    Returns:
        (C,) thresholds.

    Example:
        >>> tune_thresholds([[0.2], [0.4], [0.6]], [[0], [1], [1]]).tolist()
        [0.2]
    """
    scores, labels = multi_hot_pair(scores, labels)
    grid = np.sort(_thresholds(grid))
    thresholds = np.full(scores.shape[1], 0.5)
    for index in range(scores.shape[1]):
        if labels[:, index].any():
            values = [criterion(scores[:, index] > threshold, labels[:, index]) for threshold in grid]
            thresholds[index] = grid[int(np.argmax(values))]
    return thresholds


def multi_label_metrics(
    scores, labels, label_names: Sequence[str], thresholds: Sequence[float] | None = None
) -> dict[str, float]:
    """Return n_acc, s_acc, b_f1 and w_f1 of several labels, and macro_f1.

    `<metric>` is the plain mean over the classes, `<metric>_<class>` the value of one class. `macro_f1` is
    scikit-learn's macro F1 of several labels, which is the mean of b_f1. A class is predicted where its score is above
    0.5 (a logit above 0: COGMEN, CORECT). With `thresholds` the same metrics at these thresholds are added as
    `<metric>_tuned` and `<metric>_tuned_<class>` (MESM).

    Args:
        scores: (n, C) sigmoid scores in [0, 1].
        labels: (n, C) multi-hot.
        label_names: C names.
        thresholds: (C,) thresholds from `tune_thresholds`, or None.

    Example:
        >>> found = multi_label_metrics([[0.9, 0.2], [0.1, 0.4]], [[1, 0], [0, 1]], ["happy", "sad"])
        >>> found["b_f1"], found["b_f1_sad"]
        (0.5, 0.0)
    """
    scores, labels = multi_hot_pair(scores, labels)
    if len(label_names) != scores.shape[1]:
        raise ValueError(f"{len(label_names)} label names for {scores.shape[1]} columns of scores: give one for each.")
    results = _multi_label_metrics(scores > 0.5, labels, label_names, "")
    if thresholds is not None:
        thresholds = _thresholds(thresholds)
        if thresholds.shape != (scores.shape[1],):
            raise ValueError(f"{thresholds.size} thresholds for {scores.shape[1]} classes: give one for each class.")
        results |= _multi_label_metrics(scores > thresholds, labels, label_names, "_tuned")
    return results


def _multi_label_metrics(decisions, labels, label_names, suffix: str) -> dict[str, float]:
    """Return the metrics of `multi_label_metrics` for decisions (n, C), with a suffix on each name."""
    results = {}
    for metric in (n_acc, s_acc, b_f1, w_f1):
        values = [metric(decisions[:, index], labels[:, index]) for index in range(len(label_names))]
        results[f"{metric.__name__}{suffix}"] = float(np.mean(values))
        results.update({f"{metric.__name__}{suffix}_{name}": value for name, value in zip(label_names, values)})
    results[f"macro_f1{suffix}"] = results[f"b_f1{suffix}"]
    return results


def _thresholds(values: Sequence[float]) -> np.ndarray:
    """Return thresholds as an array.

    Raises:
        ValueError: not a list of numbers in [0, 1).
    """
    thresholds = np.asarray(values, dtype=np.float64)
    if thresholds.ndim != 1 or thresholds.size == 0 or not ((thresholds >= 0) & (thresholds < 1)).all():
        raise ValueError(f"thresholds are {thresholds.tolist()}; expected a list of numbers in [0, 1).")
    return thresholds
