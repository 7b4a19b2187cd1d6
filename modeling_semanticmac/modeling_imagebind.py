"""The frozen ImageBind towers for vision and audio (facebookresearch/ImageBind), our own implementation.

Written from the architecture, the checkpoint's key names and recorded activations, without code of the original.
Legend: B batch, L tokens (class token first), d width, h heads, D projection_dim.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import ModelOutput

from .affective_perceiver import attention_weights, split_heads
from .configuration_imagebind import ImageBindAudioConfig, ImageBindTowerConfig, ImageBindVisionConfig
from .encoder_outputs import is_trained


@dataclass
class ImageBindOutput(ModelOutput):
    """Output of a tower.

    Args:
        embeds: the head's output, one row an input, before `postprocess`, (B, D).
        last_hidden_state: state after the last block, (B, L, d).
        hidden_states: on request, the state that enters the trunk (vision: after the layer norm before it), then the
            state after each block; (B, L, d) each.
        stem_output: on request, tokens after patches, class token and positions, (B, L, d); equals hidden_states[0] for
            audio.
    """

    embeds: torch.FloatTensor | None = None
    last_hidden_state: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    stem_output: torch.FloatTensor | None = None


def eager_attention_forward(module, query, key, value, attention_mask, scaling=None, **kwargs):
    """Compute attention in plain operations, as an attention function of the library.

    (B, h, L, d_h) -> (B, L, h, d_h), and None for the weights.
    """
    return (attention_weights(query, key, attention_mask) @ value).transpose(1, 2), None


class ImageBindAttention(nn.Module):
    """Multi-head self-attention of all tokens; for audio with one learned extra key and value for every query.

    softmax(Q [K; bias_k]^T / sqrt(d_h)) [V; bias_v], (B, L, d) -> (B, L, d)
    """

    def __init__(self, config: ImageBindTowerConfig, has_bias_tokens: bool):
        super().__init__()
        self.config = config
        self.head_width = config.hidden_size // config.num_attention_heads
        self.is_causal = False
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        bias = (1, 1, config.hidden_size)
        self.bias_k = nn.Parameter(torch.zeros(bias)) if has_bias_tokens else None
        self.bias_v = nn.Parameter(torch.zeros(bias)) if has_bias_tokens else None

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Attend from each token to all, (B, L, d) -> (B, L, d)."""
        query, key, value = self.qkv_proj(hidden).chunk(3, dim=-1)  # (B, L, d) each
        if self.bias_k is not None and self.bias_v is not None:
            # In the dtype of the projections: under autocast these are in half precision and the parameters are not.
            key = torch.cat([key, self.bias_k.to(key.dtype).expand(key.shape[0], -1, -1)], dim=1)  # (B, L + 1, d)
            value = torch.cat(
                [value, self.bias_v.to(value.dtype).expand(value.shape[0], -1, -1)], dim=1
            )  # (B, L + 1, d)
        query, key, value = (split_heads(x, self.head_width) for x in (query, key, value))  # (B, h, L, d_h)
        interface = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        attended, _ = interface(self, query, key, value, None, scaling=self.head_width**-0.5, dropout=0.0)
        return self.out_proj(attended.flatten(2))  # (B, L, d)


class ImageBindLayer(GradientCheckpointingLayer):
    """A pre-norm transformer block: x + Attention(LN(x)), then x + W_2 gelu(W_1 LN(x)).

    The original drops whole branches at random to train the audio trunk; a frozen tower never does.
    """

    def __init__(self, config: ImageBindTowerConfig, has_bias_tokens: bool):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = ImageBindAttention(config, has_bias_tokens)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.expand = nn.Linear(config.hidden_size, config.intermediate_size)
        self.contract = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden + self.attention(self.attention_norm(hidden))
        return hidden + self.contract(F.gelu(self.expand(self.mlp_norm(hidden))))


class ImageBindTokens(nn.Module):
    """The class token in front of the patches, and the positions: (B, L - 1, d) -> (B, L, d)."""

    def __init__(self, config: ImageBindTowerConfig):
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.positions = nn.Parameter(torch.zeros(1, 1 + config.num_patches, config.hidden_size))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        class_token = self.class_token.to(patches.dtype).expand(patches.shape[0], -1, -1)
        return torch.cat([class_token, patches], dim=1) + self.positions


class ImageBindVisionStem(nn.Module):
    """Patches of a clip, class token and positions: (B, 3, T, H, W) -> (B, L, d).

    A patch covers all frames of the clip and patches do not overlap, so the original's 3-D convolution is one matrix
    product over the pixels of each patch, which is fast on every device and in every precision.
    """

    def __init__(self, config: ImageBindVisionConfig):
        super().__init__()
        self.patch_size = config.patch_size
        pixels = config.num_channels * config.num_frames * config.patch_size**2
        self.patch_projection = nn.Linear(pixels, config.hidden_size, bias=False)
        self.tokens = ImageBindTokens(config)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        side = self.patch_size
        patches = clips.unflatten(-1, (-1, side)).unflatten(-3, (-1, side))  # (B, 3, T, rows, side, columns, side)
        patches = patches.permute(0, 3, 5, 1, 2, 4, 6).flatten(3).flatten(1, 2)  # (B, L - 1, 3 * T * side * side)
        return self.tokens(self.patch_projection(patches))  # (B, L, d)


class ImageBindAudioStem(nn.Module):
    """Overlapping patches of a spectrogram, layer norm, class token and positions: (B, 1, mel, frames) -> (B, L, d)."""

    def __init__(self, config: ImageBindAudioConfig):
        super().__init__()
        self.patch_projection = nn.Conv2d(1, config.hidden_size, config.kernel_size, config.stride, bias=False)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.stem_layer_norm_eps)
        self.tokens = ImageBindTokens(config)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        patches = self.patch_projection(spectrograms).flatten(2).transpose(1, 2)  # (B, L - 1, d), time fastest
        return self.tokens(self.norm(patches))  # (B, L, d)


class ImageBindPreTrainedModel(PreTrainedModel):
    """A frozen tower: stem, trunk, head. Its parameters require no gradient and its forward records none, unless it was
    given an adapter (`encoder_adapter.py`).

    Nothing in it is random, so train() and eval() have the same output.
    """

    config: ImageBindTowerConfig
    config_class = ImageBindTowerConfig
    base_model_prefix = "imagebind"
    _no_split_modules = ["ImageBindLayer"]
    _supports_sdpa = True
    _supports_attention_backend = True
    supports_gradient_checkpointing = True

    def _init_weights(self, module):
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, ImageBindTokens):
            init.normal_(module.class_token, mean=0.0, std=std)
            init.normal_(module.positions, mean=0.0, std=std)
        elif isinstance(module, ImageBindAttention) and module.bias_k is not None:
            init.normal_(module.bias_k, mean=0.0, std=std)
            init.normal_(module.bias_v, mean=0.0, std=std)

    def _build(self, config: ImageBindTowerConfig, stem: nn.Module, trunk_norm: nn.Module, has_bias_tokens: bool):
        """Add the parts that both towers have, and freeze all parameters."""
        self.stem = stem
        self.trunk_norm = trunk_norm
        self.layers = nn.ModuleList(ImageBindLayer(config, has_bias_tokens) for _ in range(config.num_hidden_layers))
        self.head_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)
        self.post_init()
        self.requires_grad_(False)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """Load as the library does, then freeze: loading creates new parameters, which require gradients.

        Raises:
            ValueError: the checkpoint lacks weights, or holds weights that the tower does not have.
        """
        name, with_info = pretrained_model_name_or_path, kwargs.pop("output_loading_info", False)
        loaded: Any = super().from_pretrained(name, *args, output_loading_info=True, **kwargs)
        model, info = loaded
        if info["missing_keys"] or info["unexpected_keys"]:
            found = missing_weights(info["missing_keys"], info["unexpected_keys"])
            raise ValueError(f"the checkpoint {name} of {cls.__name__} {found}. Use a complete checkpoint.")
        model.requires_grad_(False)
        return (model, info) if with_info else model

    def _encode(self, inputs: torch.Tensor, output_hidden_states: bool | None, return_dict: bool | None):
        """Apply stem, trunk and head to checked inputs; with gradient only where an adapter is trained."""
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        with torch.set_grad_enabled(torch.is_grad_enabled() and is_trained(self)):
            tokens = self.stem(inputs.to(self.dtype))  # (B, L, d)
            hidden = self.trunk_norm(tokens)
            states = [hidden]
            for layer in self.layers:
                hidden = layer(hidden)
                if wanted:
                    states.append(hidden)
            embeds = self.projection(self.head_norm(hidden[:, 0]))  # (B, D)
        output = ImageBindOutput(embeds, hidden, tuple(states) if wanted else None, tokens if wanted else None)
        return output if return_dict is not False else output.to_tuple()


class ImageBindVisionModel(ImageBindPreTrainedModel):
    """ImageBind's vision tower: a picture or a clip of `num_frames` frames to one embedding.

    A still picture is a clip of equal frames.
    """

    config: ImageBindVisionConfig
    config_class = ImageBindVisionConfig
    main_input_name = "pixel_values"
    input_modalities = ["image", "video"]

    def __init__(self, config: ImageBindVisionConfig):
        super().__init__(config)
        norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self._build(config, ImageBindVisionStem(config), norm, has_bias_tokens=False)

    def forward(
        self,
        pixel_values: torch.Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> ImageBindOutput | tuple:
        """Embed pictures (B, 3, H, W) or clips (B, 3, num_frames, H, W), H = W = image_size.

        Raises:
            ValueError: another shape.
        """
        size = self.config.image_size
        picture, clip = (
            (self.config.num_channels, size, size),
            (self.config.num_channels, self.config.num_frames, size, size),
        )
        if tuple(pixel_values.shape[1:]) == picture:
            pixel_values = pixel_values.unsqueeze(2).expand(-1, -1, self.config.num_frames, -1, -1)  # (B, 3, T, H, W)
        elif tuple(pixel_values.shape[1:]) != clip:
            raise ValueError(
                f"pixel_values have shape {tuple(pixel_values.shape)}; expected pictures "
                f"(B, {', '.join(map(str, picture))}) or clips (B, {', '.join(map(str, clip))}). "
                f"ImageBindImageProcessor(size={size}) makes them."
            )
        return self._encode(pixel_values, output_hidden_states, return_dict)

    def postprocess(self, embeds: torch.Tensor) -> torch.Tensor:
        """Normalise the head's output to unit length as the original does, (B, D) -> (B, D)."""
        return F.normalize(embeds, dim=-1)


class ImageBindAudioModel(ImageBindPreTrainedModel):
    """ImageBind's audio tower: a log-mel window to one embedding."""

    config: ImageBindAudioConfig
    config_class = ImageBindAudioConfig
    main_input_name = "input_features"
    input_modalities = ["audio"]

    def __init__(self, config: ImageBindAudioConfig):
        super().__init__(config)
        self._build(config, ImageBindAudioStem(config), nn.Identity(), has_bias_tokens=True)

    def forward(
        self,
        input_features: torch.Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> ImageBindOutput | tuple:
        """Embed log-mel windows (B, 1, num_mel_bins, num_mel_frames).

        Raises:
            ValueError: another shape.
        """
        window = (1, self.config.num_mel_bins, self.config.num_mel_frames)
        if tuple(input_features.shape[1:]) != window:
            raise ValueError(
                f"input_features have shape {tuple(input_features.shape)}; expected "
                f"(B, {', '.join(map(str, window))}). ImageBindFeatureExtractor makes them."
            )
        return self._encode(input_features, output_hidden_states, return_dict)

    def postprocess(self, embeds: torch.Tensor) -> torch.Tensor:
        """Scale the head's output to the (bounded) logit scale as the original does, (B, D) -> (B, D)."""
        return F.normalize(embeds, dim=-1) * min(self.config.logit_scale, self.config.max_logit_scale)


def missing_weights(missing: Iterable[str], unexpected: Iterable[str] = ()) -> str:
    """Return the part of a sentence that names weights a checkpoint lacks, and those the model does not have."""
    lacking, foreign = sorted(missing), sorted(unexpected)
    parts = [f"lacks {_listed(lacking)}, which would be random"] if lacking else []
    parts += [f"holds {_listed(foreign)}, not known to the model"] if foreign else []
    return ", and ".join(parts)


def _listed(names: Sequence[str], limit: int = 5) -> str:
    """Return the number of weights and their names, of many the first ones."""
    others = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{len(names)} weight{'s' * (len(names) > 1)} ({', '.join(map(repr, names[:limit]))}{others})"


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 (hex) of the names, dtypes, shapes and bytes of a model's state dict, sorted by name.

    It is the same on every device. One changed bit, or another dtype, changes it.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


__all__ = [
    "ImageBindAudioModel",
    "ImageBindOutput",
    "ImageBindPreTrainedModel",
    "ImageBindVisionModel",
    "missing_weights",
    "weights_hash",
]
