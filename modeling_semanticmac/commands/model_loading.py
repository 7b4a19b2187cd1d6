"""What `--model`, `--device` and `--dtype` of a command name: a configuration, or a pipeline."""

import argparse
import os
import textwrap
from pathlib import Path

import torch
from transformers import AutoModelForVideoClassification, AutoProcessor, PreTrainedConfig, pipeline

from ..baselines.model_classes import CLASSES
from ..configuration_semanticmac import DTYPES, MODALITIES, AffectConfig
from ..pipeline_semanticmac import TASK, SemanticMACPipeline
from ..tower_precision import AUTO

INSIDE = ("config.json", "model.safetensors", "model.safetensors.index.json")  # files that stand for their folder


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose the model and how it runs."""
    parser.add_argument("--model", required=True, help="folder of a run or a checkpoint, or name on the Hub")
    parser.add_argument(
        "--modalities",
        nargs="+",
        choices=MODALITIES,
        default=MODALITIES,
        help="which of text, audio and vision to use (default all)",
    )
    parser.add_argument("--batch_size", type=batch_size, default=1, help="clips a forward pass (default %(default)s)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    parser.add_argument(
        "--dtype",
        choices=(AUTO, *DTYPES),
        help="number format of the model (default: as it was saved); auto: as it was saved, and the towers in what the "
        "device is fastest in",
    )


def batch_size(text: str) -> int:
    """Return the batch size that an argument names.

    Raises:
        argparse.ArgumentTypeError: it is not a whole number of at least 1.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a batch size; expected at least 1")
    return int(text)


def model_name(given: str) -> str:
    """Return the folder or the name on the Hub that `--model` means; `RUN/config.json` means `RUN`.

    Raises:
        ValueError: it is another file.
    """
    if not os.path.isfile(given):
        return given
    if os.path.basename(given) in INSIDE:
        return str(Path(given).parent)
    raise ValueError(f"{given}: this is a file; expected the folder of a run or a checkpoint, or a name on the Hub.")


def load_config(model: str) -> AffectConfig:
    """Load the configuration of a SemanticMAC model or a comparison system.

    Raises:
        ValueError: there is no such model, in one sentence.
    """
    model = model_name(model)
    try:
        kind = PreTrainedConfig.get_config_dict(model)[0].get("model_type")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{model}: no model can be read there ({short_message(error)}); give the folder of a run, or a name on the "
            "Hub."
        ) from error
    if kind not in CLASSES:
        raise ValueError(
            f"{model}: this is {'a model of type ' + kind if kind else 'not a model'}; expected a SemanticMAC model."
        )
    try:
        return CLASSES[kind].config.from_pretrained(model)
    except Exception as error:  # a damaged file can raise anything in the library
        raise ValueError(f"{model}: its config.json cannot be used ({short_message(error)}).") from error


def load_pipeline(model: str, device: str | None = None, dtype: str | None = None) -> SemanticMACPipeline:
    """Load the pipeline that the arguments of a command name.

    Raises:
        ValueError: there is no such model, it is of another kind or damaged, or there is no such device.
    """
    load_config(model)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {device} cannot be used here: {short_message(error)}") from error
    try:
        # Loaded here and not by its name: the pipeline would wrap what is wrong with a checkpoint into its tracebacks.
        loaded = AutoModelForVideoClassification.from_pretrained(model_name(model), dtype=dtype or AUTO)
        if dtype == AUTO:
            loaded.set_tower_dtype(AUTO)
        return pipeline(TASK, model=loaded, processor=AutoProcessor.from_pretrained(model_name(model)), device=device)
    except Exception as error:  # a damaged folder can raise anything in the library
        raise ValueError(
            f"{model}: the model cannot be loaded ({type(error).__name__}: {short_message(error)})."
        ) from error


def short_message(error: Exception) -> str:
    """Return the beginning of an error's message in one line, or the name of its type where it has no message."""
    return textwrap.shorten(str(error), 600, placeholder=" ...").rstrip(". ") or type(error).__name__


__all__ = ["add_model_arguments", "batch_size", "load_config", "load_pipeline", "model_name", "short_message"]
