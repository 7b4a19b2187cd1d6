"""Test the conversion of an original checkpoint: golden outputs, whole folders, nothing untrusted unpickled."""

import hashlib
import os
import pickle
import re
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_semanticmac.configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from modeling_semanticmac.convert_imagebind import convert, from_original, main, read_checkpoint
from modeling_semanticmac.convert_imagebind.checkpoint import expected_original_shapes
from modeling_semanticmac.feature_extraction_imagebind import ImageBindFeatureExtractor
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor
from modeling_semanticmac.modeling_imagebind import ImageBindAudioModel, ImageBindVisionModel, weights_hash


def random_state_dict() -> dict[str, torch.Tensor]:
    """Write a checkpoint of tiny towers beside another modality; 2 and 3 heads."""
    vision = ImageBindVisionConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, projection_dim=8
    )
    audio = ImageBindAudioConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3, projection_dim=8)
    generator = torch.Generator().manual_seed(0)
    shapes = expected_original_shapes(vision, audio)
    state_dict = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    return state_dict | {"modality_trunks.depth.blocks.0.norm_1.weight": torch.ones(5)}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".old.pth"])
def test_folders_give_the_golden_outputs(shared, tmp_path, suffix):
    golden = shared / "goldens" / "imagebind_tiny_a"
    checkpoint = tmp_path / f"tiny{suffix}"
    if suffix == ".safetensors":
        checkpoint.write_bytes((golden / "state_dict.safetensors").read_bytes())
    else:
        state_dict = load_file(golden / "state_dict.safetensors")
        torch.save(state_dict, checkpoint, _use_new_zipfile_serialization=suffix == ".pth")
    folder = tmp_path / "towers" / "tiny"
    assert main([str(checkpoint), str(folder), "--vision_heads", "4", "--audio_heads", "4"]) == 0
    inputs, outputs = (load_file(golden / f"{name}.safetensors") for name in ("inputs", "outputs"))
    for tower, name, modality in ((ImageBindVisionModel, "image", "vision"), (ImageBindAudioModel, "audio", "audio")):
        model = tower.from_pretrained(folder / modality)
        expected = outputs[f"{name}.output"]
        found = model.postprocess(model(inputs[name]).embeds)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert model.config.source == {
            "file": checkpoint.name,
            "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        }
        assert "CC BY-NC-SA 4.0" in (folder / modality / "LICENSE").read_text()
        assert (folder / modality / "README.md").read_text().startswith("---\nlicense: cc-by-nc-sa-4.0\n---\n")
    assert ImageBindImageProcessor.from_pretrained(folder / "vision").size == 28
    assert ImageBindFeatureExtractor.from_pretrained(folder / "audio").num_mel_frames == 204
    assert not list(tmp_path.rglob("*.bin")) and [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_the_logit_scale_is_read():
    state_dict = random_state_dict() | {"modality_postprocessors.audio.1.log_logit_scale": torch.tensor(7.0).log()}
    _, audio = from_original(state_dict, vision_heads=2, audio_heads=3)
    assert audio.config.logit_scale == pytest.approx(7, rel=1e-6)


def test_half_precision_becomes_float32_and_nothing_is_trainable():
    state_dict = random_state_dict()
    exact = from_original(state_dict, 2, 3)
    rounded = from_original({key: value.half() for key, value in state_dict.items()}, 2, 3)
    for full, half in zip(exact, rounded):
        assert not half.training and not any(parameter.requires_grad for parameter in half.parameters())
        for (name, expected), found in zip(full.state_dict().items(), half.state_dict().values()):
            assert found.dtype == torch.float32, name
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_converted_twice_is_equal(tmp_path):
    save_file(random_state_dict(), tmp_path / "tiny.safetensors")
    for folder in ("a", "b"):
        convert(tmp_path / "tiny.safetensors", tmp_path / folder, vision_heads=2, audio_heads=3)
    hashes = {weights_hash(ImageBindVisionModel.from_pretrained(tmp_path / folder / "vision")) for folder in ("a", "b")}
    assert len(hashes) == 1


def test_a_folder_in_use_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    save_file(random_state_dict(), tmp_path / "tiny.safetensors")
    arguments = [
        str(tmp_path / "tiny.safetensors"),
        str(tmp_path / "mine"),
        "--vision_heads",
        "2",
        "--audio_heads",
        "3",
    ]
    assert main(arguments) == 1
    assert "exists and is not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("step", ["save_pretrained", "LICENSE"])
def test_nothing_is_left_of_a_conversion_that_fails(tmp_path, monkeypatch, step):
    def fail(*arguments, **options):
        raise OSError("No space left on device")

    save_file(random_state_dict(), tmp_path / "tiny.safetensors")
    if step == "save_pretrained":
        monkeypatch.setattr(ImageBindFeatureExtractor, "save_pretrained", fail)
    else:
        monkeypatch.setattr("pathlib.Path.write_text", fail)
    with pytest.raises(OSError, match="No space left"):
        convert(tmp_path / "tiny.safetensors", tmp_path / "towers", vision_heads=2, audio_heads=3)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.safetensors"]


class Mischief:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_what_is_no_checkpoint_is_refused(tmp_path, capsys):
    missing = tmp_path / "missing.pth"
    assert main([str(missing), str(tmp_path / "out")]) == 1
    assert f"There is no file {missing}" in capsys.readouterr().err
    contents = {
        "text.pth": b"hello, this is text",
        "empty.pth": b"",
        "mischief.pth": pickle.dumps({"weight": Mischief()}),
        "text.safetensors": b"hello, this is text",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(name) + " is not a checkpoint of tensors only"):
            read_checkpoint(tmp_path / name)
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds list; expected a state dict"):
        read_checkpoint(tmp_path / "list.pth")
    torch.save({"model": random_state_dict()}, tmp_path / "wrapped.pth")
    with pytest.raises(ValueError, match="holds dict under the key 'model'; expected a state dict"):
        read_checkpoint(tmp_path / "wrapped.pth")


def test_another_models_checkpoint_lists_its_keys(tmp_path, capsys):
    save_file({"encoder.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    assert main([str(tmp_path / "other.safetensors"), str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err
    assert "unexpected: encoder.weight" in message and "missing: modality_heads.vision.2.weight" in message
    assert not (tmp_path / "out").exists()


def test_a_group_can_read_the_towers_where_the_umask_allows_it(tmp_path):
    save_file(random_state_dict(), tmp_path / "tiny.safetensors")
    before = os.umask(0o007)
    try:
        convert(tmp_path / "tiny.safetensors", tmp_path / "towers", vision_heads=2, audio_heads=3)
    finally:
        os.umask(before)
    weights = list((tmp_path / "towers").rglob("*.safetensors"))
    assert len(weights) == 2 and all(stat.S_IMODE(path.stat().st_mode) == 0o660 for path in weights)
