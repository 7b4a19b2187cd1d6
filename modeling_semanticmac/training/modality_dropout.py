"""Modality dropout: clips of a training batch lose modalities at random, so that the model learns to answer from what is left (not in the paper)."""

import torch

MASKS = ("attention_mask", "audio_mask", "vision_mask")  # of text, audio, vision


def drop_modalities(batch: dict[str, torch.Tensor], probability: float) -> dict[str, torch.Tensor]:
    """The batch in which each modality of each clip is missing with a probability, but never all of a clip's.

    What is dropped is an all-zero row of its mask: for this step the clip does not have it. Where the draw would take everything that a clip has,
    one of its modalities, each as likely, stays. So of a clip with k modalities each is dropped with probability p - p^k / k.

    The draws come from torch's default generator on the CPU, whatever the batch's device: its state is part of every training checkpoint.

    Args:
        batch: as `SemanticMACCollator` gives it; left as it is.
        probability: p in [0, 1). With 0 nothing is drawn.

    Returns:
        The same batch but for the masks.
    """
    names = [name for name in MASKS if name in batch]
    if not probability or not names:
        return batch
    present = torch.stack([batch[name].bool().any(dim=1) for name in names], dim=1)  # (B, modalities)
    draws = torch.rand(present.shape).to(present.device).masked_fill(~present, -1.0)
    dropped = draws < probability
    gone = dropped.all(dim=1).nonzero().flatten()
    dropped[gone, draws[gone].argmax(dim=1)] = False  # where all fall below p, each is the largest equally often
    kept = {name: batch[name] * ~dropped[:, column, None] for column, name in enumerate(names)}
    return {**batch, **kept}


__all__ = ["drop_modalities"]
