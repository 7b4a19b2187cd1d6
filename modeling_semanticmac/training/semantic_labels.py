"""Semantic-centric label generation: pseudo labels of the sub-tasks S, T, A, V from neighbours, with momentum (section
III-E, eq. 13-15).
"""

import logging
import time
from typing import NamedTuple

import torch
from torch.nn import functional as F

from ..baselines.training_state import Observed
from ..configuration_semanticmac import MODALITIES, SUBTASK_NAMES, SUBTASKS, TaskSpecification
from .shared_neighbors import shared_nearest_neighbors

logger = logging.getLogger(__name__)

LONG_SECONDS = 60  # label generation that takes longer is mentioned in the log
# Column of the modality mask that a semantic-specific sub-task needs; M and S answer from whatever is present.
SUBTASK_MODALITY = {subtask: MODALITIES.index(name) for subtask, name in SUBTASK_NAMES.items() if name in MODALITIES}


def label_vectors(labels: torch.Tensor, task: TaskSpecification) -> torch.Tensor:
    """Return labels as float32 vectors (n, C): the score, the one-hot class, or the multi-hot labels."""
    if task.is_regression or task.is_multi_label:
        return labels.float().reshape(len(labels), task.num_labels)
    return F.one_hot(labels.long(), task.num_labels).float()


class LabelMovement(NamedTuple):
    """Result of `label_movement` for n clips with k = min(K, n - 1) neighbours.

    Args:
        movement: Delta y (n, C).
        weight: mean of exp(-D^2) over a clip's neighbours (n,).
        distances: D, nearest first (n, k), float64.
        neighbors: rows of the given features (n, k).
    """

    movement: torch.Tensor
    weight: torch.Tensor
    distances: torch.Tensor
    neighbors: torch.Tensor


def label_movement(
    features: torch.Tensor, labels: torch.Tensor, num_neighbors: int, memory_bytes: int, among: int | None = None
) -> LabelMovement:
    """Compute how far each clip's label moves toward the ground truth of its neighbours in feature space, eq.
    (13)-(14).

        D_ij = ||z_i - z_j||_2 / sqrt(d)
        Delta y_i = (1 / K) sum_{j in N_K(i)} exp(-D_ij^2) (y_j - y_i)

    With weights of at most 1 and the divisor K, y + Delta y stays in the convex hull of the labels, i.e. in the range
    or on the simplex. The square root of d and the divisor are our reading.

    Args:
        features: (n, d).
        labels: ground truth (n, C).
        num_neighbors: K.
        memory_bytes: bound of the neighbour search.
        among: only the first so many clips can be neighbours; None: all.

    Returns:
        Movement and mean weight, both zero where there is no other clip, and the neighbours with their distances.
    """
    distances, neighbors = shared_nearest_neighbors(features, num_neighbors, memory_bytes, among)
    kept = neighbors.shape[1]
    weights = torch.exp(-distances.square() / features.shape[1]).to(labels.dtype)  # (n, k)
    # sum_j w_ij (y_j - y_i), without forming (n, k, C) at once
    movement = torch.zeros_like(labels)
    for column in range(kept):
        movement += weights[:, column, None] * (labels[neighbors[:, column]] - labels)
    mean_weight = weights.sum(dim=1) / max(kept, 1)
    return LabelMovement(movement / max(kept, 1), mean_weight, distances / features.shape[1] ** 0.5, neighbors)


class SemanticLabels:
    """Pseudo labels of the training set for the sub-tasks S, T, A, V, and the feature bank that they come from: a
    `TrainingState`.

        y_s^(n) = y_M                                                      n <= n_0
        y_s^(n) = (n - 1) / (n + 1) y_s^(n-1) + 2 / (n + 1) (y_M + Delta y_s^(n))    n > n_0

    n is the epoch, counted from 1 (eq. 15; the factor of the second term is our reading). The bank holds one detached
    row per clip and sub-task, written in every training step; the labels of epoch n are made before it starts, from the
    rows of the epoch before. A clip that lacks a modality, or was not seen yet, has no row there: it is not a neighbour
    of any clip and keeps its label.

    `neighbors` (4, N, K) and `distances` (4, N, K) record the neighbours of the newest labels: rows of the training set
    and the D of eq. (13), -1 and infinity where there is none. The next labels do not depend on them, so `state_dict`
    leaves them out.

    Args:
        labels: ground truth of the training set, as the corpus stores it: (N,) or (N, C).
        task: the task specification.
        width: d of the representations.
        num_neighbors: K.
        start_epoch: n_0, the last epoch with the ground truth.
        momentum: False leaves out the history: y_M + Delta y_s.
        memory_bytes: bound of the neighbour search.
        label_pool: number of clips, drawn by the seed, among which neighbours are sought; 0: all.
        seed: of the run.
        device: device of the state.
        bank_dtype: of the bank; neighbours are exactly those of the rows as it holds them.
    """

    def __init__(
        self,
        labels: torch.Tensor,
        task: TaskSpecification,
        width: int,
        num_neighbors: int = 10,
        start_epoch: int = 2,
        momentum: bool = True,
        memory_bytes: int = 128 * 2**20,
        label_pool: int = 0,
        seed: int = 0,
        device: torch.device | str = "cpu",
        bank_dtype: torch.dtype = torch.float32,
    ):
        if num_neighbors < 1 or start_epoch < 1:
            raise ValueError(
                f"num_neighbors is {num_neighbors} and start_epoch {start_epoch}; expected at least 1 each."
            )
        self.task, self.num_neighbors, self.start_epoch, self.momentum = task, num_neighbors, start_epoch, momentum
        self.memory_bytes = memory_bytes
        self.ground_truth = label_vectors(labels, task).to(device)  # (N, C)
        count = len(self.ground_truth)
        self.labels = self.ground_truth.expand(len(SUBTASKS), -1, -1).clone()  # (4, N, C)
        # One row more than there are clips takes what is not to be kept: choosing rows would wait for the device.
        self._bank = torch.zeros(len(SUBTASKS), count + 1, width, dtype=bank_dtype, device=device)
        self._written = torch.zeros(len(SUBTASKS), count + 1, dtype=torch.bool, device=device)
        self.features = self._bank[:, :count]  # (4, N, d)
        self.present = self._written[:, :count]  # (4, N)
        shape = (len(SUBTASKS), count, num_neighbors)
        self._pool: torch.Tensor | None = None  # bool (N,)
        if 0 < label_pool < count:
            drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:label_pool]
            self._pool = torch.zeros(count, dtype=torch.bool).index_fill_(0, drawn, True).to(device)
        self.neighbors = torch.full(shape, -1, dtype=torch.int32, device=device)
        self.distances = torch.full(shape, float("inf"), device=device)
        self.epoch = 1

    def observe(self, clip_index: torch.Tensor, labels: torch.Tensor | None, output: Observed) -> None:
        """Write the representations of a batch into the bank.

        Args:
            clip_index: rows of the training set (B,), -1 for what does not count.
            labels: not used; the ground truth is known.
            output: `embeds`, sub-task -> pooled representation (B, d), as `subtask_embeds` returns; `modality_mask`,
                bool (B, 3).
        """
        embeds, modality_mask = output.embeds or {}, output.modality_mask
        needed = [SUBTASK_MODALITY.get(subtask) for subtask in SUBTASKS]
        has = torch.stack([modality_mask.any(dim=1) if one is None else modality_mask[:, one] for one in needed])
        rows = torch.where(has & (clip_index >= 0), clip_index, len(self.ground_truth))  # (4, B)
        subtask = torch.arange(len(SUBTASKS), device=rows.device)[:, None]
        found = torch.stack([embeds[name].detach() for name in SUBTASKS])  # (4, B, d)
        self._bank[subtask, rows] = found.to(self._bank.dtype)
        self._written[subtask, rows] = True

    def begin_epoch(self, epoch: int) -> dict[str, float]:
        """Make the labels of an epoch; a second call for the same epoch does nothing.

        Args:
            epoch: counted from 1.

        Returns:
            For each sub-task `weight_s` (mean neighbour weight), `movement_s` (mean |y_M + Delta - y_M|) and
            `differs_s` (share of labels whose sign or class is not that of the ground truth); empty when no labels were
            made.
        """
        if epoch <= self.epoch:
            return {}
        self.epoch = epoch
        if epoch <= self.start_epoch:
            return {}
        report, start = {}, time.perf_counter()
        for position, subtask in enumerate(SUBTASKS):
            rows = self.present[position].nonzero().flatten()
            if len(rows) == 0:
                continue
            among = None
            if self._pool is not None:
                pooled = self._pool[rows]
                rows, among = torch.cat([rows[pooled], rows[~pooled]]), int(pooled.sum())
            truth = self.ground_truth[rows]
            found = label_movement(self.features[position, rows], truth, self.num_neighbors, self.memory_bytes, among)
            kept = found.neighbors.shape[1]
            self.neighbors[position, rows, :kept] = rows[found.neighbors].to(torch.int32)
            self.distances[position, rows, :kept] = found.distances.to(self.distances.dtype)
            target = truth + found.movement
            if self.momentum:
                history = (epoch - 1) / (epoch + 1)
                target = history * self.labels[position, rows] + (1 - history) * target
            self.labels[position, rows] = target
            report[f"weight_{subtask}"] = found.weight.mean().item()
            report[f"movement_{subtask}"] = found.movement.abs().sum(dim=1).mean().item()
            report[f"differs_{subtask}"] = self._differs(target, truth).float().mean().item()
        seconds = time.perf_counter() - start
        if seconds > LONG_SECONDS:
            count = len(self.ground_truth)
            logger.info("The pseudo labels of epoch %d took %.0f s for %d clips.", epoch, seconds, count)
        return report

    def after_step(self, model: torch.nn.Module) -> None:
        """Do nothing: the labels follow the representations, not the weights."""

    def _differs(self, labels: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Where polarity (scores), class, or the set of labels above one half is another than the ground truth's: bool
        (n,).
        """
        if self.task.is_regression:
            return (self.task.polarity(labels, 0.0) != self.task.polarity(truth, 0.0)).squeeze(1)
        if self.task.is_multi_label:
            return ((labels > 0.5) != (truth > 0.5)).any(dim=1)
        return labels.argmax(dim=1) != truth.argmax(dim=1)

    def targets(self, clip_index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the pseudo labels of a batch, sub-task -> (B,) scores or (B, C), in the form of `task_loss`."""
        found = self.labels[:, clip_index]  # (4, B, C)
        if self.task.is_regression:
            found = found.squeeze(-1)
        return dict(zip(SUBTASKS, found))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return everything that the labels of the next epoch depend on, as tensors."""
        epoch = torch.tensor(self.epoch)
        return {
            "labels": self.labels,
            "features": self.features,
            "present": self.present,
            "ground_truth": self.ground_truth,
            "epoch": epoch,
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: the state is that of another training set or another width.
        """
        for name in ("ground_truth", "labels", "features", "present"):
            mine, given = getattr(self, name), state[name]
            if mine.shape != given.shape:
                raise ValueError(
                    f"label state: {name} has shape {tuple(given.shape)}, this run's is {tuple(mine.shape)}; is it the "
                    "same training set and model?"
                )
        if state["features"].dtype != self.features.dtype:
            raise ValueError(
                f"label state: its bank is {state['features'].dtype}, this run's is {self.features.dtype}; resume with "
                "the same --label_bank."
            )
        if not state["ground_truth"].to(self.ground_truth.device).equal(self.ground_truth):
            raise ValueError(
                "label state: its ground truth is not that of this training set; resume with the same clips in the "
                "same order."
            )
        for name in ("labels", "features", "present"):
            getattr(self, name).copy_(state[name])
        self.epoch = int(state["epoch"])
