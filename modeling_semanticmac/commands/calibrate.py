"""`semanticmac calibrate`: find on validation how sure the predictions of a run are."""

import argparse
from collections.abc import Sequence

import numpy as np

from ..files.atomic_files import write_json
from ..metrics.calibration import LEVEL, fit_calibration
from ..runs.folder import RunFolder
from ..runs.record import class_probabilities, prediction_arrays, read_predictions

TINY = np.finfo(np.float64).tiny  # a probability that was rounded to 0 has a finite logarithm


def main(argv: Sequence[str] | None = None) -> int:
    """Write the calibration of a run into its configuration and print it.

    `semanticmac train` does so with a level of 0.9; another level needs this command.

    Raises:
        FileNotFoundError: the folder holds no run, or the run did not predict validation.
        ValueError: a level that is no share, a task of several labels, or too few clips.
    """
    parser = argparse.ArgumentParser(
        prog="semanticmac calibrate",
        description="Find on the validation clips of a run the interval of scores or the set of classes that contains "
        "the truth for a given share of clips, and write it into the configuration of its model.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--level", type=float, default=LEVEL, help="share of clips whose truth it contains (default %(default)s)"
    )
    args = parser.parse_args(argv)
    found = calibrate_run(RunFolder(args.run), args.level)
    print(", ".join(f"{name} {value:.4g}" for name, value in found.items()))
    return 0


def calibrate_run(run: RunFolder, level: float) -> dict:
    """Write the calibration of a run into its `config.json` and return it; errors are those of `main`."""
    if not 0 < level < 1:
        raise ValueError(f"--level is {level:g}; expected a share between 0 and 1, e.g. 0.9.")
    if run.task.is_multi_label:
        raise ValueError(f"{run.path} predicts several labels for a clip; calibration is for scores and for classes.")
    rows = read_predictions(run.path / "predictions_validation.csv")
    predictions, labels = prediction_arrays(run.task, rows)
    config = run.json("config.json")
    logits = predictions
    if not run.task.is_regression:  # the file has the probabilities after the temperature of the configuration
        temperature = (config.get("calibration") or {}).get("temperature", 1.0)
        logits = temperature * np.log(np.maximum(class_probabilities(run.task, rows), TINY))
    found = fit_calibration(run.task, logits, labels, level)
    if found is None:
        raise ValueError(
            f"{run.path} has {len(rows)} validation clips, too few for a level of {level:g}, which "
            "needs 1 / (clips + 1) of the clips to lie outside."
        )
    write_json(run.path / "config.json", {**config, "calibration": found})
    return found


__all__ = ["calibrate_run", "main"]
