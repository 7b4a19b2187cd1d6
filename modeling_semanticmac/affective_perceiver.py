"""The Affective Perceiver: a stream of any length becomes a fixed number of tokens (section III-C, eq. 3-4)."""

import torch
from torch import nn

from .attention import FeedForward, attend, attention_weights, merge_heads, split_heads


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

    Tower embeddings (B, T, D) may have any scale. They are L2-normalised and multiplied by sqrt(D), then projected to d
    (our reading: unit variance, since the towers leave audio and vision on scales that differ by 20).

    Shapes: embeds (B, T, D), mask (B, T) -> (B, N, d) for any T >= 1.
    """

    def __init__(self, config, embed_width: int, num_crops: int = 1):
        super().__init__()
        width = config.hidden_size
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
        embeds = embeds.masked_fill(~mask.bool().unsqueeze(-1), 0)
        scaled = nn.functional.normalize(embeds.float(), dim=-1) * embeds.shape[-1] ** 0.5
        # The dtype of the bias: the weight of a quantised layer is stored in int8.
        hidden = self.frame_embedding(self.projection(scaled.to(self.projection.bias.dtype)))  # (B, T, d)
        latents = self.latents.expand(embeds.shape[0], -1, -1).to(hidden.dtype)  # (B, N, d)
        for layer in self.layers:
            latents = layer(latents, hidden, mask)
        return self.norm(latents)
