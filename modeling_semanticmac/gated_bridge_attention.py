"""Gated bridge attention: multi-query attention through a few pooled bridge tokens, with a ReLU gate (eq. 6-9)."""

import torch
from torch import nn

from .attention import FeedForward, attend, attention_weights, merge_heads, split_heads


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
