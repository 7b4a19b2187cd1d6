"""A support vector machine on pooled embeddings: fitted by scikit-learn, kept as plain numbers, computed by torch.

Castro et al. 2019, "Towards Multimodal Sarcasm Detection (An _Obviously_ Perfect Paper)", ACL.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.svm import SVC

from ..configuration_semanticmac import TaskSpecification
from ..files.atomic_files import write_whole
from ..metrics import compute_metrics
from .pooled_features import SimpleOptions

GRID = (1.0, 10.0, 30.0, 500.0, 1000.0)  # values of C that public code has for one set of modalities or another
FILE = "support_vectors.safetensors"


@dataclass(frozen=True)
class SupportVectorOptions(SimpleOptions):
    """Options of the support vector machine.

    Args:
        C: of `SVC`; None: chosen on validation among 1, 10, 30, 500 and 1000 by weighted F1, of equals the smallest.
        standardize: whether each column has mean 0 and deviation 1 over the training clips (public code does so where
            test clips are of speakers of the training).
        pooling: of audio and vision over time: `mean` or `mean_deviation`.
    """

    system = "svm"

    C: float | None = None
    standardize: bool = True
    pooling: str = "mean"


class SupportVectors:
    """A machine with the kernel exp(-gamma ||x - x_i||^2), gamma = 1 / (columns x variance), for two classes.

        d(x) = sum_i a_i exp(-gamma ||x - x_i||^2) + b

    The logits are -d/2 and d/2; d is a distance, not the logarithm of a probability.

    Args:
        task: two classes.
        options: how the columns are made.
        C: of `SVC`.

    Raises:
        ValueError: a task with scores or with other than two classes.
    """

    def __init__(self, task: TaskSpecification, options: SupportVectorOptions, C: float):
        if not task.is_binary:
            raise ValueError(f"svm is for two classes; task {task.name!r} is another. Use linear_probe.")
        self.task, self.options, self.C = task, options, float(C)
        self.tensors: dict[str, torch.Tensor] = {}

    def fit(self, streams: dict[str, np.ndarray], labels: np.ndarray) -> "SupportVectors":
        """Fit on the training split; streams (n, D_m), NaN where a clip lacks one; labels (n,) class ids."""
        rows = np.concatenate(list(streams.values()), axis=1)
        present = ~np.isnan(rows)
        mean, scale = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
        if self.options.standardize:
            count = np.maximum(present.sum(axis=0), 1)
            mean = np.where(present, rows, 0).sum(axis=0) / count
            scale = np.sqrt(np.where(present, (rows - mean) ** 2, 0).sum(axis=0) / count)
            scale[scale <= 1e-12 * np.maximum(np.abs(mean), 1e-300)] = np.inf  # a column that does not vary
        self.tensors = {"mean": torch.as_tensor(mean), "scale": torch.as_tensor(scale)}
        columns = self._columns(streams).numpy()
        model = SVC(C=self.C, gamma="scale").fit(columns, labels)
        self.tensors |= {
            "vectors": torch.as_tensor(model.support_vectors_), "weights": torch.as_tensor(model.dual_coef_[0]),
            "intercept": torch.as_tensor(model.intercept_[0]), "gamma": torch.as_tensor(float(model._gamma)),
        }  # fmt: skip
        return self

    def _columns(self, streams: dict[str, np.ndarray]) -> torch.Tensor:
        """Return the columns of the machine (n, D); what a clip lacks is 0."""
        rows = torch.as_tensor(np.concatenate(list(streams.values()), axis=1), dtype=torch.float64)
        return ((rows - self.tensors["mean"]) / self.tensors["scale"]).nan_to_num(nan=0.0)

    def decision(self, streams: dict[str, np.ndarray]) -> torch.Tensor:
        """Return d (n,) of pooled streams."""
        found = self.tensors
        squares = torch.cdist(self._columns(streams), found["vectors"]).square()  # (n, support vectors)
        return torch.exp(-found["gamma"] * squares) @ found["weights"] + found["intercept"]

    def logits(self, streams: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits (n, 2)."""
        decision = self.decision(streams).numpy()
        return np.stack([-decision / 2, decision / 2], axis=1)

    @property
    def num_parameters(self) -> int:
        """Return the number of values of the support vectors, their weights and the intercept."""
        return sum(self.tensors[name].numel() for name in ("vectors", "weights", "intercept"))

    def quality(self, streams: dict[str, np.ndarray], labels: np.ndarray) -> float:
        """Return the weighted F1 that validation chooses by."""
        return compute_metrics(self.task, self.logits(streams), labels)["w_f1"]

    def save(self, folder: Path) -> None:
        """Write `support_vectors.safetensors` into a folder."""
        write_whole(Path(folder) / FILE, lambda path: save_file(self.tensors, path))

    @classmethod
    def load(cls, folder: Path, task: TaskSpecification, options: SupportVectorOptions) -> "SupportVectors":
        """Return the machine that `save` wrote."""
        found = cls(task, options, 1.0)
        found.tensors = load_file(Path(folder) / FILE)
        return found


def fit_support_vectors(
    task: TaskSpecification, options: SupportVectorOptions, train: tuple, validation: tuple
) -> SupportVectors:
    """Return the machine of the training split with the given C, or with the one that is best on validation.

    Args:
        train, validation: pooled streams and labels.
    """
    if options.C is not None:
        return SupportVectors(task, options, options.C).fit(*train)
    machines = [SupportVectors(task, options, C).fit(*train) for C in GRID]
    return max(machines, key=lambda machine: machine.quality(*validation))  # the first of equals has the smallest C


__all__ = ["FILE", "GRID", "SupportVectorOptions", "SupportVectors", "fit_support_vectors"]
