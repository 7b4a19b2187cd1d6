"""How much text, audio and vision contribute to a prediction: exact Shapley values over the three.

    v(G)  = prediction of sub-task M from the modalities in G alone,  v({}) = base
    phi_m = sum over G without m of  |G|! (2 - |G|)! / 3!  (v(G + m) - v(G))
    phi_t + phi_a + phi_v = v({t, a, v}) - base

The model answers for every set of modalities that is not empty; for the empty one it has nothing to answer from, so a base is given: what one would
say who sees nothing of the clip, the mean label of the training set (`base_prediction`). A modality that a clip lacks changes nothing: it has 0.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from ..configuration_semanticmac import MODALITIES, TaskSpecification
from ..pipeline_semanticmac import affect_values
from ..training.semantic_labels import label_vectors

# Sets of modalities as bits: text 1, audio 2, vision 4. Set 0 is empty, set 7 everything.
SUBSETS = tuple(tuple(bool(number >> m & 1) for m in range(3)) for number in range(8))
MODALITY_INPUTS = {  # of the forward pass; what has the shape (B, L, ...) stands before its mask
    "text": ("input_ids", "attention_mask", "token_type_ids"),
    "audio": ("audio_embeds", "input_features", "audio_mask"),
    "vision": ("vision_embeds", "pixel_values", "vision_mask"),
}


@dataclass
class ModalityContribution:
    """Contributions to the predictions of n clips; C is 1 for scores. Float64.

    Args:
        subsets: prediction from each set of modalities, (n, 8, C) in the order of `SUBSETS`; the first is the base.
        shapley: of text, audio, vision, (n, 3, C).
    """

    subsets: np.ndarray
    shapley: np.ndarray

    @property
    def base(self) -> np.ndarray:
        """(n, C)."""
        return self.subsets[:, 0]

    @property
    def prediction(self) -> np.ndarray:
        """From everything that the clip has, (n, C)."""
        return self.subsets[:, -1]


def shapley_values(subsets: np.ndarray) -> np.ndarray:
    """Shapley values of three players: (n, 8, C) values of the sets in the order of `SUBSETS` -> (n, 3, C), which sum to the last minus the first."""
    found = []
    for m in range(3):
        value = np.zeros_like(subsets[:, 0])
        for number, members in enumerate(SUBSETS):
            if not members[m]:
                weight = math.factorial(sum(members)) * math.factorial(2 - sum(members)) / math.factorial(3)
                value = value + weight * (subsets[:, number | 1 << m] - subsets[:, number])
        found.append(value)
    return np.stack(found, axis=1)


def outputs(logits: torch.Tensor, task: TaskSpecification) -> torch.Tensor:
    """What contributions are counted in, float64 of the shape of the logits (..., C): the score, or the probability of each class.

    Probabilities and not logits: those of a single label are defined up to a constant only, a mean of labels is a base in the same unit, and a reader
    knows what 0.2 more is.
    """
    return affect_values(task, logits)


def base_prediction(labels, task: TaskSpecification) -> np.ndarray:
    """The mean label, float64 (C,): the mean score, or the share of each class. Labels as a corpus has them, (N,) or (N, C)."""
    return label_vectors(torch.as_tensor(np.asarray(labels)), task).double().mean(dim=0).numpy()


@torch.no_grad()
def modality_contribution(model, batch: Mapping[str, torch.Tensor], base: np.ndarray) -> ModalityContribution:
    """Contributions to the predictions of one batch, by seven forward passes.

    Args:
        model: a head of SemanticMAC in evaluation mode.
        batch: inputs of its forward pass; labels are passed over.
        base: value of the empty set, (C,).

    Raises:
        ValueError: the base is not one number an output.
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
    subsets[:, -1] = outputs(whole.logits, task).cpu().numpy()
    for number, members in enumerate(SUBSETS[1:-1], start=1):
        answers = has[:, members].any(dim=1)  # who lacks all of these has nothing to answer from: the base
        if answers.any():
            chosen = {key: value[answers.to(value.device)] for m in range(3) if members[m] for key, value in inputs[m].items()}  # fmt: skip
            subsets[answers.numpy(), number] = outputs(model(**chosen).logits, task).cpu().numpy()
    return ModalityContribution(subsets, shapley_values(subsets))


def modality_contributions(
    model, batches: Iterable[Mapping[str, torch.Tensor]], base: np.ndarray, progress: bool = True
) -> ModalityContribution:
    """Contributions to the predictions of a whole split, in the order of its batches; see `modality_contribution`."""
    found = []
    for batch in tqdm(batches, desc="Contributions", unit=" batches", disable=not progress):
        batch = {key: value.to(model.device) for key, value in batch.items()}
        found.append(modality_contribution(model, batch, base))
    return ModalityContribution(*(np.concatenate([getattr(part, name) for part in found]) for name in ("subsets", "shapley")))  # fmt: skip


__all__ = [
    "MODALITY_INPUTS",
    "SUBSETS",
    "ModalityContribution",
    "base_prediction",
    "modality_contribution",
    "modality_contributions",
    "outputs",
    "shapley_values",
]
