"""Functions whose matrix products stay in float32, whatever autocast or the matrix units of the device are set to."""

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
# Both may round float32 inputs to TF32 or bfloat16.
BACKENDS: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]


def full_precision(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return the function with autocast and reduced-precision matrix products switched off while it runs.

    Exponentials of similarities over small temperatures, and neighbours that differ in the seventh digit, need float32.

    Args:
        function: its first argument is a tensor on the device that is used.
    """

    @functools.wraps(function)
    def in_full_precision(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Call the function with float32 arithmetic in all back ends."""
        before = [backend.fp32_precision for backend in BACKENDS]
        device = args[0].device.type  # type: ignore[attr-defined]
        try:
            for backend in BACKENDS:
                backend.fp32_precision = "ieee"
            has_autocast = torch.amp.is_autocast_available(device)
            with torch.autocast(device, enabled=False) if has_autocast else nullcontext():
                return function(*args, **kwargs)
        finally:
            for backend, precision in zip(BACKENDS, before):
                backend.fp32_precision = precision

    return in_full_precision


__all__ = ["full_precision"]
