"""Attention over time: how much of the representations comes from each frame and each window of sound.

The attention weights of all layers are multiplied (attention rollout, Abnar and Zuidema 2020): they say how much of
each frame a latent holds, and how much of each latent the representations hold. A residual connection counts as one
half. Attention shows where a model looks, not how its prediction would change: for that see `modality_contribution`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ..affective_perceiver import AffectivePerceiver, PerceiverLayer
from ..configuration_semanticmac import MODALITIES
from ..input_scaling import masked_mean
from ..semantic_interaction import GatedBridgeAttention
from .modality_contribution import MODALITY_INPUTS

MEDIA = ("audio", "vision")


@dataclass
class AttentionOverTime:
    """Hold the shares of the time steps of one modality, (B, T) each.

    Rows sum to 1 and are 0 where a sample has no frame. Crops of one time step are added up.

    Args:
        perceiver: shares in the latents of the Affective Perceiver, with equal weight for each latent.
        representations: shares in the pooled representations z_S and z_C, from which F_M is computed, with the weights
            that bridge attention gives to the latents.
    """

    perceiver: torch.Tensor
    representations: torch.Tensor


@contextmanager
def recorded_attention(model: nn.Module) -> Iterator[dict[nn.Module, list[torch.Tensor]]]:
    """Record the attention weights of perceivers and interaction during the forward passes within this context.

    The layers run unchanged; their weights are computed a second time from their inputs.

    Yields:
        Module -> weights of each call, (B, L_q, L_k), mean over heads.
    """
    found: dict[nn.Module, list[torch.Tensor]] = {}

    def keep(module, inputs):
        with torch.no_grad():
            found.setdefault(module, []).append(module.attention_weights(*inputs).float().mean(dim=1))

    modules = [module for module in model.modules() if isinstance(module, PerceiverLayer | GatedBridgeAttention)]
    handles = [module.register_forward_pre_hook(keep) for module in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def attention_over_time(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> dict[str, AttentionOverTime]:
    """Compute where a model looks in the sound and the picture of each clip.

    Args:
        model: a `SemanticMACModel`, or a head on it, in evaluation mode.
        batch: inputs of its forward pass.

    Returns:
        The shares of "audio" and "vision", where the batch has them.
    """
    base = model.base_model
    present = [
        m for m, name in enumerate(MODALITIES) if any(batch.get(key) is not None for key in MODALITY_INPUTS[name])
    ]
    with recorded_attention(base) as weights:
        base(**{name: value for name, value in batch.items() if name not in ("labels", "clip_index")})
    masks = [_token_mask(batch, MODALITIES[m], base.config.num_latents) for m in present]
    shares = _token_shares(base.interaction, weights, masks)
    found = {}
    for m, mask, share in zip(present, masks, shares):
        if MODALITIES[m] in MEDIA:
            perceiver = getattr(base, f"{MODALITIES[m]}_perceiver")
            held = _frames_in_latents(perceiver, weights)  # (B, N, T)
            alike = mask.to(held.dtype)  # (B, N)
            crops = base.config.num_crops if MODALITIES[m] == "vision" else 1
            found[MODALITIES[m]] = AttentionOverTime(*(_over_time(latents, held, crops) for latents in (alike, share)))
    return found


def _token_mask(batch: Mapping[str, torch.Tensor], modality: str, num_latents: int) -> torch.Tensor:
    """Return the valid tokens of a modality as the interaction sees them: words (B, L) or latents (B, N)."""
    given = next(batch[key] for key in MODALITY_INPUTS[modality] if batch.get(key) is not None)
    mask = batch.get("attention_mask" if modality == "text" else f"{modality}_mask")
    mask = torch.ones(given.shape[:2], device=given.device).bool() if mask is None else mask.bool()
    if modality == "text" and batch.get("utterance_mask") is not None:
        mask = mask & batch["utterance_mask"].bool()
    return mask if modality == "text" else mask.any(dim=1, keepdim=True).expand(-1, num_latents)


def _frames_in_latents(perceiver: AffectivePerceiver, weights: dict[nn.Module, list[torch.Tensor]]) -> torch.Tensor:
    """Return how much of each frame each latent of the last layer holds, (B, N, T).

    The rest to 1 comes from the initial latents.
    """
    held = None
    for layer in perceiver.layers:
        (taken,) = weights[layer]  # (B, N, T + N)
        frames = taken.shape[2] - taken.shape[1]
        if held is None:  # frames hold nothing of themselves yet: (B, N, T)
            held = taken.new_zeros(*taken.shape[:2], frames)
        taken = taken[..., :frames] + taken[..., frames:] @ held
        held = (held + taken) / 2 if layer.residual else taken
    return held


def _token_shares(
    interaction: nn.Module, weights: dict[nn.Module, list[torch.Tensor]], masks: list[torch.Tensor]
) -> list[torch.Tensor]:
    """Return how much of each token the pooled z_S and z_C hold, with equal weights for all of these: (B, L_m) each."""
    lengths = [mask.shape[1] for mask in masks]
    total = torch.zeros(len(masks[0]), sum(lengths), device=masks[0].device)
    tokens = torch.eye(sum(lengths), device=total.device).expand(len(total), -1, -1)  # (B, L, L), L of all modalities
    for call, mask in enumerate(masks):
        own = torch.zeros(sum(lengths), dtype=torch.bool)
        own[sum(lengths[:call]) : sum(lengths[: call + 1])] = True
        for stack, context in ((interaction.specific, None), (interaction.shared, tokens[:, ~own])):
            held = tokens[:, own]  # (B, L_m, L)
            for layer in stack.layers:
                taken = weights[layer.attention][call] @ (held if context is None else context)
                held = (held + taken) / 2
            total = total + masked_mean(held, mask)
    return list(total.split(lengths, dim=1))


def _over_time(latents: torch.Tensor, held: torch.Tensor, num_crops: int) -> torch.Tensor:
    """Return the shares of the time steps.

    Args:
        latents: weights of the latents, (B, N).
        held: how much of each frame a latent holds, (B, N, T * crops).

    Returns:
        (B, T).
    """
    shares = (latents[:, None] @ held).squeeze(1).unflatten(1, (-1, num_crops)).sum(dim=2)  # (B, T)
    return shares / shares.sum(dim=1, keepdim=True).clamp(min=torch.finfo(shares.dtype).tiny)


__all__ = ["AttentionOverTime", "attention_over_time", "recorded_attention"]
