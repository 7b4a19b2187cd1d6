"""Labels of single modalities from the labels of clips, by distances to the centres of two classes (Self-MM)."""

import torch
from torch.nn import functional as F

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification

BRANCHES = ("multimodal", *MODALITIES)
EPSILON = 1e-8
SMALL_OFFSET = 1e-3  # below it the ratio of two offsets says nothing


def relative_offset(features: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Return  d = (D- - D+) / D+,  D+- the distances of features (B, d) to the two centres (d,), as (B,)."""
    to_positive = (features - positive).norm(dim=1)
    to_negative = (features - negative).norm(dim=1)
    return (to_negative - to_positive) / (to_positive + EPSILON)


def suggested_labels(
    truth: torch.Tensor, own_offset: torch.Tensor, offset: torch.Tensor, bound: float, guard: bool = True
) -> torch.Tensor:
    """Return the label y' that a modality suggests, clamped to [-H, H]:

        y' = (y_m d_s / d_m) / 2 + (y_m + d_s - d_m) / 2

    With `guard` the difference alone decides where |d_m| < 0.001: y' = y_m + d_s - d_m. The ratio explodes there, and
    without it the clamp decides.

    Args:
        truth: y_m (B,), counted from the middle of the scale.
        own_offset: d_s of the modality (B,).
        offset: d_m of the multimodal features (B,).
        bound: H.
        guard: see above.
    """
    difference = truth + own_offset - offset
    suggested = (truth * own_offset / offset + difference) / 2
    if guard:
        suggested = torch.where(offset.abs() < SMALL_OFFSET, difference, suggested)
    return suggested.nan_to_num().clamp(-bound, bound)


def moving_labels(labels: torch.Tensor, suggested: torch.Tensor, epoch: int) -> torch.Tensor:
    """Return the labels of epoch n:  (n - 1) / (n + 1) y_{n-1} + 2 / (n + 1) y'."""
    return (epoch - 1) / (epoch + 1) * labels + 2 / (epoch + 1) * suggested


class UnimodalLabels:
    """Labels of text, audio and vision for every training clip, which start as the clip's own (Self-MM).

    From the second epoch on, each batch moves the labels of its clips toward what the distances of their features to
    two centres suggest: those of the clips with scores above and below the middle of the scale. Then the features of
    the batch replace the stored ones, and the centres follow. A modality that a clip lacks keeps its label and is in no
    centre. Labels are kept as distances from the middle of the scale.

    Args:
        labels: scores of the training clips on the scale of the loss (N,).
        task: the task specification, a regression.
        options: with `guard` of `suggested_labels`.
        device: of the batches.
    """

    def __init__(self, labels: torch.Tensor, task: TaskSpecification, options, device: torch.device | str = "cpu"):
        low, high = task.score_range
        self.guard, self.bound = options.guard, (high - low) / 2 / task.score_unit
        self.middle = 0.0 if task.scale_scores else task.middle  # on the scale of the loss
        self.ground_truth = labels.float().reshape(-1).to(device) - self.middle  # (N,)
        # One row more than clips, the last, for what must not be written: choosing rows would wait for the device.
        self._labels = F.pad(self.ground_truth, (0, 1)).expand(len(MODALITIES), -1).clone()  # (3, N + 1)
        self._stored = torch.zeros(len(BRANCHES), len(labels) + 1, dtype=torch.bool, device=device)  # (4, N + 1)
        self._features: dict[str, torch.Tensor] = {}  # branch -> (N + 1, d), made when the widths are known
        self.centres: dict[str, torch.Tensor] = {}  # branch -> (2, d), of scores above and below the middle
        self.guarded = torch.zeros((), dtype=torch.long, device=device)
        self.epoch = 1

    @property
    def labels(self) -> torch.Tensor:
        """The labels of the modalities (3, N), as distances from the middle of the scale."""
        return self._labels[:, :-1]

    @property
    def stored(self) -> torch.Tensor:
        """Whether the features of a branch are known for each clip (4, N)."""
        return self._stored[:, :-1]

    @property
    def features(self) -> dict[str, torch.Tensor]:
        """The stored features of each branch (N, d), 0 where none were seen."""
        return {name: rows[:-1] for name, rows in self._features.items()}

    def begin_epoch(self, epoch: int) -> dict[str, float]:
        """Note the epoch, counted from 1; a second call for the same one does nothing.

        Returns:
            For each modality `movement_m`, the mean of |y_s - y_m| over the clips, and `guarded`, the labels of the
            last epoch that the guard made; empty before the first label moves.
        """
        if epoch <= self.epoch:
            return {}
        self.epoch = epoch
        if epoch <= 2:
            return {}
        movement = (self.labels - self.ground_truth).abs().mean(dim=1).tolist()
        report = {f"movement_{name}": value for name, value in zip(MODALITIES, movement)}
        report["guarded"] = float(self.guarded)
        self.guarded.zero_()
        return report

    def targets(self, clip_index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the labels of a batch on the scale of the loss, modality -> (B,)."""
        return dict(zip(MODALITIES, self.labels[:, clip_index] + self.middle))  # (3, B)

    def observe(self, clip_index: torch.Tensor, labels: torch.Tensor, output) -> None:
        """Move the labels of a batch, store its features, and compute the centres again.

        Args:
            clip_index: rows of the training set (B,), -1 for what does not count.
            labels: not used; those of the training set are here.
            output: with the features of the four branches in `embeds`, (B, d) each, and `modality_mask` (B, 3).
        """
        mask = output.modality_mask.bool()
        present = torch.cat([mask.any(dim=1, keepdim=True), mask], dim=1) & (clip_index >= 0)[:, None]  # (B, 4)
        features = {name: output.embeds[name].detach().float() for name in BRANCHES}
        if self.epoch >= 2:
            self._move(clip_index, features, present)
        for position, name in enumerate(BRANCHES):
            rows = torch.where(present[:, position], clip_index, -1)
            self._bank(name, features[name].shape[1])[rows] = features[name]
            self._stored[position].index_fill_(0, rows % self._stored.shape[1], True)
        self._renew_centres()

    def _bank(self, name: str, width: int) -> torch.Tensor:
        """Return the stored features of a branch (N + 1, d)."""
        if name not in self._features:
            size = len(self.ground_truth) + 1
            self._features[name] = torch.zeros(size, width, device=self.ground_truth.device)
            self.centres[name] = torch.full((2, width), float("nan"), device=self.ground_truth.device)
        return self._features[name]

    def _move(self, clip_index: torch.Tensor, features: dict[str, torch.Tensor], present: torch.Tensor) -> None:
        """Move the labels of a batch, where the centres of both signs exist."""
        known = {name: ~centre.isnan().any() for name, centre in self.centres.items()}
        if not known:  # no batch was seen yet
            return
        truth = self.ground_truth[clip_index]
        offset = relative_offset(features["multimodal"], *self.centres["multimodal"])
        for position, name in enumerate(MODALITIES):
            has = present[:, position + 1] & known["multimodal"] & known[name]
            own = relative_offset(features[name], *self.centres[name])
            suggested = suggested_labels(truth, own, offset, self.bound, self.guard)
            moved = moving_labels(self._labels[position, clip_index], suggested, self.epoch)
            self._labels[position, torch.where(has, clip_index, -1)] = moved
            if self.guard:
                self.guarded += (has & (offset.abs() < SMALL_OFFSET)).sum()

    def _renew_centres(self) -> None:
        """Compute the mean feature of the clips above and of those below the middle; NaN where there are none."""
        signs = torch.stack([self.ground_truth > 0, self.ground_truth < 0])  # (2, N)
        for position, name in enumerate(BRANCHES):
            members = (signs & self.stored[position]).float()  # (2, N)
            self.centres[name] = members @ self._features[name][:-1] / members.sum(dim=1, keepdim=True)

    def after_step(self, model: torch.nn.Module) -> None:
        """Do nothing: the labels follow the batches, not the weights."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return everything that the labels of the next batch depend on, as tensors."""
        state = {
            "labels": self.labels.contiguous(), "stored": self.stored.contiguous(),
            "ground_truth": self.ground_truth, "guarded": self.guarded, "epoch": torch.tensor(self.epoch),
        }  # fmt: skip
        state |= {f"features.{name}": value for name, value in self.features.items()}
        return state | {f"centres.{name}": value for name, value in self.centres.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: the state is that of another training set.
        """
        device = self.ground_truth.device
        truth = state["ground_truth"].to(device)
        if truth.shape != self.ground_truth.shape or not truth.equal(self.ground_truth):
            raise ValueError(
                f"training state: its labels of {len(truth)} clips are not those of this training set of "
                f"{len(self.ground_truth)} clips; resume with the same clips in the same order."
            )
        for name in ("labels", "stored", "guarded"):
            getattr(self, name).copy_(state[name])
        found = {name.partition(".")[::2]: value.to(device) for name, value in state.items() if "." in name}
        self._features = {
            name: F.pad(rows, (0, 0, 0, 1)) for (field, name), rows in found.items() if field == "features"
        }
        self.centres = {name: rows.clone() for (field, name), rows in found.items() if field == "centres"}
        self.epoch = int(state["epoch"])


def unimodal_losses(
    modality_logits: torch.Tensor, targets: dict[str, torch.Tensor], labels: torch.Tensor, modality_mask: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return  w_s |y^_s - y_s|,  w_s = tanh |y_s - y_m|,  as (B,) for each modality, 0 where a clip lacks it.

    Args:
        modality_logits: y^_s (B, 3, 1).
        targets: y_s, modality -> (B,).
        labels: y_m (B,).
        modality_mask: bool (B, 3).
    """
    losses = {}
    for position, name in enumerate(MODALITIES):
        weight = torch.tanh((targets[name] - labels.reshape(-1)).abs())
        error = (modality_logits[:, position, 0].float() - targets[name]).abs()
        losses[name] = weight * error * modality_mask[:, position]
    return losses


__all__ = [
    "BRANCHES", "UnimodalLabels", "moving_labels", "relative_offset", "suggested_labels", "unimodal_losses",
]  # fmt: skip
