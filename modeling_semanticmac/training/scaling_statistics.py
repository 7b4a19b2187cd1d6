"""Statistics of the training embeddings for the scaling inside the model, computed once before training."""

from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from ..configuration_semanticmac import MEDIA_MODALITIES
from ..input_scaling import ColumnMoments, time_summary
from .collator import RAW_INPUTS

CHUNK, RAW_CHUNK = 64, 4  # clips read at once; of raw media, which are large


@torch.no_grad()
def fit_input_scaling(model: PreTrainedModel, clips, collator) -> dict[str, int]:
    """Compute mean and deviation of the embeddings of all clips, and set them in the model.

    A model whose scaling is fitted, one that continues from a checkpoint, keeps it: its weights expect it. Every
    process of a distributed run reads all clips in the same order, so all have the same statistics.

    Args:
        model: a `SemanticMACModel`, a head on it, or a comparison system.
        clips: the training set.
        collator: makes batches of them.

    Returns:
        Number of frames or windows by modality that were read; empty where nothing had to be computed.
    """
    base: Any = model.base_model
    used = getattr(collator, "modalities", MEDIA_MODALITIES)
    scalings = {modality: base.input_scalings(modality) for modality in MEDIA_MODALITIES if modality in used}
    needed = [modality for modality, found in scalings.items() if not all(s.is_fitted for s in found)]
    if not needed:
        return {}
    moments = {modality: [ColumnMoments(len(scaling.mean)) for scaling in scalings[modality]] for modality in needed}
    device = next(base.parameters()).device
    # Not the rows by index: a dataset that was shuffled or filtered is read in its own order too.
    chunk = RAW_CHUNK if getattr(collator, "raw_modalities", ()) else CHUNK
    for batch in DataLoader(clips, batch_size=chunk, collate_fn=collator):
        for modality in needed:
            found = _embeds(base, batch, modality, device)
            if found is not None:
                (embeds, mask), (frames, *summary) = found, moments[modality]
                frames.add(embeds[mask])
                for moment in summary:
                    moment.add(time_summary(embeds.double(), mask)[mask.any(dim=1)])
    for modality in needed:
        for scaling, moment in zip(scalings[modality], moments[modality]):
            scaling.fit(moment)
    return {modality: moments[modality][0].count for modality in needed}


def _embeds(base, batch: dict[str, torch.Tensor], modality: str, device) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the embeddings of a batch (B, T, D), zero where invalid, and the mask (B, T); None without any."""
    keys = (f"{modality}_embeds", RAW_INPUTS[modality])
    given = next((batch[key] for key in keys if batch.get(key) is not None), None)
    if given is None:
        return None
    mask = batch.get(f"{modality}_mask", torch.ones(given.shape[:2])).bool()
    if batch.get(keys[0]) is None:
        given = base.encode_media(modality, given.to(device), mask.to(device)).cpu()
    return given.float().masked_fill(~mask.unsqueeze(-1), 0), mask


__all__ = ["fit_input_scaling"]
