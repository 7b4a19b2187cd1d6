"""Semantic-centric Gated Feature Interaction (SGFI, eq. 5-12).

Gated bridge attention: multi-query attention through a few pooled bridge tokens, with a ReLU gate (eq. 6-9). With it,
semantic-specific and semantic-shared representations of the modalities, and their fusion (eq. 5, 10-12).
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils import ModelOutput

from .affective_perceiver import FeedForward, attend, attention_weights, merge_heads, split_heads
from .input_scaling import masked_mean


def bridge_pooling_weights(mask: torch.Tensor, num_bridge_tokens: int) -> torch.Tensor:
    """Return the matrix that averages the valid tokens into n_b bins, as adaptive average pooling does: eq. (7).

    Bin j averages the valid tokens of rank floor(j L / n_b) .. ceil((j + 1) L / n_b) - 1, where L is the number of
    valid tokens of the sample: padding, on either side, is not pooled. L < n_b repeats tokens; L = 0 returns zeros.

    Args:
        mask: (B, L), True for valid tokens.
        num_bridge_tokens: n_b.

    Returns:
        (B, n_b, L), rows sum to 1 where a sample has a valid token.
    """
    mask = mask.bool()
    length = mask.sum(dim=1, keepdim=True)  # (B, 1)
    rank = mask.long().cumsum(dim=1) - 1  # (B, L)
    bins = torch.arange(num_bridge_tokens, device=mask.device)  # (n_b,)
    start = bins * length // num_bridge_tokens  # (B, n_b)
    end = ((bins + 1) * length + num_bridge_tokens - 1) // num_bridge_tokens
    inside = (rank[:, None] >= start[..., None]) & (rank[:, None] < end[..., None]) & mask[:, None]  # (B, n_b, L)
    return inside / (end - start).clamp(min=1)[..., None]


class GatedBridgeAttention(nn.Module):
    """Eq. (6)-(8), multi-query attention over bridge tokens (in the form of Agent Attention: our reading).

        Q_i = F_q W_Q_i,  K = F_k W_K,  V = F_k W_V           one key and value head for all query heads
        B_i = AdaptiveAvgPool_nb(Q_i)
        A_i = softmax(Q_i B_i^T / sqrt(d_h)) softmax(B_i K^T / sqrt(d_h))
        out = [A_1 V; ...; A_h V] W_O

    Shapes: queries (B, L_q, d), keys (B, L_k, d), masks (B, L_q), (B, L_k) -> (B, L_q, d). Only the second softmax is
    over padded keys. The result is zero for a sample without any valid key. With `multi_query=False` each head has its
    own K and V; `use_bridge_tokens=False` is plain attention softmax(Q_i K^T / sqrt(d_h)) V.
    """

    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        self.head_width = width // config.num_attention_heads
        self.num_bridge_tokens = config.num_bridge_tokens if config.use_bridge_tokens else None
        key_width = self.head_width if config.multi_query else width
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, key_width, bias=False)
        self.value = nn.Linear(width, key_width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, queries: torch.Tensor, keys: torch.Tensor, query_mask: torch.Tensor, key_mask: torch.Tensor
    ) -> torch.Tensor:
        """Attend from queries (B, L_q, d) to keys (B, L_k, d); masks (B, L_q), (B, L_k) mark the valid tokens."""
        query, bridge, key = self._queries_and_keys(queries, keys, query_mask)
        value = split_heads(self.value(keys), self.head_width)
        if bridge is None:
            return self.output(merge_heads(attend(query, key, value, key_mask, self.dropout)))
        # Evaluated from the right: the L_q x L_k matrix A_i is never formed.
        context = attend(bridge, key, value, key_mask, self.dropout)  # (B, h, n_b, d_h)
        return self.output(merge_heads(attend(query, bridge, context)))  # (B, L_q, d)

    def attention_weights(
        self, queries: torch.Tensor, keys: torch.Tensor, query_mask: torch.Tensor, key_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the matrices A_i for the inputs of `forward`, without dropout: (B, h, L_q, L_k).

        Each row sums to 1 over the valid keys.
        """
        query, bridge, key = self._queries_and_keys(queries, keys, query_mask)
        if bridge is None:
            return attention_weights(query, key, key_mask)
        return attention_weights(query, bridge, None) @ attention_weights(bridge, key, key_mask)

    def _queries_and_keys(self, queries, keys, query_mask):
        """Return Q (B, h, L_q, d_h), the bridge tokens (B, h, n_b, d_h) or None, and K (B, 1 or h, L_k, d_h)."""
        query = split_heads(self.query(queries), self.head_width)
        key = split_heads(self.key(keys), self.head_width)
        if self.num_bridge_tokens is None:
            return query, None, key
        pooling = bridge_pooling_weights(query_mask, self.num_bridge_tokens).to(query.dtype)  # (B, n_b, L_q)
        return query, pooling[:, None] @ query, key


class GateProjection(nn.Linear):
    """W_g and b_g of the gate.

    A class of its own because it starts near identity: W_g small, b_g = 1, so that every unit is active at
    initialisation.
    """


class ZeroProjection(nn.Linear):
    """The last layer of a branch that adds nothing at first: weights and bias start at zero."""


class GatedBridgeLayer(nn.Module):
    """Eq. (9), one layer. The paper states where the gate sits; its form is our reading (field `gate`).

        H  = F + GBA(LN(F), LN(X))
        G  = ReLU(LN(H) W_g + b_g) * LN(H)      "reglu";   ReLU(LN(H))  "relu";   LN(H)  "none"
        F' = H + FFN(G)                          d -> 4d -> d, ReLU

    Shapes: F (B, L_q, d), X (B, L_k, d) -> (B, L_q, d).
    """

    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        self.norm_query, self.norm_key, self.norm_gate = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = GatedBridgeAttention(config)
        self.gate = config.gate
        if config.gate == "reglu":
            self.gate_projection = GateProjection(width, width)
        self.feed_forward = FeedForward(width, nn.ReLU(), config.dropout)

    def forward(
        self, hidden: torch.Tensor, context: torch.Tensor, mask: torch.Tensor, context_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return F' (B, L_q, d) after one layer with X (B, L_k, d) as keys and values; masks (B, L_q), (B, L_k)."""
        hidden = hidden + self.attention(self.norm_query(hidden), self.norm_key(context), mask, context_mask)
        gated = self.norm_gate(hidden)
        if self.gate == "reglu":
            gated = torch.relu(self.gate_projection(gated)) * gated
        elif self.gate == "relu":
            gated = torch.relu(gated)
        return hidden + self.feed_forward(gated)


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

    With `linear_start` (not in the paper), z_Sm = p_m + g_m * mean(S_m). Here p_m (d) is the linear view of the whole
    stream, that of `StreamSummary` or `TextSummary`. The scale g_m (d) starts at zero, as do the columns
    of W_M for the shared representations, so F_M begins as a linear map of pooled embeddings.

    Shapes: three (B, L_m, d) with masks (B, L_m) -> F_M (B, d), z_S (B, 3, d), z_C (B, 3, d).
    """

    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        self.modality_embedding = nn.Parameter(torch.zeros(3, width)) if config.use_modality_embeddings else None
        self.specific = InteractionStack(config)
        self.shared = InteractionStack(config)
        self.fusion = nn.Linear(6 * width, width)
        self.specific_scale = nn.Parameter(torch.zeros(3, width)) if config.linear_start else None

    def begin_linear(self) -> None:
        """Set the weights with which F_M is the sum of the summaries p_m."""
        width = self.fusion.weight.shape[0]
        eye = torch.eye(width, dtype=self.fusion.weight.dtype, device=self.fusion.weight.device)
        init.copy_(self.fusion.weight, torch.cat([eye] * 3 + [torch.zeros_like(eye)] * 3, dim=1))  # (d, 6d)
        init.zeros_(self.fusion.bias)
        init.zeros_(self.specific_scale)

    def forward(
        self, tokens: list[torch.Tensor], masks: list[torch.Tensor], summaries: list[torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return F_M (B, d), z_S and z_C (B, 3, d) from tokens (B, L_m, d), masks (B, L_m) of text, audio, vision, and
        with `linear_start` their summaries p_m (B, d).
        """
        if self.modality_embedding is not None:
            tokens = [hidden + self.modality_embedding[m].to(hidden.dtype) for m, hidden in enumerate(tokens)]
        specific, shared = [], []
        for m, (hidden, mask) in enumerate(zip(tokens, masks)):
            if hidden.shape[1] == 0:  # absent in the whole batch: zeros without the work
                specific.append(hidden.sum(dim=1))
                shared.append(hidden.sum(dim=1))  # (B, d)
                continue
            own = masked_mean(self.specific(hidden, mask), mask)  # (B, d)
            if self.specific_scale is not None and summaries is not None:
                own = summaries[m].to(own.dtype) + self.specific_scale[m] * own
            specific.append(own)
            others = [n for n in range(3) if n != m]
            context = torch.cat([tokens[n] for n in others], dim=1)  # (B, L_n + L_k, d)
            context_mask = torch.cat([masks[n] for n in others], dim=1)
            shared.append(masked_mean(self.shared(hidden, mask, context, context_mask), mask))  # (B, d)
        multimodal = self.fusion(torch.cat(specific + shared, dim=-1))  # (B, 6d) -> (B, d)
        return multimodal, torch.stack(specific, dim=1), torch.stack(shared, dim=1)
