"""What is predicted: read by the head, the loss, the metrics and the selection of the best model."""

from dataclasses import dataclass, field

import numpy as np
from transformers.utils import logging

logger = logging.get_logger(__name__)

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
METRIC_FAMILIES = ("mosi", "sims", "scores", "multi_label", "conversation", "weighted")
# By family of scores: half the width of the neutral band around the middle of the scale, as a share of half the scale.
# "mosi": what rounds to 0 in the seven classes of [-3, 3]; "sims": the middle class of three in [-1, 1].
NEUTRAL_SHARES = {"mosi": 1 / 6, "sims": 1 / 10, "scores": 1 / 6}
LEARNT_RANGE = (-3.0, 3.0)  # scores of other scales are mapped to it for the head and its loss


def metric_family(label_range: tuple[float, float]) -> str:
    """Return the family of metrics for scores in a range: "mosi" for [-3, 3], "sims" for [-1, 1], else "scores"."""
    low, high = label_range
    return {(-3.0, 3.0): "mosi", (-1.0, 1.0): "sims"}.get((low, high), "scores")


def score_polarity(scores, label_range: tuple[float, float], metrics: str = "scores", threshold: float | None = None):
    """Return the polarity of scores, -1, 0 or 1, by their distance from the middle of their scale.

    The pipeline, the metrics and the training objectives all use this function. Scores are compared in float32, as
    labels are stored.

    Args:
        scores: a number, an array or a tensor.
        label_range: (lowest, highest) score.
        metrics: the family, which sets the neutral band: a sixth of half the scale on either side ("mosi", "scores"), a
            tenth ("sims", where the lower end of the band counts as negative, as in CH-SIMS).
        threshold: half the width of the neutral band in points of the scale, in place of the family's; both ends are
            neutral.

    Returns:
        Integers of the same shape and kind.
    """
    low, high = label_range
    scores = scores.float() if hasattr(scores, "float") else np.asarray(scores, np.float32)
    distance = scores - (low + high) / 2
    band = float(np.float32(NEUTRAL_SHARES[metrics] * (high - low) / 2 if threshold is None else threshold))
    closed_below = metrics == "sims" and threshold is None
    return (distance > band) * 1 - (distance <= -band if closed_below else distance < -band) * 1


@dataclass(frozen=True)
class TaskSpecification:
    """A task: what the head predicts, and what loss, metrics and the selection of the best model follow.

    Args:
        name: the task's word, e.g. "sentiment", "emotion", "humor", "sarcasm".
        problem_type: one of Hugging Face's three: "regression" (one score a clip), "single_label_classification"
            (labels are class ids), "multi_label_classification" (labels are multi-hot vectors of length C).
        label_names: the score's name for regression; the C class names in the order of their ids otherwise.
        label_range: (lowest, highest) score; regression only.
        metrics: the family of metrics that the field reports: "mosi", "sims", "scores", "multi_label", "conversation"
            or "weighted". None: the family of the scores' range (`metric_family`), or of the classes. The cuts of
            "mosi" and "sims" lie at 0: on a scale with another middle "scores" replaces them.
        scale_scores: whether head and loss work on scores mapped to [-3, 3]; predictions and labels are in
            `label_range` either way. None: for scores of the family "scores". It is not part of what is predicted: two
            specifications that differ only here are equal.

    Raises:
        ValueError: the parts contradict each other.
    """

    name: str
    problem_type: str
    label_names: tuple[str, ...]
    label_range: tuple[float, float] | None = None
    metrics: str | None = None
    scale_scores: bool | None = field(default=None, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "label_names", tuple(self.label_names))
        if self.label_range is not None:
            object.__setattr__(self, "label_range", tuple(float(bound) for bound in self.label_range))
        where = f"task {self.name!r}"
        if self.problem_type not in PROBLEM_TYPES:
            raise ValueError(
                f"{where}: problem_type is {self.problem_type!r}; expected one of {', '.join(PROBLEM_TYPES)}."
            )
        if self.metrics not in (None, *METRIC_FAMILIES):
            raise ValueError(f"{where}: metrics is {self.metrics!r}; expected one of {', '.join(METRIC_FAMILIES)}.")
        if self.is_regression:
            if len(self.label_names) != 1:
                raise ValueError(
                    f"{where}: a regression has one score, found {len(self.label_names)} label names {self.label_names}"
                )
            if self.label_range is None or len(self.label_range) != 2 or self.label_range[0] >= self.label_range[1]:
                raise ValueError(
                    f"{where}: a regression needs label_range=(lowest, highest), found {self.label_range}."
                )
        else:
            if self.label_range is not None:
                raise ValueError(
                    f"{where}: label_range belongs to regression, found {self.label_range} with {self.problem_type}."
                )
            if self.problem_type == "single_label_classification" and len(self.label_names) < 2:
                raise ValueError(f"{where}: a classification needs at least two label names, found {self.label_names}.")
        self._choose_metrics()
        if (self.metrics in NEUTRAL_SHARES) != self.is_regression or (
            self.metrics == "multi_label"
        ) != self.is_multi_label:
            raise ValueError(f"{where}: the metrics {self.metrics!r} do not fit {self.problem_type}.")

    def _choose_metrics(self) -> None:
        """Set `metrics` and `scale_scores` where absent; replace a family whose cuts are not in the scale's middle."""
        family, scale = self.metrics, self.scale_scores
        if self.is_regression:
            family = family or metric_family(self.score_range)
            scale = family == "scores" if scale is None else scale
            if family in ("mosi", "sims") and self.middle != 0:
                logger.warning_once(
                    f"task {self.name!r}: the metrics {family!r} have their cuts at 0, the scores lie in "
                    f"{self.label_range}: 'scores' replaces them, with polarities around the middle of the scale."
                )
                family = "scores"
        elif family is None:
            family = "multi_label" if self.is_multi_label else "weighted"
        object.__setattr__(self, "metrics", family)
        object.__setattr__(self, "scale_scores", bool(scale) and self.is_regression)

    @property
    def is_regression(self) -> bool:
        """Whether each clip has a score."""
        return self.problem_type == "regression"

    @property
    def is_multi_label(self) -> bool:
        """Whether each clip can have several labels."""
        return self.problem_type == "multi_label_classification"

    @property
    def is_binary(self) -> bool:
        """Whether each clip has one label out of two classes: humour, sarcasm."""
        return self.problem_type == "single_label_classification" and len(self.label_names) == 2

    @property
    def num_labels(self) -> int:
        """The number of outputs C."""
        return len(self.label_names)

    @property
    def score_range(self) -> tuple[float, float]:
        """The lowest and the highest score of a regression."""
        if self.label_range is None:
            raise ValueError(f"task {self.name!r} has classes and no range of scores.")
        return self.label_range

    @property
    def middle(self) -> float:
        """The middle of the scale of a regression, where polarity changes."""
        return sum(self.score_range) / 2

    @property
    def score_unit(self) -> float:
        """Points of the task's scale to one point of the scale of head and loss; 1 where scores are not scaled."""
        if not self.scale_scores:
            return 1.0
        (low, high), (lowest, highest) = self.score_range, LEARNT_RANGE
        return (high - low) / (highest - lowest)

    def polarity(self, scores, threshold: float | None = None):
        """Return -1, 0 or 1 for each score of a regression: [`score_polarity`] on the task's scale."""
        return score_polarity(scores, self.score_range, self.metrics or "scores", threshold)

    @property
    def minimize(self) -> bool:
        """Whether the best model has the lowest validation loss (regression) or the highest weighted F1 (classes)."""
        return self.is_regression

    def config_fields(self) -> dict:
        """Return the fields that state this task: `SemanticMACConfig(**task.config_fields(), ...)`."""
        return {
            "task_name": self.name,
            "problem_type": self.problem_type,
            "id2label": dict(enumerate(self.label_names)),
            "label2id": {name: index for index, name in enumerate(self.label_names)},
            "label_range": list(self.label_range) if self.label_range else None,
            "metrics": self.metrics,
            "scale_scores": self.scale_scores,
        }


__all__ = [
    "LEARNT_RANGE",
    "METRIC_FAMILIES",
    "NEUTRAL_SHARES",
    "PROBLEM_TYPES",
    "TaskSpecification",
    "metric_family",
    "score_polarity",
]
