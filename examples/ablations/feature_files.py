"""Read manual features of clips from a file: one vector a clip and modality.

    clips.npz    ids (n,) strings;  audio (n, D_a) and vision (n, D_v) numbers, either may be absent

Write it with `numpy.savez(path, ids=..., audio=..., vision=...)`; nothing in it is pickled. Pool features of frames
first (mean over time).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def read_features(path: str | Path) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """Return the rows by clip id, and modality -> float64 (n, D).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has another form; the message names what it holds.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file of features at {path}; expected an npz with ids, audio and vision.")
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    ids = arrays.pop("ids", np.zeros(0))
    fits = arrays and arrays.keys() <= {"audio", "vision"} and ids.ndim == 1 and len(set(ids.tolist())) == len(ids)
    if not fits or any(array.ndim != 2 or len(array) != len(ids) for array in arrays.values()):
        raise ValueError(
            f"{path} holds {shapes}; expected ids (n,), all different, with audio (n, D_a), vision (n, D_v) or both."
        )
    wrong = [name for name, array in arrays.items() if not np.isfinite(array.astype(np.float64)).all()]
    if wrong:
        raise ValueError(
            f"{path}: {' and '.join(wrong)} hold numbers that are not finite; replace them, for example by 0."
        )
    rows = {str(clip): row for row, clip in enumerate(ids)}
    return rows, {name: array.astype(np.float64) for name, array in arrays.items()}


def select_features(path: str | Path, clips: Sequence[str]) -> dict[str, np.ndarray]:
    """Return modality -> float64 (len(clips), D), in the order of the clips.

    Raises:
        ValueError: a clip is not in the file.
    """
    rows, arrays = read_features(path)
    absent = [clip for clip in clips if clip not in rows]
    if absent:
        raise ValueError(
            f"{path} lacks {len(absent)} of {len(clips)} clips: {', '.join(absent[:5])}; add a row for each."
        )
    chosen = [rows[clip] for clip in clips]
    return {modality: array[chosen] for modality, array in arrays.items()}
