"""Pseudo labels over the epochs (Figures 6b and 6c of the paper), from the label history of a run."""

from dataclasses import dataclass

import numpy as np

from ..configuration_semanticmac import SUBTASKS, TaskSpecification
from ..metrics import f1_neg_pos, pearson
from ..training.label_history import LabelHistory

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ANNOTATIONS = {"T": "label_text", "A": "label_audio", "V": "label_vision"}


@dataclass(frozen=True)
class LabelCurves:
    """Hold the figures of each recorded epoch, for the sub-tasks S, T, A, V.

    Args:
        epochs: (e,), from 1.
        names: of the values of an epoch: "5 %" ... "95 %" of the scores, or the classes.
        values: (e, 4, v): quantiles of the labels, or the share of clips in each class.
        agreement: "Pearson" and "F1" -> sub-task -> (e,): agreement of pseudo labels with the annotation of the single
            modality; empty without annotation.
        start_epoch: n_0, the last epoch with the ground truth.
    """

    epochs: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    agreement: dict[str, dict[str, np.ndarray]]
    start_epoch: int


def label_curves(history: LabelHistory, task: TaskSpecification, clips=None) -> LabelCurves:
    """Compute the distribution of the labels by epoch, with one epoch in memory at a time.

    Scores: quantiles. One class per clip: the share of clips with the highest label in each class. Several labels: the
    share of clips with a label above one half.

    Args:
        clips: the training set with its columns `label_text`, `label_audio`, `label_vision`; None: no agreement. Scores
            are compared by Pearson's correlation and by the F1 of negative and positive (`metrics.f1_neg_pos`) around
            the middle of the scale. Epoch 1 has the multimodal ground truth, the baseline.

    Raises:
        ValueError: the clips differ from those of the history.
    """
    names = tuple(f"{100 * level:g} %" for level in QUANTILES) if task.is_regression else task.label_names
    annotations = _annotations(history, task, clips) if clips is not None else {}
    agreement = {measure: {subtask: [] for subtask in annotations} for measure in ("Pearson", "F1") if annotations}
    values = []
    for epoch in history.epochs:
        labels = history.labels(epoch)  # (4, N, C)
        values.append(_distribution(labels, task))
        for subtask, scores in annotations.items():
            annotated = ~np.isnan(scores)
            found = labels[SUBTASKS.index(subtask), annotated, 0]
            agreement["Pearson"][subtask].append(pearson(found, scores[annotated]))
            agreement["F1"][subtask].append(f1_neg_pos(found - task.middle, scores[annotated] - task.middle))
    agreement = {measure: {s: np.array(row) for s, row in rows.items()} for measure, rows in agreement.items()}
    return LabelCurves(np.array(history.epochs), names, np.stack(values), agreement, history.start_epoch)


def _distribution(labels: np.ndarray, task: TaskSpecification) -> np.ndarray:
    """Return the values (4, v) of an epoch from labels (4, N, C)."""
    if task.is_regression:
        return np.quantile(labels[..., 0], QUANTILES, axis=1).T
    if task.is_multi_label:
        return (labels > 0.5).mean(axis=1)
    return (labels.argmax(axis=2)[..., None] == np.arange(task.num_labels)).mean(axis=1)


def _annotations(history: LabelHistory, task: TaskSpecification, clips) -> dict[str, np.ndarray]:
    """Return for each annotated sub-task the scores of its modality (N,), NaN where a clip has none."""
    if clips["id"][:] != history.ids:
        raise ValueError(
            f"the history holds the labels of {len(history.ids)} clips, the clips given are {len(clips)}, or others: "
            "give the training set of the run."
        )
    if not task.is_regression:
        return {}
    columns = {subtask: np.array(clips[name], dtype=float) for subtask, name in ANNOTATIONS.items()}
    return {subtask: scores for subtask, scores in columns.items() if not np.isnan(scores).all()}


__all__ = ["ANNOTATIONS", "QUANTILES", "LabelCurves", "label_curves"]
