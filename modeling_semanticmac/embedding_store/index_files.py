"""The index of an embedding store: Parquet files with one row a clip, whose names carry the checksum of their bytes.

    index/NAME.CHECKSUM.parquet    records of the clips in shards/NAME.safetensors; the metadata of the schema holds
                                   the shard's size and a digest of the fingerprint
    index/NAME.CHECKSUM.parquet    without a shard of that name: newer records of clips whose embeddings lie elsewhere

NAME is a counter of 20 digits and a random part. Of several records of a clip, the one with the highest counter counts,
so a clock that is set back cannot revive an old one. Stores that were written before checksums have
`index/NAME.parquet`, where the digits are a time.
"""

import re
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import xxhash

from ..files.atomic_files import write_whole

FILE_NAME = re.compile(r"(?P<name>(?P<counter>\d{20})-[0-9a-f]{12})(?:\.(?P<checksum>[0-9a-f]{16}))?\.parquet")
SHARD_BYTES = b"shard_bytes"  # size of the shard; absent where the file has no shard
FINGERPRINT_DIGEST = b"fingerprint"


@dataclass(slots=True)
class ClipRecord:
    """One row of the index.

    Args:
        id: the clip's id.
        content_hash: of the file's bytes, start, end and crop; "" where there was no file.
        file_size, file_mtime_ns: of the file when it was hashed, so that an untouched file is not hashed again.
        status: "ok", "partial" (a requested modality is missing) or "failed".
        reason: why it failed, or what is missing; "" otherwise.
        note: what is wrong with the file although it was used, or more about the reason.
        duration: seconds of the clip.
        audio, vision, text: number of embeddings.
        shard, row: where the embeddings lie; set when they are written.
        checksum: of the embeddings (`clip_checksum`); set when they are written, "" in older stores.
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
    text: int = 0
    shard: str = ""
    row: int = 0
    checksum: str = ""


COLUMNS = {column.name for column in fields(ClipRecord)}  # a newer version may write more, which are left out


@dataclass
class Index:
    """What the index files of a store say.

    Args:
        records: the newest record of every clip whose shard is there.
        damaged: index files that cannot be trusted: name -> what is wrong.
        foreign: files in the folder that do not belong to this store: name -> what they are.
        lost: shards that are missing or incomplete -> number of their clips.
    """

    records: dict[str, ClipRecord] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)


def clip_checksum(clip_id: str, *streams: torch.Tensor) -> str:
    """Return the checksum (XXH3, 64 bits, hex) of a clip's id and embeddings, (T, D) each as they are stored, in the
    order of `fingerprint.STREAMS`.
    """
    seed = xxhash.xxh3_64_intdigest(clip_id.encode())
    for embeds in streams:  # each is the seed of the next: their order and lengths count
        seed = xxhash.xxh3_64_intdigest(embeds.numpy(), seed)
    return f"{seed:016x}"


def next_name(folder: Path) -> str:
    """Return a new name for a shard of the store in `folder`: its counter is above all that are there, its end is
    random.
    """
    found = [FILE_NAME.fullmatch(path.name) for path in (folder / "index").glob("*.parquet")]
    return f"{max((int(match['counter']) for match in found if match), default=0) + 1:020d}-{uuid.uuid4().hex[:12]}"


def index_file(
    name: str, records: Sequence[ClipRecord], fingerprint_digest: str, shard_bytes: int | None
) -> tuple[str, bytes]:
    """Return the name and the bytes of the index file for these records.

    Args:
        name: of the shard, or of records whose embeddings lie in other shards.
        records: of the clips.
        fingerprint_digest: `fingerprint.fingerprint_digest` of the store.
        shard_bytes: size of the shard; None where there is none of this name.
    """
    metadata = {FINGERPRINT_DIGEST: fingerprint_digest} | (
        {} if shard_bytes is None else {SHARD_BYTES: str(shard_bytes)}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([asdict(record) for record in records]).replace_schema_metadata(metadata), sink)
    content = sink.getvalue().to_pybytes()
    return f"{name}.{xxhash.xxh3_64_hexdigest(content)}.parquet", content


def write_index_file(
    folder: Path, name: str, records: Sequence[ClipRecord], fingerprint_digest: str, shard_bytes: int | None = None
) -> Path:
    """Write `index_file` into the store in `folder`, completely or not at all; return its path."""
    file_name, content = index_file(name, records, fingerprint_digest, shard_bytes)
    path = folder / "index" / file_name
    write_whole(path, lambda temporary: temporary.write_bytes(content), durable=True)
    return path


def read_index_file(path: Path) -> tuple[list[ClipRecord], dict[bytes, bytes]]:
    """Return the records of an index file, and the metadata of its schema.

    Raises:
        ValueError: the file is damaged.
        FileNotFoundError: it was removed in the meantime.
    """
    content, expected = path.read_bytes(), FILE_NAME.fullmatch(path.name)["checksum"]
    if expected not in (None, xxhash.xxh3_64_hexdigest(content)):
        raise ValueError("its bytes do not have the checksum in its name")
    try:
        table = pq.read_table(pa.BufferReader(content))
        columns = table.select([name for name in table.column_names if name in COLUMNS]).to_pydict()
        records = [ClipRecord(**dict(zip(columns, row))) for row in zip(*columns.values())]
        return records, table.schema.metadata or {}
    except Exception as error:  # pyarrow raises its own kinds; columns of something else are a TypeError
        raise ValueError(f"it is not an index of embeddings ({type(error).__name__})") from error


def read_index(folder: Path, fingerprint_digest: str) -> Index:
    """Read every index file of the store in `folder`; damaged and foreign files are named and not used."""
    index, files = Index(), []
    for path in sorted((folder / "index").glob("*.parquet")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            hidden = path.name.startswith("._")
            index.foreign[path.name] = "a companion file of macOS" if hidden else "not written by an embedding store"
            continue
        try:
            records, metadata = read_index_file(path)
        except FileNotFoundError:  # another writer replaced it by a newer one
            continue
        except ValueError as error:
            index.damaged[path.name] = str(error)
            continue
        if metadata.get(FINGERPRINT_DIGEST, fingerprint_digest.encode()) != fingerprint_digest.encode():
            index.foreign[path.name] = "embeddings made with other settings than fingerprint.json says"
            continue
        files.append((match["name"], records, metadata.get(SHARD_BYTES)))
    whole = set()
    for name, records, shard_bytes in files:
        if shard_bytes is not None:
            shard = folder / "shards" / f"{name}.safetensors"
            if shard.is_file() and shard.stat().st_size == int(shard_bytes):
                whole.add(name)
            else:
                index.lost[name] = len(records)
    for _, records, _ in files:
        index.records.update({record.id: record for record in records if record.shard in whole})
    return index


__all__ = [
    "FILE_NAME",
    "SHARD_BYTES",
    "ClipRecord",
    "Index",
    "clip_checksum",
    "index_file",
    "next_name",
    "read_index",
    "read_index_file",
    "write_index_file",
]
