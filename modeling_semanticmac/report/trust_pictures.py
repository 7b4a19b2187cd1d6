"""The picture of how sure a run is: reliability, and risk against coverage."""

from pathlib import Path

import numpy as np

from ..files.picture_style import CYCLE, new_figure, picture_style, save_picture
from ..metrics.calibration import confidence_bins


def reliability_picture(
    stem: Path, confidences: np.ndarray, correct: np.ndarray, coverages: np.ndarray, risks: np.ndarray
) -> Path:
    """Draw accuracy by confidence, and the error rate of the most confident clips by their share.

    Writes `stem.png`, `stem.svg` and `stem.csv` (coverage and risk).

    Args:
        confidences, correct: (n,), of the predicted classes.
        coverages, risks: (n,), of `risk_coverage`.
    """
    numbers = confidence_bins(confidences)
    found = [
        (confidences[numbers == b].mean(), correct[numbers == b].mean(), (numbers == b).sum()) for b in set(numbers)
    ]
    middles, accuracies, counts = (np.array(column) for column in zip(*sorted(found)))
    with picture_style():
        figure = new_figure(7.6, 3.4)
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="perfect")
        left.scatter(
            middles, accuracies, s=12 + 120 * counts / counts.max(), color=CYCLE[0], alpha=0.8, linewidths=0,
            label="one bin; size: clips",
        )  # fmt: skip
        left.set(
            xlabel="probability of the predicted class", ylabel="share of right predictions", xlim=(0, 1),
            ylim=(-0.02, 1.02), title="Reliability",
        )  # fmt: skip
        left.legend(loc="upper left")
        right.plot(coverages, risks, color=CYCLE[5])
        right.set(
            xlabel="share of the clips that are decided", ylabel="error rate among them", xlim=(0, 1),
            ylim=(0, None), title="Risk against coverage",
        )  # fmt: skip
    return save_picture(figure, stem, ["coverage", "risk"], zip(coverages.tolist(), risks.tolist()))


__all__ = ["reliability_picture"]
