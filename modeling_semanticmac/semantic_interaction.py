"""Semantic-centric Gated Feature Interaction (SGFI, eq. 5, 10-12).

Semantic-specific and semantic-shared representations of the modalities, and their fusion.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.utils import ModelOutput

from .attention import masked_mean
from .gated_bridge_attention import GatedBridgeLayer


@dataclass
class SemanticMACOutput(ModelOutput):
    """Representations of a batch.

    Args:
        multimodal_embeds: F_M of eq. (12), (B, d).
        specific_embeds: pooled semantic-specific representations z_S of text, audio, vision, (B, 3, d).
        shared_embeds: pooled semantic-shared representations z_C of text, audio, vision, (B, 3, d).
        modality_mask: which of text, audio, vision each sample has, bool (B, 3). Rows of a missing modality are zero in
            the representations.
        hidden_states, attentions: of the language model, where requested.
    """

    multimodal_embeds: torch.Tensor | None = None
    specific_embeds: torch.Tensor | None = None
    shared_embeds: torch.Tensor | None = None
    modality_mask: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class InteractionStack(nn.Module):
    """L_g layers of eq. (9), then a LayerNorm (our reading: eq. (13) measures distances of normalised features).

    `context=None` is self-interaction, with the current representation as key and value. A given context stays fixed in
    every layer.
    """

    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList(GatedBridgeLayer(config) for _ in range(config.num_interaction_layers))
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(
        self,
        hidden: torch.Tensor,
        mask: torch.Tensor,
        context: torch.Tensor | None = None,
        context_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return F (B, L, d) after all layers; the context is (B, L_k, d) with mask (B, L_k)."""
        for layer in self.layers:
            if context is None:
                hidden = layer(hidden, hidden, mask, mask)
            else:
                hidden = layer(hidden, context, mask, context_mask)
        return self.norm(hidden)


class SemanticInteraction(nn.Module):
    """Section III-D, eq. (5) and (10)-(12).

        F_m <- F_m + e_mod_m
        S_m = SGFI_spec(Q = F_m, K = V = F_m)
        C_m = SGFI_shar(Q = F_m, K = V = [F_n; F_k]),   {n, k} = {t, a, v} \\ {m}
        F_M = W_M [z_St; z_Sa; z_Sv; z_Ct; z_Ca; z_Cv] + b_M

    z is the mean over valid tokens. There are two stacks, specific and shared, each shared by the three modalities (our
    reading: the modality embedding has a use only then). The order of modalities is always text, audio, vision. A
    modality that a sample lacks has z = 0 and is not a key.

    Shapes: three (B, L_m, d) with masks (B, L_m) -> F_M (B, d), z_S (B, 3, d), z_C (B, 3, d).
    """

    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        self.modality_embedding = nn.Parameter(torch.zeros(3, width)) if config.use_modality_embeddings else None
        self.specific = InteractionStack(config)
        self.shared = InteractionStack(config)
        self.fusion = nn.Linear(6 * width, width)

    def forward(
        self, tokens: list[torch.Tensor], masks: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return F_M (B, d), z_S and z_C (B, 3, d) from tokens (B, L_m, d), masks (B, L_m) of text, audio, vision."""
        if self.modality_embedding is not None:
            tokens = [hidden + self.modality_embedding[m].to(hidden.dtype) for m, hidden in enumerate(tokens)]
        specific, shared = [], []
        for m, (hidden, mask) in enumerate(zip(tokens, masks)):
            if hidden.shape[1] == 0:  # absent in the whole batch: zeros without the work
                specific.append(hidden.sum(dim=1))
                shared.append(hidden.sum(dim=1))  # (B, d)
                continue
            specific.append(masked_mean(self.specific(hidden, mask), mask))  # (B, d)
            others = [n for n in range(3) if n != m]
            context = torch.cat([tokens[n] for n in others], dim=1)  # (B, L_n + L_k, d)
            context_mask = torch.cat([masks[n] for n in others], dim=1)
            shared.append(masked_mean(self.shared(hidden, mask, context, context_mask), mask))  # (B, d)
        multimodal = self.fusion(torch.cat(specific + shared, dim=-1))  # (B, 6d) -> (B, d)
        return multimodal, torch.stack(specific, dim=1), torch.stack(shared, dim=1)
