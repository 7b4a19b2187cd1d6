"""Label files of the CMU-MultimodalSDK: HDF5 with `<root>/data/<video_id>/{features, intervals}`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class CsdVideo:
    """Entries of one video.

    Attributes:
        features: (n, C).
        intervals: start and end in seconds, (n, 2); starts may be negative.
    """

    features: np.ndarray
    intervals: np.ndarray


def read_csd(path: Path, width: int | None = None) -> dict[str, CsdVideo]:
    """Read a label file and return the entries by video id, in the order of the file.

    Args:
        width: required number of features C; None: any.

    Raises:
        ImportError: h5py is not installed.
        ValueError: the file is not HDF5 (an incomplete download is not), or has another form.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{path} is HDF5, and h5py is not installed: pip install semanticmac[csd]") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"{path} is not a complete HDF5 file ({error}); download it again, the download may have stopped."
        ) from None
    with file:
        roots = [root for root in file.values() if isinstance(root, h5py.Group) and "data" in root]
        if len(roots) != 1:
            raise ValueError(
                f"{path} holds {', '.join(file) or 'nothing'}; expected one group with "
                "data/<video_id>/features and intervals."
            )
        return {video: _entries(path, video, entry, width) for video, entry in roots[0]["data"].items()}


def _entries(path: Path, video: str, entry, width: int | None) -> CsdVideo:
    """Return the two arrays of the group of a video."""
    if not {"features", "intervals"} <= set(entry):
        raise ValueError(f"{path}: video {video} has {', '.join(entry) or 'nothing'}; expected features and intervals.")
    features, intervals = entry["features"][()], np.asarray(entry["intervals"][()], dtype=np.float64)
    if len(features) != len(intervals) or intervals.shape[1:] != (2,) or (width and features.shape[1:] != (width,)):
        raise ValueError(
            f"{path}: video {video} has features {features.shape} and intervals {intervals.shape}; expected "
            f"(n, {width or 'C'}) and (n, 2)."
        )
    return CsdVideo(features, intervals)


def words_between(words: CsdVideo | None, start: float, end: float) -> str:
    """Return the words that begin within a stretch of a video; `sp` is silence."""
    if words is None:
        return ""
    inside = (words.intervals[:, 0] >= start - 1e-3) & (words.intervals[:, 0] < end)
    found = (word.decode("utf-8") if isinstance(word, bytes) else str(word) for word in words.features[inside, 0])
    return " ".join(word for word in found if word != "sp")


__all__ = ["CsdVideo", "read_csd", "words_between"]
