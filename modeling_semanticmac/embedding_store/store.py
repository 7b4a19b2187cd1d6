"""Embeddings on disk: each clip encoded once, keyed by its content and by what made it.

    store/fingerprint.json        what made them: encoders, weights, sampling, dtype
    store/shards/NAME.safetensors audio (sum T_a, D_a) and vision (sum T_v, D_v) in half precision, offsets of the clips
    store/index/NAME.parquet      one row a clip of that shard: id, content hash, status, reason, ...

A shard is written first, its index after it, each under a temporary name and then renamed: what has no index does not exist. Names are unique to the
writer, so several processes may write into one store at once. Where a clip was written twice the later one counts.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from transformers.utils import logging

from ..configuration_semanticmac import MEDIA_MODALITIES
from .fingerprint import check_fingerprint

logger = logging.get_logger(__name__)

FINGERPRINT = "fingerprint.json"
SHARD_BYTES = b"shard_bytes"  # in the index, the size of its shard


@dataclass(slots=True)
class ClipRecord:
    """One row of the index.

    Args:
        id: the clip's id.
        content_hash: of the file's bytes, start, end and crop; "" where there was no file.
        file_size, file_mtime_ns: of the file when it was hashed, so that an untouched file need not be hashed again.
        status: "ok", "partial" (a modality that was asked for is missing) or "failed".
        reason: why it failed, or what is missing; "" where all is well.
        note: what is wrong with the file although it was used, or more about the reason.
        duration: seconds of the clip.
        audio, vision: number of embeddings.
        shard, row: where they lie; filled in when they are written.
    """

    id: str
    content_hash: str = ""
    file_size: int = 0
    file_mtime_ns: int = 0
    status: str = "ok"
    reason: str = ""
    note: str = ""
    duration: float = 0.0
    audio: int = 0
    vision: int = 0
    shard: str = ""
    row: int = 0


class EmbeddingStore:
    """Read embeddings by clip id: `audio, vision = store[clip_id]`, half-precision (T_a, D_a) and (T_v, D_v).

    T = 0 for a modality that the clip lacks; a clip that failed has neither. What the index says when the store is opened is what it holds; shards are
    mapped into memory when they are first read, once a process, and reading copies nothing. The tensors share that memory: clone one before changing it.
    A pickled store carries its index, not its embeddings, so DataLoader workers map for themselves.

    Args:
        folder: of the store.
        fingerprint: what the embeddings must have been made by (`store_fingerprint.make_fingerprint`); None: whatever made them.

    Attributes:
        fingerprint: what made them.

    Raises:
        FileNotFoundError: no store there.
        FingerprintError: made by something else; the message names the difference.
    """

    def __init__(self, folder: str | os.PathLike, fingerprint: dict | None = None):
        self.folder = Path(folder)
        found = read_fingerprint(self.folder)
        if found is None:
            raise FileNotFoundError(
                f"no embedding store at {self.folder} (it would hold {FINGERPRINT}); extract the embeddings first."
            )
        self.fingerprint = found
        if fingerprint is not None:
            check_fingerprint(self.folder, self.fingerprint, fingerprint)
        self._records = {record.id: record for record in self._read_index()}
        self._shards: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    @classmethod
    def open(cls, folder: str | os.PathLike, fingerprint: dict | None = None) -> "EmbeddingStore":
        """The store in a folder, checked against a fingerprint where one is given."""
        return cls(folder, fingerprint)

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike, revision: str | None = None, fingerprint: dict | None = None
    ) -> "EmbeddingStore":
        """The store in a folder, or in a dataset repository on the Hub, which is downloaded."""
        from .hub import download_store

        return cls(name_or_path if os.path.isdir(name_or_path) else download_store(name_or_path, revision), fingerprint)

    def push_to_hub(self, repo_id: str, private: bool = True, token: str | None = None) -> str:
        """Upload the store as a dataset repository; returns its address. Embeddings fall under the licence of the encoders and of the corpus."""
        from .hub import upload_store

        return upload_store(self, repo_id, private, token)

    def __getstate__(self):
        return {**self.__dict__, "_shards": {}}

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._records

    def __iter__(self):
        return iter(self._records)

    def status(self, clip_id: str) -> ClipRecord:
        """What the index says of a clip.

        Raises:
            KeyError: it is not in the store.
        """
        if clip_id not in self._records:
            raise KeyError(
                f"clip {clip_id!r} is not in the embedding store at {self.folder} ({len(self)} clips); extract it first."
            )
        return self._records[clip_id]

    def __getitem__(self, clip_id: str) -> tuple[torch.Tensor, torch.Tensor]:
        record = self._records.get(clip_id) or self.status(clip_id)
        clips = self._shards.get(record.shard) or self._open_shard(record.shard)
        return clips[record.row]

    def _open_shard(self, name: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(audio (T_a, D_a), vision (T_v, D_v)) of every clip of a shard; mapped, not read."""
        path = self.folder / "shards" / f"{name}.safetensors"
        try:
            with safe_open(path, framework="pt") as file:
                # All slices are made at once: one by one they would cost more than the reading itself.
                streams = [
                    file.get_tensor(m).split(file.get_tensor(f"{m}_offsets").diff().tolist()) for m in MEDIA_MODALITIES
                ]
        except Exception as error:  # safetensors raises its own kinds
            raise OSError(
                f"{path} cannot be read ({error}); delete it with index/{name}.parquet and extract again, which makes its clips anew."
            ) from error
        self._shards[name] = list(zip(*streams))
        return self._shards[name]

    def _read_index(self) -> list[ClipRecord]:
        """The rows of every index file whose shard is there and whole, in order of writing."""
        records, lost = [], []
        for path in sorted((self.folder / "index").glob("*.parquet")):
            table = pq.read_table(path)
            shard = self.folder / "shards" / f"{path.stem}.safetensors"
            size = shard.stat().st_size if shard.is_file() else None
            if size != int(table.schema.metadata[SHARD_BYTES]):
                lost.append((path.stem, table.num_rows))
                continue
            columns = table.to_pydict()
            records += [ClipRecord(**dict(zip(columns, row))) for row in zip(*columns.values())]
        if lost:
            names = ", ".join(name for name, _ in lost)
            logger.warning(
                f"{self.folder}: {len(lost)} shard(s) with {sum(rows for _, rows in lost)} clips are missing or incomplete ({names}) and are left "
                "out; extract again, or copy the store again."
            )
        return records


def read_fingerprint(folder: Path) -> dict | None:
    """The fingerprint of the store in a folder; None where there is no store."""
    path = folder / FINGERPRINT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


__all__ = ["ClipRecord", "EmbeddingStore", "read_fingerprint"]
