"""`semanticmac train`: a run, several seeds, or a hyperparameter search."""

import logging
import sys
from collections.abc import Sequence

from ..runs.process_group import end_process_group
from ..search.search import search
from ..training.main import run_once
from ..training.run import Run
from ..training.run_arguments import parse_command
from ..training.seed_runs import run_seeds


def main(argv: Sequence[str] | None = None) -> None:
    """Train, evaluate, test or search, as the arguments say.

    Args:
        argv: the arguments; None: those of this process.

    Raises:
        ValueError, OSError: the arguments do not fit each other, or the data or the model cannot be used.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    execute(argv, *parse_command(argv))


def execute(argv: list[str], model_args, data_args, training_args, options) -> None:
    """Do what the parsed arguments say; `argv` are the same arguments, from which seeds and trials are parsed again."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    for name in ("httpx", "httpx2"):  # one line a request to the Hub
        logging.getLogger(name).setLevel(logging.WARNING)
    arguments = (model_args, data_args, training_args)
    if options.do_search:
        print(search(Run, argv, options, *arguments))
    elif data_args.seeds:
        run_seeds(argv, *arguments)
    else:
        run_once(*arguments)


def run(argv: list[str]) -> int:
    """Run the command of a process: wrong arguments are a sentence and exit code 2, and the process group is destroyed
    at the end."""
    try:
        arguments = parse_command(argv)
    except (ValueError, FileNotFoundError) as error:
        print(f"semanticmac train: error: {error}", file=sys.stderr)
        return 2
    execute(argv, *arguments)
    end_process_group()
    return 0


__all__ = ["execute", "main", "run"]
