"""Test the names of the original checkpoint against the recorded table, and the errors of other checkpoints."""

import json
import re

import pytest

from modeling_semanticmac.configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from modeling_semanticmac.convert_imagebind.checkpoint import check_original, expected_original_shapes

VISION = ImageBindVisionConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=42, projection_dim=8
)
AUDIO = ImageBindAudioConfig(
    hidden_size=12, num_hidden_layers=3, num_attention_heads=3, mlp_ratio=2.5, projection_dim=8
)
BLOCK = "modality_trunks.audio.blocks.1."


def test_equals_the_released_key_table(shared):
    """Return names and shapes of the 569 vision and audio tensors of imagebind_huge, recorded from its code."""
    table = json.loads((shared / "goldens" / "imagebind_huge_keys.json").read_text())
    recorded = {row["key"]: tuple(row["shape"]) for row in table["keys"]}
    assert expected_original_shapes() == recorded and len(recorded) == 569
    vision, audio = check_original(recorded, vision_heads=16, audio_heads=12)
    assert vision.to_dict() == ImageBindVisionConfig().to_dict()
    assert audio.to_dict() == ImageBindAudioConfig().to_dict()


def test_the_other_modalities_of_the_release_are_passed_over(shared):
    table = json.loads((shared / "goldens" / "imagebind_huge_keys.json").read_text())
    others = {f"{prefix}anything": (1,) for prefix in table["other_prefixes_in_checkpoint_to_ignore"]}
    assert check_original(expected_original_shapes(VISION, AUDIO) | others, 2, 3)


def test_sizes_are_read_from_shapes():
    vision, audio = check_original(expected_original_shapes(VISION, AUDIO), vision_heads=2, audio_heads=3)
    assert vision.to_dict() == VISION.to_dict()
    assert audio.to_dict() == AUDIO.to_dict()


def test_one_error_lists_every_key_that_does_not_fit():
    shapes = expected_original_shapes(VISION, AUDIO)
    del shapes[BLOCK + "attn.bias_k"], shapes["modality_postprocessors.audio.1.log_logit_scale"]
    shapes["modality_heads.vision.1.weight"] = (3,)
    shapes[BLOCK + "norm_1.weight"] = (13,)
    with pytest.raises(ValueError) as caught:
        check_original(shapes, vision_heads=2, audio_heads=3)
    assert str(caught.value).splitlines()[1:] == [
        "  missing: modality_postprocessors.audio.1.log_logit_scale",
        f"  missing: {BLOCK}attn.bias_k",
        "  unexpected: modality_heads.vision.1.weight",
        f"  misshapen: {BLOCK}norm_1.weight has shape (13,), expected (12,)",
    ]
    assert "4 of its keys do not fit" in str(caught.value)


def test_missing_block_in_the_middle():
    shapes = {key: shape for key, shape in expected_original_shapes(VISION, AUDIO).items() if not key.startswith(BLOCK)}
    with pytest.raises(ValueError, match="14 of its keys do not fit") as caught:
        check_original(shapes, 2, 3)
    assert str(caught.value).count(f"missing: {BLOCK}") == 14


@pytest.mark.parametrize(
    "key", ["modality_preprocessors.vision.cls_token", "modality_preprocessors.audio.rgbt_stem.proj.weight"]
)
def test_sizes_that_cannot_be_read(key):
    """A tensor that defines a size is listed too where it is missing or has another rank."""
    shapes = expected_original_shapes(VISION, AUDIO)
    with pytest.raises(ValueError, match=re.escape(f"misshapen: {key} has shape (5, 5)")):
        check_original(shapes | {key: (5, 5)}, 2, 3)
    del shapes[key]
    with pytest.raises(ValueError, match=f"1 of its keys.*\n  missing: {re.escape(key)}$"):
        check_original(shapes, 2, 3)


def test_positions_must_be_a_square_of_patches():
    shapes = expected_original_shapes(VISION, AUDIO)
    key = "modality_preprocessors.vision.pos_embedding_helper.pos_embed"
    with pytest.raises(ValueError, match=re.escape(f"misshapen: {key} has shape (1, 12, 16), expected (1, 10, 16)")):
        check_original(shapes | {key: (1, 12, 16)}, 2, 3)


def test_nothing_that_fits_at_all():
    with pytest.raises(ValueError, match="unexpected: something.else"):
        check_original({"something.else": (2, 2)}, 16, 12)


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(ValueError, match="hidden_size 16 is not a multiple of num_attention_heads 5"):
        check_original(expected_original_shapes(VISION, AUDIO), vision_heads=5, audio_heads=3)
