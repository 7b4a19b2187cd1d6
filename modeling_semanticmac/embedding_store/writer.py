"""Writing into an embedding store, shard by shard, safe against being killed and against other writers."""

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock
from safetensors.torch import save_file

from ..configuration_semanticmac import MEDIA_MODALITIES
from ..files.atomic_files import write_json, write_whole
from .fingerprint import check_complete, check_fingerprint
from .store import FINGERPRINT, SHARD_BYTES, ClipRecord, read_fingerprint

STALE_SECONDS = 24 * 3600  # what a writer left half done and nobody has touched for this long belongs to nobody


class StoreWriter:
    """Append clips to a store; a context manager that writes what is pending when it is left, also by an error.

    Args:
        folder: made where it does not exist.
        fingerprint: of what makes the embeddings, with its dtype.
        shard_clips, shard_bytes, shard_seconds: a shard is closed when it holds this much or is this old: what an interruption can lose.

    Attributes:
        shards: number of shards written.

    Raises:
        FingerprintError: the folder holds a store of another fingerprint.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        fingerprint: dict,
        shard_clips: int = 256,
        shard_bytes: int = 256 * 2**20,
        shard_seconds: float = 300.0,
    ):
        self.folder, self.shards = Path(folder), 0
        self.shard_clips, self.shard_bytes, self.shard_seconds = shard_clips, shard_bytes, shard_seconds
        for name in ("shards", "index"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".writers.lock"):  # the first of several writers decides
            found = read_fingerprint(self.folder)
            if found is None:
                write_json(self.folder / FINGERPRINT, fingerprint)
            else:
                check_fingerprint(self.folder, found, fingerprint)
                check_complete(self.folder, found, fingerprint)
            _remove_stale(self.folder)
        self._widths = {m: fingerprint[m]["width"] if fingerprint.get(m) else 0 for m in MEDIA_MODALITIES}
        self._start_shard()

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *error) -> None:
        self.flush()

    def add(self, record: ClipRecord, audio: torch.Tensor | None = None, vision: torch.Tensor | None = None) -> None:
        """Keep a clip's embeddings, (T, D) each or None, and its row; written with its shard.

        Raises:
            ValueError: another width than the fingerprint's.
        """
        embeds = {}
        for modality, given in zip(MEDIA_MODALITIES, (audio, vision)):
            given = torch.zeros(0, self._widths[modality]) if given is None else given
            if given.ndim != 2 or given.shape[1] != self._widths[modality]:
                raise ValueError(
                    f"clip {record.id!r}: {modality} embeddings of shape {tuple(given.shape)}; expected (T, {self._widths[modality]})."
                )
            embeds[modality] = given.to("cpu", torch.float16)
            setattr(record, modality, len(given))
            self._bytes += embeds[modality].nbytes
        self._pending.append((record, embeds))
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Close the shard if it is full or old; to be called now and then where clips come slowly."""
        full = len(self._pending) >= self.shard_clips or self._bytes >= self.shard_bytes
        if full or time.monotonic() - self._since >= self.shard_seconds:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one shard."""
        if self._pending:
            # Sorts by time of writing, so that of two records of a clip the later one is found; unique among processes and machines.
            name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}"
            shard = self.folder / "shards" / f"{name}.safetensors"
            _write(shard, lambda path: save_file(self._tensors(), path))
            for row, (record, _) in enumerate(self._pending):
                record.shard, record.row = name, row
            table = pa.Table.from_pylist([asdict(record) for record, _ in self._pending])
            table = table.replace_schema_metadata({SHARD_BYTES: str(shard.stat().st_size)})
            _write(self.folder / "index" / f"{name}.parquet", lambda path: pq.write_table(table, path))
            self.shards += 1
        self._start_shard()

    def _start_shard(self) -> None:
        self._pending: list[tuple[ClipRecord, dict[str, torch.Tensor]]] = []
        self._bytes, self._since = 0, time.monotonic()

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {}
        for modality in MEDIA_MODALITIES:
            parts = [embeds[modality] for _, embeds in self._pending]
            tensors[modality] = torch.cat(parts)  # (sum T, D)
            tensors[f"{modality}_offsets"] = torch.tensor([0, *map(len, parts)]).cumsum(0)  # (n + 1,)
        return tensors


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all, also where the power fails: its content is on the disk before its name is."""

    def write_through(temporary: Path) -> None:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())

    write_whole(path, write_through)


def _remove_stale(folder: Path) -> None:
    """Delete what killed writers left: temporary files, and shards that never got their index."""
    indexed = {path.stem for path in (folder / "index").glob("*.parquet")}
    left = [path for path in folder.glob("**/.*.tmp")]
    left += [path for path in (folder / "shards").glob("*.safetensors") if path.stem not in indexed]
    for path in left:
        try:
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
        except FileNotFoundError:  # its writer was quicker
            continue


__all__ = ["StoreWriter"]
