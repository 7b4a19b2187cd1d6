"""`semanticmac export`: a model as graphs for other runtimes."""

import argparse
from collections.abc import Sequence

from transformers.utils import logging

from ..serving.export import FORMATS, export_model
from .model_loading import load_pipeline


def main(argv: Sequence[str] | None = None) -> int:
    """Write the graphs and print how far they are from the model.

    Raises:
        ValueError: there is no such model, or the folder is not empty.
        RuntimeError: a graph answers other than the model.
    """
    parser = argparse.ArgumentParser(
        prog="semanticmac export",
        description="Write a model and its frozen towers as graphs, with any number of clips, tokens, windows and "
        "frames, and check them against the model. ONNX folders hold onnx_predictor.py, which needs no torch.",
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run or a checkpoint, or name on the Hub")
    parser.add_argument("output", metavar="OUT", help="a new folder")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="default %(default)s; torch: torch.export")
    parser.add_argument("--head_only", action="store_true", help="without the frozen towers")
    args = parser.parse_args(argv)
    logging.disable_progress_bar()
    pipe = load_pipeline(args.model, "cpu", "float32")
    found = export_model(pipe, args.output, args.format, not args.head_only)
    for name, file in found["files"].items():
        print(f"{args.output}/{name}: differs from the model by at most {file['difference']:.2g}")
    return 0


__all__ = ["main"]
