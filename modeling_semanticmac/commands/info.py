"""`semanticmac info`: what a model is, from its files and without loading its weights."""

import argparse
import json
import textwrap
from pathlib import Path

import torch
from huggingface_hub import ModelCard
from transformers import AutoProcessor, PreTrainedConfig
from transformers.utils import cached_file

from ..affect_heads import SemanticMACForAffect
from ..configuration_semanticmac import SemanticMACConfig
from ..hub.model_card_text import language_model_part, tower_parts

EXAMPLES = """examples:
  semanticmac info RUN
  semanticmac info org/semanticmac-mosei --json -
"""
SIZES = "hidden_size num_attention_heads num_latents num_bridge_tokens num_perceiver_layers num_interaction_layers max_frames num_crops".split()
SAMPLING = "frames_per_second num_frames vision_window audio_window max_length".split()
PART_FIELDS = "role name revision license note".split()
CARD_FIELDS = "license base_model datasets language".split()


def add_info_parser(commands) -> None:
    """Add the command to those of `semanticmac`."""
    parser = commands.add_parser(
        "info",
        help="say what a model is",
        description="What a model predicts, of what it is made, how it samples clips and what it was trained on.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run, or name on the Hub")
    parser.add_argument("--json", choices=("-",), help="- writes JSON to standard output, in place of the table")
    parser.set_defaults(run=run_info)


def run_info(args: argparse.Namespace) -> int:
    """Print what is known of the model; raises as `model_info`."""
    found = model_info(args.model)
    print(json.dumps(found, indent=2) if args.json else info_text(found))
    return 0


def load_config(model: str) -> SemanticMACConfig:
    """The configuration of a SemanticMAC model.

    Raises:
        ValueError: there is none, in one sentence.
    """
    try:
        kind = PreTrainedConfig.get_config_dict(model)[0].get("model_type")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{model}: no model can be read there ({short_message(error)}); give the folder of a run, or a name on the Hub."
        ) from error
    if kind != "semanticmac":
        raise ValueError(
            f"{model}: this is {'a model of type ' + kind if kind else 'no model'}; expected a SemanticMAC model."
        )
    try:
        return SemanticMACConfig.from_pretrained(model)
    except Exception as error:  # whatever a damaged file makes of the library
        raise ValueError(f"{model}: its config.json cannot be used ({short_message(error)}).") from error


def short_message(error: Exception) -> str:
    """The beginning of an error's message in one line; the name of its type where it has none."""
    return textwrap.shorten(str(error), 200, placeholder=" ...").rstrip(". ") or type(error).__name__


def model_info(model: str) -> dict:
    """What is known of a model, by subject: `model`, `task`, `labels`, `parts`, `sizes`, `sampling`, `training` and `card` (None where nothing is written down).

    Raises:
        ValueError: no such model.
    """
    config = load_config(model)
    task = config.task
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in SemanticMACForAffect(config).parameters())
    text = config.text_config
    sizes = {
        "parameters": parameters,
        "language_model_width": text.hidden_size,
        "vision_width": config.vision_width,
        "audio_width": config.audio_width,
    }
    parts = [language_model_part(config), *tower_parts(config, model)]
    return {
        "model": model,
        "task": {
            "name": task.name,
            "problem_type": task.problem_type,
            "label_range": task.label_range and list(task.label_range),
        },
        "labels": list(task.label_names),
        "modalities": ["text", *(m for m in ("audio", "vision") if getattr(config, f"{m}_encoder"))],
        "parts": [{name: getattr(part, name) for name in PART_FIELDS} for part in parts],
        "sizes": sizes | {name: getattr(config, name) for name in SIZES},
        "sampling": _sampling(model),
        "training": _training(model),
        "card": _card(model),
    }


def _sampling(model: str) -> dict | None:
    """How the processor samples clips."""
    try:
        processor = AutoProcessor.from_pretrained(model)
    except (OSError, ValueError):
        return None
    return {name: getattr(processor, name) for name in SAMPLING}


def _training(model: str) -> dict | None:
    """Corpus, task, modalities, seed and code of the run that made the model."""
    path = _file(model, "run.json")
    if path is None:
        return None
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    data = {name: record["data"].get(name) for name in ("corpus", "task", "modalities")}
    return {**data, "seed": record.get("seed"), "git_revision": record.get("git_revision")}


def _card(model: str) -> dict | None:
    """What the head of the model card says of licence, base model, data and language."""
    path = _file(model, "README.md")
    if path is None:
        return None
    data = ModelCard.load(path).data.to_dict()
    return {name: data[name] for name in CARD_FIELDS if name in data}


def _file(model: str, name: str) -> str | None:
    """Path of a file of the model, from its folder or the Hub; None where there is none."""
    try:
        return cached_file(model, name)
    except OSError:
        return None


def info_text(found: dict) -> str:
    """`model_info` as lines for a person."""
    task, sizes = found["task"], dict(found["sizes"])
    scale = "" if task["label_range"] is None else " from {:g} to {:g}".format(*task["label_range"])
    rows = [("model", found["model"]), ("task", f"{task['name']} ({task['problem_type']}{scale})")]
    if task["label_range"] is None:
        rows.append(("labels", ", ".join(found["labels"])))
    rows.append(("reads", ", ".join(found["modalities"])))
    for part in found["parts"]:
        revision = f" at {part['revision']}" if part["revision"] else ""
        said = [
            (part["name"] or "no repository of its own") + revision,
            part["note"],
            f"licence {part['license'] or 'unknown'}",
        ]
        rows.append((part["role"], "; ".join(filter(None, said))))
    rows.append(("sizes", f"{sizes.pop('parameters'):,} parameters without the towers, {_pairs(sizes)}"))
    rows += [(name, _pairs(found[name]) or "not written down") for name in ("sampling", "training", "card")]
    width = max(len(name) for name, _ in rows) + 2
    wrap = textwrap.TextWrapper(
        width=110, subsequent_indent=" " * width, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrap.fill(f"{name:<{width}}{text}") for name, text in rows)


def _pairs(values: dict | None) -> str:
    """`name value, name value` of what is known."""
    known = {name: value for name, value in (values or {}).items() if value is not None}
    return ", ".join(f"{name} {_words(value)}" for name, value in known.items())


def _words(value) -> str:
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


__all__ = ["add_info_parser", "short_message", "info_text", "load_config", "model_info"]
