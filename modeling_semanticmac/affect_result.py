"""The logits of one clip as what a person reads: a score with its polarity, a class with its probability, the labels that are present."""

from collections.abc import Sequence

import torch

from .configuration_semanticmac import TaskSpecification

# Half the width of the neutral band around the middle of the scale, as a share of half the scale: what rounds to 0 in the seven classes of
# [-3, 3], and the middle class of three in [-1, 1] (CH-SIMS).
NEUTRAL_SHARE = {"mosi": 1 / 6, "sims": 1 / 10}
# What a reader calls the prediction of the whole and those of the sub-tasks, in the order in which they are shown.
VIEWS = {
    "multimodal": "all together",
    "shared": "what all share",
    "text": "words alone",
    "audio": "voice alone",
    "vision": "face alone",
}
PRESENT = 0.5  # a label with a higher probability is present, where no thresholds were tuned


def affect_result(task: TaskSpecification, logits: torch.Tensor, thresholds: Sequence[float] | None = None) -> dict:
    """The prediction of one clip in plain JSON types.

    Args:
        logits: (C,), of any sub-task.
        thresholds: of several labels: the probability above which each is present, (C,); None: 0.5.

    Returns:
        Regression: `score`, `polarity` ("negative", "neutral" or "positive"), `range` [lowest, highest].
        Single label: `label`, `score` (its probability), `probabilities` by name; of two classes also `probability`, that of the second, positive one.
        Multi-label: `labels` (names of those that are present), `probabilities` by name.
    """
    logits = logits.detach().double().cpu()
    if task.is_regression:
        score = logits[0].item()
        return {"score": score, "polarity": polarity(task, score), "range": list(task.label_range)}
    shares = torch.sigmoid(logits) if task.is_multi_label else torch.softmax(logits, dim=0)  # (C,)
    probabilities = dict(zip(task.label_names, shares.tolist()))
    if task.is_multi_label:
        thresholds = [PRESENT] * task.num_labels if thresholds is None else thresholds
        present = [name for name, least in zip(task.label_names, thresholds) if probabilities[name] > least]
        return {"labels": present, "probabilities": probabilities}
    label = task.label_names[int(logits.argmax())]
    found = {"label": label, "score": probabilities[label], "probabilities": probabilities}
    return {**found, "probability": probabilities[task.label_names[1]]} if task.is_binary else found


def polarity(task: TaskSpecification, score: float) -> str:
    """ "negative", "neutral" or "positive" by where a score of a regression lies on its scale: what the field's three classes are for its metrics."""
    low, high = task.label_range
    band = NEUTRAL_SHARE[task.metrics] * (high - low) / 2
    distance = score - (low + high) / 2
    return "negative" if distance <= -band else "positive" if distance > band else "neutral"


__all__ = ["VIEWS", "affect_result", "polarity"]
