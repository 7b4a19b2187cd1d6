"""Who encodes the clips of an extraction: this process, the processes that accelerate started, or actors of Ray."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from transformers.utils import logging

from .clip_decoding import ClipTask
from .clip_encoder import ClipEncoder, EncodedClip

logger = logging.get_logger(__name__)

ENGINES = ["local", "accelerate", "ray"]


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


def make_engine(name: str | None = None, num_actors: int | None = None, ray_address: str | None = None) -> Engine:
    """Return the engine of a name.

    Args:
        name: "local", "accelerate" or "ray"; None: one process, or all that were started.
        num_actors, ray_address: of Ray.

    Raises:
        ValueError: an unknown name.
        ImportError: Ray is not installed.
    """
    if name == "ray":
        from .ray_engine import RayEngine

        return RayEngine(num_actors=num_actors, address=ray_address)
    if name not in (None, *ENGINES):
        raise ValueError(f"engine is {name!r}; expected {', '.join(ENGINES)}.")
    return Engine(name)


__all__ = ["ENGINES", "Engine", "make_engine"]
