"""EMOE: an expert a modality, weighted for each clip by a router that learns from their errors."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .cross_modal_layers import CrossModalStack
from .fusion import Fused, Fusion, Streams
from .fusion_layers import last_state, masked_mean
from .fusion_losses import label_loss

MARGIN = 0.1  # added to an error before its inverse


@dataclass(frozen=True)
class EmotionExpertsOptions:
    """Options of [`EmotionExperts`].

    Args:
        width: d, of the experts.
        num_heads, num_layers: of their transformers.
        attention_dropout, relu_dropout, residual_dropout, embedding_dropout: in them.
        text_dropout: of the text before everything.
        output_dropout: in the output layers.
        temperature: of the router.
        modality_weight: of the mean loss of the experts' predictions.
        entropy_weight: of what keeps the weights even.
        router_weight: of the distance of the weights from what the errors ask for.
        distillation_weight: of the distance of the fusion from the weighted experts.
    """

    width: int = 50
    num_heads: int = 10
    num_layers: int = 2
    attention_dropout: float = 0.3
    relu_dropout: float = 0.0
    residual_dropout: float = 0.0
    embedding_dropout: float = 0.2
    text_dropout: float = 0.5
    output_dropout: float = 0.5
    temperature: float = 1.0
    modality_weight: float = 1.0
    entropy_weight: float = 0.1
    router_weight: float = 0.01
    distillation_weight: float = 0.1


class ResidualHead(nn.Module):
    """u = x + W_2 dropout(ReLU(W_1 x)),  y = Linear u."""

    def __init__(self, width: int, num_labels: int, dropout: float):
        super().__init__()
        self.residual = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))
        self.output = nn.Linear(width, num_labels)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return y (B, C) and u (B, d)."""
        found = x + self.residual(x)
        return self.output(found), found


def wanted_weights(errors: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Return  w_m = 1 / (e_m + 0.1),  normalised over the modalities that a clip has; 0 for the others.

    Args:
        errors: e (B, 3).
        present: bool (B, 3).
    """
    inverse = present / (errors + MARGIN)
    return inverse / inverse.sum(dim=1, keepdim=True).clamp(min=1e-9)


class EmotionExperts(Fusion):
    """EMOE, "EMOE: Modality-Specific Enhanced Dynamic Emotion Experts" (Fang et al. 2025, CVPR).

        h_m = last step of a transformer on C Conv1d_m(x_m),  one C for all modalities
        y_m = `ResidualHead` of h_m
        w   = softmax(W_2 ReLU(W_1 [mean t; mean a; mean v], of length 1) / T)     over the modalities of the clip
        y   = `ResidualHead` of sum_m w_m h_m
        L   = L(y) + mean_m L(y_m) + 0.1 sum_m 3 w_m log w_m + 0.01 mean_m (w_m - w*_m)^2
              + 0.1 mean (softmax u - softmax(sum_m w_m u_m))^2,   w* ~ 1 / (error of y_m + 0.1), u as in the heads

    w* and the last softmax have no gradient.

    Differences from public code: the router reads the mean of each stream, where code flattens sequences of a fixed
    length, padding included; its softmax is over the modalities that a clip has; the error of an expert is its loss,
    squared for scores, as there; the fusion is the weighted sum (code can also concatenate).
    """

    Options = EmotionExpertsOptions
    language_model = "tuned"
    can_be_bounded = False

    def __init__(self, options: EmotionExpertsOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        o, width, labels = options, options.width, task.num_labels
        self.text_dropout = nn.Dropout(o.text_dropout)
        self.projections = nn.ModuleDict({name: nn.Linear(widths[name], width, bias=False) for name in MODALITIES})
        self.common = nn.Linear(width, width, bias=False)
        drops = (o.attention_dropout, o.relu_dropout, o.residual_dropout, o.embedding_dropout)
        self.experts = nn.ModuleDict(
            {name: CrossModalStack(width, o.num_layers, o.num_heads, *drops) for name in MODALITIES}
        )
        self.heads = nn.ModuleDict({name: ResidualHead(width, labels, o.output_dropout) for name in MODALITIES})
        self.head = ResidualHead(width, labels, o.output_dropout)
        joined = sum(widths[name] for name in MODALITIES)
        self.router = nn.ModuleList([nn.Linear(joined, max(joined // 8, 1)), nn.Linear(max(joined // 8, 1), 3)])

    def weights(self, streams: Streams) -> torch.Tensor:
        """Return w (B, 3), which sum to 1 over the modalities of a clip; 0 for those it lacks."""
        means = [masked_mean(getattr(streams, name), getattr(streams, f"{name}_mask")) for name in MODALITIES]
        hidden = F.normalize(self.router[0](torch.cat(means, dim=1)), dim=1)
        scores = self.router[1](torch.relu(hidden)) / self.options.temperature
        scores = scores.masked_fill(~streams.modality_mask, torch.finfo(scores.dtype).min)
        return scores.softmax(dim=1).masked_fill(~streams.modality_mask, 0.0)

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C), those of the experts (B, 3, C), the weights, and in training the further losses."""
        states, logits, found = [], [], []
        for name in MODALITIES:
            x, mask = getattr(streams, name), getattr(streams, f"{name}_mask")
            x = self.common(self.projections[name](self.text_dropout(x) if name == "text" else x))
            states.append(last_state(self.experts[name](x, mask), mask))
            own = self.heads[name](states[-1])
            logits.append(own[0]), found.append(own[1])
        weights = self.weights(streams)
        fused, vector = self.head(torch.einsum("bm,bmd->bd", weights, torch.stack(states, dim=1)))
        modality_logits = torch.stack(logits, dim=1)  # (B, 3, C)
        losses = None
        if self.training and streams.labels is not None:
            losses = self._losses(streams, modality_logits, weights, vector, torch.stack(found, dim=1))
        return Fused(fused, modality_logits, {"multimodal": vector, "weights": weights}, losses)

    def _losses(
        self, streams: Streams, logits: torch.Tensor, weights: torch.Tensor, vector: torch.Tensor, vectors: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the four losses, weighted; `vectors` are u of the experts (B, 3, d)."""
        o, present = self.options, streams.modality_mask
        each = torch.stack([label_loss(own, streams.labels, self.task) for own in logits.unbind(dim=1)], dim=1)
        errors = (each.square() if self.task.is_regression else each).detach()
        clips, count = present.any(dim=1), present.sum(dim=1).clamp(min=1)
        weights = weights.float()
        experts = (each * present).sum(dim=1) / count
        entropy = len(MODALITIES) * (weights * weights.clamp(min=1e-9).log()).sum(dim=1)
        distance = (weights - wanted_weights(errors, present)).square().mean(dim=1)
        teacher = torch.einsum("bm,bmd->bd", weights, vectors.float()).detach()
        distillation = (vector.float().softmax(dim=1) - teacher.softmax(dim=1)).square().mean(dim=1)
        return {
            "experts": o.modality_weight * streams.mean(experts, clips),
            "entropy": o.entropy_weight * streams.mean(entropy, clips),
            "router": o.router_weight * streams.mean(distance, clips),
            "distillation": o.distillation_weight * streams.mean(distillation, clips),
        }


__all__ = ["EmotionExperts", "EmotionExpertsOptions", "ResidualHead", "wanted_weights"]
