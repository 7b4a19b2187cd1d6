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
from collections.abc import Iterator, Mapping, Sequence
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


class Records(Mapping[str, ClipRecord]):
    """Records of clips by id, made from the columns of index files when they are asked for.

    Of a large store most records are never looked at, and a million objects take seconds to make.
    """

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self._places: dict[str, tuple[int, int]] = {}  # id -> number of the table, row
        self._columns: dict[int, dict[str, list]] = {}  # of the tables that were asked for
        self._without_checksum: dict[int, set[int]] = {}  # number of the table -> rows

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_columns": {}}

    def add(self, table: pa.Table, whole: set[str]) -> None:
        """Add the rows whose shard is among the whole ones; they replace earlier ones of the same clips."""
        number = len(self._tables)
        self._tables.append(table)
        shards = table["shard"].to_pylist() if "shard" in table.column_names else [""] * len(table)
        ids = table["id"].to_pylist()
        if all(shard in whole for shard in set(shards)):
            self._places.update((name, (number, row)) for row, name in enumerate(ids))
        else:
            rows = ((row, name) for row, (name, shard) in enumerate(zip(ids, shards)) if shard in whole)
            self._places.update((name, (number, row)) for row, name in rows)
        checksums = table["checksum"].to_pylist() if "checksum" in table.column_names else [""] * len(table)
        self._without_checksum[number] = {row for row, checksum in enumerate(checksums) if not checksum}

    @property
    def unverifiable(self) -> int:
        """The number of clips without a checksum."""
        if not any(self._without_checksum.values()):
            return 0
        return sum(row in self._without_checksum[number] for number, row in self._places.values())

    def __getitem__(self, clip_id: str) -> ClipRecord:
        number, row = self._places[clip_id]
        columns = self._columns.get(number)
        if columns is None:
            columns = self._columns[number] = self._tables[number].to_pydict()
        return ClipRecord(**{name: values[row] for name, values in columns.items()})

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@dataclass
class Index:
    """What the index files of a store say.

    Args:
        records: the newest record of every clip whose shard is there.
        damaged: index files that cannot be trusted: name -> what is wrong.
        foreign: files in the folder that do not belong to this store: name -> what they are.
        lost: shards that are missing or incomplete -> number of their clips.
    """

    records: Records = field(default_factory=Records)
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

    Raises: as `read_index_table`.
    """
    table, metadata = read_index_table(path)
    return [ClipRecord(**row) for row in table.to_pylist()], metadata


def read_index_table(path: Path) -> tuple[pa.Table, dict[bytes, bytes]]:
    """Return an index file as a table of fields of `ClipRecord`, and the metadata of its schema.

    Raises:
        ValueError: the file is damaged.
        FileNotFoundError: it was removed in the meantime.
    """
    content, expected = path.read_bytes(), FILE_NAME.fullmatch(path.name)["checksum"]
    if expected not in (None, xxhash.xxh3_64_hexdigest(content)):
        raise ValueError("its bytes do not have the checksum in its name")
    try:
        # Not pq.read_table, which opens every file as a dataset of its own.
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        if "id" not in table.column_names:
            raise TypeError("id")
        return table.select([name for name in table.column_names if name in COLUMNS]), table.schema.metadata or {}
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
            records, metadata = read_index_table(path)
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
        index.records.add(records, whole)
    return index


__all__ = [
    "FILE_NAME",
    "SHARD_BYTES",
    "ClipRecord",
    "Index",
    "Records",
    "clip_checksum",
    "index_file",
    "next_name",
    "read_index",
    "read_index_file",
    "read_index_table",
    "write_index_file",
]
