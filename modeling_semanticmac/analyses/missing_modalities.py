"""How well a trained model predicts clips that lack modalities: in each of the seven sets of them, and at random rates.

Works for SemanticMAC and for every comparison system, those that read dialogues included.
"""

from collections.abc import Sequence
from itertools import combinations

import datasets
import numpy as np
import torch

from ..baselines.dialogue_data import DialogueCollator, dialogues_of
from ..configuration_semanticmac import MODALITIES
from ..metrics import compute_metrics
from ..training.modality_dropout import MASKS, kept_modalities

RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
SUBSETS = [subset for size in (3, 2, 1) for subset in combinations(MODALITIES, size)]
ALL = " + ".join(MODALITIES)


def patterns(present: torch.Tensor, rates: Sequence[float] = RATES, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return which modalities each clip keeps, bool (n, 3) by the name of the test.

    A set of modalities is the same for all clips. At a rate p each modality of each clip is missing with probability p,
    but never all of a clip (`kept_modalities`); the draws are those of the seed, for every model the same.

    Args:
        present: which modalities the clips have, bool (n, 3).
        rates: p.
        seed: of the draws.
    """
    found = {}
    for subset in SUBSETS:
        kept = torch.tensor([name in subset for name in MODALITIES])
        found[" + ".join(subset)] = present & kept
    for rate in rates:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found[f"rate {rate:g}"] = present & kept_modalities(present, rate)
    return found


@torch.no_grad()
def present_modalities(clips: datasets.Dataset, collator, batch_size: int = 64) -> torch.Tensor:
    """Return which modalities clips have for a collator, bool (n, 3)."""
    rows = []
    for start in range(0, len(clips), batch_size):
        batch = collator([clips[row] for row in range(start, min(start + batch_size, len(clips)))])
        size = len(batch["labels"])
        rows.append(torch.stack([_has(batch, name, size) for name in MASKS], dim=1))
    return torch.cat(rows)


def _has(batch: dict[str, torch.Tensor], name: str, size: int) -> torch.Tensor:
    return batch[name].bool().any(dim=1) if name in batch else torch.zeros(size, dtype=torch.bool)


@torch.no_grad()
def predict_with(model, clips: datasets.Dataset, collator, kept: torch.Tensor, batch_size: int = 64) -> np.ndarray:
    """Return the logits of clips with some of their modalities, (n, C); NaN for a clip that keeps none.

    To a system that reads dialogues an utterance that keeps none is a silent one of its dialogue.

    Args:
        model: a head in evaluation mode.
        clips: in the clip schema.
        collator: a `SemanticMACCollator`.
        kept: bool (n, 3).
        batch_size: clips, or dialogues, a forward pass.
    """
    found = np.full((len(clips), model.config.num_labels), np.nan)
    if getattr(model, "reads_dialogues", False):
        rows: list[dict] = list(dialogues_of(clips, model.fusion.options.max_utterances))
        collate = DialogueCollator(collator)
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            batch = collate(part)
            for place, row in enumerate(part):
                batch["modality_mask"][place, : len(row["clip_rows"])] &= kept[row["clip_rows"]]
            logits = _forward(model, batch)
            for place, row in enumerate(part):
                found[row["clip_rows"]] = logits[place, : len(row["clip_rows"])]
        found[~kept.any(dim=1).numpy()] = np.nan
        return found
    chosen = kept.any(dim=1).nonzero().flatten().tolist()
    for start in range(0, len(chosen), batch_size):
        part = chosen[start : start + batch_size]
        batch = collator([clips[row] for row in part])
        for column, name in enumerate(MASKS):
            if name in batch:
                batch[name] = batch[name] * kept[part][:, column, None]
        found[part] = _forward(model, batch)
    return found


def _forward(model, batch: dict[str, torch.Tensor]) -> np.ndarray:
    inputs = {name: value.to(model.device) for name, value in batch.items() if name not in ("labels", "clip_index")}
    return model(**inputs).logits.float().cpu().numpy()


def missing_modalities(
    model, clips: datasets.Dataset, collator, rates: Sequence[float] = RATES, seed: int = 0, batch_size: int = 64
) -> dict[str, dict[str, float]]:
    """Return the metrics of a model in each test of `patterns`, and as `clips` the number of clips that are predicted.

    Args:
        model: a head in evaluation mode.
        clips: in the clip schema, with labels.
        collator: of the run that trained the model.
        rates, seed, batch_size: see `patterns` and `predict_with`.
    """
    labels, thresholds = np.array(clips["label"][:]), getattr(model.config, "label_thresholds", None)
    results = {}
    for name, kept in patterns(present_modalities(clips, collator), rates, seed).items():
        logits = predict_with(model, clips, collator, kept, batch_size)
        known = ~np.isnan(logits).any(axis=1)
        own = None if thresholds is None else np.asarray(thresholds)
        metrics = compute_metrics(model.config.task, logits[known], labels[known], own) if known.any() else {}
        results[name] = {**{key: float(value) for key, value in metrics.items()}, "clips": float(known.sum())}
    return results


__all__ = ["ALL", "RATES", "SUBSETS", "missing_modalities", "patterns", "predict_with", "present_modalities"]
