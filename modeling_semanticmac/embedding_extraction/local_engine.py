"""Encoding in this process, or in the processes that accelerate started, each with its share of the clips."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from transformers.utils import logging

from .clip_decoding import ClipTask
from .clip_encoder import ClipEncoder, EncodedClip

logger = logging.get_logger(__name__)


@dataclass
class Engine:
    """One process, or several that were started together, each with its share of the clips.

    Args:
        name: "local", "accelerate", or None for either, by the number of processes.
    """

    name: str | None = None

    def state(self, device: torch.device | str | None) -> PartialState:
        """Return the state of the process group.

        Raises:
            ValueError: the engine is for one process, and several were started.
        """
        # On CPUs accelerate sees several processes only where it is told to use CPUs.
        only_cpu = str(device) == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU")
        state = PartialState(cpu=only_cpu or not torch.accelerator.is_available())
        if self.name == "local" and state.num_processes > 1:
            raise ValueError(
                f"--engine local is for one process, and {state.num_processes} were started, which would all encode "
                "every clip; use --engine accelerate."
            )
        if self.name == "accelerate" and state.num_processes == 1:
            logger.warning("--engine accelerate: one process was started; accelerate launch or torchrun start several.")
        return state

    def device(self, state: PartialState, device: torch.device | str | None) -> torch.device:
        """Return the device of the towers."""
        return state.device if device is None else torch.device(device)

    def encode(
        self,
        encoder: ClipEncoder,
        tasks: list[ClipTask],
        device: torch.device,
        dtype: torch.dtype,
        on_piece: Callable[[], None],
    ) -> Iterator[EncodedClip]:
        """Yield the clips of this process's share when they are complete."""
        return encoder.encode(tasks, device, dtype, on_piece)


__all__ = ["Engine"]
