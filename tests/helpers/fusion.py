"""Streams of random values for tests of comparison systems."""

from collections.abc import Sequence

import torch

from modeling_semanticmac.baselines.fusion import Streams

MODALITIES = ("text", "audio", "vision")


def random_streams(
    widths: dict[str, int],
    lengths: Sequence[int] = (5, 7, 6),
    size: int = 2,
    missing: Sequence[tuple[str, int]] = (),
    seed: int = 0,
) -> Streams:
    """Return streams of random values, the first and the last token of the text being special.

    Args:
        widths: modality -> D_m.
        lengths: L, T_a, T_v; the second clip has one frame less of each.
        size: B.
        missing: (modality, clip) pairs without any valid frame.
        seed: of the values.
    """
    generator = torch.Generator().manual_seed(seed)
    fields = {}
    for name, length in zip(MODALITIES, lengths):
        mask = torch.ones(size, length, dtype=torch.bool)
        mask[1:2, length - 1 :] = False
        for modality, clip in missing:
            if modality == name:
                mask[clip] = False
        values = torch.randn(size, length, widths[name], generator=generator)
        fields[name], fields[f"{name}_mask"] = values.masked_fill(~mask[..., None], 0), mask
    content = fields["text_mask"].clone()
    content[:, [0, -1]] = False
    masks = torch.stack([fields[f"{name}_mask"].any(dim=1) for name in MODALITIES], dim=1)
    return Streams(content_mask=content, modality_mask=masks, **fields)


def whole_streams(size: int = 4, **changes) -> Streams:
    """Four steps of each modality, of widths 6 (text), 3 (audio) and 5 (vision), all valid."""
    generator = torch.Generator().manual_seed(2)
    fields = {}
    for name, width in {"text": 6, "audio": 3, "vision": 5}.items():
        fields[name] = torch.randn(size, 4, width, generator=generator)
        fields[f"{name}_mask"] = torch.ones(size, 4, dtype=torch.bool)
    mask = torch.ones(size, 3, dtype=torch.bool)
    return Streams(**{"content_mask": fields["text_mask"], "modality_mask": mask, **fields, **changes})
