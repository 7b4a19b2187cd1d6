"""The tensors of an original ImageBind checkpoint for vision and audio: their names, their shapes, and a check.

The tables map our parameter names to those of `imagebind_huge.pth`.
"""

import math
import re
from collections.abc import Mapping

import torch

from ..configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from ..modeling_imagebind import ImageBindAudioModel, ImageBindPreTrainedModel, ImageBindVisionModel

GROUPS = ("preprocessors", "trunks", "heads", "postprocessors")
OTHER_MODALITIES = ("text", "depth", "thermal", "imu")
LOGIT_SCALE = "modality_postprocessors.audio.1.log_logit_scale"
_IGNORED = tuple(f"modality_{group}.{modality}." for group in GROUPS for modality in OTHER_MODALITIES)
_BLOCK = re.compile(r"modality_trunks\.(vision|audio)\.blocks\.(\d+)\.")

# Our names -> the original names: of a block, of the stem, and of parts that both towers have.
_BLOCK_NAMES = {
    "attention_norm.weight": "norm_1.weight",
    "attention_norm.bias": "norm_1.bias",
    "attention.qkv_proj.weight": "attn.in_proj_weight",
    "attention.qkv_proj.bias": "attn.in_proj_bias",
    "attention.out_proj.weight": "attn.out_proj.weight",
    "attention.out_proj.bias": "attn.out_proj.bias",
    "attention.bias_k": "attn.bias_k",
    "attention.bias_v": "attn.bias_v",
    "mlp_norm.weight": "norm_2.weight",
    "mlp_norm.bias": "norm_2.bias",
    "expand.weight": "mlp.fc1.weight",
    "expand.bias": "mlp.fc1.bias",
    "contract.weight": "mlp.fc2.weight",
    "contract.bias": "mlp.fc2.bias",
}
_STEM_NAMES = {
    "vision": {
        "stem.patch_projection.weight": "preprocessors.{}.rgbt_stem.proj.1.weight",
        "trunk_norm.weight": "trunks.{}.pre_transformer_layer.0.weight",
        "trunk_norm.bias": "trunks.{}.pre_transformer_layer.0.bias",
    },
    "audio": {
        "stem.patch_projection.weight": "preprocessors.{}.rgbt_stem.proj.weight",
        "stem.norm.weight": "preprocessors.{}.rgbt_stem.norm_layer.weight",
        "stem.norm.bias": "preprocessors.{}.rgbt_stem.norm_layer.bias",
    },
}
_SHARED_NAMES = {
    "stem.tokens.class_token": "preprocessors.{}.cls_token",
    "stem.tokens.positions": "preprocessors.{}.pos_embedding_helper.pos_embed",
    "head_norm.weight": "heads.{}.0.weight",
    "head_norm.bias": "heads.{}.0.bias",
    "projection.weight": "heads.{}.2.weight",
}
# Tensors whose shapes give the sizes of a tower, and their number of dimensions; that of the patches depends on the
# modality.
_SIZE_RANKS = {
    "stem.tokens.class_token": 3,
    "stem.tokens.positions": 3,
    "layers.0.expand.weight": 2,
    "projection.weight": 2,
}
_PATCH_RANKS = {"vision": 5, "audio": 4}


def original_names(modality: str, num_blocks: int) -> dict[str, str]:
    """Return our parameter names -> the original names, for the "vision" or "audio" tower with `num_blocks` blocks."""
    names = {
        ours: "modality_" + theirs.format(modality) for ours, theirs in (_SHARED_NAMES | _STEM_NAMES[modality]).items()
    }
    for block in range(num_blocks):
        for ours, theirs in _BLOCK_NAMES.items():
            if modality == "audio" or not ours.startswith("attention.bias_"):
                names[f"layers.{block}.{ours}"] = f"modality_trunks.{modality}.blocks.{block}.{theirs}"
    return names


def _count_blocks(keys: Mapping, modality: str) -> int:
    return max((int(found[2]) + 1 for found in map(_BLOCK.match, keys) if found and found[1] == modality), default=0)


def _read_config(
    shapes: Mapping[str, tuple[int, ...]], modality: str, heads: int
) -> ImageBindVisionConfig | ImageBindAudioConfig:
    """Return the configuration of a tower from the shapes of the original tensors, given the heads, which no shape
    shows.

    Stride, mel bins and spectrogram frames do not show either; they are 10, 128 and 204, as in the original.
    """
    names = original_names(modality, _count_blocks(shapes, modality))
    patch = shapes[names["stem.patch_projection.weight"]]
    width = shapes[names["stem.tokens.class_token"]][2]
    expanded = shapes[names["layers.0.expand.weight"]][0]
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": _count_blocks(shapes, modality),
        "num_attention_heads": heads,
        "mlp_ratio": expanded // width if expanded % width == 0 else expanded / width,
        "projection_dim": shapes[names["projection.weight"]][0],
    }
    if modality == "audio":
        return ImageBindAudioConfig(**sizes, kernel_size=patch[2])
    side = math.isqrt(shapes[names["stem.tokens.positions"]][1] - 1)
    frames = {"num_channels": patch[1], "num_frames": patch[2], "patch_size": patch[3], "image_size": side * patch[3]}
    return ImageBindVisionConfig(**sizes, **frames)


def _expected_shapes(model: ImageBindPreTrainedModel, names: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the original tensors for our tower, which may be on the meta device."""
    shapes = {names[ours]: tuple(tensor.shape) for ours, tensor in model.state_dict().items()}
    config = model.config
    if config.model_type == "imagebind_vision":
        patch = (config.num_channels, config.num_frames, config.patch_size, config.patch_size)
        shapes[names["stem.patch_projection.weight"]] = (config.hidden_size, *patch)
    return shapes


def expected_original_shapes(
    vision_config: ImageBindVisionConfig | None = None, audio_config: ImageBindAudioConfig | None = None
) -> dict[str, tuple[int, ...]]:
    """Return every key of a checkpoint with these towers for vision and audio, with its shape; default
    `imagebind_huge`.

    Nothing is allocated: the towers are built on the meta device.
    """
    towers = ((ImageBindVisionModel, vision_config or ImageBindVisionConfig()),)
    towers += ((ImageBindAudioModel, audio_config or ImageBindAudioConfig()),)
    shapes = {LOGIT_SCALE: ()}
    for tower, config in towers:
        with torch.device("meta"):
            model = tower(config)
        modality = config.model_type.removeprefix("imagebind_")
        shapes |= _expected_shapes(model, original_names(modality, config.num_hidden_layers))
    return shapes


def check_original(
    shapes: Mapping[str, tuple[int, ...]], vision_heads: int, audio_heads: int
) -> tuple[ImageBindVisionConfig, ImageBindAudioConfig]:
    """Check an original checkpoint key by key and shape by shape, and return the configurations of its two towers.

    Args:
        shapes: key -> shape of every tensor; those of other modalities (text, depth, thermal, imu) are ignored.
        vision_heads, audio_heads: attention heads, the only size that no shape shows.

    Raises:
        ValueError: the message lists every missing, unexpected and misshapen key, or the head count that does not fit.
    """
    shapes = {key: shape for key, shape in shapes.items() if not key.startswith(_IGNORED)}
    names = {modality: original_names(modality, max(1, _count_blocks(shapes, modality))) for modality in _PATCH_RANKS}
    wanted = {LOGIT_SCALE, *names["vision"].values(), *names["audio"].values()}
    problems = [f"missing: {key}" for key in sorted(wanted - shapes.keys())]
    problems += [f"unexpected: {key}" for key in sorted(shapes.keys() - wanted)]
    ranks = {
        names[modality][ours]: rank
        for modality, patch_rank in _PATCH_RANKS.items()
        for ours, rank in (_SIZE_RANKS | {"stem.patch_projection.weight": patch_rank}).items()
    }
    wrong_ranks = [key for key, rank in ranks.items() if key in shapes and len(shapes[key]) != rank]
    problems += [f"misshapen: {key} has shape {shapes[key]}, expected {ranks[key]} dimensions" for key in wrong_ranks]
    configs = None
    if ranks.keys() <= shapes.keys() and not wrong_ranks:
        configs = _read_config(shapes, "vision", vision_heads), _read_config(shapes, "audio", audio_heads)
        expected = expected_original_shapes(*configs)
        problems += [
            f"misshapen: {key} has shape {shapes[key]}, expected {expected[key]}"
            for key in sorted(expected.keys() & shapes.keys())
            if shapes[key] != expected[key]
        ]
    if problems:
        raise ValueError(
            f"This is not an ImageBind checkpoint with a vision and an audio tower: {len(problems)} of its keys do not "
            "fit. "
            "Give the official imagebind_huge.pth, or a state dict with the same names.\n  " + "\n  ".join(problems)
        )
    return configs


__all__ = ["LOGIT_SCALE", "check_original", "expected_original_shapes", "original_names"]
