"""Results of the pipeline: what the logits of a head mean, how sure the model is, and both in words.

Legend: C outputs of a head.
"""

from collections.abc import Mapping, Sequence

import torch

from .task_specification import TaskSpecification

POLARITIES = {-1: "negative", 0: "neutral", 1: "positive"}
PRESENT = 0.5  # a label with a higher probability is present, where no thresholds were tuned
NO_LABEL = "none of the labels"


def affect_values(task: TaskSpecification, logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Return what logits (..., C) mean, float64 (..., C): the score, or the probability of each class or label.

    Args:
        temperature: divides the logits of classes; of the calibration of the multimodal head.
    """
    logits = logits.detach().double()
    if task.is_regression:
        return logits
    return torch.sigmoid(logits) if task.is_multi_label else torch.softmax(logits / temperature, dim=-1)


def affect_result(
    task: TaskSpecification,
    logits: torch.Tensor,
    thresholds: Sequence[float] | None = None,
    calibration: Mapping | None = None,
) -> dict:
    """Return the prediction of one head for one clip in plain JSON types.

    Args:
        logits: (C,), of any head.
        thresholds: of several labels: the probability above which each is present, (C,); None: 0.5.
        calibration: of the configuration; None: the result does not say how sure the model is.

    Thresholds and calibration are found on the multimodal head M, and hold for it alone.

    Returns:
        Regression: `score`, `polarity` ("negative", "neutral" or "positive"), `range` [lowest, highest].
        Single label: `label`, `score` (its probability), `probabilities` by name; of two classes also `probability`,
        that of the second, positive one.
        Multi-label: `labels` (names of those that are present), `probabilities` by name.
        With a calibration also `level`, e.g. 0.9, and what contains the truth for that share of clips: `interval`
        [low, high] of scores, within `range`, or `label_set`, names of classes, the most probable first.
    """
    temperature = (calibration or {}).get("temperature", 1.0)
    values = affect_values(task, logits, temperature).tolist()
    return {**value_result(task, values, thresholds), **_certainty(task, values, calibration)}


def value_result(task: TaskSpecification, values: Sequence[float], thresholds: Sequence[float] | None = None) -> dict:
    """Return the same from the score or the probabilities of `affect_values`, or from a label as a vector, (C,)."""
    values = [float(value) for value in values]
    if task.is_regression:
        return {"score": values[0], "polarity": polarity(task, values[0]), "range": list(task.score_range)}
    probabilities = dict(zip(task.label_names, values))
    if task.is_multi_label:
        thresholds = [PRESENT] * task.num_labels if thresholds is None else thresholds
        present = [name for name, least in zip(task.label_names, thresholds) if probabilities[name] > least]
        return {"labels": present, "probabilities": probabilities}
    label = max(task.label_names, key=lambda name: probabilities[name])  # the first of equal ones, as argmax
    found = {"label": label, "score": probabilities[label], "probabilities": probabilities}
    return {**found, "probability": probabilities[task.label_names[1]]} if task.is_binary else found


def _certainty(task: TaskSpecification, values: Sequence[float], calibration: Mapping | None) -> dict:
    """Return the level with the interval or the label set of one clip; empty without a calibration."""
    if calibration is None:
        return {}
    if task.is_regression:
        return {"level": calibration["level"], "interval": score_interval(task, values[0], calibration["radius"])}
    return {"level": calibration["level"], "label_set": label_set(task, values, calibration["threshold"])}


def score_interval(task: TaskSpecification, score: float, radius: float) -> list[float]:
    """Return [score - radius, score + radius] within the range of the task.

    No true score lies outside the range, so the cut keeps the coverage. A score beyond the range gives the point of
    the range that is nearest to the interval where the two do not meet.
    """
    low, high = task.score_range
    return [min(max(float(score) + step, low), high) for step in (-radius, radius)]


def label_set(task: TaskSpecification, probabilities: Sequence[float], threshold: float) -> list[str]:
    """Return the names of the classes whose probability is at least 1 - threshold, the most probable first.

    The most probable class is always in the set, which keeps the coverage and leaves no set empty.
    """
    order = sorted(range(task.num_labels), key=lambda index: -probabilities[index])
    kept = [index for place, index in enumerate(order) if place == 0 or 1 - probabilities[index] <= threshold]
    return [task.label_names[index] for index in kept]


def abstained(task: TaskSpecification, result: Mapping) -> dict:
    """Return a result without a decision where the model is not sure of one; `abstained` says whether it has none.

    There is no `polarity` where the interval holds scores of two polarities, and no `label` where the label set has
    more than one: both are None then. The score, the probabilities, the interval and the set stay.

    Raises:
        ValueError: the result has neither an interval nor a label set.
    """
    if "level" not in result:
        raise ValueError(
            "abstain needs a calibrated model, which this one is not: its configuration has no calibration. Train it "
            "with a validation split, or run `semanticmac calibrate` on its run; a task of several labels has none."
        )
    decided = "polarity" if task.is_regression else "label"
    if task.is_regression:
        unsure = len({polarity(task, end) for end in result["interval"]}) > 1
    else:
        unsure = len(result["label_set"]) > 1
    return {**result, **({decided: None} if unsure else {}), "abstained": unsure}


def result_words(result: Mapping, share: str = ".2f") -> str:
    """Return a prediction in words: `positive +1.25`, `joy 0.61`, `joy 0.81, surprise 0.55`, `none of the labels`.

    A result that abstains is `undecided, -0.40 to +1.10`, or `undecided, joy or surprise`.

    Args:
        result: of `affect_result`, or of the pipeline.
        share: the format of probabilities.
    """
    if result.get("abstained"):
        return f"undecided, {certainty_words(result)}"
    if "polarity" in result:
        return f"{result['polarity']} {result['score']:+.2f}"
    if "label" in result:
        return f"{result['label']} {result['score']:{share}}"
    return ", ".join(f"{name} {result['probabilities'][name]:{share}}" for name in result["labels"]) or NO_LABEL


def certainty_words(result: Mapping) -> str:
    """Return the interval or the label set of a result in words; empty where it has none."""
    if "interval" in result:
        low, high = result["interval"]
        return f"{low:+.2f} to {high:+.2f}"
    return " or ".join(result.get("label_set", ()))


def result_cell(result: Mapping) -> float | str:
    """Return a prediction as one cell of a table: the score, the label, or several labels joined by "|"."""
    if "polarity" in result:
        return result["score"]
    return (result["label"] or "") if "label" in result else "|".join(result["labels"])


def polarity(task: TaskSpecification, score: float) -> str:
    """Return "negative", "neutral" or "positive" for a score of a regression, by the classes of the task's metrics."""
    return POLARITIES[int(task.polarity(score))]


__all__ = [
    "abstained",
    "affect_result",
    "affect_values",
    "certainty_words",
    "label_set",
    "polarity",
    "result_cell",
    "result_words",
    "score_interval",
    "value_result",
]
