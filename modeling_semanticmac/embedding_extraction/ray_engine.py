"""Actors of a Ray cluster that encode clips, each with its own towers; this process writes what they return."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from .clip_decoding import ClipTask
from .clip_encoder import ClipEncoder, EncodedClip, encoded_rows
from .content_identity import holds_embeddings
from .local_engine import Engine
from .termination import kept_handler

BATCH = 16  # clips that an actor takes at once
PACKAGE = Path(__file__).resolve().parents[2]


class ClipActor:
    """What an actor of Ray runs: a `ClipEncoder` on batches whose media are JSON.

    Columns of Arrow hold one type, and the fields of media are absent in some clips.

    Args:
        encoder: loads its towers in the actor.
    """

    def __init__(self, encoder: ClipEncoder):
        self.encoder = encoder

    def __call__(self, batch: dict) -> dict:
        """Encode a batch."""
        found = self.encoder({**batch, "media": [json.loads(media) for media in batch["media"]]})
        return {name: _array(values) for name, values in found.items()}


def _array(values: list) -> np.ndarray:
    """Return values, arrays of different lengths among them, as one array of them."""
    if not isinstance(values[0], np.ndarray):
        return np.array(values)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@dataclasses.dataclass
class RayEngine(Engine):
    """Actors of Ray Data.

    Args:
        num_actors: how many; None: one for each GPU of the cluster, else one for each core.
        address: of the cluster; None: RAY_ADDRESS, else a cluster on this machine.

    Raises:
        ImportError: Ray is not installed.
    """

    num_actors: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        try:
            import ray.data  # noqa: F401
        except ImportError as error:
            raise ImportError("--engine ray needs Ray: pip install 'semanticmac[scale]'.") from error

    def state(self, device: torch.device | str | None) -> PartialState:
        """Connect to the cluster; this process alone writes.

        Raises:
            ValueError: several processes were started.
        """
        import ray

        state = Engine().state("cpu")
        if state.num_processes > 1:
            raise ValueError(f"--engine ray is started once, and {state.num_processes} processes were; start one.")
        if not ray.is_initialized():
            paths = [str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]  # of a package that is not installed
            variables = {"PYTHONPATH": os.pathsep.join(paths)}
            with kept_handler():
                ray.init(
                    self.address, ignore_reinit_error=True, runtime_env={"env_vars": variables}, log_to_driver=False,
                    include_dashboard=False if self.address is None and "RAY_ADDRESS" not in os.environ else None,
                )  # fmt: skip
        return state

    def device(self, state: PartialState, device: torch.device | str | None) -> torch.device:
        """Return the device of the actors' towers: a GPU where the cluster has any."""
        import ray

        return torch.device(device or ("cuda" if ray.cluster_resources().get("GPU") else "cpu"))

    def encode(
        self,
        encoder: ClipEncoder,
        tasks: list[ClipTask],
        device: torch.device,
        dtype: torch.dtype,
        on_piece: Callable[[], None],
    ) -> Iterator[EncodedClip]:
        """Yield the clips as the actors return them."""
        import ray

        if not tasks:
            return
        resources = ray.cluster_resources()
        kind = "GPU" if device.type == "cuda" else "CPU"
        actors = self.num_actors or max(1, int(resources.get(kind, 1)))
        share = copy_for(encoder, device, dtype)
        blocks = -(-len(tasks) // BATCH)  # not repartition(), which waits for ever where actors have all cores
        rows = ray.data.from_items([_row(task, encoder.max_seconds) for task in tasks], override_num_blocks=blocks)
        # Progress is shown here.
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        encoded = rows.map_batches(
            ClipActor, fn_constructor_args=(share,), batch_size=BATCH, num_gpus=1 if kind == "GPU" else None,
            num_cpus=None if kind == "GPU" else 1, compute=ray.data.ActorPoolStrategy(size=min(actors, blocks)),
        )  # fmt: skip
        by_id = {task.id: task for task in tasks}
        for batch in encoded.iter_batches(batch_size=None, batch_format="numpy"):
            yield from encoded_rows(batch, by_id)
            on_piece()


def copy_for(encoder: ClipEncoder, device: torch.device, dtype: torch.dtype) -> ClipEncoder:
    """Return the encoder for an actor, which loads the towers itself and decodes in its own process."""
    share = ClipEncoder.__new__(ClipEncoder)
    state = encoder.__getstate__()
    share.__setstate__({**state, "device": device, "dtype": dtype, "num_workers": 0})
    return share


def _row(task: ClipTask, max_seconds: float | None) -> dict[str, str]:
    known = task.known if holds_embeddings(task.known, max_seconds) else None
    if isinstance(task.media.get("path"), bytes):
        raise ValueError(f"clip {task.id!r} is given as bytes; give --engine ray files or addresses.")
    media = {name: os.fspath(value or "") if name == "path" else value for name, value in task.media.items()}
    return {"id": task.id, "media": json.dumps(media), "known_hash": known.content_hash if known else ""}


__all__ = ["ClipActor", "RayEngine"]
