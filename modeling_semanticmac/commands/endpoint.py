"""`semanticmac endpoint`: the repository of an Inference Endpoint of Hugging Face."""

import argparse
from collections.abc import Sequence

from transformers.utils import logging

from ..serving.hosting import write_endpoint


def main(argv: Sequence[str] | None = None) -> int:
    """Write the folder and print what to do with it.

    Raises:
        ValueError: there is no such run, or the folder is not empty.
    """
    parser = argparse.ArgumentParser(
        prog="semanticmac endpoint",
        description="Write the repository of a Hugging Face Inference Endpoint: what `semanticmac push` uploads of a "
        "run, handler.py and requirements.txt.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run or a checkpoint")
    parser.add_argument("output", metavar="OUT", help="a new folder")
    parser.add_argument("--repo_id", help="org/name of the repository, for its card (default: the name of OUT)")
    args = parser.parse_args(argv)
    logging.disable_progress_bar()
    folder = write_endpoint(args.run, args.output, args.repo_id)
    print(f"{folder}: look at it, then hf upload ORG/NAME {folder} . and make an endpoint of that repository.")
    return 0


__all__ = ["main"]
