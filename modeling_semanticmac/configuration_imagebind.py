"""Configurations of the two frozen ImageBind towers (facebookresearch/ImageBind), vision and audio.

The defaults are the sizes of the released `imagebind_huge` checkpoint. Legend: B batch, L tokens, d width, h heads.
"""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class ImageBindTowerConfig(PreTrainedConfig):
    """Configuration that both towers share: a transformer trunk and a head.

    Raises:
        ValueError: sizes that cannot work together.
    """

    hidden_size: int = 1280
    num_hidden_layers: int = 32
    num_attention_heads: int = 16
    mlp_ratio: float | int = 4
    layer_norm_eps: float = 1e-6
    projection_dim: int = 1024
    initializer_range: float | int = 0.02

    _sizes: ClassVar[tuple[str, ...]] = ("hidden_size", "num_hidden_layers", "num_attention_heads", "projection_dim")

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for name in self._sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{type(self).__name__}: {name} must be at least 1, found {getattr(self, name)}.")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"{type(self).__name__}: hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}; choose a width that the heads divide."
            )

    @property
    def intermediate_size(self) -> int:
        """The width of the feed-forward layers."""
        return round(self.hidden_size * self.mlp_ratio)


@strict
class ImageBindVisionConfig(ImageBindTowerConfig):
    r"""Configuration of [`ImageBindVisionModel`]; the defaults are ImageBind-Huge's ViT-H/14.

    Args:
        hidden_size: width d of the trunk.
        num_hidden_layers: blocks of the trunk.
        num_attention_heads: heads h; d must be a multiple of it.
        mlp_ratio: width of the feed-forward layers divided by d.
        layer_norm_eps: epsilon of every layer norm: before the trunk, in the blocks, in the head.
        projection_dim: width of `embeds`, the head's output.
        initializer_range: standard deviation of new weights (for towers that are not loaded from a checkpoint).
        num_channels: colour channels of the picture.
        image_size: height and width of the picture in pixels; a multiple of patch_size.
        patch_size: height and width of a patch in pixels.
        num_frames: frames of a clip, all covered by one patch; a still picture is repeated.
    """

    model_type = "imagebind_vision"

    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 14
    num_frames: int = 2

    _sizes = (*ImageBindTowerConfig._sizes, "num_channels", "image_size", "patch_size", "num_frames")

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.image_size % self.patch_size:
            raise ValueError(
                f"ImageBindVisionConfig: image_size {self.image_size} is not a multiple of patch_size "
                f"{self.patch_size}."
            )

    @property
    def num_patches(self) -> int:
        """The number of patches of a picture or clip; the trunk has one token more."""
        return (self.image_size // self.patch_size) ** 2


@strict
class ImageBindAudioConfig(ImageBindTowerConfig):
    r"""Configuration of [`ImageBindAudioModel`]; the defaults are ImageBind-Huge's audio ViT-B.

    Args:
        hidden_size, num_hidden_layers, num_attention_heads, mlp_ratio, projection_dim, initializer_range: as in
            [`ImageBindVisionConfig`].
        layer_norm_eps: epsilon of the layer norms in the blocks and the head.
        stem_layer_norm_eps: epsilon of the layer norm after the patch embedding.
        num_mel_bins: mel bins of a window.
        num_mel_frames: spectrogram frames of a window.
        kernel_size, stride: side and step of the square patches on the spectrogram; they overlap where the step is
            smaller.
        logit_scale: factor of the unit vectors in `postprocess`; fixed, not learned (a tower's checkpoint states it).
        max_logit_scale: upper bound of that factor.
    """

    model_type = "imagebind_audio"

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    stem_layer_norm_eps: float = 1e-5
    num_mel_bins: int = 128
    num_mel_frames: int = 204
    kernel_size: int = 16
    stride: int = 10
    logit_scale: float | int = 20.0
    max_logit_scale: float | int = 100.0

    _sizes = (*ImageBindTowerConfig._sizes, "num_mel_bins", "num_mel_frames", "kernel_size", "stride")

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.kernel_size > min(self.num_mel_bins, self.num_mel_frames):
            raise ValueError(
                f"ImageBindAudioConfig: a patch of {self.kernel_size} x {self.kernel_size} does not fit into "
                f"{self.num_mel_bins} mel bins x {self.num_mel_frames} frames."
            )

    @property
    def patch_grid(self) -> tuple[int, int]:
        """The number of patches along the mel bins and along time."""
        rows, columns = (
            (length - self.kernel_size) // self.stride + 1 for length in (self.num_mel_bins, self.num_mel_frames)
        )
        return rows, columns

    @property
    def num_patches(self) -> int:
        """The number of patches of a window; the trunk has one token more."""
        rows, columns = self.patch_grid
        return rows * columns


__all__ = ["ImageBindAudioConfig", "ImageBindVisionConfig"]
