"""Tell the form of a feature file by its content and read it."""

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from datasets_scripts.restricted_pickle import load_restricted

from . import arrays, conversations, split_dicts, tables, word_level
from .known_files import known_as
from .streams import FeatureClip, FeatureFile

# Pickles, tried in this order: (name, test of the content, reader).
PICKLES = (
    ("mmsa", split_dicts.is_mmsa, split_dicts.read_mmsa),
    ("mult", split_dicts.is_mult, split_dicts.read_mult),
    ("hkt", word_level.is_hkt, word_level.read_hkt),
    ("conversations", conversations.is_conversations, conversations.read_conversations),
    ("arrays", arrays.is_arrays, arrays.read_arrays),
)
FORMS = {
    "mmsa": "splits with raw text, BERT tokens, audio and vision (MMSA, MMSA-FET)",
    "mult": "splits with padded audio, vision and GloVe vectors (MulT, MultiBench)",
    "hkt": "splits of punchline and context by word (HKT: UR-FUNNY, MUStARD)",
    "conversations": "tuples by dialogue (DialogueRNN, MMGCN, COGMEN: IEMOCAP, MELD)",
    "arrays": "a dict of arrays by clip id (MUStARD audio)",
    "npy": "a folder of .npy files (MERBench, MERTools)",
    "csd": "a computational sequence of the CMU-MultimodalSDK",
    "hdf5": "datasets of HDF5 by clip id (MUStARD ResNet)",
    "table": "a CSV or Parquet table with an id column",
}
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
PICKLE_STARTS = (b"\x80", b"(", b"c", b"}", b"]")


def read_feature_file(path: str | os.PathLike) -> FeatureFile:
    """Open a file or folder of features.

    Pickles are read by the restricted unpickler, which runs nothing.

    Args:
        path: any of `FORMS`, told by content and not by name.

    Returns:
        The file; `read()` yields its clips.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the content has no known form; the message says what was found.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no feature file at {path}.")
    if path.is_dir():
        if not arrays.is_npy_folder(path):
            raise ValueError(f"{path} holds no .npy files; expected one a clip, or a folder of them a clip.")
        return FeatureFile(path, "npy", partial(arrays.read_npy_folder, path), _folder_digest(path))
    with open(path, "rb") as file:
        start = file.read(8)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    form, read = _told(path, start)
    return FeatureFile(path, form, read, digest, known_as(digest))


def _told(path: Path, start: bytes):
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
    return "table", partial(tables.read_feature_table, table, str(path))


def _shape(content) -> str:
    """Return in a few words what a pickle holds."""
    if isinstance(content, dict):
        keys = ", ".join(map(str, list(content)[:6]))
        return f"a dict with the keys {keys}{', ...' if len(content) > 6 else ''}"
    return f"{type(content).__name__}" + (f" of {len(content)}" if hasattr(content, "__len__") else "")


def _folder_digest(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*.npy")):
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


__all__ = ["FORMS", "clips_of", "read_feature_file"]
