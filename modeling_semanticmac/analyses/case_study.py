"""Cases as in Table I of the paper: a clip with its labels and the predictions of all heads.

A case also holds the contributions of the modalities, attention over time, and the neighbours that moved its pseudo
labels. `case_picture` draws a case, `case_page` writes a page of several.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..affect_results import affect_values, result_words, value_result
from ..configuration_semanticmac import HEAD_NAMES, SUBTASKS, TaskSpecification
from ..neighbor_bank import NeighborBank
from ..training.label_history import LabelHistory
from ..training.semantic_labels import label_vectors
from .attention_over_time import attention_over_time
from .modality_contribution import ModalityContribution, modality_contribution

HEADS = ("M", *SUBTASKS)
UNIMODAL = ("T", "A", "V")
BATCH = 16
NEAREST = 5  # training clips that a case names for each modality


@dataclass(frozen=True)
class Neighbor:
    """A training clip j that moved the pseudo label of clip i, eq. (13)-(14).

    Args:
        id: of clip j.
        text: its text.
        distance: D_ij.
        label: its ground truth y_j, (C,).
        weight: exp(-D_ij^2).
        move: exp(-D_ij^2) (y_j - y_i) / K, (C,); the moves of all neighbours sum to Delta y_i.
    """

    id: str
    text: str
    distance: float
    label: np.ndarray
    weight: float
    move: np.ndarray


@dataclass(frozen=True)
class PseudoLabel:
    """The label of one sub-task in an epoch, and what moved it.

    Args:
        label: (C,), with the history of earlier epochs where labels have momentum.
        movement: Delta y of this epoch, (C,).
        neighbors: nearest first; empty where the label is the ground truth.
    """

    label: np.ndarray
    movement: np.ndarray
    neighbors: list[Neighbor]


@dataclass(frozen=True)
class Case:
    """Hold what is known of one clip.

    Vectors have one number for a score and one for each class otherwise; predictions of classes are probabilities.

    Args:
        clip: its row in the clip schema.
        reason: why it was chosen, as a sentence.
        task: the task specification.
        truth: y_M, (C,).
        predictions: head M, S, T, A, V -> (C,); without heads of modalities that the clip lacks.
        contribution: of the modalities, for this clip alone (n = 1).
        attention: "audio", "vision" -> shares of the time steps (T,) in the representations.
        pseudo_labels: sub-task -> its label; empty for clips that were not trained on.
        epoch: the epoch of these labels.
        thresholds: the probability above which head M predicts each of several labels; None: 0.5.
        nearest: modality -> training clips whose representation is nearest, as `NeighborBank.nearest`, each with its
            `text`; empty where the model keeps no bank.
    """

    clip: dict
    reason: str
    task: TaskSpecification
    truth: np.ndarray
    predictions: dict[str, np.ndarray]
    contribution: ModalityContribution
    attention: dict[str, np.ndarray]
    pseudo_labels: dict[str, PseudoLabel] = field(default_factory=dict)
    epoch: int | None = None
    thresholds: Sequence[float] | None = None
    nearest: dict[str, list[dict]] = field(default_factory=dict)

    @property
    def shown(self) -> int:
        """Return the output that pictures show: the score, or the most probable class of head M."""
        return int(self.contribution.prediction[0].argmax())


def modality_spread(values: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Return the disagreement of the modalities of each clip: the largest difference of two of them in any output.

    Args:
        values: of text, audio, vision, (n, 3, C): scores, probabilities or labels.
        has: which of them each clip has, bool (n, 3).

    Returns:
        (n,); 0 where a clip has fewer than two modalities.
    """
    values = np.asarray(values, dtype=np.float64)
    there = np.asarray(has)[..., None]
    ranges = np.where(there, values, -np.inf).max(axis=1) - np.where(there, values, np.inf).min(axis=1)  # (n, C)
    return np.where(np.sum(has, axis=1) > 1, ranges.max(axis=1), 0.0)


def pseudo_label_spread(history: LabelHistory, epoch: int) -> np.ndarray:
    """Return the `modality_spread` of the pseudo labels of T, A, V of every training clip, (N,).

    A modality whose label was never moved does not count.
    """
    positions = [SUBTASKS.index(subtask) for subtask in UNIMODAL]
    has = history.neighbors(epoch)[positions, :, 0] >= 0  # (3, N)
    return modality_spread(history.labels(epoch)[positions].swapaxes(0, 1), has.T)


def prediction_spread(subtask_logits: torch.Tensor, modality_mask: torch.Tensor, task: TaskSpecification) -> np.ndarray:
    """Return the `modality_spread` of the predictions of the heads T, A, V, (n,).

    Args:
        subtask_logits: (n, 4, C) of S, T, A, V.
        modality_mask: modalities of each clip, (n, 3).
    """
    return modality_spread(affect_values(task, subtask_logits[:, 1:]).numpy(), modality_mask.numpy())


def rows_of_largest(values: np.ndarray, most: int) -> list[int]:
    """Return the rows of the `most` largest positive values, largest first; equal values by ascending row."""
    order = np.argsort(-np.asarray(values), kind="stable")[:most]
    return [int(row) for row in order if values[row] > 0]


def pseudo_labels_of(
    history: LabelHistory, epoch: int, ids: Sequence[str], texts: Mapping[str, str]
) -> dict[str, dict[str, PseudoLabel]]:
    """Return the pseudo labels of some clips in an epoch, with the neighbours that label generation used.

    Args:
        ids: of the clips; clips that are not in the training set are left out of the result.
        texts: texts of the training clips by id.

    Returns:
        Clip id -> sub-task S, T, A, V -> label.
    """
    labels, neighbors, distances = history.labels(epoch), history.neighbors(epoch), history.distances(epoch)
    truth, rows = history.ground_truth, {clip: row for row, clip in enumerate(history.ids)}
    found = {}
    for clip in ids:
        if clip not in rows:
            continue
        row, found[clip] = rows[clip], {}
        for position, subtask in enumerate(SUBTASKS):
            there = neighbors[position, row] >= 0
            others, apart = neighbors[position, row, there], distances[position, row, there].astype(np.float64)
            weights = np.exp(-(apart**2))
            moves = weights[:, None] * (truth[others].astype(np.float64) - truth[row]) / max(len(others), 1)
            names = [history.ids[j] for j in others]
            each = zip(names, (texts.get(j, "") for j in names), apart.tolist(), truth[others], weights.tolist(), moves)
            found[clip][subtask] = PseudoLabel(
                labels[position, row], moves.sum(axis=0), [Neighbor(*values) for values in each]
            )
    return found


@torch.no_grad()
def collect_cases(
    model,
    clips,
    collator,
    reasons: Mapping[str, str],
    base: np.ndarray,
    pseudo_labels: Mapping[str, Mapping[str, PseudoLabel]] | None = None,
    epoch: int | None = None,
    bank: NeighborBank | None = None,
    texts: Mapping[str, str] | None = None,
) -> list[Case]:
    """Collect the cases of clips, in order.

    Args:
        model: a head of SemanticMAC in evaluation mode.
        clips: rows of the clip schema.
        collator: makes batches of them.
        reasons: clip id -> why it was chosen.
        base: of the contributions, (C,); see `modality_contribution.base_prediction`.
        pseudo_labels: result of `pseudo_labels_of`.
        epoch: the epoch of the pseudo labels.
        bank: of the model, to name the nearest training clips, without the clip itself.
        texts: of the training clips by id.
    """
    task, cases = model.config.task, []
    for batch in DataLoader(clips, batch_size=BATCH, collate_fn=collator):
        labels = label_vectors(batch.pop("labels"), task).numpy()
        batch.pop("clip_index", None)
        batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
        found, output = modality_contribution(model, batch, base), model(**batch)
        attention = attention_over_time(model, batch)
        heads = torch.cat([output.logits[:, None], output.subtask_logits], dim=1)  # (B, 5, C)
        values, has = affect_values(task, heads).cpu().numpy(), output.modality_mask.cpu().numpy()
        for row in range(len(labels)):
            clip = clips[len(cases)]
            there = dict(zip(HEADS, (True, True, *has[row])))
            labels_of_clip = dict((pseudo_labels or {}).get(clip["id"], {}))
            cases.append(
                Case(
                    clip,
                    reasons.get(clip["id"], ""),
                    task,
                    labels[row],
                    {head: value for head, value in zip(HEADS, values[row]) if there[head]},
                    ModalityContribution(found.subsets[row : row + 1], found.shapley[row : row + 1]),
                    _time_steps(model, batch, attention, row),
                    labels_of_clip,
                    epoch if labels_of_clip else None,
                    model.config.label_thresholds,
                    _nearest(bank, output.specific_embeds[row], has[row], clip["id"], texts or {}),
                )
            )
    return cases


def _nearest(bank: NeighborBank | None, embeds, present, clip: str, texts: Mapping[str, str]) -> dict[str, list[dict]]:
    """Return the nearest training clips of each modality with their texts; empty without a bank."""
    found = {} if bank is None else bank.neighbors(embeds, present, NEAREST, without=clip)
    return {name: [{**other, "text": texts.get(other["id"], "")} for other in near] for name, near in found.items()}


def _time_steps(model, batch, attention, row: int) -> dict[str, np.ndarray]:
    """Return the shares of the time steps of one clip, without the padding of its batch."""
    found = {}
    for name, shares in attention.items():
        crops = model.config.num_crops if name == "vision" else 1
        steps = int(batch[f"{name}_mask"][row].sum()) // crops
        if steps:
            found[name] = shares.representations[row, :steps].cpu().numpy()
    return found


def value_text(value: np.ndarray, task: TaskSpecification, thresholds: Sequence[float] | None = None) -> str:
    """Return a label or a prediction in words: a signed score, or the class or the present labels with their values.

    Args:
        value: (C,), the score, or the probability of each class.
        thresholds: of several labels, those of the multimodal head; None: 0.5.
    """
    found = value_result(task, value, thresholds)
    return f"{found['score']:+.2f}" if task.is_regression else result_words(found)


__all__ = [
    "HEADS",
    "HEAD_NAMES",
    "Case",
    "Neighbor",
    "PseudoLabel",
    "collect_cases",
    "modality_spread",
    "prediction_spread",
    "pseudo_label_spread",
    "pseudo_labels_of",
    "rows_of_largest",
    "value_text",
]
