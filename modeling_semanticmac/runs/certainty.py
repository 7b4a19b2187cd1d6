"""How sure the predictions of a run are: the calibration that its validation clips give, and which test clips its
intervals or label sets contain.

Legend: n clips, C classes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from ..affect_results import label_set, score_interval
from ..metrics.calibration import LEVEL, fit_calibration
from .folder import RunFolder
from .record import class_probabilities, prediction_arrays, read_predictions

TINY = np.finfo(np.float64).tiny  # a probability that was rounded to 0 has a finite logarithm


class Coverage(NamedTuple):
    """Which truths the intervals or label sets of n clips contain.

    Args:
        covered: bool (n,).
        sizes: width of the intervals, or classes in the sets, (n,).
    """

    covered: np.ndarray
    sizes: np.ndarray


def run_calibration(run: RunFolder, level: float = LEVEL) -> dict:
    """Return the calibration that the validation predictions of a run give, as `fit_calibration` does.

    Raises:
        FileNotFoundError: the run did not predict validation.
        ValueError: a level that is no share, a task of several labels, or too few clips.
    """
    if not 0 < level < 1:
        raise ValueError(f"--level is {level:g}; expected a share between 0 and 1, e.g. 0.9.")
    if run.task.is_multi_label:
        raise ValueError(f"{run.path} predicts several labels for a clip; calibration is for scores and for classes.")
    rows = read_predictions(run.path / "predictions_validation.csv")
    predictions, labels = prediction_arrays(run.task, rows)
    found = fit_calibration(run.task, predictions if run.task.is_regression else class_logits(run, rows), labels, level)
    if found is None:
        raise ValueError(
            f"{run.path} has {len(rows)} validation clips, too few for a level of {level:g}, which "
            "needs 1 / (clips + 1) of the clips to lie outside."
        )
    return found


def class_logits(run: RunFolder, rows: list[dict[str, str]]) -> np.ndarray:
    """Return logits (n, C) from rows of predictions, up to a constant of each clip.

    The files hold probabilities after the temperature of the run's configuration.
    """
    temperature = (run.json("config.json").get("calibration") or {}).get("temperature", 1.0)
    return temperature * np.log(np.maximum(class_probabilities(run.task, rows), TINY))


def coverage(run: RunFolder, rows: list[dict[str, str]], calibration: Mapping) -> Coverage:
    """Return whether the interval or label set of each clip contains its truth, and how large it is.

    Args:
        rows: of `read_predictions`.
        calibration: as the configuration has it.
    """
    task = run.task
    predictions, labels = prediction_arrays(task, rows)
    if task.is_regression:
        ends = np.array([score_interval(task, score, calibration["radius"]) for score in predictions])
        return Coverage((ends[:, 0] <= labels) & (labels <= ends[:, 1]), ends[:, 1] - ends[:, 0])
    probabilities = softmax(class_logits(run, rows) / calibration["temperature"], axis=1)
    sets = [label_set(task, row, calibration["threshold"]) for row in probabilities.tolist()]
    covered = np.array([task.label_names[label] in found for label, found in zip(labels, sets)])
    return Coverage(covered, np.array([len(found) for found in sets]))


__all__ = ["Coverage", "class_logits", "coverage", "run_calibration"]
