"""One stream by clip id: folders of `.npy` files (MERBench), pickled dicts of arrays, HDF5 files, CMU's `.csd`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets_scripts.csd_file import read_csd

from .streams import FeatureClip, as_rows


def is_arrays(content) -> bool:
    """Return whether this is a dict of arrays by clip id."""
    return isinstance(content, dict) and bool(content) and all(
        isinstance(value, np.ndarray | list) and np.asarray(value).dtype.kind in "fiu" for value in content.values()
    )  # fmt: skip


def read_arrays(content: dict, where: str) -> Iterator[FeatureClip]:
    """Yield the arrays of a dict. Where all have as many rows but not as many columns, time runs along the columns
    (`audio_features.p` of MUStARD), and they are transposed.
    """
    arrays = {str(clip): as_rows(value, f"{where}, {clip}") for clip, value in content.items()}
    rows, columns = ({array.shape[axis] for array in arrays.values()} for axis in (0, 1))
    turned = len(rows) == 1 and len(columns) > 1
    for clip, array in arrays.items():
        yield FeatureClip(clip, single=array.T if turned else array)


def is_npy_folder(path: Path) -> bool:
    """Return whether a folder holds `.npy` files, or folders of them."""
    return path.is_dir() and (any(path.glob("*.npy")) or any(path.glob("*/*.npy")))


def read_npy_folder(path: Path) -> Iterator[FeatureClip]:
    """Yield one clip a file, (D,) or (T, D); a folder of files is one clip, its files in the order of their names."""
    for file in sorted(path.glob("*.npy")):
        if not file.name.startswith("._"):
            yield FeatureClip(file.stem, single=as_rows(_load(file), str(file)))
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        files = sorted(file for file in folder.glob("*.npy") if not file.name.startswith("._"))
        if files:
            rows = [as_rows(_load(file), str(file)) for file in files]
            yield FeatureClip(folder.name, single=np.concatenate(rows))


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} was not read: {error}; expected an array of numbers as numpy.save writes it."
        ) from None


def read_hdf5(path: Path) -> Iterator[FeatureClip]:
    """Yield the datasets of an HDF5 file by their names (MUStARD's ResNet features)."""
    import h5py

    with h5py.File(path, "r") as file:
        for clip, value in file.items():
            if isinstance(value, h5py.Dataset):
                yield FeatureClip(clip, single=as_rows(value[()], f"{path}, {clip}"))


def is_csd(path: Path) -> bool:
    """Return whether an HDF5 file has the form of the CMU-MultimodalSDK."""
    import h5py

    with h5py.File(path, "r") as file:
        return any(isinstance(root, h5py.Group) and "data" in root for root in file.values())


def read_csd_features(path: Path) -> Iterator[FeatureClip]:
    """Yield videos with the interval of each row, to be cut by the segments of a corpus."""
    for video, entries in read_csd(path).items():
        yield FeatureClip(video, single=as_rows(entries.features, f"{path}, {video}"), interval=entries.intervals)


__all__ = ["is_arrays", "is_csd", "is_npy_folder", "read_arrays", "read_csd_features", "read_hdf5", "read_npy_folder"]
