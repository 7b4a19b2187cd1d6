"""MMCL, our reading: contrasts within a modality, between modalities and between clips (no public code)."""

from dataclasses import dataclass
from itertools import permutations

import torch
from torch import nn
from torch.nn import functional as F

from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..task_specification import TaskSpecification
from .cross_modal_layers import CrossModalStack
from .fusion import Fused, Fusion, Streams
from .fusion_layers import Projection, masked_mean
from .fusion_losses import paired_contrast

PAIRS = tuple(permutations(MODALITIES, 2))


@dataclass(frozen=True)
class MMCLOptions:
    """Options of [`MMCL`]; no settings are published.

    Args:
        width: d, of every representation.
        num_layers, num_heads: of the transformers over audio and vision.
        dropout: in them, and in the fusion.
        cut: share of frames and of features that a view lacks.
        temperature: of the contrasts.
        view_weight, prediction_weight, instance_weight, sentiment_weight: of the four losses beside the task's.
    """

    width: int = 64
    num_layers: int = 2
    num_heads: int = 4
    dropout: float = 0.1
    cut: float = 0.2
    temperature: float = 0.5
    view_weight: float = 0.1
    prediction_weight: float = 0.1
    instance_weight: float = 0.1
    sentiment_weight: float = 0.1


def same_label_contrast(
    vectors: torch.Tensor, same: torch.Tensor, valid: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the supervised contrast (Khosla et al. 2020), the mean over the samples that have a positive:

        -mean over the positives p of i of  [x_i . x_p / T - logsumexp_{j != i} (x_i . x_j / T)]

    Args:
        vectors: x (G, d), normalised here.
        same: bool (G, G), which samples are of one label.
        valid: bool (G,), the samples that count.
        temperature: T.
    """
    vectors = F.normalize(vectors.float(), dim=1)
    scores = vectors @ vectors.T / temperature
    other = valid & ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)  # (G, G)
    logarithm = scores - scores.masked_fill(~other, torch.finfo(scores.dtype).min).logsumexp(dim=1, keepdim=True)
    positive = same & other & valid[:, None]
    count = positive.sum(dim=1)
    each = -(logarithm.masked_fill(~positive, 0)).sum(dim=1) / count.clamp(min=1)
    return each.sum() / (count > 0).sum().clamp(min=1)


class MMCL(Fusion):
    """MMCL, our reading of "Multimodal Contrastive Learning via Uni-Modal Coding and Cross-Modal Prediction for
    Multimodal Sentiment Analysis" (Lin, Hu 2022, Findings of EMNLP). No public code.

        t = Linear(text vector);  a, v = mean of a transformer over W_m x_m
        z = ReLU(Linear [t; a; v]),  y = Linear ReLU Linear z

    and in training, each with a weight:

        view         NT-Xent of two views of a, and of v, each without 20 % of the frames and of the features
        prediction   1 - cos(predictor_{m,n}(m), n), n without gradient, mean over the six pairs
        instance     NT-Xent of z and of z from the views
        sentiment    supervised contrast of z; scores that round to the same number are of one label

    Known are contrasts within audio and vision on augmented features, pseudo-siamese networks that predict one modality
    from another, and contrasts by instance and by sentiment; sizes and forms are ours. Several labels a clip are of one
    label where all agree.
    """

    Options = MMCLOptions
    language_model = "tuned"
    can_be_bounded = False

    def __init__(self, options: MMCLOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        o = options
        self.projections = nn.ModuleDict({name: Projection(widths[name], o.width) for name in MODALITIES})
        self.transformers = nn.ModuleDict(
            {name: CrossModalStack(o.width, o.num_layers, o.num_heads, o.dropout, o.dropout, o.dropout)
             for name in MEDIA_MODALITIES}
        )  # fmt: skip
        self.predictors = nn.ModuleDict(
            {f"{source}_to_{target}": nn.Sequential(nn.Linear(o.width, o.width), nn.ReLU(), nn.Linear(o.width, o.width))
             for source, target in PAIRS}
        )  # fmt: skip
        self.dropout = nn.Dropout(o.dropout)
        self.fusion = nn.Linear(3 * o.width, o.width)
        self.hidden, self.output = nn.Linear(o.width, o.width), nn.Linear(o.width, task.num_labels)

    def media(self, name: str, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return one vector (B, d) of audio or vision (B, T, D)."""
        return masked_mean(self.transformers[name](self.projections[name](frames), mask), mask)

    def fuse(self, vectors: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return z (B, d)."""
        return torch.relu(self.fusion(self.dropout(torch.cat([vectors[name] for name in MODALITIES], dim=1))))

    def view(self, name: str, streams: Streams) -> torch.Tensor:
        """Return one vector of audio or vision without a random part of its frames and features; a frame is kept."""
        frames, mask = getattr(streams, name), getattr(streams, f"{name}_mask")
        draws = torch.rand(mask.shape).to(mask.device)
        best = draws.masked_fill(~mask, -1).argmax(dim=1, keepdim=True)
        kept = mask & (draws >= self.options.cut).scatter(1, best, True)
        features = torch.rand(len(frames), 1, frames.shape[2]).to(frames.device) >= self.options.cut
        return self.media(name, frames * features, kept)

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C), z, and in training the further losses."""
        vectors = {"text": self.projections["text"](streams.text_vector) * streams.has("text")}
        for name in MEDIA_MODALITIES:
            vectors[name] = self.media(name, getattr(streams, name), getattr(streams, f"{name}_mask"))
        fused = self.fuse(vectors)
        losses = None
        if self.training and streams.labels is not None:
            losses = self._losses(streams, vectors, fused)
        logits = self.output(torch.relu(self.hidden(fused)))
        return Fused(logits, embeds=vectors | {"multimodal": fused}, losses=losses)

    def _losses(self, streams: Streams, vectors: dict, fused: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the four losses, weighted."""
        o, has = self.options, dict(zip(MODALITIES, streams.modality_mask.unbind(dim=1)))
        views = [{name: self.view(name, streams) for name in MEDIA_MODALITIES} for _ in range(2)]
        within = sum(
            paired_contrast(*(streams.gather(view[name]) for view in views), streams.counted(has[name]), o.temperature)
            for name in MEDIA_MODALITIES
        )
        prediction = fused.new_zeros(())
        for source, target in PAIRS:
            found = self.predictors[f"{source}_to_{target}"](vectors[source])
            distance = 1 - F.cosine_similarity(found.float(), vectors[target].detach().float(), dim=1)
            prediction = prediction + streams.mean(distance, has[source] & has[target]) / len(PAIRS)
        everyone, counted = streams.gather(fused), streams.counted(streams.modality_mask.any(dim=1))
        again = streams.gather(self.fuse({**vectors, **views[0]}))
        labels = streams.gather(streams.labels.reshape(len(fused), -1).to(fused.dtype)).round()  # (G, 1 or C)
        same = (labels[:, None] == labels[None]).all(dim=2)
        losses = {
            "view": within,
            "prediction": prediction,
            "instance": paired_contrast(everyone, again, counted, o.temperature),
            "sentiment": same_label_contrast(everyone, same, counted, o.temperature),
        }
        return {name: value * getattr(o, f"{name}_weight") for name, value in losses.items()}


__all__ = ["MMCL", "MMCLOptions", "same_label_contrast"]
