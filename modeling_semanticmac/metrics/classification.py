"""Metrics of classes: emotions of clips and turns, humour, sarcasm.

Every metric takes `(predictions, labels)`, arrays of shape (n,), and returns a float in [0, 1]. Notation: TP, TN, FP,
FN are the counts of one class; P and N the numbers of clips with and without it; n_c the number of clips of class c.
Arrays of different lengths, empty arrays, NaN and values that are not class ids raise a ValueError. A ratio 0/0 is 0
without a warning, as with scikit-learn's `zero_division=0`. The tests compare with scikit-learn; the counts are made
here because a bootstrap over clips calls these functions a hundred thousand times, and scikit-learn is fifty times
slower.
"""

from collections.abc import Sequence

import numpy as np

from .inputs import binary_pair, class_pair, require_classes


def n_acc(predictions, labels) -> float:
    """Return the accuracy of one emotion with equal weight for positives and negatives ("n-Acc").

        (TP N / P + TN) / (2 N)  =  (TP / P + TN / N) / 2

    Reported for the emotions of CMU-MOSEI by MESM (`weighted_acc` in its code), FE2E and SemanticMAC (Table V). Where P
    or N is 0, the rate of the other class is returned, as `sklearn.metrics.balanced_accuracy_score` does.

    Args:
        predictions, labels: (n,) zeros and ones for one emotion.

    Example:
        >>> n_acc([1, 0, 0, 0], [1, 1, 0, 0])
        0.75
    """
    predictions, labels = binary_pair(predictions, labels)
    rates = [np.mean(predictions[labels == present] == present) for present in (True, False) if present in labels]
    return float(np.mean(rates))


def s_acc(predictions, labels) -> float:
    """Return the plain accuracy of one emotion ("s-Acc"): (TP + TN) / n.

    Reported for IEMOCAP, one emotion against the rest, by MESM and SemanticMAC (Table VI). The emotions are rare, so a
    model that never predicts one already scores about 0.85.

    Args:
        predictions, labels: (n,) zeros and ones for one emotion.

    Example:
        >>> s_acc([0, 0, 0, 0], [1, 0, 0, 0])
        0.75
    """
    predictions, labels = binary_pair(predictions, labels)
    return float(np.mean(predictions == labels))


def b_f1(predictions, labels) -> float:
    """Return the F1 of the positive class of one emotion ("b-F1"): 2 TP / (2 TP + FP + FN).

    Reported for the emotions of CMU-MOSEI and for IEMOCAP, one emotion against the rest, by MESM and SemanticMAC
    (Tables V, VI). It is 0 where there are neither predicted nor true positives.

    Args:
        predictions, labels: (n,) zeros and ones for one emotion.

    Example:
        >>> b_f1([1, 1, 0, 0], [1, 0, 0, 0])
        0.6666666666666666
    """
    hits, predicted, true = _class_counts(*binary_pair(predictions, labels), 2)
    return float(_ratio(2 * hits, predicted + true)[1])


def w_f1(predictions, labels) -> float:
    """Return the F1 weighted by the supports of the classes ("w-F1"): sum_c (n_c / n) F1_c.

    Reported for conversations (IEMOCAP, MELD) by DialogueRNN, MMGCN, COGMEN and SemanticMAC (Table VIII), and for
    humour and sarcasm (Table IX). For one of several emotions (Table VII; COGMEN, CORECT) the two classes are "absent"
    and "present", so the value of a rare emotion is close to the share of "absent". A class without clips has weight 0.

    Args:
        predictions, labels: (n,) class ids.

    Example:
        >>> w_f1([0, 0, 0, 0], [0, 0, 0, 1])
        0.6428571428571428
    """
    hits, predicted, true = _class_counts(*class_pair(predictions, labels))
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
    hits, predicted, true = _class_counts(*class_pair(predictions, labels))
    return float(np.mean(_ratio(2 * hits, predicted + true)[predicted + true > 0]))


def w_precision(predictions, labels) -> float:
    """Return the precision weighted by the supports of the classes: sum_c (n_c / n) precision_c.

    Reported for UR-FUNNY and MUStARD by SemanticMAC (Table IX). A class that has clips and is never predicted counts as
    0; a class without clips has weight 0.

    Args:
        predictions, labels: (n,) class ids.

    Example:
        >>> w_precision([0, 0, 0, 0], [0, 0, 0, 1])
        0.5625
    """
    hits, predicted, true = _class_counts(*class_pair(predictions, labels))
    return float(np.average(_ratio(hits, predicted), weights=true))


def w_recall(predictions, labels) -> float:
    """Return the recall weighted by the supports of the classes: sum_c (n_c / n) recall_c, which is the plain accuracy.

    Reported for UR-FUNNY and MUStARD by SemanticMAC (Table IX).

    Args:
        predictions, labels: (n,) class ids.

    Example:
        >>> w_recall([0, 0, 0, 0], [0, 0, 0, 1])
        0.75
    """
    hits, _, true = _class_counts(*class_pair(predictions, labels))
    return float(np.average(_ratio(hits, true), weights=true))


def w_acc(predictions, labels) -> float:
    """Return the accuracy weighted by the supports of the classes ("w-Acc"), which is the plain accuracy.

        sum_c (n_c / n) recall_c  =  mean [p = y]

    Reported for conversations by DialogueRNN, MMGCN, COGMEN and SemanticMAC (Table VIII), and for humour and sarcasm
    (Table IX).

    Args:
        predictions, labels: (n,) class ids.

    Example:
        >>> w_acc([0, 2, 1], [0, 2, 2])
        0.6666666666666666
    """
    predictions, labels = class_pair(predictions, labels)
    return float(np.mean(predictions == labels))


def f1_per_class(predictions, labels, num_classes: int) -> np.ndarray:
    """Return the F1 of each class against the rest: 2 TP_c / (2 TP_c + FP_c + FN_c).

    Reported for conversations by DialogueRNN, MMGCN, COGMEN and SemanticMAC (the class columns of Table VIII). It is 0
    for a class that is neither predicted nor true.

    Args:
        predictions, labels: (n,) class ids below `num_classes`.
        num_classes: C.

    Returns:
        (C,) values.

    Example:
        >>> f1_per_class([0, 1, 1], [0, 1, 0], 3).round(3).tolist()
        [0.667, 0.667, 0.0]
    """
    predictions, labels = class_pair(predictions, labels)
    require_classes(predictions, "predictions", num_classes)
    require_classes(labels, "labels", num_classes)
    hits, predicted, true = _class_counts(predictions, labels, num_classes)
    return _ratio(2 * hits, predicted + true)  # (C,)


def conversation_metrics(predictions, labels, label_names: Sequence[str]) -> dict[str, float]:
    """Return w_acc, w_f1, macro_f1, and f1_<class> for each class.

    Args:
        predictions, labels: (n,) class ids.
        label_names: the names in the order of the ids.

    Example:
        >>> conversation_metrics([0, 1], [0, 1], ["joy", "anger"])
        {'w_acc': 1.0, 'w_f1': 1.0, 'macro_f1': 1.0, 'f1_joy': 1.0, 'f1_anger': 1.0}
    """
    per_class = f1_per_class(predictions, labels, len(label_names))
    return {
        "w_acc": w_acc(predictions, labels),
        "w_f1": w_f1(predictions, labels),
        "macro_f1": macro_f1(predictions, labels),
        **{f"f1_{name}": float(value) for name, value in zip(label_names, per_class)},
    }


def weighted_metrics(predictions, labels) -> dict[str, float]:
    """Return w_precision, w_recall, w_f1, w_acc and macro_f1; predictions and labels are (n,) class ids.

    Example:
        >>> weighted_metrics([0, 0], [0, 1])["w_recall"]
        0.5
    """
    return {metric.__name__: metric(predictions, labels) for metric in (w_precision, w_recall, w_f1, w_acc, macro_f1)}


def _class_counts(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each class the numbers of clips (C,) that are found (TP), predicted (TP + FP) and true (TP + FN)."""
    predictions, labels = predictions.astype(np.int64), labels.astype(np.int64)
    size = max(num_classes, predictions.max() + 1, labels.max() + 1)
    found = labels[predictions == labels]
    return tuple(np.bincount(ids, minlength=size) for ids in (found, predictions, labels))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the quotient, 0 where the denominator is 0 (then the numerator is 0 too)."""
    return numerator / np.maximum(denominator, 1)
