"""`semanticmac groups`: how well a run does for groups of its test clips."""

import argparse
from collections.abc import Sequence

from ..files.atomic_files import write_json
from ..report.page import write_report
from ..runs.comparison import RESAMPLES
from ..runs.folder import RunFolder
from ..runs.groups import GROUPINGS, group_errors, groups_text


def main(argv: Sequence[str] | None = None) -> int:
    """Print the errors of groups, write them beside the run and into its report.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: the run did not predict test clips, or nothing says their groups.
    """
    parser = argparse.ArgumentParser(
        prog="semanticmac groups",
        description="Compare the errors of groups of test clips with those of all others, with bootstrap intervals. "
        "The worst group stands first.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run")
    parser.add_argument("--by", choices=GROUPINGS, nargs="+", default=["speaker"], help="groupings (default: speaker)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default %(default)s)")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help="bootstrap resamples (default %(default)s)")
    args = parser.parse_args(argv)
    run = RunFolder(args.run)
    if not run.predictions:
        raise ValueError(f"{run.path} has no test predictions; run it with --do_predict.")
    for by in args.by:
        found = group_errors(run, by, args.seed, args.resamples)
        write_json(run.path / f"groups_{by}.json", found)
        print(groups_text(found))
    write_report(run.path)
    return 0


__all__ = ["main"]
