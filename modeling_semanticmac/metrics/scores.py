"""Metrics of scores on your own scale, e.g. [1, 5] or [0, 100]: three polarities around the middle of the scale.

The cuts of CMU-MOSI and CH-SIMS lie at fixed scores, so their classes mean nothing on another scale. Here a score is
neutral within a sixth of half the scale from the middle (`score_polarity`); on [-3, 3] the polarities are the classes
of `acc3`. `mae` and `pearson` complete the family.
"""

import numpy as np

from ..configuration_semanticmac import score_polarity
from .classification import macro_f1, w_f1
from .inputs import score_pair
from .sentiment import mae, pearson


def polarity_acc(predictions, labels, label_range: tuple[float, float]) -> float:
    """Return the accuracy over negative, neutral and positive, on a scale of any range.

        mean [polarity(p) = polarity(y)],  neutral: |x - (low + high) / 2| <= (high - low) / 12

    Args:
        predictions, labels: (n,) or (n, 1) scores.
        label_range: (lowest, highest) score.

    Example:
        >>> polarity_acc([4.5, 2.9, 1.0], [5.0, 3.0, 4.0], (1, 5))
        0.6666666666666666
    """
    predictions, labels = _polarities(predictions, labels, label_range)
    return float(np.mean(predictions == labels))


def polarity_f1(predictions, labels, label_range: tuple[float, float]) -> float:
    """Return the F1 of negative, neutral and positive, weighted by the supports of the labels: sum_c (n_c / n) F1_c.

    Args:
        predictions, labels, label_range: as in `polarity_acc`.

    Example:
        >>> polarity_f1([4.5, 2.9, 1.0], [5.0, 3.0, 4.0], (1, 5))
        0.7777777777777777
    """
    return w_f1(*(polarity + 1 for polarity in _polarities(predictions, labels, label_range)))


def polarity_macro_f1(predictions, labels, label_range: tuple[float, float]) -> float:
    """Return the plain mean of the F1 of negative, neutral and positive.

    A polarity that is neither predicted nor true is left out.

    Args:
        predictions, labels, label_range: as in `polarity_acc`.

    Example:
        >>> polarity_macro_f1([4.5, 2.9, 1.0], [5.0, 3.0, 4.0], (1, 5))
        0.5555555555555555
    """
    return macro_f1(*(polarity + 1 for polarity in _polarities(predictions, labels, label_range)))


def scores_metrics(predictions, labels, label_range: tuple[float, float]) -> dict[str, float]:
    """Return all metrics of scores on your own scale: mae, pearson, polarity_acc, polarity_f1, polarity_macro_f1.

    Args:
        predictions, labels, label_range: as in `polarity_acc`.
    """
    polarities = (polarity_acc, polarity_f1, polarity_macro_f1)
    return {
        "mae": mae(predictions, labels),
        "pearson": pearson(predictions, labels),
        **{metric.__name__: metric(predictions, labels, label_range) for metric in polarities},
    }


def _polarities(predictions, labels, label_range: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the polarities -1, 0, 1 of predictions and labels, (n,) each."""
    predictions, labels = score_pair(predictions, labels)
    return score_polarity(predictions, label_range), score_polarity(labels, label_range)
