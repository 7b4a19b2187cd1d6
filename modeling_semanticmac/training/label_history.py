"""Pseudo labels of each epoch of a run and their neighbours, stored for the analyses in `RUN/label_history/`.

- `clips.json`: ids of the training set in order, `start_epoch` n_0 and `momentum` of eq. (15);
- `epoch_<n>.safetensors`, n counted from 1: `labels` (4, N, C) float32 of the sub-tasks S, T, A, V in epoch n;
  `neighbors` (4, N, K) int32, the rows of the training set that they were made from, nearest first, -1 where none;
  `distances` (4, N, K) float32, the D of eq. (13), infinity where none. Up to epoch n_0 the labels are the ground truth
  and there are no neighbours.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file

from ..files.atomic_files import write_json, write_whole
from .semantic_labels import SemanticLabels

LABEL_HISTORY = "label_history"


class LabelHistoryWriter:
    """Writer of the labels of each epoch of one run.

    A resumed run continues after the epoch that it stopped in; another run starts from the beginning and deletes the
    later epochs that an earlier run left in the folder.

    Args:
        run_folder: output folder of the run; nothing is written before the first `keep`.
        ids: clips of the training set, in order.
        state: the labels to write.
    """

    def __init__(self, run_folder: str | os.PathLike, ids: list[str], state: SemanticLabels):
        self.folder, self.ids, self.state = Path(run_folder) / LABEL_HISTORY, list(ids), state
        self.epoch = 0  # the last one written

    def resume(self) -> None:
        """Continue after the epoch of the restored state, whose labels were written before the run stopped."""
        self.epoch = self.state.epoch
        self._begin()

    def keep(self) -> None:
        """Write the labels of the state's epoch, completely or not at all; a second call for the same epoch does
        nothing.
        """
        if self.state.epoch <= self.epoch:
            return
        if self.epoch == 0:
            self._begin()
        tensors = {name: getattr(self.state, name).cpu() for name in ("labels", "neighbors", "distances")}
        write_whole(self.folder / f"epoch_{self.state.epoch}.safetensors", lambda path: save_file(tensors, path))
        self.epoch = self.state.epoch

    def _begin(self) -> None:
        for epoch, path in _epoch_files(self.folder).items():
            if epoch > self.epoch:
                path.unlink()
        settings = {"ids": self.ids, "start_epoch": self.state.start_epoch, "momentum": self.state.momentum}
        write_json(self.folder / "clips.json", settings)


@dataclass(frozen=True)
class LabelHistory:
    """The labels of a run, read by epoch.

    Args:
        folder: `RUN/label_history`.
        ids: clips of the training set, N in order.
        epochs: stored epochs, ascending.
        start_epoch: n_0, the last epoch with the ground truth.
        momentum: False where labels have no history.
    """

    folder: Path
    ids: list[str]
    epochs: list[int]
    start_epoch: int
    momentum: bool

    def labels(self, epoch: int) -> np.ndarray:
        """Return the labels of sub-tasks S, T, A, V in an epoch: float32 (4, N, C)."""
        return self._read(epoch, "labels")

    def neighbors(self, epoch: int) -> np.ndarray:
        """Return the rows of the training set that these labels were made from: int32 (4, N, K), nearest first, -1
        where none.
        """
        return self._read(epoch, "neighbors")

    def distances(self, epoch: int) -> np.ndarray:
        """Return the D of eq. (13) to these neighbours: float32 (4, N, K), infinity where none. Their weight is
        exp(-D^2).
        """
        return self._read(epoch, "distances")

    @property
    def ground_truth(self) -> np.ndarray:
        """Return y_M as vectors, float32 (N, C): the score, the one-hot class or the multi-hot labels."""
        return self.labels(1)[0]

    def _read(self, epoch: int, name: str) -> np.ndarray:
        path = self.folder / f"epoch_{epoch}.safetensors"
        if not path.is_file():
            raise FileNotFoundError(f"no labels of epoch {epoch} in {self.folder}; it holds epochs {self.epochs}.")
        with safe_open(path, framework="np") as file:
            return file.get_tensor(name)


def read_label_history(run_folder: str | os.PathLike) -> LabelHistory:
    """Return the label history of a run.

    Args:
        run_folder: output folder of the run, or its `label_history`.

    Raises:
        FileNotFoundError: the run has none.
    """
    folder = Path(run_folder)
    folder = folder if folder.name == LABEL_HISTORY else folder / LABEL_HISTORY
    if not (folder / "clips.json").is_file():
        raise FileNotFoundError(
            f"no label history in {folder}: only a run that was trained with --pseudo_labels generated has one; train "
            "it again."
        )
    settings = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    epochs = sorted(_epoch_files(folder))
    return LabelHistory(folder, settings["ids"], epochs, settings["start_epoch"], settings["momentum"])


def _epoch_files(folder: Path) -> dict[int, Path]:
    return {int(path.stem.removeprefix("epoch_")): path for path in folder.glob("epoch_*.safetensors")}


__all__ = ["LABEL_HISTORY", "LabelHistory", "LabelHistoryWriter", "read_label_history"]
