"""MFM: factors of each modality and of the label, from which the modalities are generated again."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .fusion import Fused, Fusion, Streams
from .fusion_layers import PackedLSTM, Steps, compact, word_steps
from .mfn import MemoryFusionNetwork, MemoryFusionOptions


@dataclass(frozen=True)
class FactorizedModelOptions:
    """Options of [`FactorizedModel`]; the defaults are the public settings for CMU-MOSI.

    Args:
        label_latent, text_latent, audio_latent, vision_latent: widths of z_y, z_t, z_a, z_v.
        label_factor, text_factor, audio_factor, vision_factor: widths of f_y, f_t, f_a, f_v.
        dropout: between the two layers of a factor, and before the output.
        discrepancy_weight: of the distance of the z from a standard normal.
        text_weight, audio_weight, vision_weight: of the reconstructions.
        kernel_power: p of the kernel exp(-||x - y||^2 / d^p): 2 as in public code, whose weights are for it; 1 divides
            by the width once.
        text_hidden, ..., update_dropout: of the Memory Fusion Network inside, as in its options.
    """

    label_latent: int = 80
    text_latent: int = 64
    audio_latent: int = 80
    vision_latent: int = 80
    label_factor: int = 64
    text_factor: int = 32
    audio_factor: int = 16
    vision_factor: int = 64
    dropout: float = 0.5
    discrepancy_weight: float = 100.0
    text_weight: float = 0.5
    audio_weight: float = 0.01
    vision_weight: float = 0.5
    kernel_power: int = 2
    text_hidden: int = 128
    audio_hidden: int = 32
    vision_hidden: int = 128
    memory_width: int = 64
    attention_hidden: int = 32
    attention_dropout: float = 0.7
    candidate_hidden: int = 64
    candidate_dropout: float = 0.0
    retain_hidden: int = 32
    retain_dropout: float = 0.0
    update_hidden: int = 64
    update_dropout: float = 0.5


class Decoder(nn.Module):
    """A sequence from one vector: an LSTM that reads the vector first and then its own last state, and a linear map."""

    def __init__(self, width: int, output: int):
        super().__init__()
        self.cell, self.output = nn.LSTMCell(width, width), nn.Linear(width, output)

    def forward(self, vector: torch.Tensor, steps: int) -> torch.Tensor:
        """Return (B, S, D) for a vector (B, w) and S steps."""
        hidden, states, found = vector, None, []
        for _ in range(steps):
            states = self.cell(hidden, states)
            hidden = states[0]
            found.append(hidden)
        return self.output(torch.stack(found, dim=1))


class FactorizedModel(Fusion):
    """MFM, "Learning Factorized Multimodal Representations" (Tsai et al. 2019, ICLR).

        z_m = Linear(last state of an LSTM over x_m),  m = t, a, v;   z_y = Linear [h_t; h_a; h_v; u] of MFN
        f   = ReLU(Linear(ReLU(Linear z))) of each z
        y   = Linear(ReLU(Linear f_y));   x^_m = Decoder [f_y; f_m]
        L   = task + sum_m w_m mean (x^_m - x_m)^2 + w sum_z MMD(z, N(0, I))
        MMD = mean k(z, z) + mean k(n, n) - 2 mean k(z, n),  k(x, y) = exp(-||x - y||^2 / d^2)

    n is a sample of the normal of the size of the batch, drawn in each step.

    Differences from public code, or our readings: the steps are those of MFN (`word_steps`); what is rebuilt is the
    valid part of the modalities that a clip has, without gradient into the language model; it is normalised at each
    step first, so that embeddings of any scale have a loss near 1; z of a missing modality is 0 and in no MMD.
    """

    Options = FactorizedModelOptions

    def __init__(self, options: FactorizedModelOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        o = options
        latent = {name: getattr(o, f"{name}_latent") for name in (*MODALITIES, "label")}
        factor = {name: getattr(o, f"{name}_factor") for name in latent}
        names = MemoryFusionOptions.__dataclass_fields__.keys() & o.__dataclass_fields__.keys()
        network = MemoryFusionOptions(**{name: getattr(o, name) for name in names})
        self.network = MemoryFusionNetwork(network, widths, task)
        self.network.output = nn.Identity()  # nothing reads its prediction
        self.recurrences = nn.ModuleDict({name: PackedLSTM(widths[name], latent[name]) for name in MODALITIES})
        joined = sum(getattr(o, f"{name}_hidden") for name in MODALITIES) + o.memory_width
        self.latents = nn.ModuleDict({name: nn.Linear(latent[name], latent[name]) for name in MODALITIES})
        self.latents["label"] = nn.Linear(joined, latent["label"])
        self.factors = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(latent[name], factor[name]), nn.ReLU(), nn.Dropout(o.dropout),
                                 nn.Linear(factor[name], factor[name]), nn.ReLU()) for name in latent}
        )  # fmt: skip
        self.decoders = nn.ModuleDict(
            {name: Decoder(factor["label"] + factor[name], widths[name]) for name in MODALITIES}
        )
        self.output = nn.Sequential(
            nn.Linear(factor["label"], factor["label"]), nn.ReLU(), nn.Dropout(o.dropout),
            nn.Linear(factor["label"], task.num_labels),
        )  # fmt: skip

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C), z, and in training the further losses."""
        steps = word_steps(streams)
        states = self.network.run(steps, streams.modality_mask)
        latents = {"label": self.latents["label"](torch.cat(list(states.values()), dim=-1))}
        for name in MODALITIES:
            final = self.recurrences[name](getattr(steps, name), steps.mask)
            latents[name] = self.latents[name](final) * streams.has(name)
        factor = self.factors["label"](latents["label"])
        losses = None
        if self.training and streams.labels is not None:
            losses = {"discrepancy": self.options.discrepancy_weight * self._discrepancy(streams, latents)}
            for name in MODALITIES:
                vector = torch.cat([factor, self.factors[name](latents[name])], dim=-1)
                rebuilt = self._reconstruction(streams, steps, name, vector)
                losses[f"{name}_reconstruction"] = getattr(self.options, f"{name}_weight") * rebuilt
        return Fused(self.output(factor), embeds=latents, losses=losses)

    def _discrepancy(self, streams: Streams, latents: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the sum of MMD over the four z."""
        total = streams.text.new_zeros((), dtype=torch.float32)
        for name, latent in latents.items():
            has = streams.modality_mask
            counted = streams.counted(has.any(dim=1) if name == "label" else has[:, MODALITIES.index(name)])
            normal = torch.randn(latent.shape).to(latent)  # from the generator that every checkpoint saves
            rows, normal = streams.gather(latent), streams.gather(normal)
            total = total + mean_discrepancy(rows, normal, counted, self.options.kernel_power)
        return total

    def _reconstruction(self, streams: Streams, steps: Steps, name: str, vector: torch.Tensor) -> torch.Tensor:
        """Return the mean over the clips of the squared error of a modality over its valid steps."""
        target = F.layer_norm(getattr(steps, name).detach().float(), (self.widths[name],))
        target, _ = compact(target, steps.mask)
        rebuilt = self.decoders[name](vector, target.shape[1]).float()
        counts = steps.mask.sum(dim=1)  # (B,)
        inside = torch.arange(target.shape[1], device=counts.device) < counts[:, None]
        each = ((rebuilt - target).square().mean(dim=-1) * inside).sum(dim=1) / counts.clamp(min=1)
        return streams.mean(each, streams.modality_mask[:, MODALITIES.index(name)])


def mean_discrepancy(first: torch.Tensor, second: torch.Tensor, valid: torch.Tensor, power: int = 2) -> torch.Tensor:
    """Return the maximum mean discrepancy of two samples with the kernel exp(-||x - y||^2 / d^power), in float32.

    Args:
        first, second: (G, d).
        valid: bool (G,), the rows of both that count; with none the result is 0.
        power: see above.
    """
    weight = valid.float() / valid.sum().clamp(min=1)  # (G,)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        squares = (x.float()[:, None] - y.float()[None]).square().sum(dim=-1)
        return weight @ torch.exp(-squares / x.shape[1] ** power) @ weight

    return kernel(first, first) + kernel(second, second) - 2 * kernel(first, second)


__all__ = ["Decoder", "FactorizedModel", "FactorizedModelOptions", "mean_discrepancy"]
