"""Random streams of clips for the comparison systems."""

import torch

from modeling_semanticmac.baselines.fusion import Streams


def random_streams(size: int = 4, **changes) -> Streams:
    """Four steps of each modality, of widths 6 (text), 3 (audio) and 5 (vision), all valid."""
    generator = torch.Generator().manual_seed(2)
    fields = {}
    for name, width in {"text": 6, "audio": 3, "vision": 5}.items():
        fields[name] = torch.randn(size, 4, width, generator=generator)
        fields[f"{name}_mask"] = torch.ones(size, 4, dtype=torch.bool)
    mask = torch.ones(size, 3, dtype=torch.bool)
    return Streams(**{"content_mask": fields["text_mask"], "modality_mask": mask, **fields, **changes})
