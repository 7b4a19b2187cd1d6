"""`semanticmac calibrate`: find on validation how sure the predictions of a run are."""

import argparse
from collections.abc import Sequence

from ..files.atomic_files import write_json
from ..metrics.calibration import LEVEL
from ..runs.certainty import run_calibration
from ..runs.folder import RunFolder


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
    found = run_calibration(run, level)
    write_json(run.path / "config.json", {**run.json("config.json"), "calibration": found})
    return found


__all__ = ["calibrate_run", "main"]
