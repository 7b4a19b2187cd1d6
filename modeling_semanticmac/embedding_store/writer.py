"""Writing into an embedding store, shard by shard, safe against being killed and against other writers."""

import os
import time
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save_file
from transformers.utils import logging

from ..files.atomic_files import write_json, write_whole
from .fingerprint import (
    FINGERPRINT,
    FingerprintError,
    check_fingerprint,
    fingerprint_digest,
    lacking_message,
    lacking_modalities,
    storage_dtype,
    stored_streams,
)
from .index_files import (
    FILE_NAME,
    SHARD_BYTES,
    ClipRecord,
    clip_checksum,
    next_name,
    read_index,
    read_index_file,
    write_index_file,
)
from .store import read_fingerprint

logger = logging.get_logger(__name__)

STALE_SECONDS = 24 * 3600  # what a writer left half done and nobody has touched for this long belongs to nobody
LOCK_SECONDS = 60.0  # the lock is held for moments; longer than this, it is not a writer that holds it
LOCK = ".writers.lock"
SET_ASIDE = "set_aside"  # folder of what cannot be trusted


class StoreWriter:
    """Append clips to a store; a context manager that writes what is pending when it is left, also by an error.

    A store that cannot be written may be opened: only what must be written fails.

    Args:
        folder: created where it does not exist.
        fingerprint: of what makes the embeddings, with its dtype.
        shard_clips, shard_bytes, shard_seconds: a shard is closed when it holds this much or is this old: what an
            interruption can lose.

    Attributes:
        shards: number of shards written.
        lacking: modalities that the store holds and `fingerprint` does not.
        is_flushing: whether a shard is being written.

    Raises:
        FingerprintError: the folder holds a store of another fingerprint.
        OSError: a new store cannot be created in the folder.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        fingerprint: dict,
        shard_clips: int = 256,
        shard_bytes: int = 256 * 2**20,
        shard_seconds: float = 300.0,
    ):
        self.folder, self.shards, self.is_flushing = Path(folder), 0, False
        self.shard_clips, self.shard_bytes, self.shard_seconds = shard_clips, shard_bytes, shard_seconds
        self._given, self._confirmed, self._ready = fingerprint, {}, False
        found = read_fingerprint(self.folder)
        if found is not None:
            check_fingerprint(self.folder, found, fingerprint)
        if found is None or self.is_writable:
            found = self._prepare()
        self.lacking = lacking_modalities(found, fingerprint)
        self._digest, self._dtype = fingerprint_digest(found), storage_dtype(found)
        self._widths = {m: fingerprint[m]["width"] if fingerprint.get(m) else 0 for m in stored_streams(found)}
        self._start_shard()

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *error) -> None:
        self.flush()

    @property
    def is_writable(self) -> bool:
        """Whether files can be created in the store."""
        return is_writable(self.folder)

    def add(
        self,
        record: ClipRecord,
        audio: torch.Tensor | None = None,
        vision: torch.Tensor | None = None,
        text: torch.Tensor | None = None,
    ) -> None:
        """Keep a clip's embeddings, (T, D) each or None, and its record; they are written with their shard.

        Raises:
            ValueError: another width than the fingerprint's, or values that the store's number format cannot hold.
            FingerprintError: the store holds modalities that this clip was not encoded in.
        """
        if self.lacking:
            raise FingerprintError(lacking_message(self.folder, self.lacking, f"new clips ({record.id})"))
        embeds, streams = {}, {"audio": audio, "vision": vision, "text": text}
        for modality in self._widths:
            given = streams[modality]
            given = torch.zeros(0, self._widths[modality]) if given is None else given
            if given.ndim != 2 or given.shape[1] != self._widths[modality]:
                raise ValueError(
                    f"clip {record.id!r}: {modality} embeddings of shape {tuple(given.shape)}; expected (T, "
                    f"{self._widths[modality]})."
                )
            embeds[modality] = given.to("cpu", self._dtype).contiguous()
            if not embeds[modality].isfinite().all():
                beyond = f" or values beyond {torch.finfo(self._dtype).max:g}, which {_name(self._dtype)} cannot hold"
                raise ValueError(
                    f"clip {record.id!r}: {modality} embeddings hold NaN, infinity{beyond}; expected finite values. "
                    "The clip is not stored."
                )
        for modality, rows in embeds.items():
            setattr(record, modality, len(rows))
            self._bytes += rows.nbytes
        record.checksum = clip_checksum(record.id, *embeds.values())
        self._confirmed.pop(record.id, None)
        self._pending.append((record, embeds))
        self.flush_if_due()

    def confirm(self, record: ClipRecord) -> None:
        """Replace the record of a stored clip, e.g. because its media file has a new modification time; its embeddings
        stay where they are.

        In a store that cannot be written nothing happens.
        """
        if self.is_writable:
            self._confirmed[record.id] = record

    def flush_if_due(self) -> None:
        """Close the shard if it is full or old; to be called now and then where clips come slowly."""
        full = len(self._pending) >= self.shard_clips or self._bytes >= self.shard_bytes
        if full or time.monotonic() - self._since >= self.shard_seconds:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one shard, and the confirmed records."""
        if not self._pending and not self._confirmed:
            return
        self.is_flushing = True
        try:
            if not self._ready:
                if not self.is_writable:
                    named = ", ".join(f"{record.id} ({record.reason or 'encoded'})" for record, _ in self._pending[:5])
                    raise OSError(
                        f"the embedding store at {self.folder} cannot be written, but {len(self._pending)} clips of it "
                        f"changed: {named}."
                    )
                self._prepare()
            if self._pending:
                self._write_shard()
            if self._confirmed:
                self._write_confirmed()
        finally:
            self.is_flushing = False

    def _write_shard(self) -> None:
        name = next_name(self.folder)
        shard = self.folder / "shards" / f"{name}.safetensors"
        write_whole(shard, lambda path: save_file(self._tensors(), path), durable=True)
        for row, (record, _) in enumerate(self._pending):
            record.shard, record.row = name, row
        write_index_file(self.folder, name, [record for record, _ in self._pending], self._digest, shard.stat().st_size)
        self.shards += 1
        self._start_shard()

    def _write_confirmed(self) -> None:
        """Write the confirmed records, and delete earlier files of confirmed records that all of them replace."""
        records, self._confirmed = self._confirmed, {}
        older = [path for path in (self.folder / "index").glob("*.parquet") if FILE_NAME.fullmatch(path.name)]
        write_index_file(self.folder, next_name(self.folder), list(records.values()), self._digest)
        for path in older:
            try:
                found, metadata = read_index_file(path)
                if SHARD_BYTES not in metadata and all(record.id in records for record in found):
                    path.unlink()
            except (FileNotFoundError, ValueError):  # another writer was quicker; a damaged file stays for `set_aside`
                continue

    def _start_shard(self) -> None:
        self._pending: list[tuple[ClipRecord, dict[str, torch.Tensor]]] = []
        self._bytes, self._since = 0, time.monotonic()

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {}
        for modality in self._widths:
            parts = [embeds[modality] for _, embeds in self._pending]
            tensors[modality] = torch.cat(parts)  # (sum T, D)
            tensors[f"{modality}_offsets"] = torch.tensor([0, *map(len, parts)]).cumsum(0)  # (n + 1,)
        return tensors

    def _prepare(self) -> dict:
        """Create what a store needs, and clear away what killed writers left and what is damaged; return the store's
        fingerprint.
        """
        for name in ("shards", "index"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        with lock_store(self.folder):  # the first of several writers decides
            found = read_fingerprint(self.folder)
            if found is None:
                write_json(self.folder / FINGERPRINT, self._given)
                found = read_fingerprint(self.folder)
            else:
                check_fingerprint(self.folder, found, self._given)
            damaged = read_index(self.folder, fingerprint_digest(found)).damaged
            set_aside(self.folder, [FILE_NAME.fullmatch(name)["name"] for name in damaged])
            _remove_stale(self.folder)
        self._ready = True
        return found


def _name(dtype: torch.dtype) -> str:
    """Return how a message calls a number format."""
    return "half precision" if dtype == torch.float16 else str(dtype).removeprefix("torch.")


def is_writable(folder: Path) -> bool:
    """Return whether files can be created in the store in `folder`."""
    folders = [folder / name for name in ("", "shards", "index")]
    return all(os.access(path, os.W_OK | os.X_OK) for path in folders if path.exists())


def lock_store(folder: Path):
    """Acquire the lock of a store's writers; the returned context manager releases it.

    Raises:
        OSError: it cannot be acquired, e.g. on a file system without locks.
    """
    try:
        return FileLock(folder / LOCK).acquire(timeout=LOCK_SECONDS)
    except (OSError, NotImplementedError) as error:
        why = f"{LOCK} was not free for {LOCK_SECONDS:g} s" if isinstance(error, Timeout) else error
        raise OSError(
            f"the embedding store at {folder} cannot be locked for writing: {why}. Writers hold the lock for moments "
            "only, so the file system probably "
            "does not support locks (flock). Extract into a folder on another disk and copy the store to its place."
        ) from error


def set_aside(folder: Path, names: list[str]) -> None:
    """Move shards and their index files, given by the names of the shards, into `set_aside/`, where nothing reads them.

    Their clips are then not in the store, so the next extraction encodes them again.
    """
    for name in names:
        for path in [folder / "shards" / f"{name}.safetensors", *(folder / "index").glob(f"{name}*.parquet")]:
            target = folder / SET_ASIDE / path.name
            target.parent.mkdir(exist_ok=True)
            try:
                os.replace(path, target)
                logger.warning(f"{path} cannot be trusted and was moved to {target}; its clips are encoded again.")
            except FileNotFoundError:
                continue


def _remove_stale(folder: Path) -> None:
    """Delete what killed writers left: temporary files, and shards that never got their index."""
    indexed = {
        match["name"] for path in (folder / "index").glob("*.parquet") if (match := FILE_NAME.fullmatch(path.name))
    }
    left = [path for path in folder.glob("*/.*.tmp")] + [path for path in folder.glob(".*.tmp")]
    left += [path for path in (folder / "shards").glob("*.safetensors") if path.stem not in indexed]
    (folder / LOCK).touch()
    now = (
        (folder / LOCK).stat().st_mtime
    )  # by the clock that dates the files, which is not this machine's on a shared disk
    for path in left:
        try:
            if now - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()
        except FileNotFoundError:  # its writer was quicker
            continue


__all__ = ["StoreWriter", "is_writable", "lock_store", "set_aside"]
