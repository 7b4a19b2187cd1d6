"""`semanticmac app`: a page on which a clip is dropped, or recorded, and predicted."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from transformers.utils import logging

from ..embedding_extraction.termination import kept_handler
from ..page.uploads import upload_folder
from .model_loading import load_pipeline

EXAMPLES = """examples:
  semanticmac app RUN
  semanticmac app RUN --port 7861 --max_seconds 300 --max_megabytes 50

An upload is deleted when its visitor closes the page, and all of them when the program ends. Clips longer than half a
minute are predicted in segments and shown over time.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="semanticmac app",
        description="Serve a page: drop a clip or record one, type what is said, see the prediction of the whole and "
        "of each modality; or talk to the camera and see it live.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="RUN",
        default=os.environ.get("MODEL"),
        help="folder of a run or a checkpoint, or name on the Hub (default: the environment variable MODEL)",
    )
    parser.add_argument("--device", help="e.g. cuda (default: a GPU where there is one)")
    parser.add_argument("--host", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, help="default: the first free port from 7860 on")
    parser.add_argument("--max_seconds", type=float, default=600.0, help="longest clip (default %(default)g)")
    parser.add_argument("--max_megabytes", type=int, default=200, help="largest file (default %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until Ctrl-C or SIGTERM; then the uploads are deleted.

    Raises:
        ValueError: there is no such model or device.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.model is None:
        parser.error("give RUN, or set the environment variable MODEL")
    logging.disable_progress_bar()  # of loading weights
    with kept_handler(), upload_folder():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # exit in order, which removes the uploads
        from ..page.server import Limits, serve_page

        pipe = load_pipeline(args.model, args.device)
        pipe.load_encoders()
        serve_page(pipe, Limits(args.max_seconds, args.max_megabytes), args.host, args.port)
    return 0


__all__ = ["build_parser", "main"]
