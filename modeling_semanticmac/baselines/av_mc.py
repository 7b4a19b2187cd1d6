"""AV-MC: clips whose audio or vision is mixed with another clip's, beside a prediction from each modality alone."""

from dataclasses import dataclass

import torch
from torch import nn

from ..configuration_semanticmac import MEDIA_MODALITIES, MODALITIES
from ..task_specification import TaskSpecification
from .annotated_labels import AnnotatedLabels
from .clip_networks import MediaNetwork
from .fusion import Fused, Fusion, Streams
from .fusion_losses import label_loss

ACTIVATIONS = {"relu": nn.ReLU, "none": nn.Identity}


@dataclass(frozen=True)
class AVMCOptions:
    """Options of [`AVMC`]; the defaults are the public settings for CH-SIMS v2.

    Args:
        text_hidden, audio_hidden, vision_hidden: widths of the three vectors.
        text_width, audio_width, vision_width: widths of the features that are fused.
        fusion_width: of the layers of the fusion.
        media_dropout: probability before the networks of audio and vision.
        dropout: before the networks of the features, and before the fusion.
        fusion_activation: between the layers of the fusion; "none" as in public code, where they are one linear map.
        mixing: alpha of the share of the first clip, drawn from Beta(alpha, alpha).
        text_weight, audio_weight, vision_weight: of the losses of the modalities.
    """

    text_hidden: int = 64
    audio_hidden: int = 16
    vision_hidden: int = 16
    text_width: int = 32
    audio_width: int = 32
    vision_width: int = 64
    fusion_width: int = 16
    media_dropout: float = 0.1
    dropout: float = 0.3
    fusion_activation: str = "relu"
    mixing: float = 1.0
    text_weight: float = 0.2
    audio_weight: float = 0.8
    vision_weight: float = 0.4

    def __post_init__(self):
        if self.fusion_activation not in ACTIVATIONS:
            raise ValueError(f"fusion_activation is {self.fusion_activation!r}; expected {' or '.join(ACTIVATIONS)}.")


class AVMC(Fusion):
    """AV-MC, "Make Acoustic and Visual Cues Matter: CH-SIMS v2.0 Dataset and AV-Mixup Consistent Module" (Liu et al.
    2022, ICMI), its supervised form.

        t = Linear(text vector);  a, v = 3 x (Linear, ReLU) of the normalized mean of the frames
        f_m = ReLU(Linear(ReLU(Linear m))),  y_m = Linear f_m,  y = Linear ReLU Linear ReLU Linear [f_t; f_a; f_v]

    A step of the training has three passes of the fusion: with the vectors as they are, with mixed audio, and with
    mixed vision,  m' = l m + (1 - l) m_p,  l ~ Beta(1, 1) once a batch, p another clip of it at random. A mixed pass
    has  l L(y) + (1 - l) L(y_p)  for the clip and the mixed modality, and L for the two others; the modalities have
    weights.

    The labels of the modalities are the annotated ones where a clip has them (CH-SIMS), else that of the clip.

    Our readings: a clip is mixed only where both clips have the modality; a ReLU lies between the layers of the fusion;
    no sigmoid over the range of scores; the model is chosen by its prediction from all modalities, not by a sum of four
    losses.
    """

    Options = AVMCOptions
    state = AnnotatedLabels
    can_be_bounded = False

    def __init__(self, options: AVMCOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        o, labels = options, task.num_labels
        self.text = nn.Linear(widths["text"], o.text_hidden)
        self.media = nn.ModuleDict(
            {name: MediaNetwork(widths[name], getattr(o, f"{name}_hidden"), o.media_dropout)
             for name in MEDIA_MODALITIES}
        )  # fmt: skip
        self.features, self.outputs = nn.ModuleDict(), nn.ModuleDict()
        for name in MODALITIES:
            hidden, width = getattr(o, f"{name}_hidden"), getattr(o, f"{name}_width")
            self.features[name] = nn.Sequential(
                nn.Dropout(o.dropout), nn.Linear(hidden, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
            )
            self.outputs[name] = nn.Linear(width, labels)
        activation = ACTIVATIONS[o.fusion_activation]
        self.fusion = nn.Sequential(
            nn.Dropout(o.dropout), nn.Linear(o.text_width + o.audio_width + o.vision_width, o.fusion_width),
            activation(), nn.Linear(o.fusion_width, o.fusion_width), activation(), nn.Linear(o.fusion_width, labels),
        )  # fmt: skip

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C), those of the modalities (B, 3, C), and in training the further losses."""
        vectors = {"text": self.text(streams.text_vector)}
        for name, network in self.media.items():
            vectors[name] = network(getattr(streams, name), getattr(streams, f"{name}_mask"))
        logits, modality_logits = self.fuse(vectors, streams)
        losses = None
        if self.training and streams.labels is not None:
            losses = self._losses(streams, vectors, modality_logits)
        return Fused(logits, torch.stack([modality_logits[name] for name in MODALITIES], dim=1), losses=losses)

    def fuse(self, vectors: dict[str, torch.Tensor], streams: Streams) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the prediction (B, C) and those of the modalities, from one vector a modality."""
        features = {name: self.features[name](vectors[name]) * streams.has(name) for name in MODALITIES}
        joined = torch.cat([features[name] for name in MODALITIES], dim=1)
        return self.fusion(joined), {name: self.outputs[name](features[name]) for name in MODALITIES}

    def _losses(self, streams: Streams, vectors: dict, plain: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the losses of the modalities, and those of the mixed passes, weighted."""
        task, truth = self.task, streams.labels
        own = {name: truth if streams.targets is None else streams.targets[name] for name in MODALITIES}
        has = {name: streams.modality_mask[:, place] for place, name in enumerate(MODALITIES)}
        weights = {name: getattr(self.options, f"{name}_weight") for name in MODALITIES}
        losses = {
            name: weights[name] * streams.mean(label_loss(plain[name], own[name], task), has[name])
            for name in MODALITIES
        }
        for name in MEDIA_MODALITIES:
            partner, share = self.draw(len(truth))
            mixes = (has[name] & has[name][partner]).to(vectors[name].dtype)  # (B,)
            share = 1 - mixes * (1 - share)  # (B,), 1 where nothing is mixed
            mixed = share[:, None] * vectors[name] + (1 - share)[:, None] * vectors[name][partner]
            logits, alone = self.fuse({**vectors, name: mixed}, streams)

            def between(found: torch.Tensor, labels: torch.Tensor, share=share, partner=partner) -> torch.Tensor:
                first, second = label_loss(found, labels, task), label_loss(found, labels[partner], task)
                return share * first + (1 - share) * second

            total = streams.mean(between(logits, truth))
            for m in MODALITIES:
                each = between(alone[m], own[m]) if m == name else label_loss(alone[m], own[m], task)
                total = total + weights[m] * streams.mean(each, has[m])
            losses[f"mixed_{name}"] = total
        return losses

    def draw(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the partner of each clip (B,), and the share l of the clip itself, a scalar."""
        device = self.text.weight.device
        share = torch.distributions.Beta(self.options.mixing, self.options.mixing).sample()
        return torch.randperm(size).to(device), share.to(device)


__all__ = ["AVMC", "AVMCOptions"]
