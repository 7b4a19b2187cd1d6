"""Measure how often the sets or intervals of runs contain the truth, speaker by speaker.

    python examples/analysis/coverage_by_speaker.py BENCH/runs/SYSTEM/SETTING/fold_*/seed_1111
    python examples/analysis/coverage_by_speaker.py RUN --level 0.8 --by sex --output coverage.csv

Each run is calibrated on its validation clips, as `semanticmac train` does, and its test clips are counted by the group
that the corpus states (`--by`, as in `semanticmac groups`). With folds by speaker, calibration and test have different
speakers: what a promise made on some people is worth for others. The runs need `predictions_validation.csv`
(`--do_eval`) and `clips_test.csv`; a group that is in several runs, such as a speaker in runs of several seeds, is
counted over all of them. Nothing in the folders is changed.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.analysis.trained_run import run_command  # noqa: E402
from modeling_semanticmac.files.atomic_files import write_csv  # noqa: E402
from modeling_semanticmac.files.markdown_tables import markdown_table  # noqa: E402
from modeling_semanticmac.metrics.calibration import LEVEL  # noqa: E402
from modeling_semanticmac.runs.certainty import coverage, run_calibration  # noqa: E402
from modeling_semanticmac.runs.folder import RunFolder  # noqa: E402
from modeling_semanticmac.runs.groups import GROUPINGS, clip_groups  # noqa: E402

COLUMNS = ("group", "clips", "coverage", "size")


def group_coverage(folders: list[Path], level: float, by: str) -> list[tuple[str, int, float, float]]:
    """Return group, clips, coverage and mean size of sets or width of intervals, the lowest coverage first.

    Raises:
        FileNotFoundError, ValueError: a folder holds no run that can be calibrated, or nothing says the groups.
    """
    found = defaultdict(list)
    for folder in folders:
        run = RunFolder(folder)
        groups, counted = clip_groups(run, by), coverage(run, run.predictions, run_calibration(run, level))
        for row, covered, size in zip(run.predictions, *counted):
            if row["id"] in groups:
                found[groups[row["id"]]].append((covered, size))
    rows = [(name, len(clips), *np.mean(clips, axis=0).tolist()) for name, clips in found.items()]
    return sorted(rows, key=lambda row: (row[2], row[0]))


def summary(rows: list[tuple[str, int, float, float]], level: float) -> str:
    """Return the table and what it comes to, as Markdown."""
    counts, shares = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    chance = np.sqrt(level * (1 - level) / counts.mean())
    table = markdown_table(COLUMNS, [[name, clips, f"{share:.1%}", f"{size:.2f}"] for name, clips, share, size in rows])
    return (
        f"{table}\nAll {counts.sum():,} clips: {np.average(shares, weights=counts):.1%} (promised {level:.0%}). "
        f"{len(rows)} groups: from {shares.min():.1%} to {shares.max():.1%}, standard deviation "
        f"{100 * shares.std(ddof=1):.1f} points, where {100 * chance:.1f} are expected of clips that do not differ by "
        "group. "
        f"Below the promise: {(shares < level).sum()} of {len(rows)}."
    )


def main(argv: list[str] | None = None) -> None:
    """Print the coverage of each group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs")
    parser.add_argument("--level", type=float, default=LEVEL, help="promised share of clips (default: %(default)s)")
    parser.add_argument("--by", choices=GROUPINGS, default="speaker", help="grouping (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="a CSV file for the table")
    args = parser.parse_args(argv)
    rows = group_coverage(args.runs, args.level, args.by)
    if args.output:
        write_csv(args.output, COLUMNS, rows)
    print(summary(rows, args.level))


if __name__ == "__main__":
    run_command(main)
