"""Checks of the inputs of metrics: two arrays of one length, finite, of the kind that the metric compares."""

import numpy as np


def score_pair(predictions, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and true scores, float64 (n,), from arrays of shape (n,) or (n, 1).

    Raises:
        ValueError: other shapes, different lengths, no clips, or a value that is not finite.
    """
    predictions, labels = (
        _numbers(values, name).astype(np.float64) for values, name in ((predictions, "predictions"), (labels, "labels"))
    )
    predictions, labels = (
        values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values for values in (predictions, labels)
    )
    _require_shapes(predictions, labels, 1, "(n,) or (n, 1) scores")
    return predictions, labels


def class_pair(predictions, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and true class ids, int64 (n,).

    Raises:
        ValueError: as `score_pair`; also values that are not non-negative whole numbers.
    """
    predictions, labels = _numbers(predictions, "predictions"), _numbers(labels, "labels")
    _require_shapes(predictions, labels, 1, "(n,) class ids")
    return _ids(predictions, "predictions"), _ids(labels, "labels")


def binary_pair(predictions, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and true decisions about one class, bool (n,), from zeros and ones.

    Raises:
        ValueError: as `class_pair`; also an id above 1.
    """
    predictions, labels = class_pair(predictions, labels)
    require_classes(predictions, "predictions", 2)
    require_classes(labels, "labels", 2)
    return predictions.astype(bool), labels.astype(bool)


def multi_hot_pair(scores, labels) -> tuple[np.ndarray, np.ndarray]:
    """Return sigmoid scores in [0, 1], float64 (n, C), and multi-hot labels, int64 (n, C).

    Raises:
        ValueError: as `score_pair`; also scores outside [0, 1] and labels other than 0 and 1.
    """
    scores, labels = _numbers(scores, "scores").astype(np.float64), _numbers(labels, "labels")
    _require_shapes(scores, labels, 2, "(n, C) arrays", "scores")
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError(
            f"scores lie in [{scores.min():g}, {scores.max():g}]; expected [0, 1]. Take the sigmoid of the logits."
        )
    labels = _ids(labels, "labels")
    require_classes(labels, "labels", 2)
    return scores, labels


def logits_of_classes(logits, labels, label_names) -> np.ndarray:
    """Return logits (n, C) that are finite and have one column for each class, for n labels.

    Raises:
        ValueError: another number of dimensions, columns or rows, or a value that is not finite.
    """
    logits = _numbers(logits, "logits")
    if logits.ndim != 2 or logits.shape[1] != len(label_names):
        raise ValueError(
            f"logits have shape {logits.shape}; expected (n, {len(label_names)}), a column for each of "
            f"{', '.join(label_names)}."
        )
    if len(logits) != len(labels):
        raise ValueError(f"{len(logits)} rows of logits for {len(labels)} labels: every clip must have exactly one.")
    return logits


def require_classes(ids: np.ndarray, name: str, num_classes: int) -> None:
    """Raise a ValueError where a class id is not below `num_classes`."""
    if ids.max() >= num_classes:
        raise ValueError(f"{name} hold the class id {ids.max()}; expected ids from 0 to {num_classes - 1}.")


def _numbers(values, name: str) -> np.ndarray:
    """Return a finite, non-empty array of numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} are of type {array.dtype}; expected an array of numbers, all rows of one length.")
    if array.size == 0:
        raise ValueError(f"{name} are empty (shape {array.shape}): there is nothing to measure.")
    finite = np.isfinite(array)
    if not finite.all():
        first = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise ValueError(
            f"{name} hold {np.count_nonzero(~finite)} of {array.size} values that are NaN or infinite, the first at "
            f"{first}. Labels: look at the corpus. Predictions: the model diverged, try a lower learning rate."
        )
    return array


def _require_shapes(
    predictions: np.ndarray, labels: np.ndarray, dimensions: int, wanted: str, name: str = "predictions"
) -> None:
    if predictions.shape != labels.shape or predictions.ndim != dimensions:
        raise ValueError(
            f"{name} have shape {predictions.shape} and labels {labels.shape}; expected two {wanted} of one length."
        )


def _ids(values: np.ndarray, name: str) -> np.ndarray:
    ids = values.astype(np.int64)
    wrong = (ids != values) | (ids < 0)
    if wrong.any():
        raise ValueError(
            f"{name} hold {values[wrong][0]:g}; expected whole numbers from 0 on. Turn logits into classes "
            "(argmax, or a threshold on the sigmoid) first."
        )
    return ids
