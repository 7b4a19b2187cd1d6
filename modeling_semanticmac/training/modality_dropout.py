"""Modality dropout: clips of a training batch lose modalities at random, so that the model learns to predict from the
others (not in the paper).
"""

import torch

MASKS = ("attention_mask", "audio_mask", "vision_mask")  # of text, audio, vision


def drop_modalities(batch: dict[str, torch.Tensor], probability: float) -> dict[str, torch.Tensor]:
    """Return the batch with each modality of each clip missing with a probability, see `kept_modalities`.

    A dropped modality is an all-zero row of its mask: the clip lacks it for this step.

    Args:
        batch: from `SemanticMACCollator`; it is not changed.
        probability: p in [0, 1). With 0 nothing is drawn.

    Returns:
        The batch with other masks.
    """
    names = [name for name in MASKS if name in batch]
    if not probability or not names:
        return batch
    present = torch.stack([batch[name].bool().any(dim=1) for name in names], dim=1)  # (B, modalities)
    kept = kept_modalities(present, probability)
    return {**batch, **{name: batch[name] * kept[:, column, None] for column, name in enumerate(names)}}


def kept_modalities(present: torch.Tensor, probability: float) -> torch.Tensor:
    """Draw which modalities stay: each is dropped with a probability, but never all modalities of a clip.

    Where the draw would drop all modalities of a clip, one of them, chosen uniformly, stays. Each of the k modalities
    of a clip is thus dropped with probability p - p^k / k. The draws come from torch's default generator on the CPU on
    every device: its state is part of every training checkpoint.

    Args:
        present: which modalities the clips have, (B, modalities), bool.
        probability: p in [0, 1).

    Returns:
        (B, modalities), bool; without meaning for modalities that a clip lacks.
    """
    draws = torch.rand(present.shape).to(present.device).masked_fill(~present, -1.0)
    kept = draws >= probability
    # Where all fall below p, each is the largest with the same probability.
    largest = draws.argmax(dim=1, keepdim=True) == torch.arange(draws.shape[1], device=draws.device)
    return kept | largest & ~kept.any(dim=1, keepdim=True)


__all__ = ["drop_modalities", "kept_modalities"]
