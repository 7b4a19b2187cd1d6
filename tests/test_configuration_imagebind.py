"""The two tower configurations: the released sizes as defaults, derived sizes, refused values, JSON there and back."""

import json

import pytest

from modeling_semanticmac.configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig


def test_defaults_are_the_released_sizes(shared):
    """The sizes recorded from the original's factory for imagebind_huge."""
    released = json.loads((shared / "goldens" / "imagebind_huge_keys.json").read_text())["config"]
    vision, audio = ImageBindVisionConfig(), ImageBindAudioConfig()
    for config, sizes in ((vision, released["vision"]), (audio, released["audio"])):
        assert config.hidden_size == sizes["embed_dim"]
        assert config.num_hidden_layers == sizes["blocks"]
        assert config.num_attention_heads == sizes["heads"]
        assert config.mlp_ratio == sizes["mlp_ratio"]
        assert config.num_patches == sizes["patches"] == sizes["tokens"] - 1
        assert config.projection_dim == sizes["out_embed_dim"]
        assert config.layer_norm_eps == sizes["block_norm_eps"] == sizes["head_norm_eps"]
    assert [vision.num_frames, vision.patch_size, vision.patch_size] == released["vision"]["kernel"]
    assert vision.image_size == released["vision"]["image"]
    assert (audio.kernel_size, audio.stride) == (released["audio"]["kernel"], released["audio"]["stride"])
    assert (audio.num_mel_bins, audio.num_mel_frames) == (released["audio"]["mel_bins"], released["audio"]["frames"])
    assert list(audio.patch_grid) == released["audio"]["patch_grid"]
    assert audio.stem_layer_norm_eps == released["audio"]["stem_norm_eps"]


@pytest.mark.parametrize(
    ("config_class", "fields", "message"),
    [
        (ImageBindVisionConfig, {"hidden_size": 30, "num_attention_heads": 4}, "hidden_size 30 is not a multiple"),
        (ImageBindVisionConfig, {"image_size": 30}, "image_size 30 is not a multiple of patch_size 14"),
        (ImageBindVisionConfig, {"num_frames": 0}, "num_frames must be at least 1, found 0"),
        (ImageBindAudioConfig, {"num_hidden_layers": -1}, "num_hidden_layers must be at least 1, found -1"),
        (ImageBindAudioConfig, {"stride": 0}, "stride must be at least 1, found 0"),
        (ImageBindAudioConfig, {"kernel_size": 129}, "129 x 129 does not fit into 128 mel bins x 204 frames"),
    ],
)
def test_impossible_sizes_are_refused(config_class, fields, message):
    with pytest.raises(ValueError, match=message):
        config_class(**fields)


@pytest.mark.parametrize("config_class", [ImageBindVisionConfig, ImageBindAudioConfig])
def test_saved_and_loaded(config_class, tmp_path):
    config = config_class(hidden_size=24, num_attention_heads=3, mlp_ratio=2.5, initializer_range=1)
    config.save_pretrained(tmp_path)
    loaded = config_class.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert (loaded.hidden_size, loaded.intermediate_size, loaded.initializer_range) == (24, 60, 1)
