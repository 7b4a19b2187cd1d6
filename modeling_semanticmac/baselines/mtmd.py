"""MTMD, our reading: text and the fusion teach audio and vision, by a slow copy of the text branch (no public code)."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..task_specification import LEARNT_RANGE, TaskSpecification
from .fusion import Fused, Streams
from .modality_vectors import ModalityVectors
from .momentum import MomentumModel
from .self_mm import Branch
from .unimodal_labels import BRANCHES

BINS = 7  # classes into which a score is seen


@dataclass(frozen=True)
class MTMDOptions:
    """Options of [`MTMD`]; no settings are published, the sizes are those of Self-MM.

    Args:
        audio_lstm, vision_lstm: width of the LSTM over audio and vision.
        audio_output, vision_output: width of the layer after it.
        multimodal_width, text_width, audio_width, vision_width: width of the features of each branch.
        dropout: before the first layer of each branch.
        momentum: share of the slow copy, and of the weights of the modalities, that a step keeps.
        temperature: of the classes in the distillation.
        distillation_weight: of the distillation.
    """

    audio_lstm: int = 16
    vision_lstm: int = 32
    audio_output: int = 16
    vision_output: int = 32
    multimodal_width: int = 128
    text_width: int = 32
    audio_width: int = 16
    vision_width: int = 32
    dropout: float = 0.1
    momentum: float = 0.995
    temperature: float = 2.0
    distillation_weight: float = 0.5


def distillation(student: torch.Tensor, teacher: torch.Tensor, centres: torch.Tensor, temperature: float):
    """Return  |s - t| + KL(p_t || p_s)  of each clip (B,),  p_x = softmax_k(-(x - c_k)^2 / T).

    Args:
        student, teacher: scores s, t (B, 1).
        centres: c (K,).
        temperature: T.
    """
    student, teacher = student.float(), teacher.float()
    views = [F.log_softmax(-(x - centres).square() / temperature, dim=1) for x in (student, teacher)]
    divergence = F.kl_div(views[0], views[1], reduction="none", log_target=True).sum(dim=1)
    return (student - teacher).abs().squeeze(1) + divergence


class MTMD(ModalityVectors):
    """MTMD, our reading of "Multi-task Momentum Distillation for Multimodal Sentiment Analysis" (Lin, Hu 2023, IEEE
    Transactions on Affective Computing). No public code.

        t = text vector;  a, v = Linear(last state of an LSTM)
        y_m from [3 w_t t; 3 w_a a; 3 w_v v], y_t, y_a, y_v, each by a `Branch`
        L = |y_m - y| + sum_s |y_s - y| + w sum_{s = a, v} distillation(y_s, (y_m + y'_t) / 2)

    y'_t is from a slow copy of the text's branch, c <- 0.995 c + 0.005 (the branch) after each step; no gradient flows
    into the target. The weights w_m of the modalities in the fusion, at first 1/3, follow softmax(-L_m) as slowly.

    Known are that the multimodal and the text task teach audio and vision through scores and classes, momentum models,
    and an adaptive momentum of the fusion; the forms are ours. Scores only; other tasks are refused.
    """

    Options = MTMDOptions
    language_model = "tuned"
    state = MomentumModel
    can_be_bounded = False

    def __init__(self, options: MTMDOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        if not task.is_regression:
            raise ValueError(
                f"MTMD is defined for scores; task {task.name!r} has {task.num_labels} classes. Use another system."
            )
        o = options
        outputs = self.make_vectors(widths)
        outputs["multimodal"] = sum(outputs.values())
        self.branches = nn.ModuleDict(
            {name: Branch(outputs[name], getattr(o, f"{name}_width"), o.dropout) for name in BRANCHES}
        )
        self.teacher = Branch(outputs["text"], o.text_width, 0.0)
        self.teacher.load_state_dict(self.branches["text"].state_dict())
        self.teacher.requires_grad_(False)
        self.register_buffer("weights", torch.full((len(MODALITIES),), 1 / len(MODALITIES)))
        low, high = LEARNT_RANGE if task.scale_scores else task.score_range
        self.register_buffer("centres", torch.linspace(low, high, BINS))

    def forward(self, streams: Streams) -> Fused:
        """Return logits (B, 1), those of the modalities (B, 3, 1), and in training the further losses."""
        vectors = self.modality_vectors(streams)
        weights = len(MODALITIES) * self.weights.to(vectors["text"].dtype)
        joined = torch.cat([weight * vectors[name] for weight, name in zip(weights, MODALITIES)], dim=1)
        logits = self.branches["multimodal"](joined)[0]
        alone = {name: self.branches[name](vectors[name])[0] for name in MODALITIES}
        losses = None
        if self.training and streams.labels is not None:
            losses = self._losses(streams, logits, alone, vectors["text"])
        modality_logits = torch.stack([alone[name] for name in MODALITIES], dim=1)  # (B, 3, 1)
        return Fused(logits, modality_logits, {"scores": modality_logits.squeeze(2)}, losses)

    def _losses(self, streams: Streams, logits: torch.Tensor, alone: dict, text: torch.Tensor) -> dict:
        """Return the losses of the modalities and the distillation, weighted."""
        has = dict(zip(MODALITIES, streams.modality_mask.unbind(dim=1)))
        losses = {
            name: streams.mean((alone[name].float().squeeze(1) - streams.labels).abs(), has[name])
            for name in MODALITIES
        }
        with torch.no_grad():
            slow = self.teacher(text)[0]
            target = torch.where(has["text"][:, None], (logits + slow) / 2, logits)
        taught = [
            streams.mean(distillation(alone[name], target, self.centres, self.options.temperature), has[name])
            for name in MEDIA_MODALITIES
        ]
        return losses | {"distillation": self.options.distillation_weight * sum(taught)}


__all__ = ["BINS", "MTMD", "MTMDOptions", "distillation"]
