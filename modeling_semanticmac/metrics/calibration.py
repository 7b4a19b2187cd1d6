"""How sure a model is: split conformal prediction, temperature scaling, calibration error, risk against coverage.

Legend: n clips, C classes.
"""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from ..configuration_semanticmac import TaskSpecification

LEVEL = 0.9  # share of clips whose truth an interval or a label set contains
BINS = 15  # of the expected calibration error, as Guo et al. (2017)
LOG_TEMPERATURES = (-5.0, 5.0)  # natural logarithms between which the temperature is sought


def conformal_quantile(scores: np.ndarray, level: float = LEVEL) -> float:
    """Return the bound of split conformal prediction: the ceil((n + 1) * level)-th smallest score.

    A new clip that is exchangeable with the n clips has a score within the bound with probability `level` at least
    (Vovk et al. 2005; Lei et al. 2018).

    Args:
        scores: (n,), larger where a prediction is worse.

    Returns:
        The bound; infinity where n is too small for the level.
    """
    scores = np.sort(np.asarray(scores, dtype=np.float64))
    place = math.ceil(round((len(scores) + 1) * level, 9))  # 0.9 * 10 is 9, not a little more
    return float(scores[place - 1]) if place <= len(scores) else math.inf


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature T for which softmax(logits / T) has the lowest cross entropy (Guo et al. 2017).

    Args:
        logits: (n, C), or logarithms of probabilities.
        labels: (n,) class ids.

    Returns:
        T within [exp(-5), exp(5)].
    """
    logits, rows = np.asarray(logits, dtype=np.float64), np.arange(len(labels))

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[rows, labels]))

    return math.exp(minimize_scalar(cross_entropy, bounds=LOG_TEMPERATURES, method="bounded").x)


def fit_calibration(
    task: TaskSpecification, logits: np.ndarray, labels: np.ndarray, level: float = LEVEL
) -> dict | None:
    """Return the `calibration` of a model's configuration, from clips that it has not learnt from.

    Scores: the absolute error is the conformal score. Classes: after temperature scaling, one minus the probability of
    the true class (least ambiguous sets, Sadinle et al. 2019).

    Args:
        logits: (n, C) of the multimodal head; of a regression the predicted scores.
        labels: (n,) or (n, 1) scores, or (n,) class ids.
        level: share of clips whose truth the interval or set shall contain.

    Returns:
        The fields; None for a task of several labels, and where there are too few clips for the level.
    """
    if task.is_multi_label:
        return None
    found: dict = {"level": level, "clips": len(labels)}
    if task.is_regression:
        found["radius"] = conformal_quantile(np.abs(np.ravel(logits) - np.ravel(labels)), level)
        return found if math.isfinite(found["radius"]) else None
    found["temperature"] = fit_temperature(logits, labels)
    scaled = np.asarray(logits, dtype=np.float64) / found["temperature"]
    probabilities = np.exp(scaled - logsumexp(scaled, axis=1, keepdims=True))
    found["threshold"] = conformal_quantile(1 - probabilities[np.arange(len(labels)), labels], level)
    return found if math.isfinite(found["threshold"]) else None


def confidence_bins(confidences: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return the number of the bin of equal width that each confidence (n,) in [0, 1] lies in; 1 is in the last."""
    return np.minimum((np.asarray(confidences) * bins).astype(int), bins - 1)


def expected_calibration_error(confidences: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """Return the mean distance between confidence and accuracy over bins of equal width:

        sum_b n_b / n |accuracy_b - confidence_b|

    Args:
        confidences: (n,) in [0, 1], of the predicted classes.
        correct: (n,) whether they are the true ones.
    """
    numbers = confidence_bins(confidences, bins)
    gap = np.asarray(correct, dtype=np.float64) - confidences
    return float(sum(abs(gap[numbers == number].sum()) for number in np.unique(numbers)) / len(gap))


def risk_coverage(confidences: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coverages k / n and the mean error of the k most confident clips, for k from 1 to n, both (n,).

    Clips of equal confidence keep their order.
    """
    order = np.argsort(-np.asarray(confidences), kind="stable")
    counts = np.arange(1, len(order) + 1)
    return counts / len(order), np.cumsum(np.asarray(errors, dtype=np.float64)[order]) / counts


__all__ = [
    "LEVEL",
    "confidence_bins",
    "conformal_quantile",
    "expected_calibration_error",
    "fit_calibration",
    "fit_temperature",
    "risk_coverage",
]
