"""Metrics of sentiment scores: CMU-MOSI and CMU-MOSEI (scores in [-3, 3]), CH-SIMS and CH-SIMS v2 (scores in [-1, 1]).

Every function takes `(predictions, labels)`, arrays (n,) or (n, 1), and returns a float; fractions lie in [0, 1].
Notation: p predictions, y labels, [.] the indicator, rint rounding half to even, clip(x, c) = min(max(x, -c), c).
Arrays of different lengths, empty arrays, NaN and infinity raise a ValueError.
"""

import numpy as np

from .classification import w_f1
from .inputs import score_pair

SIMS_CUTS_2 = (0.0,)
SIMS_CUTS_3 = (-0.1, 0.1)
SIMS_CUTS_5 = (-0.7, -0.1, 0.1, 0.7)


def acc7(predictions, labels) -> float:
    """Return the seven-class accuracy of CMU-MOSI / MOSEI.

        mean [rint(clip(p, 3)) = rint(clip(y, 3))]

    Reported by MMSA, Self-MM, MISA, SemanticMAC. Half rounds to the even neighbour: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2. The
    seven bins of the CMU SDK ((-1, 0) -> -1, 0 -> 0, (0, 1] -> 1, ...), which TBJE and COGMEN use, are another metric.

    Example:
        >>> acc7([0.4, 1.2, 3.4], [0.0, 2.0, 3.0])
        0.6666666666666666
    """
    return _rounded_accuracy(predictions, labels, 3)


def acc5(predictions, labels) -> float:
    """Return the five-class accuracy of CMU-MOSI / MOSEI: `acc7` with c = 2. Reported by MMSA and Self-MM.

    Example:
        >>> acc5([2.1, -0.2], [3.0, -1.0])
        0.5
    """
    return _rounded_accuracy(predictions, labels, 2)


def acc3(predictions, labels) -> float:
    """Return the three-class accuracy of CMU-MOSI / MOSEI: `acc7` with c = 1. MMSA computes it, CyIN reports it.

    Example:
        >>> acc3([2.1, -0.2], [1.0, 0.4])
        1.0
    """
    return _rounded_accuracy(predictions, labels, 1)


def acc2_neg_pos(predictions, labels) -> float:
    """Return the two-class accuracy, negative against positive ("Non0").

        over the clips with y != 0:  mean [(p > 0) = (y > 0)]

    Reported by MMSA, Self-MM, MISA; the form of SemanticMAC's tables. A prediction of exactly 0 counts as negative. It
    is nan without clips with y != 0.

    Example:
        >>> acc2_neg_pos([0.3, -0.2, 0.1], [1.0, 0.0, -1.0])
        0.5
    """
    predictions, labels = _signs(predictions, labels)
    return float(np.mean(predictions == labels)) if len(labels) else float("nan")


def f1_neg_pos(predictions, labels) -> float:
    """Return the F1 of the decision of `acc2_neg_pos`, weighted by the supports of the two classes.

        over the clips with y != 0:  sum_c (n_c / n) F1_c,  c in {p <= 0, p > 0}

    n_c are the counts of the LABELS, as in MMSA, CyIN and SemanticMAC. The scripts of Self-MM and of those descended
    from MulT pass the two arguments to scikit-learn in the other order and so weigh by the counts of the predictions:
    their F1 differs where the two counts differ. It is nan without clips with y != 0.

    Example:
        >>> f1_neg_pos([0.3, -0.2, 0.1], [1.0, 0.0, -1.0])
        0.3333333333333333
    """
    predictions, labels = _signs(predictions, labels)
    return w_f1(predictions, labels) if len(labels) else float("nan")


def acc2_neg_nonneg(predictions, labels) -> float:
    """Return the two-class accuracy, negative against non-negative ("Has0").

        over all clips:  mean [(p >= 0) = (y >= 0)]

    Reported by MMSA, Self-MM, MISA beside the other form. A prediction of exactly 0 counts as non-negative.

    Example:
        >>> acc2_neg_nonneg([0.3, -0.2, 0.1], [1.0, 0.0, -1.0])
        0.3333333333333333
    """
    predictions, labels = score_pair(predictions, labels)
    return float(np.mean((predictions >= 0) == (labels >= 0)))


def f1_neg_nonneg(predictions, labels) -> float:
    """Return the F1 of the decision of `acc2_neg_nonneg`, weighted by the supports of the two classes.

        over all clips:  sum_c (n_c / n) F1_c,  c in {p < 0, p >= 0}

    Reported beside the other form; the weights are those of `f1_neg_pos`. Where all labels have one class, it is the F1
    of that class.

    Example:
        >>> f1_neg_nonneg([0.3, -0.2], [1.0, 0.0])
        0.6666666666666666
    """
    predictions, labels = score_pair(predictions, labels)
    return w_f1(predictions >= 0, labels >= 0)


def mae(predictions, labels) -> float:
    """Return the mean absolute error, unclipped: mean |p - y|. Reported by MMSA, Self-MM, MISA, SemanticMAC.

    Example:
        >>> mae([1.0, -0.5], [2.0, -1.0])
        0.75
    """
    predictions, labels = score_pair(predictions, labels)
    return float(np.mean(np.abs(predictions - labels)))


def pearson(predictions, labels) -> float:
    """Return Pearson's correlation ("Corr"), unclipped.

        sum (p - mean p)(y - mean y) / sqrt(sum (p - mean p)^2 sum (y - mean y)^2)

    Reported for CMU-MOSI / MOSEI by MMSA, Self-MM, MISA, SemanticMAC. It is nan, without a warning, where p or y is
    constant, which includes a single clip.

    Example:
        >>> round(pearson([1.0, 2.0, 4.0], [1.0, 2.0, 3.0]), 3)
        0.982
    """
    predictions, labels = score_pair(predictions, labels)
    # By the values: rounding in the mean can leave a constant with tiny deviations, whose correlation is noise.
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return float("nan")
    return float(np.clip(_unit_deviations(predictions) @ _unit_deviations(labels), -1, 1))


def sims_acc2(predictions, labels) -> float:
    """Return the two-class accuracy of CH-SIMS: both sides are clipped to [-1, 1]; intervals [-1, 0], (0, 1].

    A label of zero is NEGATIVE, unlike in both forms for CMU-MOSI. Reported by MMSA, Self-MM, SemanticMAC. Scores are
    compared in float32, as labels are stored: a value equal to a cut belongs to the lower interval.

    Example:
        >>> sims_acc2([0.1, -0.3], [0.0, -0.8])
        0.5
    """
    return _interval_accuracy(predictions, labels, SIMS_CUTS_2)


def sims_acc3(predictions, labels) -> float:
    """Return the three-class accuracy of CH-SIMS: [-1, -0.1], (-0.1, 0.1], (0.1, 1]; otherwise as `sims_acc2`.

    Example:
        >>> sims_acc3([0.1, -0.3], [0.0, -0.8])
        1.0
    """
    return _interval_accuracy(predictions, labels, SIMS_CUTS_3)


def sims_acc5(predictions, labels) -> float:
    """Return the five-class accuracy of CH-SIMS; otherwise as `sims_acc2`.

    [-1, -0.7], (-0.7, -0.1], (-0.1, 0.1], (0.1, 0.7], (0.7, 1]

    Example:
        >>> sims_acc5([0.1, -0.3], [0.0, -0.8])
        0.5
    """
    return _interval_accuracy(predictions, labels, SIMS_CUTS_5)


def sims_f1(predictions, labels) -> float:
    """Return the F1 of the two classes of `sims_acc2`, weighted by the counts of the labels: sum_c (n_c / n) F1_c.

    Reported by MMSA, SemanticMAC. The script of Self-MM weighs by the counts of the predictions (see `f1_neg_pos`).

    Example:
        >>> sims_f1([0.1, -0.3], [0.0, -0.8])
        0.6666666666666666
    """
    predictions, labels = _clipped(predictions, labels)
    return w_f1(sims_class(predictions, SIMS_CUTS_2), sims_class(labels, SIMS_CUTS_2))


def sims_mae(predictions, labels) -> float:
    """Return the mean absolute error of CH-SIMS: mean |clip(p, 1) - clip(y, 1)|. Used by MMSA, Self-MM, SemanticMAC.

    Example:
        >>> sims_mae([1.4, 0.0], [1.0, 0.5])
        0.25
    """
    return mae(*_clipped(predictions, labels))


def sims_pearson(predictions, labels) -> float:
    """Return Pearson's correlation of CH-SIMS, of CLIPPED values: pearson(clip(p, 1), clip(y, 1)); nan where constant.

    Example:
        >>> round(sims_pearson([1.4, 0.0, -1.0], [1.0, 0.0, -1.0]), 3)
        1.0
    """
    return pearson(*_clipped(predictions, labels))


def sims_class(scores, cuts: tuple[float, ...]) -> np.ndarray:
    """Return the interval of each score, counted from the lowest: 0 for x <= cuts[0], 1 for cuts[0] < x <= cuts[1], ...

    Scores are compared in float32: in float64 the stored label 0.1 (0.100000001...) would lie above the cut 0.1.

    Args:
        scores: (n,).
        cuts: ascending; the closed upper ends of all intervals but the last.

    Returns:
        (n,) int64.

    Example:
        >>> sims_class([-1.0, 0.1, 0.5], SIMS_CUTS_3).tolist()
        [0, 1, 2]
    """
    return np.searchsorted(np.asarray(cuts, np.float32), np.asarray(scores, np.float32), side="left")


def mosi_metrics(predictions, labels) -> dict[str, float]:
    """Return all metrics of CMU-MOSI / MOSEI, with both forms of the two-class decision."""
    metrics = (acc7, acc5, acc3, acc2_neg_pos, f1_neg_pos, acc2_neg_nonneg, f1_neg_nonneg, mae, pearson)
    return {metric.__name__: metric(predictions, labels) for metric in metrics}


def sims_metrics(predictions, labels) -> dict[str, float]:
    """Return all metrics of CH-SIMS and CH-SIMS v2."""
    metrics = (sims_acc2, sims_f1, sims_acc3, sims_acc5, sims_mae, sims_pearson)
    return {metric.__name__: metric(predictions, labels) for metric in metrics}


def _unit_deviations(scores: np.ndarray) -> np.ndarray:
    """Return the deviations from the mean as a unit vector; scaled first so that squares of tiny ones do not vanish."""
    deviations = scores - scores.mean()
    deviations = deviations / np.abs(deviations).max()
    return deviations / np.linalg.norm(deviations)


def _rounded_accuracy(predictions, labels, bound: int) -> float:
    """Return the share of clips whose prediction and label round to one whole number within the bound."""
    predictions, labels = score_pair(predictions, labels)
    return float(np.mean(np.rint(np.clip(predictions, -bound, bound)) == np.rint(np.clip(labels, -bound, bound))))


def _signs(predictions, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return (p > 0, y > 0) for the clips whose label is not zero."""
    predictions, labels = score_pair(predictions, labels)
    polar = labels != 0
    return predictions[polar] > 0, labels[polar] > 0


def _clipped(predictions, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return both clipped to [-1, 1]."""
    predictions, labels = score_pair(predictions, labels)
    return np.clip(predictions, -1, 1), np.clip(labels, -1, 1)


def _interval_accuracy(predictions, labels, cuts: tuple[float, ...]) -> float:
    """Return the share of clips whose prediction and label lie in one interval of `sims_class`."""
    predictions, labels = _clipped(predictions, labels)
    return float(np.mean(sims_class(predictions, cuts) == sims_class(labels, cuts)))
