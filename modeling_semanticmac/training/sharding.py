"""Models divided among processes: FSDP and DeepSpeed, as far as they are supported."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

logger = logging.getLogger(__name__)


def check_fsdp(args: TrainingArguments) -> None:
    """Refuse FSDP in a form from which no run resumes and no model loads; warn where it has no effect.

    Raises:
        ValueError: version 1, or sharded state dicts.
    """
    if args.device.type == "cpu":
        logger.warning("FSDP has no effect on CPUs: every process holds the whole model (DistributedDataParallel).")
        return
    config: Any = args.fsdp_config or {}
    version = int(config.get("version") or os.environ.get("FSDP_VERSION") or 2)
    kind = str(config.get("state_dict_type") or os.environ.get("FSDP_STATE_DICT_TYPE") or "FULL_STATE_DICT")
    if version != 2:
        raise ValueError(f"FSDP version {version} is not supported; set version: 2 (examples/launch/fsdp2.yaml).")
    if kind != "FULL_STATE_DICT":
        raise ValueError(
            f"FSDP with {kind} writes checkpoints from which no model can be loaded; set state_dict_type: "
            "FULL_STATE_DICT (examples/launch/fsdp2.yaml)."
        )


def zero_stage(args: TrainingArguments) -> int:
    """Return the stage of ZeRO that DeepSpeed is configured for."""
    found: Any = args.deepspeed or os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE")
    if isinstance(found, str):
        found = json.loads(Path(found).read_text(encoding="utf-8"))
    stage = found["zero_optimization"]["stage"] if found else os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", 2)
    return int(stage)


def layers_to_shard(model: Any) -> list[str]:
    """Return the classes of the layers that FSDP gathers one after the other.

    Those that the model keeps whole (`_no_split_modules`), but not the one around the token embeddings: accelerate
    divides these by themselves, and no parameter twice.
    """
    embeddings: nn.Module | None = model.get_input_embeddings()
    kept = [module for module in model.modules() if type(module).__name__ in (model._no_split_modules or ())]
    around = {type(module).__name__ for module in kept if any(part is embeddings for part in module.modules())}
    return sorted({type(module).__name__ for module in kept} - around)


def with_every_modality(
    batch: dict[str, torch.Tensor], config: Any, modalities: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Return a batch in which absent modalities are masked out instead.

    With FSDP all processes gather the parameters of a layer together, so each must run every layer, also where its own
    clips lack a modality.

    Args:
        batch: inputs of the model; at least one modality, and `labels` or another tensor of B rows.
        config: of the model.
        modalities: those that clips may have.
    """
    some = next(iter(batch.values()))
    size, device = len(some), some.device
    filled = dict(batch)
    if "text" in modalities and not {"input_ids", "inputs_embeds"} & filled.keys():
        filled["input_ids"] = torch.zeros(size, 1, dtype=torch.long, device=device)
        filled["attention_mask"] = torch.zeros_like(filled["input_ids"])
    for modality, raw in (("audio", "input_features"), ("vision", "pixel_values")):
        if modality in modalities and not {f"{modality}_embeds", raw} & filled.keys():
            width = getattr(config, f"{modality}_width")
            filled[f"{modality}_embeds"] = torch.zeros(size, 1, width, device=device)
            filled[f"{modality}_mask"] = torch.zeros(size, 1, dtype=torch.long, device=device)
    return filled


def is_set(variable: str) -> bool:
    """Return whether a variable of the environment says yes."""
    return os.environ.get(variable, "false").lower() in ("1", "true", "yes", "on")


__all__ = ["check_fsdp", "is_set", "layers_to_shard", "with_every_modality", "zero_stage"]
