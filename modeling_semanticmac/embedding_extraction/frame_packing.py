"""Encode frames or audio windows of different clips in full batches, and return each clip's embeddings in order."""

import time
from collections import deque

import torch
from torch import nn

from ..encoder_outputs import embed_batch, join_inputs

IN_FLIGHT = 2  # batches that a GPU may compute while the next one is prepared


class Clip:
    """Hold the embeddings of a clip until all of them are there.

    Args:
        position: in the dataset.

    Attributes:
        embeds: modality -> half-precision (n, D) on the CPU, in order.
        waiting: number of rows that are not encoded yet.
        end: the last piece, once it has arrived.
    """

    def __init__(self, position: int):
        self.position = position
        self.embeds: dict[str, list[torch.Tensor]] = {}
        self.waiting = 0
        self.end = None

    @property
    def complete(self) -> bool:
        """Whether all embeddings are there."""
        return self.end is not None and not self.waiting

    def take(self, modality: str) -> torch.Tensor | None:
        """Return the embeddings of a modality, (T, D); None where there are none or the modality could not be read to
        its end.
        """
        parts = self.embeds.get(modality)
        return torch.cat(parts) if parts and modality not in self.end.missing else None


class FramePacker:
    """Collect rows of clips into full batches for one tower; the rows of a clip keep their order.

    The other rows of a batch change an embedding by no more than floating-point noise.

    Args:
        modality: "vision" or "audio".
        encoder: the tower, as `tower_precision.prepare_encoder` returns it.
        batch_size: rows in a batch.
        dtype: float32, or the number format of autocast.

    Attributes:
        rows: number of rows encoded so far.
        seconds: time spent on encoding so far.
    """

    def __init__(self, modality: str, encoder: nn.Module, batch_size: int, dtype: torch.dtype):
        self.modality, self.encoder, self.batch_size, self.dtype = modality, encoder, batch_size, dtype
        self.device = next(encoder.parameters()).device
        self.rows, self.seconds = 0, 0.0
        self._parts: deque[tuple[Clip, torch.Tensor]] = deque()
        self._count = 0
        self._in_flight: deque[tuple[torch.Tensor, list[tuple[Clip, int]]]] = deque()

    def put(self, clip: Clip, inputs: torch.Tensor) -> list[Clip]:
        """Add rows (n, ...) of a clip, and return the clips that received embeddings."""
        clip.waiting += len(inputs)
        self._parts.append((clip, inputs))
        self._count += len(inputs)
        touched = []
        while self._count >= self.batch_size:
            self._launch(self.batch_size)
            touched += self._settle(IN_FLIGHT if self.device.type != "cpu" else 0)
        return touched

    def finish(self) -> list[Clip]:
        """Encode the remaining rows, and return the clips that received embeddings."""
        if self._count:
            self._launch(self._count)
        return self._settle(0)

    def _launch(self, count: int) -> None:
        """Send the first `count` rows to the tower."""
        start = time.perf_counter()
        inputs, owners = [], []
        self._count -= count
        while count:
            clip, rows = self._parts.popleft()
            if len(rows) > count:
                self._parts.appendleft((clip, rows[count:]))
                rows = rows[:count]
            inputs.append(rows)
            owners.append((clip, len(rows)))
            count -= len(rows)
        with torch.no_grad(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            embeds = embed_batch(self.encoder, self._batch(inputs))
        self._in_flight.append((embeds.to(torch.float16), owners))
        self.rows += len(embeds)
        self.seconds += time.perf_counter() - start

    def _batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Return one tensor on the device; a GPU receives it through pinned memory, asynchronously."""
        if self.device.type != "cuda" or len({part.shape[1:] for part in inputs}) > 1:
            return join_inputs(inputs).to(self.device)
        shape = (sum(map(len, inputs)), *inputs[0].shape[1:])
        pinned = torch.empty(shape, dtype=inputs[0].dtype, pin_memory=True)
        return torch.cat(inputs, out=pinned).to(self.device, non_blocking=True)

    def _settle(self, depth: int) -> list[Clip]:
        """Hand out the embeddings of all batches but the last `depth`, and return the clips that received them."""
        start, touched = time.perf_counter(), []
        while len(self._in_flight) > depth:
            embeds, owners = self._in_flight.popleft()
            for (clip, count), rows in zip(owners, embeds.cpu().split([count for _, count in owners])):
                clip.embeds.setdefault(self.modality, []).append(rows)
                clip.waiting -= count
                touched.append(clip)
        self.seconds += time.perf_counter() - start
        return touched


__all__ = ["Clip", "FramePacker"]
