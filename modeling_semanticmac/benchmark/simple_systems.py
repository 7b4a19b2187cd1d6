"""Simple systems beside a trained model: the majority, and a linear probe of pooled embeddings (scikit-learn)."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier

from ..configuration_semanticmac import MODALITIES, TaskSpecification
from ..metrics import compute_metrics
from .pooled_features import SimpleOptions

GRID = tuple(10.0**power for power in np.arange(-5, 0.5, 0.5))
LOWEST = -1e3  # logit of a class that the training split lacks
ITERATIONS = 5000
Streams = dict[str, np.ndarray]  # modality -> (n, D); rows of NaN where a clip lacks it


@dataclass(frozen=True)
class ProbeOptions(SimpleOptions):
    """Options of the linear probe.

    Args:
        C: inverse strength of the regularisation, as of `LogisticRegression` (Ridge: alpha = 1 / C); None: chosen on
            validation among 1e-5 to 1 by weighted F1 or mean absolute error, among equals the smallest.
        weights: modality -> factor of its standardised features; 1 for the others.
        pooling: of audio and vision over time: `mean_deviation` or `mean`.
        class_weight: `balanced`, or None.
        refit: whether the probe that predicts the test split is fitted anew on the clips of training and validation
            together, with the C that was chosen before. A trained model does not learn from validation: a row with
            `refit` has more training clips than it. The validation figures stay those of the training clips alone.
    """

    system = "linear_probe"

    C: float | None = None
    weights: Mapping[str, float] | None = None
    pooling: str = "mean_deviation"
    class_weight: str | None = None
    refit: bool = False

    def __post_init__(self):
        super().__post_init__()
        if unknown := sorted(set(self.weights or {}) - set(MODALITIES)):
            raise ValueError(f"weights names {', '.join(unknown)}; expected {', '.join(MODALITIES)}.")
        if self.class_weight not in (None, "balanced"):
            raise ValueError(f"class_weight is {self.class_weight!r}; expected balanced or nothing.")


class Majority:
    """The most frequent class, the frequency of each label, or the median score of the training split."""

    def __init__(self, task: TaskSpecification):
        self.task = task
        self.logits_of_all = np.zeros(task.num_labels)

    def fit(self, labels: np.ndarray) -> "Majority":
        """Count the training labels: (n,) scores or class ids, or (n, C)."""
        if self.task.is_regression:
            self.logits_of_all = np.array([np.median(labels)])
        elif self.task.is_multi_label:
            share = np.asarray(labels, dtype=float).mean(axis=0)
            with np.errstate(divide="ignore"):
                self.logits_of_all = np.clip(np.log(share) - np.log1p(-share), LOWEST, -LOWEST)
        else:
            share = np.bincount(labels, minlength=self.task.num_labels) / len(labels)
            with np.errstate(divide="ignore"):
                self.logits_of_all = np.maximum(np.log(share), LOWEST)
        return self

    def logits(self, num_clips: int) -> np.ndarray:
        """Return the same logits for every clip, (num_clips, C)."""
        return np.tile(self.logits_of_all, (num_clips, 1))


class LinearProbe:
    """A linear model of pooled streams: each column standardised on the training clips that have its stream.

    Scores: Ridge. Classes: LogisticRegression; of several labels, one for each. A clip that lacks a stream has the
    mean of the training clips there, which is 0 once standardised. Columns that do not vary are left out.
    """

    def __init__(self, task: TaskSpecification, options: ProbeOptions, C: float):
        self.task, self.options, self.C = task, options, float(C)

    def fit(self, streams: Streams, labels: np.ndarray) -> "LinearProbe":
        """Fit on the training split; labels (n,) scores or class ids, or (n, C)."""
        self.scales = {modality: _scale(rows) for modality, rows in streams.items()}
        columns = self._columns(streams)
        if not columns.shape[1]:
            raise ValueError("no column of the pooled features varies over the training clips; nothing can be fitted.")
        model = Ridge(alpha=1 / self.C) if self.task.is_regression else self._classifier()
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                self.model = model.fit(columns, labels)
            except ConvergenceWarning as error:
                raise ValueError(
                    f"the logistic regression with C = {self.C:g} did not converge in {ITERATIONS} iterations; give a "
                    "smaller C."
                ) from error
        return self

    def _classifier(self):
        model = LogisticRegression(C=self.C, max_iter=ITERATIONS, class_weight=self.options.class_weight)
        return OneVsRestClassifier(model) if self.task.is_multi_label else model

    def _columns(self, streams: Streams) -> np.ndarray:
        parts = []
        for modality, rows in streams.items():
            mean, deviation = self.scales[modality]
            kept = deviation > 0
            weight = (self.options.weights or {}).get(modality, 1.0)
            scaled = (rows[:, kept] - mean[kept]) / deviation[kept] * weight
            parts.append(np.nan_to_num(scaled, nan=0.0))
        return np.concatenate(parts, axis=1)

    def logits(self, streams: Streams) -> np.ndarray:
        """Return logits (n, C): scores, logarithms of probabilities, or of several labels the decision values."""
        columns = self._columns(streams)
        if self.task.is_regression:
            return self.model.predict(columns)[:, None]
        if self.task.is_multi_label:
            return self.model.decision_function(columns)
        found = np.full((len(columns), self.task.num_labels), LOWEST)
        found[:, self.model.classes_] = np.maximum(self.model.predict_log_proba(columns), LOWEST)
        return found

    @property
    def num_parameters(self) -> int:
        """Return the number of coefficients, intercepts included."""
        models = self.model.estimators_ if self.task.is_multi_label else [self.model]
        return sum(np.size(model.coef_) + np.size(model.intercept_) for model in models if hasattr(model, "coef_"))

    def quality(self, streams: Streams, labels: np.ndarray) -> float:
        """Return the figure that validation chooses by, higher is better."""
        logits = self.logits(streams)
        if self.task.is_regression:
            return -float(np.abs(logits[:, 0] - labels).mean())
        return compute_metrics(self.task, logits, labels)["w_f1"]


def fit_probe(
    task: TaskSpecification,
    options: ProbeOptions,
    train: tuple[Streams, np.ndarray],
    validation: tuple[Streams, np.ndarray],
) -> LinearProbe:
    """Return the probe of the training split with the given C, or with the one that is best on validation.

    Args:
        train, validation: pooled streams and labels.
    """
    if options.C is not None:
        return LinearProbe(task, options, options.C).fit(*train)
    probes = [LinearProbe(task, options, C).fit(*train) for C in GRID]
    return max(probes, key=lambda probe: probe.quality(*validation))  # the first of equals has the smallest C


def refitted(probe: LinearProbe, *parts: tuple[Streams, np.ndarray]) -> LinearProbe:
    """Return a probe of the same options and C, fitted on several parts together."""
    streams = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    labels = np.concatenate([labels for _, labels in parts])
    return LinearProbe(probe.task, probe.options, probe.C).fit(streams, labels)


def _scale(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (n) of each column over the clips that have it; deviation 0: constant."""
    present = rows[~np.isnan(rows).any(axis=1)]
    if not len(present):
        return np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    deviation = present.std(axis=0)
    # A constant column has a deviation of rounding errors.
    deviation[deviation <= 1e-12 * np.maximum(np.abs(present).max(axis=0), 1e-300)] = 0
    return present.mean(axis=0), deviation


__all__ = ["GRID", "LinearProbe", "Majority", "ProbeOptions", "fit_probe", "refitted"]
