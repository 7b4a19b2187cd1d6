"""`semanticmac benchmark`: a plan of systems, settings, seeds and folds on one embedding store, and its table."""

import argparse
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..benchmark.execution import Execution
from ..benchmark.plan import planned_runs, read_plan
from ..benchmark.published import check_published
from ..benchmark.tables import write_tables
from ..runs.comparison import RESAMPLES
from ..runs.output_folder import OutputFolder

EPILOG = """examples:
  semanticmac benchmark PLAN.yaml --output_dir BENCH --data_dir RAVDESS --embeddings_dir STORE --jobs 2
  semanticmac benchmark PLAN.yaml --output_dir BENCH --data_dir RAVDESS --rows "linear probe" --settings audio
  semanticmac benchmark PLAN.yaml --output_dir BENCH --tables_only

Other arguments (--data_dir, --embeddings_dir, --language_model, --use_cpu ...) go to every run, as `semanticmac train`
takes them, and win over the plan's. Give the same ones again to continue: finished runs are kept, interrupted ones
resumed, and runs that were made with other settings are named and left as they are.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's own arguments."""
    found = argparse.ArgumentParser(
        prog="semanticmac benchmark",
        usage="%(prog)s PLAN.yaml --output_dir BENCH [options] [--name value ...]",
        description="Run systems with every setting, fold and seed of a plan on the same clips and embeddings, and "
        "write their table (docs/benchmark.md).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    found.add_argument("plan", type=Path, metavar="PLAN.yaml", help="the plan")
    found.add_argument("--output_dir", type=Path, required=True, help="folder of the runs and of the table")
    found.add_argument("--jobs", type=int, default=1, help="training processes at once (default %(default)s)")
    found.add_argument("--rows", nargs="+", metavar="ROW", help="do these rows only; the table has all that are done")
    found.add_argument("--settings", nargs="+", metavar="SETTING", help="do these settings only")
    found.add_argument("--tables_only", action="store_true", help="run nothing, write the table of what is done")
    found.add_argument("--replace_changed", action="store_true", help="run again what was made with other settings")
    found.add_argument(
        "--max_minutes", type=float, help="stop after this time; the same command continues where it stopped"
    )
    found.add_argument("--resamples", type=int, default=RESAMPLES, help="bootstrap draws (default %(default)s)")
    return found


def main(argv: list[str] | None = None) -> int:
    """Do the runs, print the table, and return 0, or 1 where runs that were to be done are not finished."""
    arguments, extra = parser().parse_known_args(argv)
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    for name in ("benchmark", "modeling_semanticmac"):
        logging.getLogger(name).setLevel(logging.INFO)
    plan = read_plan(arguments.plan)
    runs = planned_runs(plan, arguments.output_dir, extra)
    wanted = planned_runs(plan, arguments.output_dir, extra, arguments.rows, arguments.settings)
    check_published(plan, runs)
    seconds = None if arguments.max_minutes is None else 60 * arguments.max_minutes
    with OutputFolder(arguments.output_dir).held(), _terminated_as_interrupted():
        execution = Execution(
            runs, [] if arguments.tables_only else wanted, arguments.jobs, arguments.replace_changed, seconds
        )
        outcome = execution.run()
        print(write_tables(plan, runs, arguments.output_dir, outcome.failures, arguments.resamples))
    for name in outcome.pending:
        print(f"not finished: {name}")
    return 1 if outcome.pending or any(run.name in outcome.failures for run in wanted) else 0


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that the processes of the runs are stopped too."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


__all__ = ["main"]
