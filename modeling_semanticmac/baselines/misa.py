"""MISA: what a modality shares with the others and what is its own, in two subspaces."""

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import nn
from transformers import PreTrainedModel

from ..configuration_semanticmac import MODALITIES
from ..task_specification import TaskSpecification
from .fusion import Fused, Fusion, Streams
from .fusion_layers import PackedLSTM, Projection, masked_mean
from .fusion_losses import central_moment_discrepancy, difference_loss, reconstruction_loss
from .language_model_layers import language_model_layers


@dataclass(frozen=True)
class InvariantSpecificOptions:
    """Options of [`InvariantSpecificFusion`]; the defaults are the public settings for CMU-MOSI.

    Args:
        width: h, of every representation.
        media_width: width w to which audio and vision are mapped before their recurrences; None: the recurrences have
            the width of the embeddings, as in public code (86 million parameters at 1024).
        feed_forward_width: inner width of the transformer layer.
        dropout: before the output.
        similarity_weight, difference_weight, reconstruction_weight: of the three losses beside the task's.
        norm_gradient: whether the difference loss has a gradient through the norms of its rows; not so in public code,
            where at large learning rates all clips can become alike. See `difference_loss`.
        tuned_layers: layers of the language model that are trained, counted from the last; None: all. Embeddings are
            trained either way, as in public code.
    """

    width: int = 128
    media_width: int | None = 64
    feed_forward_width: int = 2048
    dropout: float = 0.2
    similarity_weight: float = 0.3
    difference_weight: float = 0.1
    reconstruction_weight: float = 1.0
    norm_gradient: bool = False
    tuned_layers: int | None = None


class StackedRecurrence(nn.Module):
    """Two bidirectional LSTMs with a LayerNorm between them; (B, T, D) to the four final states (B, 4w).

    The recurrent weights start orthogonal.

    Args:
        input_width: D.
        width: w, of each direction.
    """

    def __init__(self, input_width: int, width: int):
        super().__init__()
        self.first = PackedLSTM(input_width, width, bidirectional=True)
        self.norm = nn.LayerNorm(2 * width)
        self.second = PackedLSTM(2 * width, width, bidirectional=True)
        for name, parameter in self.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(parameter)

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return [h_1; h_2], forward and backward, over the valid steps alone; rows without any get 0."""
        states, first = self.first.states(sequence, mask)
        return torch.cat([first, self.second(self.norm(states), mask)], dim=-1)


class InvariantSpecificFusion(Fusion):
    r"""MISA (Hazarika et al. 2020, "MISA: Modality-Invariant and -Specific Representations", ACM Multimedia).

        u_t = mean over the tokens;  u_m = [h_1; h_2], final states of two biLSTMs, m = a, v
        x_m = LN(ReLU(U_m u_m))                                                                    (h)
        p_m = sigmoid(P_m x_m)      what is the modality's own
        s_m = sigmoid(Q x_m)        what it shares, one Q for all
        y^  = W_2 ReLU(dropout(W_1 flatten(transformer layer([p_t, p_v, p_a, s_t, s_v, s_a]))))    6h -> 3h -> C

    and beside the loss of the task, in training:

        similarity       mean of CMD(s_m, s_n) over the three pairs
        difference       sum of DIFF(p_m, s_m) over the modalities and of DIFF(p_m, p_n) over the pairs
        reconstruction   mean over the modalities of MSE(R_m (p_m + s_m), x_m); x_m has a gradient too

    CMD and DIFF are `central_moment_discrepancy` and `difference_loss`.

    Our readings: audio and vision are mapped to `media_width` first; public code runs recurrences as wide as the
    input, and packs audio and vision by the length of the text. A missing modality has x = p = s = 0, its two tokens
    are not keys of the attention and are 0 after it, and its clips count in none of the losses. The losses are those of
    the batch of all processes. The weights of public code that nothing uses are left out.

    Both public implementations divide by the norms in DIFF without a gradient through them, and so does the default
    here. At learning rates of 1e-3 and more, narrow models (h = 16) then make p and s alike for all clips: the three
    losses are near 0 and the task is not learnt. `norm_gradient` prevents it. The reconstruction, whose target has a
    gradient as in public code, is not the cause: detaching the target changes nothing.
    """

    Options = InvariantSpecificOptions
    language_model = "tuned"

    def __init__(self, options: InvariantSpecificOptions, widths: dict[str, int], task: TaskSpecification):
        super().__init__(options, widths, task)
        width = options.width
        media = {name: options.media_width or widths[name] for name in ("audio", "vision")}
        self.media_projections = nn.ModuleDict(
            {name: Projection(widths[name], options.media_width) for name in media if options.media_width}
        )
        self.recurrences = nn.ModuleDict({name: StackedRecurrence(media[name], media[name]) for name in media})
        pooled = {"text": widths["text"]} | {name: 4 * media[name] for name in media}
        self.projections = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(pooled[name], width), nn.ReLU(), nn.LayerNorm(width)) for name in MODALITIES}
        )
        self.private = nn.ModuleDict({name: nn.Linear(width, width) for name in MODALITIES})
        self.shared = nn.Linear(width, width)
        self.rebuild = nn.ModuleDict({name: nn.Linear(width, width) for name in MODALITIES})
        self.transformer = nn.TransformerEncoderLayer(
            width, nhead=2, dim_feedforward=options.feed_forward_width, batch_first=True
        )
        self.output = nn.Sequential(
            nn.Linear(6 * width, 3 * width), nn.Dropout(options.dropout), nn.ReLU(),
            nn.Linear(3 * width, task.num_labels),
        )  # fmt: skip

    def freeze(self, language_model: PreTrainedModel) -> None:
        """Take the layers before the last `tuned_layers` of the language model out of the training.

        Raises:
            ValueError: the language model has no list of layers, or fewer.
        """
        tuned = self.options.tuned_layers
        if tuned is None:
            return
        layers = language_model_layers(language_model)
        if not 0 <= tuned <= len(layers):
            raise ValueError(f"tuned_layers is {tuned}; the language model has {len(layers)} layers.")
        for layer in layers[: len(layers) - tuned]:
            layer.requires_grad_(False)

    def subspaces(self, streams: Streams) -> dict[str, torch.Tensor]:
        """Return x, p and s of text, audio and vision, each (B, 3, h); 0 for a missing modality."""
        pooled = {"text": masked_mean(streams.text, streams.text_mask)}
        for name, recurrence in self.recurrences.items():
            media = getattr(streams, name)
            if name in self.media_projections:
                media = self.media_projections[name](media)
            pooled[name] = recurrence(media, getattr(streams, f"{name}_mask"))
        mapped = [self.projections[name](pooled[name]) for name in MODALITIES]
        private = [torch.sigmoid(self.private[name](own)) for name, own in zip(MODALITIES, mapped)]
        present = streams.modality_mask.unsqueeze(-1)  # (B, 3, 1)
        mapped = torch.stack(mapped, dim=1)
        parts = {"mapped": mapped, "private": torch.stack(private, dim=1), "shared": torch.sigmoid(self.shared(mapped))}
        return {name: part * present for name, part in parts.items()}

    def losses(self, parts: dict[str, torch.Tensor], present: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the weighted losses of the batch.

        Args:
            parts: of `subspaces`.
            present: bool (B, 3).
        """
        rebuilt = torch.stack(
            [self.rebuild[name]((parts["private"] + parts["shared"])[:, m]) for m, name in enumerate(MODALITIES)], dim=1
        )
        private, shared = parts["private"].unbind(dim=1), parts["shared"].unbind(dim=1)
        pairs = [(m, n, present[:, m] & present[:, n]) for m, n in combinations(range(3), 2)]
        similarity = sum(central_moment_discrepancy(shared[m], shared[n], both) for m, n, both in pairs) / 3
        compared = [(private[m], shared[m], present[:, m]) for m in range(3)]
        compared += [(private[m], private[n], both) for m, n, both in pairs]
        difference = sum(difference_loss(*rows, norm_gradient=self.options.norm_gradient) for rows in compared)
        rebuilding = [reconstruction_loss(rebuilt[:, m], parts["mapped"][:, m], present[:, m]) for m in range(3)]
        losses = {"similarity": similarity, "difference": difference, "reconstruction": sum(rebuilding) / 3}
        return {name: loss * getattr(self.options, f"{name}_weight") for name, loss in losses.items()}

    def forward(self, streams: Streams) -> Fused:
        """Return the logits (B, C), and in training the three losses."""
        parts, present = self.subspaces(streams), streams.modality_mask
        order = [0, 2, 1]  # text, vision, audio
        tokens = torch.cat([parts["private"][:, order], parts["shared"][:, order]], dim=1)  # (B, 6, h)
        missing = ~present[:, order].repeat(1, 2)  # (B, 6)
        # A clip without any modality attends to all its tokens, and is set to 0 afterwards.
        attended = self.transformer(tokens, src_key_padding_mask=missing & ~missing.all(dim=1, keepdim=True))
        logits = self.output(attended.masked_fill(missing.unsqueeze(-1), 0).flatten(1))
        embeds = {name: parts["shared"][:, m] for m, name in enumerate(MODALITIES)}
        losses = None
        if self.training:
            counted = present if streams.counts is None else present & streams.counts[:, None]
            everyone = {name: streams.gather(part) for name, part in parts.items()}
            losses = self.losses(everyone, streams.gather(counted.to(logits.dtype)) > 0)
        return Fused(logits=logits, embeds=embeds, losses=losses)


__all__ = ["InvariantSpecificFusion", "InvariantSpecificOptions", "StackedRecurrence"]
