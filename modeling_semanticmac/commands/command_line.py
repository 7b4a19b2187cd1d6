"""The command `semanticmac`: predictions of one's own videos, and what a model is.

semanticmac predict clip.mp4 --model RUN --text "I did not expect that."
semanticmac info RUN
"""

import argparse
import sys
from collections.abc import Sequence

from transformers.utils import logging

from .info import add_info_parser
from .predict import add_predict_parser

EPILOG = """examples:
  semanticmac predict clip.mp4 --model RUN --text "I did not expect that."
  semanticmac info RUN

A model is the folder of a run, or a name on the Hub. Each command has a --help of its own.
"""


def build_parser() -> argparse.ArgumentParser:
    """The commands and their arguments; each command sets `run`, which takes the parsed arguments and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="semanticmac",
        description="Sentiment, emotion, humour and sarcasm of people who speak in videos.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (add_predict_parser, add_info_parser):
        add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0, or 1 where it could not be done, with one sentence on stderr that says why. Wrong usage leaves with 2, as argparse does.
    """
    args = build_parser().parse_args(argv)
    logging.disable_progress_bar()  # of loading weights
    for stream in (sys.stdout, sys.stderr):  # names of files may hold what the terminal cannot show
        stream.reconfigure(errors="backslashreplace")
    try:
        return args.run(args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"semanticmac: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("semanticmac: interrupted", file=sys.stderr)
        return 130


__all__ = ["build_parser", "main"]
