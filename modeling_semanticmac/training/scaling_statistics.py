"""Statistics of the training embeddings for the scaling inside the model, computed once before training."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from ..configuration_semanticmac import MEDIA_MODALITIES
from ..input_scaling import ColumnMoments, time_summary

CHUNK = 64  # clips read at once

RAW_INPUTS = {"audio": "input_features", "vision": "pixel_values"}


@torch.no_grad()
def fit_input_scaling(model: nn.Module, clips, collator) -> dict[str, int]:
    """Compute mean and deviation of the embeddings of all clips, and set them in the model.

    A model whose scaling is fitted, one that continues from a checkpoint, keeps it: its weights expect it. Every
    process of a distributed run reads all clips in the same order, so all have the same statistics.

    Args:
        model: a `SemanticMACModel`, or a head on it.
        clips: the training set.
        collator: makes batches of them.

    Returns:
        Number of frames or windows by modality that were read; empty where nothing had to be computed.
    """
    base = model.base_model
    used = getattr(collator, "modalities", MEDIA_MODALITIES)
    scalings = {modality: base.input_scalings(modality) for modality in MEDIA_MODALITIES if modality in used}
    needed = [modality for modality, found in scalings.items() if not all(s.is_fitted for s in found)]
    if not needed:
        return {}
    moments = {modality: [ColumnMoments(len(scaling.mean)) for scaling in scalings[modality]] for modality in needed}
    device = next(base.parameters()).device
    # Not the rows by index: a dataset that was shuffled or filtered is read in its own order too.
    for batch in DataLoader(clips, batch_size=CHUNK, collate_fn=collator):
        for modality in needed:
            embeds, mask = _embeds(base, batch, modality, device)
            if embeds is None:
                continue
            frames, summary = moments[modality][0], moments[modality][1:]
            frames.add(embeds[mask])
            for moment in summary:
                moment.add(time_summary(embeds.double(), mask)[mask.any(dim=1)])
    for modality in needed:
        for scaling, moment in zip(scalings[modality], moments[modality]):
            scaling.fit(moment)
    return {modality: moments[modality][0].count for modality in needed}


def _embeds(base, batch: dict, modality: str, device) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
    """Return the embeddings of a batch (B, T, D), NaN-free, and the mask of valid frames (B, T); None without any."""
    embeds, raw, mask = (batch.get(key) for key in (f"{modality}_embeds", RAW_INPUTS[modality], f"{modality}_mask"))
    if embeds is None and raw is None:
        return None, None
    given = embeds if embeds is not None else raw
    mask = torch.ones(given.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
    if embeds is None:
        embeds = base.encode_media(modality, raw.to(device), mask.to(device)).cpu()
    return embeds.float().masked_fill(~mask.unsqueeze(-1), 0), mask


__all__ = ["fit_input_scaling"]
