"""Embeddings on disk: each clip is encoded once, identified by its content and by what made the embeddings.

    store/fingerprint.json        what made them: encoders, weights, sampling, dtype; or feature files
    store/shards/NAME.safetensors audio (sum T_a, D_a) and vision (sum T_v, D_v), text where feature files gave it,
                                  and offsets of the clips; in half precision, or the `storage_dtype` of the
                                  fingerprint
    store/index/NAME.*.parquet    one row a clip of that shard: id, content hash, status, reason, checksum, ...

A shard is written first and its index after it, each under a temporary name that is then renamed: a shard without an
index does not exist. Names are unique to the writer, so several processes may write into one store at once. Where a
clip was written twice, the later record counts.
"""

import json
import os
from pathlib import Path

import torch
from safetensors import safe_open
from transformers.utils import logging

from .fingerprint import FINGERPRINT, STREAMS, check_fingerprint, fingerprint_digest, storage_dtype, stored_streams
from .index_files import ClipRecord, clip_checksum, read_index

logger = logging.get_logger(__name__)


class DamagedClipError(OSError):
    """The embeddings of a clip are not those that were written.

    Attributes:
        clip_id: of the clip.
    """

    def __init__(self, folder: Path, record: ClipRecord, why: str):
        super().__init__(
            f"clip {record.id!r}: its embeddings in {folder / 'shards' / record.shard}.safetensors cannot be trusted: "
            f"{why}. Run `semanticmac store verify --set_aside {folder}`, then extract again, which encodes the clips "
            "of that shard again."
        )
        self.clip_id = record.id


class EmbeddingStore:
    """Read embeddings by clip id: `audio, vision = store[clip_id]`, (T_a, D_a) and (T_v, D_v); or one stream of them,
    also of text where feature files gave it: `store.stream(clip_id, "text")`.

    T = 0 for a modality that the clip lacks; a clip that failed has neither. The store holds what its index says when
    it is opened. Each process maps a shard into memory when it first reads it, and reading copies nothing. The tensors
    share that memory: clone one before changing it. The first time that a process reads a clip, it compares the clip's
    checksum. A pickled store carries its index, not its embeddings, so DataLoader workers map for themselves.

    Args:
        folder: of the store.
        fingerprint: what the embeddings must have been made by (`fingerprint.make_fingerprint`); None: anything.

    Attributes:
        fingerprint: what made them.
        index: the records, and the files of the index that are not used.

    Raises:
        FileNotFoundError: there is no store.
        FingerprintError: something else made the embeddings; the message names the differences.
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
        self.index = read_index(self.folder, fingerprint_digest(self.fingerprint))
        self._records = self.index.records
        self._warn()
        self._forget()

    @classmethod
    def open(cls, folder: str | os.PathLike, fingerprint: dict | None = None) -> "EmbeddingStore":
        """Open the store in a folder; the arguments are those of the class."""
        return cls(folder, fingerprint)

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike, revision: str | None = None, fingerprint: dict | None = None
    ) -> "EmbeddingStore":
        """Open the store in a folder, or download it from a dataset repository on the Hub."""
        from .hub import download_store

        return cls(name_or_path if os.path.isdir(name_or_path) else download_store(name_or_path, revision), fingerprint)

    def push_to_hub(self, repo_id: str, private: bool = True, token: str | None = None) -> str:
        """Upload the store as a dataset repository and return its address.

        Only the fingerprint, and the shards and index files of this store are uploaded. Embeddings fall under the
        licence of the encoders and of the corpus.
        """
        from .hub import upload_store

        return upload_store(self, repo_id, private, token)

    def __getstate__(self):
        return {**self.__dict__, "_shards": {}, "_checked": {}}

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._records

    def __iter__(self):
        return iter(self._records)

    def status(self, clip_id: str) -> ClipRecord:
        """Return the record of a clip.

        Raises:
            KeyError: it is not in the store.
        """
        if clip_id not in self._records:
            raise KeyError(
                f"clip {clip_id!r} is not in the embedding store at {self.folder} ({len(self)} clips); extract it "
                "first."
            )
        return self._records[clip_id]

    def __getitem__(self, clip_id: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embeddings of a clip, (T_a, D_a) and (T_v, D_v).

        Raises:
            KeyError: it is not in the store.
            DamagedClipError: its embeddings are not those that were written.
        """
        streams = self.streams(clip_id)
        return streams[0], streams[1]

    def stream(self, clip_id: str, modality: str) -> torch.Tensor:
        """Return the embeddings (T, D) of "audio", "vision" or "text" of a clip.

        Raises:
            KeyError: it is not in the store, or the store has no text.
            DamagedClipError: its embeddings are not those that were written.
        """
        if modality not in stored_streams(self.fingerprint):
            raise KeyError(f"the embedding store at {self.folder} has no {modality} embeddings.")
        return self.streams(clip_id)[STREAMS.index(modality)]

    def streams(self, clip_id: str) -> tuple[torch.Tensor, ...]:
        """Return all embeddings of a clip that are stored, in the order of `fingerprint.STREAMS`; errors as above."""
        streams = self._checked.get(clip_id)
        if streams is None:
            streams = self._checked[clip_id] = self._read(self.status(clip_id))
        return streams

    def _read(self, record: ClipRecord) -> tuple[torch.Tensor, ...]:
        """Return the embeddings of a clip once they have been checked."""
        clips = self._shards.get(record.shard)
        if clips is None:
            clips = self._shards[record.shard] = self._open_shard(record)
        if record.row >= len(clips):
            raise DamagedClipError(
                self.folder, record, f"the shard holds {len(clips)} clips, this one is number {record.row}"
            )
        streams = clips[record.row]
        if record.checksum:
            if clip_checksum(record.id, *streams) != record.checksum:
                raise DamagedClipError(self.folder, record, "they do not have the checksum in the index")
        elif tuple(map(len, streams)) != (record.audio, record.vision, record.text)[: len(streams)]:
            raise DamagedClipError(self.folder, record, "their number is not that in the index")
        elif not all(embeds.isfinite().all() for embeds in streams):
            raise DamagedClipError(self.folder, record, "they are not finite")
        return streams

    def _open_shard(self, record: ClipRecord) -> list[tuple[torch.Tensor, ...]]:
        """Return the streams (T, D) of every clip of a clip's shard, in the order of `STREAMS`; mapped, not read."""
        try:
            with safe_open(self.folder / "shards" / f"{record.shard}.safetensors", framework="pt") as file:
                streams = []
                for modality in stored_streams(self.fingerprint):
                    embeds, offsets = file.get_tensor(modality), file.get_tensor(f"{modality}_offsets")
                    if embeds.dtype != storage_dtype(self.fingerprint):
                        raise ValueError(f"{modality} embeddings are {embeds.dtype}")
                    # All slices are made at once: one by one they would cost more than the reading itself.
                    streams.append(embeds.split(offsets.diff().tolist()))
            return list(zip(*streams, strict=True))
        except Exception as error:  # safetensors raises its own kinds
            raise DamagedClipError(self.folder, record, f"the shard cannot be read ({error})") from error

    def _forget(self) -> None:
        self._shards: dict[str, list[tuple[torch.Tensor, ...]]] = {}
        self._checked: dict[str, tuple[torch.Tensor, ...]] = {}

    def _warn(self) -> None:
        """Say what of the store is not used, and what cannot be verified."""
        unused = self.index.damaged | self.index.foreign
        if unused:
            named = "; ".join(f"{name}: {why}" for name, why in unused.items())
            logger.warning(
                f"{self.folder}: {len(unused)} file(s) in index/ are not used ({named}). Clips that only they name are "
                "encoded again by the next extraction."
            )
        if self.index.lost:
            logger.warning(
                f"{self.folder}: {len(self.index.lost)} shard(s) with {sum(self.index.lost.values())} clips are "
                "missing or incomplete "
                f"({', '.join(self.index.lost)}) and are not used; extract again, or copy the store again."
            )
        unverifiable = self._records.unverifiable
        if unverifiable:
            logger.warning_once(
                f"{self.folder}: {unverifiable} of {len(self)} clips were written without checksums, so what is read "
                "of them cannot be verified. "
                f"`semanticmac store verify --add_checksums {self.folder}` adds them."
            )


def read_fingerprint(folder: Path) -> dict | None:
    """Return the fingerprint of the store in a folder; None where there is no store.

    Raises:
        OSError: the file is damaged.
    """
    path = folder / FINGERPRINT
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
        return found
    except ValueError as error:  # no JSON, or no UTF-8
        raise OSError(
            f"{path} is damaged ({error}); copy it again from where the store came from, or extract into another "
            "folder."
        ) from error


__all__ = ["ClipRecord", "DamagedClipError", "EmbeddingStore", "read_fingerprint"]
