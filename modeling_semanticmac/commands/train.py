"""`semanticmac train` and `run_mac.py`: a run, several seeds, or a hyperparameter search."""

import logging
import sys

from ..search.search import search
from ..training.main import run_once, run_seeds
from ..training.run import Run
from ..training.run_arguments import parse_command


def main(argv: list[str] | None = None) -> None:
    """Run with the given arguments, or those of the command line."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    for name in ("httpx", "httpx2"):  # one line a request to the Hub
        logging.getLogger(name).setLevel(logging.WARNING)
    argv = sys.argv[1:] if argv is None else argv
    *arguments, options = parse_command(argv)
    if options.do_search:
        print(search(Run, argv, options, *arguments))
    elif arguments[1].seeds:
        run_seeds(argv, *arguments)
    else:
        run_once(*arguments)


__all__ = ["main"]
