"""Metrics of classes: emotions, in clips and in conversations, humour and sarcasm; thresholds of multi-label scores.

Every metric takes `(predictions, labels)`, arrays (n,), and returns a float in [0, 1]. Notation: TP, TN, FP, FN the
counts of one class; P, N the numbers of clips with and without it; n_c the clips of class c. Arrays of different
lengths, empty arrays, NaN and values that are no class ids are refused with a ValueError. A ratio 0/0 is 0, as with
scikit-learn's `zero_division=0`, without a warning. Counted here, not by scikit-learn, which the tests compare with: a bootstrap over clips calls these
functions a hundred thousand times, and they take a fiftieth of its time.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .inputs import binary_pair, class_pair, multi_hot_pair, require_classes

THRESHOLD_GRID = np.arange(1, 20) / 20  # 0.05, 0.10, ... 0.95


def n_acc(predictions, labels) -> float:
    """Accuracy of one emotion, positives and negatives given equal weight ("n-Acc"; `weighted_acc` in MESM's code).

        (TP N / P + TN) / (2 N)  =  (TP / P + TN / N) / 2

    CMU-MOSEI emotions: MESM, FE2E, SemanticMAC (Table V). P = 0 or N = 0 leaves the rate of the other class alone, as
    `sklearn.metrics.balanced_accuracy_score` does.

    Args:
        predictions, labels: (n,) zeros and ones for one emotion.
    """
    predictions, labels = binary_pair(predictions, labels)
    rates = [np.mean(predictions[labels == present] == present) for present in (True, False) if present in labels]
    return float(np.mean(rates))


def s_acc(predictions, labels) -> float:
    """Plain accuracy of one emotion ("s-Acc"): (TP + TN) / n.

    IEMOCAP one against the rest: MESM, SemanticMAC (Table VI). Classes are rare, so "never" already scores near 0.85.

    Args:
        predictions, labels: (n,) zeros and ones for one emotion.
    """
    predictions, labels = binary_pair(predictions, labels)
    return float(np.mean(predictions == labels))


def b_f1(predictions, labels) -> float:
    """F1 of the positive class of one emotion ("b-F1"): 2 TP / (2 TP + FP + FN).

    CMU-MOSEI emotions, IEMOCAP one against the rest: MESM, SemanticMAC (Tables V, VI). Neither predicted nor true
    positives: 0.

    Args:
        predictions, labels: (n,) zeros and ones for one emotion.
    """
    hits, predicted, true = _counts(*binary_pair(predictions, labels), 2)
    return float(_ratio(2 * hits, predicted + true)[1])


def w_f1(predictions, labels) -> float:
    """F1 weighted by the supports of the classes ("w-F1"): sum_c (n_c / n) F1_c.

    Conversations (IEMOCAP, MELD): DialogueRNN, MMGCN, COGMEN, SemanticMAC (Table VIII). Humour and sarcasm (Table IX).
    For one of several emotions (Table VII; COGMEN, CORECT) the two classes are "absent" and "present", so a rare
    emotion sits near the share of "absent". A class that no clip has weighs nothing.

    Args:
        predictions, labels: (n,) class ids.
    """
    hits, predicted, true = _counts(*class_pair(predictions, labels))
    return float(np.average(_ratio(2 * hits, predicted + true), weights=true))


def macro_f1(predictions, labels) -> float:
    """Return the plain mean of the F1 of the classes that are predicted or true, as scikit-learn's `average="macro"`.

    Every class has the same weight, so a rare class that is never predicted shows; `w_f1` hides it.

    Args:
        predictions, labels: (n,) class ids.

    Example:
        >>> macro_f1([0, 0, 0, 0], [0, 0, 0, 1])
        0.42857142857142855
    """
    hits, predicted, true = _counts(*class_pair(predictions, labels))
    return float(np.mean(_ratio(2 * hits, predicted + true)[predicted + true > 0]))


def w_precision(predictions, labels) -> float:
    """Precision weighted by the supports of the classes: sum_c (n_c / n) precision_c.

    UR-FUNNY, MUStARD: SemanticMAC (Table IX). A class with clips that is never predicted counts as 0; one that no clip
    has weighs nothing.

    Args:
        predictions, labels: (n,) class ids.
    """
    hits, predicted, true = _counts(*class_pair(predictions, labels))
    return float(np.average(_ratio(hits, predicted), weights=true))


def w_recall(predictions, labels) -> float:
    """Recall weighted by the supports of the classes: sum_c (n_c / n) recall_c, which is the plain accuracy.

    UR-FUNNY, MUStARD: SemanticMAC (Table IX).

    Args:
        predictions, labels: (n,) class ids.
    """
    hits, _, true = _counts(*class_pair(predictions, labels))
    return float(np.average(_ratio(hits, true), weights=true))


def w_acc(predictions, labels) -> float:
    """Accuracy weighted by the supports of the classes ("w-Acc"): the plain accuracy.

        sum_c (n_c / n) recall_c  =  mean [p = y]

    Conversations: DialogueRNN, MMGCN, COGMEN, SemanticMAC (Table VIII); humour and sarcasm (Table IX).

    Args:
        predictions, labels: (n,) class ids.
    """
    predictions, labels = class_pair(predictions, labels)
    return float(np.mean(predictions == labels))


def f1_per_class(predictions, labels, num_classes: int) -> np.ndarray:
    """F1 of each class against the rest, (C,): 2 TP_c / (2 TP_c + FP_c + FN_c).

    Conversations: the class columns of Table VIII; DialogueRNN, MMGCN, COGMEN. A class neither predicted nor true: 0.

    Args:
        predictions, labels: (n,) class ids below `num_classes`.
    """
    predictions, labels = class_pair(predictions, labels)
    require_classes(predictions, "predictions", num_classes)
    require_classes(labels, "labels", num_classes)
    hits, predicted, true = _counts(predictions, labels, num_classes)
    return _ratio(2 * hits, predicted + true)  # (C,)


def tune_thresholds(
    scores, labels, criterion: Callable[..., float] = b_f1, grid: Sequence[float] = THRESHOLD_GRID
) -> np.ndarray:
    """For each class the t of `grid` with the best `criterion(scores > t, labels)`. Call it on VALIDATION scores only.

    MESM tunes the F1 of the positive class over 0.05, 0.10, ... 0.95 and applies the result to the test split. Among
    equals the lowest threshold is taken. A class without a positive clip cannot be tuned (its F1 is 0 everywhere): 0.5.

    Args:
        scores: (n, C) sigmoid scores in [0, 1].
        labels: (n, C) multi-hot.
        criterion: a metric of one class, f(predictions, labels), the higher the better: `b_f1`, `n_acc`, `w_f1`.
        grid: the thresholds to try, inside [0, 1).

    Returns:
        (C,) thresholds.
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
    """n_acc, s_acc, b_f1 and w_f1: `<metric>` the plain mean over the classes, `<metric>_<class>` for each class. `macro_f1` is scikit-learn's macro F1 of
    several labels, the mean of b_f1.

    A class is predicted where its score is above 0.5 (a logit above 0: COGMEN, CORECT). With `thresholds` the same
    metrics at these are added as `<metric>_tuned` and `<metric>_tuned_<class>` (MESM).

    Args:
        scores: (n, C) sigmoid scores in [0, 1].
        labels: (n, C) multi-hot.
        label_names: C names.
        thresholds: (C,) of `tune_thresholds`, or None.
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


def conversation_metrics(predictions, labels, label_names: Sequence[str]) -> dict[str, float]:
    """w_acc, w_f1, macro_f1, and f1_<class> for each class; predictions and labels (n,) class ids."""
    per_class = f1_per_class(predictions, labels, len(label_names))
    return {
        "w_acc": w_acc(predictions, labels),
        "w_f1": w_f1(predictions, labels),
        "macro_f1": macro_f1(predictions, labels),
        **{f"f1_{name}": float(value) for name, value in zip(label_names, per_class)},
    }


def weighted_metrics(predictions, labels) -> dict[str, float]:
    """w_precision, w_recall, w_f1, w_acc and macro_f1; predictions and labels (n,) class ids."""
    return {metric.__name__: metric(predictions, labels) for metric in (w_precision, w_recall, w_f1, w_acc, macro_f1)}


def _counts(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clips of each class (C,) that are found (TP), predicted (TP + FP) and true (TP + FN)."""
    predictions, labels = predictions.astype(np.int64), labels.astype(np.int64)
    size = max(num_classes, predictions.max() + 1, labels.max() + 1)
    found = labels[predictions == labels]
    return tuple(np.bincount(ids, minlength=size) for ids in (found, predictions, labels))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Their quotient, 0 where the denominator is 0 (the numerator is too)."""
    return numerator / np.maximum(denominator, 1)


def _multi_label_metrics(decisions, labels, label_names, suffix: str) -> dict[str, float]:
    results = {}
    for metric in (n_acc, s_acc, b_f1, w_f1):
        values = [metric(decisions[:, index], labels[:, index]) for index in range(len(label_names))]
        results[f"{metric.__name__}{suffix}"] = float(np.mean(values))
        results.update({f"{metric.__name__}{suffix}_{name}": value for name, value in zip(label_names, values)})
    results[f"macro_f1{suffix}"] = results[f"b_f1{suffix}"]
    return results


def _thresholds(values: Sequence[float]) -> np.ndarray:
    thresholds = np.asarray(values, dtype=np.float64)
    if thresholds.ndim != 1 or thresholds.size == 0 or not ((thresholds >= 0) & (thresholds < 1)).all():
        raise ValueError(f"thresholds are {thresholds.tolist()}; expected a list of numbers in [0, 1).")
    return thresholds
