"""Self-MM: labels of single modalities that training makes itself (Yu et al. 2021)."""

from dataclasses import dataclass

import torch
from torch import nn

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .fusion import Fused, Streams
from .modality_vectors import ModalityVectors
from .unimodal_labels import BRANCHES, UnimodalLabels, unimodal_losses


@dataclass(frozen=True)
class SelfMMOptions:
    """Options of [`SelfMM`]; the defaults are public settings for CMU-MOSI.

    Args:
        audio_lstm, vision_lstm: width of the LSTM over audio and vision.
        audio_output, vision_output: width of the layer after it.
        multimodal_width, text_width, audio_width, vision_width: width of the features of each branch.
        multimodal_dropout, text_dropout, audio_dropout, vision_dropout: probability before the first layer of each
            branch.
        guard: where the ratio of two offsets would explode, use their difference alone (`suggested_labels`); False:
            the published rule.
    """

    audio_lstm: int = 16
    vision_lstm: int = 32
    audio_output: int = 16
    vision_output: int = 32
    multimodal_width: int = 128
    text_width: int = 32
    audio_width: int = 16
    vision_width: int = 32
    multimodal_dropout: float = 0.0
    text_dropout: float = 0.1
    audio_dropout: float = 0.1
    vision_dropout: float = 0.0
    guard: bool = True


class Branch(nn.Module):
    """f = ReLU(Linear(dropout(x))),  y = Linear(ReLU(Linear(f)))."""

    def __init__(self, width: int, hidden: int, dropout: float, num_labels: int = 1):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.feature = nn.Linear(width, hidden)
        self.hidden = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, num_labels)

    def forward(self, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the prediction y (B, C) and the features f (B, hidden)."""
        feature = torch.relu(self.feature(self.dropout(vector)))
        return self.output(torch.relu(self.hidden(feature))), feature


class SelfMM(ModalityVectors):
    """Self-MM, "Learning Modality-Specific Representations with Self-Supervised Multi-Task Learning for Multimodal
    Sentiment Analysis" (Yu et al. 2021, AAAI).

        t = text vector;  a, v = Linear(last state of an LSTM)
        y_m from [t; a; v], y_t from t, y_a from a, y_v from v, each by a `Branch` with features f
        L = |y^_m - y_m| + sum over s in t, a, v of  w_s |y^_s - y_s|,   w_s = tanh |y_s - y_m|, one a clip

    The labels y_s of the single modalities are made in training (`UnimodalLabels`). The publication defines them for
    scores; other tasks are refused.

    Differences from public code: clips that were not seen yet are in no centre of the label generation; a modality
    that a clip lacks has neither loss nor new label; `guard`.
    """

    Options = SelfMMOptions
    language_model = "tuned"
    state = UnimodalLabels
    can_be_bounded = False

    def __init__(self, options: SelfMMOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        if not task.is_regression:
            raise ValueError(
                f"Self-MM is defined for scores; task {task.name!r} has {task.num_labels} classes. Use another system."
            )
        outputs = self.make_vectors(widths)
        outputs["multimodal"] = sum(outputs.values())
        self.branches = nn.ModuleDict(
            {
                name: Branch(outputs[name], getattr(options, f"{name}_width"), getattr(options, f"{name}_dropout"))
                for name in BRANCHES
            }
        )

    def forward(self, streams: Streams) -> Fused:
        """Return logits (B, 1), those of the modalities (B, 3, 1), features f, and in training the further losses."""
        vectors = self.modality_vectors(streams)
        vectors["multimodal"] = torch.cat([vectors[name] for name in MODALITIES], dim=1)
        logits, features = {}, {}
        for name in BRANCHES:
            logits[name], features[name] = self.branches[name](vectors[name])
        modality_logits = torch.stack([logits[name] for name in MODALITIES], dim=1)  # (B, 3, 1)
        losses = None
        if self.training and streams.labels is not None and streams.targets:
            each = unimodal_losses(modality_logits, streams.targets, streams.labels, streams.modality_mask)
            losses = {name: streams.mean(value) for name, value in each.items()}
        return Fused(logits["multimodal"], modality_logits, features, losses)


__all__ = ["Branch", "SelfMM", "SelfMMOptions"]
