"""`semanticmac info`: describe a model from its files, without loading its weights."""

import argparse
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub import ModelCard
from transformers import AutoProcessor
from transformers.utils import cached_file, logging

from ..baselines.model_classes import SEMANTICMAC, architecture_of, saved_classes
from ..hub.model_card_text import language_model_part, tower_parts
from .model_loading import load_config, model_name

EXAMPLES = """examples:
  semanticmac info RUN
  semanticmac info org/semanticmac-mosei --json -
"""
SIZES = (
    "hidden_size",
    "num_attention_heads",
    "num_latents",
    "num_bridge_tokens",
    "num_perceiver_layers",
    "num_interaction_layers",
    "max_frames",
    "num_crops",
)
SAMPLING = (
    "frames_per_second",
    "num_frames",
    "vision_window",
    "audio_window",
    "audio_stream",
    "max_length",
    "vision_crop",
    "face_choice",
)
# How texts become tokens: what is shown where it has another value.
TEXT = {
    "use_speakers": False, "context_utterances": None, "text_tokens": "all", "text_prefix": "",
    "chat_instruction": None,
}  # fmt: skip
PART_FIELDS = ("role", "name", "revision", "license", "note")
CARD_FIELDS = ("license", "base_model", "datasets", "language")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="semanticmac info",
        description="Describe a model: its task, its parts and their licences, how it samples clips, its training.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a run or a checkpoint, or name on the Hub")
    parser.add_argument("--json", choices=("-",), help="- prints JSON instead of the table")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print the description of a model; raises as `model_info`."""
    args = build_parser().parse_args(argv)
    logging.disable_progress_bar()
    found = model_info(args.model)
    print(json.dumps(found, indent=2) if args.json else info_text(found))
    return 0


def model_info(model: str) -> dict:
    """Return the description of a model: `model`, `architecture`, `task`, `intended_use`, `labels`, `modalities`,
    `parts`, `sizes`, `sampling`, `training` and `card`.

    The last three are None where the model does not record them.

    Raises:
        ValueError: there is no such model.
    """
    model = model_name(model)
    config = load_config(model)
    task = config.task
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in saved_classes(model).model(config).parameters())
    sizes = {
        "parameters": parameters,
        "language_model_width" if config.reads_words else "text_vector_width": config.text_width,
        "vision_width": config.vision_width,
        "audio_width": config.audio_width,
    }
    own = getattr(config, "options", None)
    if architecture_of(config) == SEMANTICMAC:
        own = {name: getattr(config, name) for name in SIZES}
    parts = [language_model_part(config), *tower_parts(config, model)]
    return {
        "model": model,
        "architecture": architecture_of(config),
        "task": {
            "name": task.name,
            "problem_type": task.problem_type,
            "label_range": task.label_range and list(task.label_range),
        },
        "intended_use": config.intended_use,
        "labels": list(task.label_names),
        "modalities": [
            *(["text"] if "text" not in config.unread_notes else []),
            *(m for m in ("audio", "vision") if getattr(config, f"{m}_encoder")),
        ],
        "parts": [{name: getattr(part, name) for name in PART_FIELDS} for part in parts],
        "sizes": sizes | own,
        "sampling": _sampling(model),
        "training": _training(model),
        "card": _card(model),
    }


def _sampling(model: str) -> dict | None:
    """Return how the processor samples clips, and how it writes texts where not as they are; None without one."""
    try:
        processor = AutoProcessor.from_pretrained(model)
    except (OSError, ValueError):
        return None
    text = {name: getattr(processor, name) for name, value in TEXT.items() if getattr(processor, name) != value}
    return {name: getattr(processor, name) for name in SAMPLING} | text


def _training(model: str) -> dict | None:
    """Return corpus, task, modalities, seed and code of the training run; None without its record."""
    path = _file(model, "run.json")
    if path is None:
        return None
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    data = {name: record["data"].get(name) for name in ("corpus", "task", "modalities")}
    return {**data, "seed": record.get("seed"), "git_revision": record.get("git_revision")}


def _card(model: str) -> dict | None:
    """Return licence, base model, data and language from the metadata of the model card; None without a card."""
    path = _file(model, "README.md")
    if path is None:
        return None
    data = ModelCard.load(path).data.to_dict()
    return {name: data[name] for name in CARD_FIELDS if name in data}


def _file(model: str, name: str) -> str | None:
    """Return the path of a file of the model, from its folder or the Hub; None where there is none."""
    try:
        return cached_file(model, name)
    except OSError:
        return None


def info_text(found: dict) -> str:
    """Return the description of `model_info` as lines of text."""
    task, sizes = found["task"], dict(found["sizes"])
    scale = "" if task["label_range"] is None else " from {:g} to {:g}".format(*task["label_range"])
    rows = [("model", found["model"]), ("task", f"{task['name']} ({task['problem_type']}{scale})")]
    if task["label_range"] is None:
        rows.append(("labels", ", ".join(found["labels"])))
    rows.append(("intended use", found["intended_use"] or "not stated"))
    if found["architecture"] != SEMANTICMAC:
        rows.append(("architecture", found["architecture"]))
    rows.append(("reads", ", ".join(found["modalities"])))
    for part in found["parts"]:
        revision = f" at {part['revision']}" if part["revision"] else ""
        said = [
            (part["name"] or "no own repository") + revision,
            part["note"],
            f"licence {part['license'] or 'unknown'}",
        ]
        rows.append((part["role"], "; ".join(filter(None, said))))
    rows.append(("sizes", f"{sizes.pop('parameters'):,} parameters without the towers, {_pairs(sizes)}"))
    rows += [(name, _pairs(found[name]) or "not recorded") for name in ("sampling", "training", "card")]
    width = max(len(name) for name, _ in rows) + 2
    wrap = textwrap.TextWrapper(
        width=110, subsequent_indent=" " * width, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrap.fill(f"{name:<{width}}{text}") for name, text in rows)


def _pairs(values: dict | None) -> str:
    """Return `name value, name value` of the values that are not None."""
    known = {name: value for name, value in (values or {}).items() if value is not None}
    return ", ".join(f"{name} {_cell(value)}" for name, value in known.items())


def _cell(value) -> str:
    if isinstance(value, str) and value != " ".join(value.split()):
        return repr(value)  # a prefix ends in a blank, or holds a new line
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)


__all__ = ["build_parser", "info_text", "main", "model_info"]
