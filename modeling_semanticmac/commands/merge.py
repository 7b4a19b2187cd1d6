"""`semanticmac merge`: add the adapter of a model into its language model, so that PEFT is no longer needed."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoModelForVideoClassification, AutoProcessor

from ..language_model_adapter import merged
from .model_loading import load_config, model_name


def main(argv: Sequence[str] | None = None) -> int:
    """Write an ordinary checkpoint of a model that has an adapter.

    Raises:
        ValueError: the model has no adapter, its base is quantised, or the output folder is not empty.
    """
    parser = argparse.ArgumentParser(prog="semanticmac merge", description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="folder of a run or a checkpoint, or name on the Hub")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder of the new checkpoint")
    args = parser.parse_args(argv)
    name = model_name(args.model)
    if load_config(name).language_model_reference is None:
        raise ValueError(f"{args.model} has no adapter: its language model is part of its weights already.")
    if args.output.exists() and any(args.output.iterdir()):
        raise ValueError(f"{args.output} is not empty; name a new folder.")
    model = AutoModelForVideoClassification.from_pretrained(name)
    model.base_model.language_model = merged(model.base_model.language_model)
    model.config.language_model_reference = None
    model.save_pretrained(args.output)
    AutoProcessor.from_pretrained(name).save_pretrained(args.output)
    print(f"{args.output}: an ordinary checkpoint, the adapter is part of its language model")
    return 0


__all__ = ["main"]
