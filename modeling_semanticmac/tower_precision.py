"""The number format in which a frozen tower computes: what the device is fastest in."""

import copy
from collections.abc import Iterable

import torch
from torch import nn
from transformers.utils import logging

logger = logging.get_logger(__name__)

AUTO = "auto"
INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
# Narrower towers are not faster in bfloat16 on a CPU (docs/performance.md).
WIDE_ENOUGH = 128


def dtype_named(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """Return a number format by its name; None for "auto" and None.

    Raises:
        ValueError: If it is not the name of a floating-point format.
    """
    if dtype in (None, AUTO) or isinstance(dtype, torch.dtype):
        return None if dtype == AUTO else dtype  # type: ignore[return-value]
    found = getattr(torch, str(dtype), None)
    if not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise ValueError(f"dtype is {dtype!r}; expected auto, float32, bfloat16 or float16.")
    return found


def dtype_name(dtype: torch.dtype) -> str:
    """Return what a number format is called, e.g. "bfloat16"."""
    return str(dtype).removeprefix("torch.")


def choose_dtype(device: torch.device, towers: Iterable[nn.Module]) -> torch.dtype:
    """Return the number format in which towers are fastest on a device, and log it in a line.

    bfloat16 on GPUs (float16 where they lack it) and, for towers of width 128 or more, on CPUs with instructions for
    it; float32 elsewhere.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    widest = max((getattr(tower.config, "hidden_size", 0) or 0 for tower in towers), default=0)
    instructions = bfloat16_instructions() if device.type == "cpu" else None
    if instructions is None or widest < WIDE_ENOUGH:
        return torch.float32
    logger.warning_once(
        f"The towers compute in bfloat16: this processor has {instructions}, and is faster with it. --dtype float32 "
        "keeps single precision."
    )
    return torch.bfloat16


def bfloat16_instructions() -> str | None:
    """Return the name of the processor's instructions for bfloat16 matrix products; None where it has none."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return next((name for flag, name in INSTRUCTIONS.items() if capabilities.get(flag)), None)


def prepare_encoder(encoder: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Return the encoder on a device; below float32, a copy whose weight matrices are already cast, which autocast
    would repeat for every batch.
    """
    if dtype == torch.float32:
        return encoder.to(device)
    encoder = copy.deepcopy(encoder)
    for module in encoder.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            module.to(dtype)
    return encoder.to(device)


__all__ = ["AUTO", "bfloat16_instructions", "choose_dtype", "dtype_name", "dtype_named", "prepare_encoder"]
