"""Attention over padded sets, and the Affective Perceiver built of it (section III-C, eq. 3-4).

The perceiver turns a stream of any length into a fixed number of tokens. The interaction of modalities and the frozen
towers use the same attention.
"""

import torch
from torch import nn
from torch.nn import functional as F

from .input_scaling import InputScaling


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the softmax over the last axis among the allowed keys, computed in float32; the others get exactly zero.

    A row without any allowed key is all zeros, not NaN: attention to nothing adds nothing.

    Args:
        scores: logits (..., L_q, L_k).
        mask: True (or 1) for allowed keys, broadcastable to the scores; None allows all.

    Returns:
        Weights of the shape and dtype of the scores.
    """
    weights = scores.float()
    if mask is not None:
        weights = weights.masked_fill(~mask.bool(), torch.finfo(torch.float32).min)
    weights = weights.softmax(dim=-1)
    if mask is not None:
        weights = weights * mask.bool()
    return weights.to(scores.dtype)


def attention_weights(queries: torch.Tensor, keys: torch.Tensor, key_mask: torch.Tensor | None) -> torch.Tensor:
    """Return softmax(Q K^T / sqrt(d_h)) among the allowed keys; shapes as in `attend`, result (B, h, L_q, L_k).

    The weights that `attend` applies without showing them.
    """
    scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5  # (B, h, L_q, L_k)
    return masked_softmax(scores, None if key_mask is None else key_mask[:, None, None, :])


def attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    key_mask: torch.Tensor | None = None,
    dropout: nn.Module | None = None,
) -> torch.Tensor:
    """Return softmax(Q K^T / sqrt(d_h)) V among the allowed keys; zeros for a sample without any allowed key.

    Args:
        queries: (B, h, L_q, d_h).
        keys, values: (B, h, L_k, d_h), or (B, 1, L_k, d_h) for one head that all queries share (multi-query).
        key_mask: (B, L_k), True for valid keys; None allows all.
        dropout: an `nn.Dropout` for the weights; any other module, or None, drops nothing.

    Returns:
        (B, h, L_q, d_h).
    """
    heads = queries.shape[1]
    p = dropout.p if isinstance(dropout, nn.Dropout) and dropout.training else 0.0
    keys, values = keys.expand(-1, heads, -1, -1), values.expand(-1, heads, -1, -1)
    if key_mask is None:
        return F.scaled_dot_product_attention(queries, keys, values, dropout_p=p)
    if not keys.shape[2]:
        return queries @ keys.transpose(-1, -2) @ values  # zeros, and part of the graph on every device
    key_mask = key_mask.bool()
    # A fully masked row has other results on other devices: such samples see all keys, and are set to zero afterwards.
    empty = ~key_mask.any(dim=1)  # (B,)
    allowed = (key_mask | empty[:, None])[:, None, None, :]
    attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=allowed, dropout_p=p)
    return attended.masked_fill(empty[:, None, None, None], 0)


def split_heads(hidden: torch.Tensor, head_width: int) -> torch.Tensor:
    """Reshape (B, L, h * d_h) to (B, h, L, d_h)."""
    return hidden.unflatten(-1, (-1, head_width)).transpose(1, 2)


def merge_heads(hidden: torch.Tensor) -> torch.Tensor:
    """Reshape (B, h, L, d_h) to (B, L, h * d_h)."""
    return hidden.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """A feed-forward block: FFN(x) = W_2 act(W_1 x), d -> 4d -> d, with dropout after the activation."""

    def __init__(self, width: int, activation: nn.Module, dropout: float):
        super().__init__()
        self.expand = nn.Linear(width, 4 * width)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.contract(self.dropout(self.activation(self.expand(hidden))))


class FrameEmbedding(nn.Module):
    """Eq. (3):  E_m <- E_m + e_frame_m[0:T],  one learnable row a time step.

    Shapes: (B, T * crops, d) -> (B, T * crops, d). All crops of one time step share its row. Steps past the end of the
    table share its last row, so any T works. One table a modality is our reading.
    """

    def __init__(self, max_frames: int, width: int, num_crops: int = 1):
        super().__init__()
        self.num_crops = num_crops
        self.weight = nn.Parameter(torch.zeros(max_frames, width))

    def forward(self, embeds: torch.Tensor) -> torch.Tensor:
        """Add the row of its time step to each embedding."""
        steps = torch.arange(embeds.shape[1], device=embeds.device) // self.num_crops
        return embeds + self.weight[steps.clamp(max=self.weight.shape[0] - 1)].to(embeds.dtype)


class PerceiverLayer(nn.Module):
    """Eq. (4), one layer, in the form of the Flamingo resampler (our reading of keys and norms).

        Q = LN(P);  K = V = [LN(E); LN(P)]
        P^ = MHA(Q, K, V) + P
        P' = FFN(LN(P^)) + P^

    Shapes: P (B, N, d), E (B, T, d), mask of E (B, T) -> (B, N, d).
    """

    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        norm = nn.LayerNorm if config.perceiver_norm == "pre" else nn.Identity
        self.head_width = width // config.num_attention_heads
        self.residual = config.perceiver_residual
        self.norm_embeds, self.norm_latents, self.norm_feed_forward = norm(width), norm(width), norm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.feed_forward = FeedForward(width, nn.GELU(), config.dropout)

    def forward(self, latents: torch.Tensor, embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return P' (B, N, d) from P (B, N, d), E (B, T, d) and the mask of valid frames (B, T)."""
        query, key, media, key_mask = self._queries_and_keys(latents, embeds, mask)
        value = split_heads(self.value(media), self.head_width)
        attended = attend(query, key, value, key_mask, self.dropout)  # (B, h, N, d_h)
        hidden = self.output(merge_heads(attended))  # (B, N, d)
        if self.residual:
            hidden = hidden + latents
        update = self.feed_forward(self.norm_feed_forward(hidden))
        return update + hidden if self.residual else update

    def attention_weights(self, latents: torch.Tensor, embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the weights of MHA for the inputs of `forward`, without dropout: (B, h, N, T + N).

        Each row sums to 1 over valid frames and latents.
        """
        query, key, _, key_mask = self._queries_and_keys(latents, embeds, mask)
        return attention_weights(query, key, key_mask)

    def _queries_and_keys(self, latents, embeds, mask):
        """Return Q (B, h, N, d_h), K (B, h, T + N, d_h), [LN(E); LN(P)] (B, T + N, d) and its mask (B, T + N)."""
        normed = self.norm_latents(latents)
        media = torch.cat([self.norm_embeds(embeds), normed], dim=1)  # (B, T + N, d)
        key_mask = torch.cat([mask.bool(), mask.new_ones(normed.shape[:2]).bool()], dim=1)  # (B, T + N)
        query = split_heads(self.query(normed), self.head_width)
        return query, split_heads(self.key(media), self.head_width), media, key_mask


class AffectivePerceiver(nn.Module):
    """Eq. (3)-(4) for one modality:  F_m = LN(P^L),  P^0 learnable.

    Tower embeddings (B, T, D) may have any scale; `InputScaling` brings them to one, then they are projected to d.

    Shapes: embeds (B, T, D), mask (B, T) -> (B, N, d) for any T >= 1.
    """

    def __init__(self, config, embed_width: int, num_crops: int = 1):
        super().__init__()
        width = config.hidden_size
        self.scaling = InputScaling(embed_width, config.input_scaling)
        self.projection = nn.Linear(embed_width, width)
        self.frame_embedding = (
            FrameEmbedding(config.max_frames, width, num_crops) if config.use_frame_embeddings else nn.Identity()
        )
        self.latents = nn.Parameter(torch.zeros(config.num_latents, width))
        self.layers = nn.ModuleList(PerceiverLayer(config) for _ in range(config.num_perceiver_layers))
        self.norm = nn.LayerNorm(width) if config.perceiver_norm == "pre" else nn.Identity()

    def forward(self, embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return F_m (B, N, d) from tower embeddings (B, T, D) and the mask of valid frames (B, T)."""
        # The content of padding must not matter, not even NaN: it becomes zero before anything is computed.
        scaled = self.scaling(embeds.masked_fill(~mask.bool().unsqueeze(-1), 0))
        # The dtype of the bias: the weight of a quantised layer is stored in int8.
        hidden = self.frame_embedding(self.projection(scaled.to(self.projection.bias.dtype)))  # (B, T, d)
        latents = self.latents.expand(scaled.shape[0], -1, -1).to(hidden.dtype)  # (B, N, d)
        for layer in self.layers:
            latents = layer(latents, hidden, mask)
        return self.norm(latents)
