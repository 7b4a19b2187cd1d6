"""Tell the form of a feature file by its content and read it."""

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from datasets_scripts.restricted_pickle import load_restricted

from . import arrays, conversations, split_dicts, stores, tables, word_level
from .known_files import known_as
from .streams import FeatureClip, FeatureFile

# Pickles, tried in this order: (name, test of the content, reader).
PICKLES = (
    ("mmsa", split_dicts.is_mmsa, split_dicts.read_mmsa),
    ("mult", split_dicts.is_mult, split_dicts.read_mult),
    ("hkt", word_level.is_hkt, word_level.read_hkt),
    ("conversations", conversations.is_conversations, conversations.read_conversations),
    ("conversation_texts", conversations.is_conversation_texts, conversations.read_conversation_texts),
    ("punchlines", word_level.is_punchlines, word_level.read_punchlines),
    ("arrays", arrays.is_arrays, arrays.read_arrays),
)
FORMS = {
    "mmsa": "splits with raw text, BERT tokens, audio and vision (MMSA, MMSA-FET)",
    "mult": "splits with padded audio, vision and GloVe vectors (MulT, MultiBench)",
    "hkt": "splits of punchline and context by word (HKT: UR-FUNNY, MUStARD)",
    "conversations": "tuples by dialogue (DialogueRNN, MMGCN, COGMEN: IEMOCAP, MELD)",
    "conversation_texts": "lists by dialogue without features (COSMIC: IEMOCAP, MELD)",
    "punchlines": "a dict of punchline_features by clip id (UR-FUNNY, one stream)",
    "ur_funny": "the folder of UR-FUNNY's released pickles",
    "arrays": "a dict of arrays by clip id (MUStARD audio)",
    "npy": "a folder of .npy files (MERBench, MERTools)",
    "csd": "a computational sequence of the CMU-MultimodalSDK",
    "hdf5": "datasets of HDF5 by clip id (MUStARD ResNet)",
    "store": "an embedding store that towers or an import of features wrote",
    "table": "a CSV or Parquet table with an id column, or a folder of Parquet files",
}
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
PICKLE_STARTS = (b"\x80", b"(", b"c", b"}", b"]")


def read_feature_file(path: str | os.PathLike) -> FeatureFile:
    """Open a file or folder of features.

    Pickles are read by the restricted unpickler, which runs nothing.

    Args:
        path: any of `FORMS`, told by content and not by name. `FILE#COLUMN` takes one column of a table, and
            `FILE#COLUMN@ID` also names the column of the clip ids.

    Returns:
        The file; `read()` yields its clips.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the content has no known form; the message says what was found.
    """
    path, column, id_column = _split_column(os.fspath(path))
    if not path.exists():
        raise FileNotFoundError(f"no feature file at {path}.")
    if path.is_dir():
        return _read_folder(path, column, id_column)
    with open(path, "rb") as file:
        start = file.read(8)
    digest = _file_digest(path, column)
    form, read = _told(path, start, column, id_column)
    return FeatureFile(path, form, read, digest, known_as(digest))


def _split_column(path: str) -> tuple[Path, str | None, str | None]:
    """Return path, column and id column of `PATH#COLUMN@ID`; a path that exists is taken as it is."""
    if Path(path).exists() or "#" not in path:
        return Path(path), None, None
    path, _, names = path.rpartition("#")
    column, _, id_column = names.partition("@")
    return Path(path), column or None, id_column or None


def _read_folder(path: Path, column: str | None, id_column: str | None) -> FeatureFile:
    if word_level.is_ur_funny_folder(path):
        return FeatureFile(path, "ur_funny", partial(word_level.read_ur_funny_folder, path), _digest(path, "*.pkl"))
    if tables.parquet_files(path):
        table = tables.read_parquet_folder(path)
        read = partial(tables.read_feature_table, table, str(path), column, id_column)
        return FeatureFile(path, "table", read, _digest(path, "*.parquet", column))
    if stores.is_store(path):
        encoded = stores.encoded_streams(path)
        return FeatureFile(path, "store", partial(stores.read_store, path), stores.store_digest(path), encoded=encoded)
    if not arrays.is_npy_folder(path):
        raise ValueError(
            f"{path} holds no .npy files; expected one a clip, or a folder of them a clip; or Parquet files, or the "
            "pickles of UR-FUNNY."
        )
    return FeatureFile(path, "npy", partial(arrays.read_npy_folder, path), _digest(path, "*.npy"))


def _told(path: Path, start: bytes, column: str | None, id_column: str | None):
    if start == HDF5_MAGIC:
        is_csd = arrays.is_csd(path)
        return ("csd", partial(arrays.read_csd_features, path)) if is_csd else ("hdf5", partial(arrays.read_hdf5, path))
    if start[:4] == b"PK\x03\x04":
        raise ValueError(
            f"{path} is a zip archive, perhaps a file of torch.save; expected numpy arrays. Convert it once "
            "where it is "
            "trusted, for example with numpy.savez or pickle.dump of numpy arrays."
        )
    if start[:4] != b"PAR1" and start.startswith(PICKLE_STARTS) and path.suffix.lower() not in (".csv", ".tsv"):
        content = load_restricted(path)
        for form, fits, read in PICKLES:
            if fits(content):
                return form, partial(read, content, str(path))
        raise ValueError(f"{path} holds {_shape(content)}; expected one of: {'; '.join(FORMS.values())}.")
    table = tables.read_table_file(path)
    return "table", partial(tables.read_feature_table, table, str(path), column, id_column)


def _shape(content) -> str:
    """Return in a few words what a pickle holds."""
    if isinstance(content, dict):
        keys = ", ".join(map(str, list(content)[:6]))
        return f"a dict with the keys {keys}{', ...' if len(content) > 6 else ''}"
    return f"{type(content).__name__}" + (f" of {len(content)}" if hasattr(content, "__len__") else "")


def content_digest(argument: str | os.PathLike) -> str:
    """Return a digest of the content of a file or folder, as `read_feature_file` takes it, without reading its form.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path, column, _ = _split_column(os.fspath(argument))
    if stores.is_store(path):
        return stores.store_digest(path)
    if path.is_dir():
        return _digest(path, "*", column)
    return _file_digest(path, column)


def _file_digest(path: Path, column: str | None) -> str:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest if column is None else hashlib.sha256(f"{digest}#{column}".encode()).hexdigest()


def _digest(path: Path, pattern: str, column: str | None = None) -> str:
    """Return a digest of the names and contents of the files of a folder, and of the column that is read."""
    digest = hashlib.sha256((column or "").encode())
    for file in sorted(found for found in path.rglob(pattern) if found.is_file()):
        with open(file, "rb") as opened:
            digest.update(f"{file.relative_to(path).as_posix()}\0".encode())
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def clips_of(file: FeatureFile) -> Iterator[FeatureClip]:
    """Yield the clips of a file.

    Raises:
        ValueError: two clips have the same id.
    """
    seen = set()
    for clip in file.read():
        if clip.id in seen:
            raise ValueError(f"{file.path}: clip id {clip.id!r} occurs twice; ids are unique.")
        seen.add(clip.id)
        yield clip


__all__ = ["FORMS", "clips_of", "content_digest", "read_feature_file"]
