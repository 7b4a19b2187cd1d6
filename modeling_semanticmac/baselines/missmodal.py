"""MissModal: all subsets of a clip's modalities pass one fusion, and are to give what the complete clip gives."""

from dataclasses import dataclass
from itertools import combinations

import torch

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .fusion import Fused, Streams
from .fusion_losses import label_loss, paired_contrast
from .modality_vectors import ModalityVectors
from .self_mm import Branch

# Positions of the modalities of each subset that lacks at least one.
SUBSETS = [subset for size in (1, 2) for subset in combinations(range(len(MODALITIES)), size)]


@dataclass(frozen=True)
class MissModalOptions:
    """Options of [`MissModal`]. The weights are those of a reimplementation by others; the authors publish none.

    Args:
        audio_lstm, vision_lstm: width of the LSTM over audio and vision.
        audio_output, vision_output: width of the layer after it.
        width: of the representation z.
        dropout: probability before the fusion.
        geometric_weight: alpha, of the contrast between a subset's z and the complete one's.
        distribution_weight: beta, of the distance of their means over the batch.
        semantic_weight: gamma, of the loss of a subset's prediction.
        temperature: of the contrast.
    """

    audio_lstm: int = 16
    vision_lstm: int = 32
    audio_output: int = 16
    vision_output: int = 32
    width: int = 128
    dropout: float = 0.0
    geometric_weight: float = 0.5
    distribution_weight: float = 0.3
    semantic_weight: float = 0.5
    temperature: float = 0.07


class MissModal(ModalityVectors):
    """MissModal, "MissModal: Increasing Robustness to Missing Modality in Multimodal Sentiment Analysis" (Lin, Hu 2023,
    TACL).

        t = text vector;  a, v = Linear(last state of an LSTM)
        z_S = ReLU(Linear [t; a; v]) with the vectors outside the subset S set to 0,  y_S = Linear(ReLU(Linear z_S))
        L = L(y) + sum over S of  alpha NT-Xent(z_S, z) + beta ||mean z_S - mean z||^2 + gamma L(y_S)

    S runs over the subsets of the modalities that a clip has, but for all of them; the three vectors are computed once.

    Our reading, since no code is published: the fusion is that of Self-MM without its labels. The model learns to do
    without a modality from complete clips; a clip that lacks one already takes part with the subsets of what it has.
    """

    Options = MissModalOptions
    language_model = "tuned"
    can_be_bounded = False

    def __init__(self, options: MissModalOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        outputs = self.make_vectors(widths)
        self.fusion = Branch(sum(outputs.values()), options.width, options.dropout, task.num_labels)

    def encode(self, streams: Streams) -> list[torch.Tensor]:
        """Return one vector a modality, text, audio and vision (B, d_m), 0 where it is missing."""
        return list(self.modality_vectors(streams).values())

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C), z, and in training the losses of the subsets."""
        vectors = self.encode(streams)
        logits, complete = self.fusion(torch.cat(vectors, dim=1))
        losses = None
        if self.training and streams.labels is not None:
            losses = self._losses(streams, vectors, complete)
        return Fused(logits, embeds={"multimodal": complete}, losses=losses)

    def _losses(self, streams: Streams, vectors: list[torch.Tensor], complete: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the three terms, each summed over the subsets and weighted."""
        o, present = self.options, streams.modality_mask
        everyone = streams.gather(complete)
        totals = {
            name: complete.new_zeros((), dtype=torch.float32) for name in ("geometric", "distribution", "semantic")
        }
        for subset in SUBSETS:
            kept = torch.zeros_like(present)
            kept[:, list(subset)] = True
            pair = (present | ~kept).all(dim=1) & (present & ~kept).any(dim=1)  # has all of S, and more
            logits, own = self.fusion(
                torch.cat([vector * kept[:, place, None] for place, vector in enumerate(vectors)], dim=1)
            )
            counted, rows = streams.counted(pair), streams.gather(own)
            totals["geometric"] = totals["geometric"] + paired_contrast(rows, everyone, counted, o.temperature)
            totals["distribution"] = totals["distribution"] + mean_distance(rows, everyone, counted)
            totals["semantic"] = totals["semantic"] + streams.mean(label_loss(logits, streams.labels, self.task), pair)
        return {name: value * getattr(o, f"{name}_weight") for name, value in totals.items()}


def mean_distance(first: torch.Tensor, second: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return  ||mean x - mean y||^2  over the valid rows of (G, d); 0 where there is none. In float32."""
    weight = valid.float() / valid.sum().clamp(min=1)  # (G,)
    return (weight @ (first.float() - second.float())).square().sum()


__all__ = ["MissModal", "MissModalOptions", "mean_distance"]
