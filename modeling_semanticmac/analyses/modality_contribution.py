"""Contributions of text, audio and vision to a prediction: exact Shapley values over the three modalities.

    v(G)  = prediction of sub-task M from the modalities in G alone,  v({}) = base
    phi_m = sum over G without m of  |G|! (2 - |G|)! / 3!  (v(G + m) - v(G))
    phi_t + phi_a + phi_v = v({t, a, v}) - base

The model predicts from every non-empty set of modalities. For the empty set a base is given: the mean label of the
training set (`base_prediction`). A modality that a clip lacks contributes 0.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from ..affect_results import affect_values
from ..configuration_semanticmac import MODALITIES, TaskSpecification
from ..training.semantic_labels import label_vectors

# Sets of modalities as bits: text 1, audio 2, vision 4. Set 0 is empty, set 7 everything.
SUBSETS = tuple(tuple(bool(number >> m & 1) for m in range(3)) for number in range(8))
MODALITY_INPUTS = {  # of the forward pass; inputs of shape (B, L, ...) precede their masks
    "text": ("input_ids", "inputs_embeds", "attention_mask", "token_type_ids", "utterance_mask"),
    "audio": ("audio_embeds", "input_features", "audio_mask"),
    "vision": ("vision_embeds", "pixel_values", "vision_mask"),
}


@dataclass
class ModalityContribution:
    """Hold the contributions to the predictions of n clips, float64; C is 1 for scores.

    Args:
        subsets: predictions from each set of modalities, (n, 8, C) in the order of `SUBSETS`; the first is the base.
        shapley: Shapley values of text, audio, vision, (n, 3, C).
    """

    subsets: np.ndarray
    shapley: np.ndarray

    @property
    def base(self) -> np.ndarray:
        """Return the base, (n, C)."""
        return self.subsets[:, 0]

    @property
    def prediction(self) -> np.ndarray:
        """Return the predictions from all modalities, (n, C)."""
        return self.subsets[:, -1]


def shapley_values(subsets: np.ndarray) -> np.ndarray:
    """Return the Shapley values of the three modalities.

    Args:
        subsets: (n, 8, C) values of the sets in the order of `SUBSETS`.

    Returns:
        (n, 3, C); they sum to the last set minus the first.
    """
    found = []
    for m in range(3):
        value = np.zeros_like(subsets[:, 0])
        for number, members in enumerate(SUBSETS):
            if not members[m]:
                weight = math.factorial(sum(members)) * math.factorial(2 - sum(members)) / math.factorial(3)
                value = value + weight * (subsets[:, number | 1 << m] - subsets[:, number])
        found.append(value)
    return np.stack(found, axis=1)


def base_prediction(labels, task: TaskSpecification) -> np.ndarray:
    """Return the mean label, float64 (C,): the mean score, or the share of each class.

    Args:
        labels: as in a corpus, (N,) or (N, C).
    """
    return label_vectors(torch.as_tensor(np.asarray(labels)), task).double().mean(dim=0).numpy()


@torch.no_grad()
def modality_contribution(model, batch: Mapping[str, torch.Tensor], base: np.ndarray) -> ModalityContribution:
    """Compute the contributions to the predictions of one batch, by seven forward passes.

    They are counted in scores or probabilities. Logits of a single label are only defined up to a constant; a mean of
    labels is a base in the unit of probabilities.

    Args:
        model: a head of SemanticMAC in evaluation mode.
        batch: inputs of its forward pass; labels are ignored.
        base: value of the empty set, (C,).

    Raises:
        ValueError: the base does not have one number for each output.
    """
    task = model.config.task
    base = np.asarray(base, dtype=np.float64)
    if base.shape != (task.num_labels,):
        raise ValueError(
            f"the base has shape {base.shape}; expected one number for each of {', '.join(task.label_names)}."
        )
    inputs = [{key: batch[key] for key in MODALITY_INPUTS[name] if batch.get(key) is not None} for name in MODALITIES]
    whole = model(**inputs[0], **inputs[1], **inputs[2])
    has = whole.modality_mask.cpu()  # (n, 3)
    subsets = np.tile(base, (len(has), len(SUBSETS), 1))  # (n, 8, C)
    subsets[:, -1] = affect_values(task, whole.logits).cpu().numpy()
    for number, members in enumerate(SUBSETS[1:-1], start=1):
        answers = has[:, members].any(dim=1)  # clips that lack all of these keep the base
        if answers.any():
            chosen = [pair for m in range(3) if members[m] for pair in inputs[m].items()]
            output = model(**{key: value[answers.to(value.device)] for key, value in chosen})
            subsets[answers.numpy(), number] = affect_values(task, output.logits).cpu().numpy()
    return ModalityContribution(subsets, shapley_values(subsets))


def modality_contributions(
    model, batches: Iterable[Mapping[str, torch.Tensor]], base: np.ndarray, progress: bool = True
) -> ModalityContribution:
    """Compute the contributions to the predictions of all batches, in order; see `modality_contribution`."""
    found = []
    for batch in tqdm(batches, desc="Contributions", unit=" batches", disable=not progress):
        batch = {key: value.to(model.device) for key, value in batch.items()}
        found.append(modality_contribution(model, batch, base))
    subsets, shapley = (np.concatenate([getattr(part, name) for part in found]) for name in ("subsets", "shapley"))
    return ModalityContribution(subsets, shapley)


__all__ = [
    "MODALITY_INPUTS",
    "SUBSETS",
    "ModalityContribution",
    "base_prediction",
    "modality_contribution",
    "modality_contributions",
    "shapley_values",
]
