"""`semanticmac space`: the folder of a Space on the Hub with the page of a model."""

import argparse
from collections.abc import Sequence

from transformers.utils import logging

from ..serving.hosting import write_space


def main(argv: Sequence[str] | None = None) -> int:
    """Write the folder and print what to do with it.

    Raises:
        ValueError: there is no such model, or the folder is not empty.
    """
    parser = argparse.ArgumentParser(
        prog="semanticmac space",
        description="Write a Gradio Space with the page of a model: app.py, requirements.txt, README.md, the code of "
        "the package, and the checkpoint where the model is a folder.",
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run or a checkpoint, or name on the Hub")
    parser.add_argument("output", metavar="OUT", help="a new folder")
    args = parser.parse_args(argv)
    logging.disable_progress_bar()
    folder = write_space(args.model, args.output)
    print(f"{folder}: look at it, then hf upload --repo-type space ORG/NAME {folder} .")
    return 0


__all__ = ["main"]
