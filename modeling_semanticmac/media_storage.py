"""Media files that are not local: objects in storage that fsspec reads, members of tar archives, rows of Parquet files.

A file is named by an address, the innermost part last:

    s3://bucket/clip.mp4                    an object; gs://, hf://, az:// and memory:// likewise
    tar://clip.mp4::s3://bucket/0001.tar    a member of an uncompressed tar archive, as WebDataset writes them
    parquet://video/17::data/part-0.parquet row 17 of the column `video`, whose values are bytes or {"bytes", ...}

Finding the frames of a file takes all of its packets, so an object is fetched whole, once for each process that reads
it. Credentials and endpoints are those of fsspec (environment variables, ~/.config/fsspec).
"""

import functools
import hashlib
import importlib
import os
import re
import shutil
import tarfile
import tempfile
import weakref
from typing import Any, NamedTuple, TypeGuard

from .media_info import MediaError

# Where data lie; web addresses are downloaded for predictions only, where the user allows it.
STORAGE_SCHEMES = {
    *("abfs", "abfss", "adl", "az", "file", "gcs", "gs", "hf", "local", "memory", "oci", "oss", "r2", "s3", "s3a"),
}
MEMBER_SCHEMES = {"parquet", "tar"}
LOCAL_SCHEMES = {"file", "local"}
# By what file systems call the tag of a file's content, in lower case.
TAGS = ("etag", "md5hash", "md5", "xet_hash", "blob_id", "oid", "crc32c")
TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


class Identity(NamedTuple):
    """What tells whether a stored file is the one that was read before.

    Attributes:
        tag: The storage's own tag of the content, such as an ETag; None where it has none.
        size: Bytes; of an archive for its members.
        mtime_ns: Time of change in nanoseconds; 0 where it is not known.
    """

    tag: str | None
    size: int
    mtime_ns: int


def is_address(source) -> TypeGuard[str]:
    """Return whether this is a URL, of http(s) or of a file system of fsspec."""
    return isinstance(source, str) and _ADDRESS.match(source) is not None


def is_member(source) -> bool:
    """Return whether this is an address of a member of an archive or of a row of a Parquet file."""
    return is_address(source) and source.partition("://")[0].lower() in MEMBER_SCHEMES


def split_address(address: str) -> tuple[str | None, str, str]:
    """Return the kind of member ("tar", "parquet" or None), its name, and the address or path of the file.

    Raises:
        MediaError: If the address is of the web or of an unknown kind.
    """
    scheme, _, rest = address.partition("://")
    kind, member = None, ""
    if is_member(address):
        kind, (member, separator, address) = scheme.lower(), rest.rpartition("::")
        if not separator or not member:
            text = f"an address of this kind is {kind}://MEMBER::FILE, and a part is missing; name both"
            raise MediaError(f"{scheme}://{rest}", "no file", f"{text}.")
    if is_address(address):
        scheme = address.partition("://")[0].lower()
        if scheme not in STORAGE_SCHEMES:
            known = ", ".join(sorted(STORAGE_SCHEMES | MEMBER_SCHEMES))
            text = f"files are not read from {scheme}:// here, only from {known}; download the file and give its path"
            raise MediaError(address, "no file", f"{text}.")
        if scheme in LOCAL_SCHEMES:
            address = address.partition("://")[2]
    return kind, member, address


def stored_identity(address: str) -> Identity:
    """Return what identifies the content behind an address, without reading it.

    A member's identity is that of its archive, with the member's name in the tag.

    Raises:
        MediaError: If the file cannot be reached.
    """
    kind, member, file = split_address(address)
    if not is_address(file):
        try:
            stat = os.stat(file)
        except OSError as error:
            raise _unreachable(address, error) from error
        return Identity(None, stat.st_size, stat.st_mtime_ns)
    info = _info(file, address)
    lower = {str(name).lower(): value for name, value in info.items()}
    lower |= {"oid": (info.get("lfs") or {}).get("sha256")} if isinstance(info.get("lfs"), dict) else {}
    tag = next((f"{name}:{lower[name]}" for name in TAGS if lower.get(name)), None)
    time = next((info[name] for name in TIMES if info.get(name)), 0)
    seconds = time.timestamp() if hasattr(time, "timestamp") else time if isinstance(time, int | float) else 0
    return Identity(tag and f"{tag}{kind and '/' + member or ''}", int(info.get("size") or 0), round(seconds * 1e9))


def storage_hash(address: str) -> tuple[str, int, int]:
    """Return a hash of the content behind an address, its size in bytes and its time of change (nanoseconds).

    The hash is one of the storage's tag and the size; where the storage has no tag, of the bytes.

    Raises:
        MediaError: If the file cannot be reached.
    """
    identity = stored_identity(address)
    if identity.tag is not None:
        found = hashlib.blake2b(f"{identity.tag} {identity.size}".encode(), digest_size=20).hexdigest()
    else:
        with open(local_copy(address).path, "rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
    return found, identity.size, identity.mtime_ns


class LocalCopy:
    """A file of an address on the local disk; a temporary one is deleted when the object is no longer used.

    Attributes:
        path: The local file.
    """

    def __init__(self, path: str, is_temporary: bool):
        self.path = path
        if is_temporary:
            weakref.finalize(self, _remove, path, os.getpid())


def local_copy(address: str) -> LocalCopy:
    """Return a local copy of what is behind an address; the last few are kept.

    Raises:
        MediaError: If the file cannot be read.
    """
    return _copied(address, stored_identity(address), os.getpid())


@functools.lru_cache(maxsize=2)  # clips of one file or archive mostly follow each other
def _copied(address: str, identity: Identity, process: int) -> LocalCopy:
    kind, member, file = split_address(address)
    if kind is None and not is_address(file):
        return LocalCopy(file, False)
    try:
        if kind is not None:
            archive = local_copy(file) if is_address(file) else LocalCopy(file, False)
            content = _member(kind, member, archive.path, identity)
            return _temporary(member if kind == "tar" else "", lambda target: target.write(content))
        with importlib.import_module("fsspec").open(file, "rb") as source:
            return _temporary(file, lambda target: shutil.copyfileobj(source, target, 1 << 20))
    except (OSError, ValueError, KeyError, IndexError, ImportError, tarfile.TarError) as error:
        raise _unreachable(address, error) from error


def _temporary(name: str, write) -> LocalCopy:
    """Return a temporary file, with the ending of a name, that a function has written."""
    descriptor, path = tempfile.mkstemp(prefix="mac-", suffix=os.path.splitext(name)[1][:16])
    copy = LocalCopy(path, True)
    with os.fdopen(descriptor, "wb") as target:
        write(target)
    return copy


def _remove(path: str, process: int) -> None:
    if os.getpid() == process:  # a forked process must not delete its parent's
        try:
            os.unlink(path)
        except OSError:
            pass


def _member(kind: str, member: str, archive: str, identity: Identity) -> bytes:
    if kind == "tar":
        place = tar_members(archive, identity).get(member)
        if place is None:
            raise KeyError(f"the archive has no member {member!r}")
        with open(archive, "rb") as file:
            file.seek(place[0])
            return file.read(place[1])
    column, _, row = member.rpartition("/")
    return _parquet_reader(archive, column, identity).read(int(row))


@functools.lru_cache(maxsize=2)
def tar_members(path: str, identity: Identity | None = None) -> dict[str, tuple[int, int]]:
    """Return the files of an uncompressed tar archive: name -> (place of the first byte, bytes)."""
    with tarfile.open(path, "r:") as archive:
        return {member.name: (member.offset_data, member.size) for member in archive if member.isfile()}


class _ParquetReader:
    """Reads values of one column of a Parquet file, cheaply where their rows follow each other."""

    def __init__(self, path: str, column: str):
        # By name: transformers looks through files that come with a checkpoint and refuses missing packages.
        self._file, self._column = importlib.import_module("pyarrow.parquet").ParquetFile(path), column
        if column not in self._file.schema_arrow.names:
            raise KeyError(f"the file has no column {column!r}; it has {', '.join(self._file.schema_arrow.names)}")
        self._at, self._end = 0, 0
        self._rows: Any = iter(())

    def read(self, row: int) -> bytes:
        """Return the bytes of a row; rows are read forwards within their row group."""
        if not self._at <= row < self._end:
            self._open_group(row)
        while self._at <= row:
            value = next(self._rows).column(0)[0].as_py()
            self._at += 1
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise ValueError(f"row {row} of the column {self._column!r} holds no bytes")
        return content

    def _open_group(self, row: int) -> None:
        first = 0
        for group in range(self._file.num_row_groups):
            count = self._file.metadata.row_group(group).num_rows
            if first <= row < first + count:
                self._at, self._end = first, first + count
                self._rows = self._file.iter_batches(batch_size=1, row_groups=[group], columns=[self._column])
                return
            first += count
        raise IndexError(f"the file has {first} rows, not a row {row}")


@functools.lru_cache(maxsize=2)
def _parquet_reader(path: str, column: str, identity: Identity) -> _ParquetReader:
    return _ParquetReader(path, column)


def _info(file: str, address: str) -> dict:
    try:
        system, path = importlib.import_module("fsspec.core").url_to_fs(file)
        return system.info(path)
    except (OSError, ValueError, ImportError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> MediaError:
    found = " ".join(str(part) for part in error.args[:1]) if isinstance(error, KeyError) else str(error)
    found = (found.splitlines() or [type(error).__name__])[0]
    return MediaError(address, "no file", f"it cannot be read ({found}); check the address, or copy the file here.")


__all__ = [
    "Identity",
    "LocalCopy",
    "is_address",
    "is_member",
    "local_copy",
    "split_address",
    "storage_hash",
    "stored_identity",
    "tar_members",
]
