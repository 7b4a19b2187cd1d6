"""The frozen towers against activations recorded from the original ImageBind, and the facts that "frozen" promises."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from modeling_semanticmac.configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from modeling_semanticmac.convert_imagebind import from_original
from modeling_semanticmac.modeling_imagebind import ImageBindAudioModel, ImageBindVisionModel, weights_hash

TOLERANCE = 1e-5  # of the largest value; the original in fp32 differs from itself in fp64 by 1e-6
VISION_POINTS = ["preprocessor", "pre_transformer", "block.0", "block.1", "block.2", "head", "postprocessor", "output"]
AUDIO_POINTS = ["preprocessor", "block.0", "block.1", "head", "postprocessor", "output"]


@pytest.fixture(scope="module")
def goldens(shared):
    folder = shared / "goldens" / "imagebind_tiny_a"
    return {name: load_file(folder / f"{name}.safetensors") for name in ("state_dict", "inputs", "outputs")}


@pytest.fixture(scope="module")
def activations(goldens):
    """Return every recorded point of every input: {(attention implementation, "image.block.0"): tensor}."""
    found = {}
    vision, audio = from_original(goldens["state_dict"], vision_heads=4, audio_heads=4)
    for implementation in ("sdpa", "eager"):
        for name, model in (("image", vision), ("video", vision), ("audio", audio)):
            model.set_attn_implementation(implementation)
            inputs = goldens["inputs"][name]
            num_clips = inputs.shape[1] if name == "video" else 1
            output = model(inputs.flatten(0, 1) if name == "video" else inputs, output_hidden_states=True)
            final = model.postprocess(output.embeds)
            points = {"preprocessor": output.stem_output, "head": output.embeds, "postprocessor": final}
            points["pre_transformer"] = output.hidden_states[0]
            points |= {f"block.{i}": state for i, state in enumerate(output.hidden_states[1:])}
            points["output"] = final.unflatten(0, (-1, num_clips)).mean(dim=1)  # the original averages a sample's clips
            found |= {(implementation, f"{name}.{point}"): value for point, value in points.items()}
            assert torch.equal(output.last_hidden_state, output.hidden_states[-1])
    return found


POINTS = [f"{name}.{point}" for name in ("image", "video") for point in VISION_POINTS]
POINTS += [f"audio.{point}" for point in AUDIO_POINTS]


def test_every_recorded_point_is_compared(goldens):
    assert sorted(POINTS) == sorted(goldens["outputs"])


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("point", POINTS)
def test_equals_the_original(goldens, activations, implementation, point):
    expected = goldens["outputs"][point]
    found = activations[implementation, point]
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


def tiny_vision(**fields) -> ImageBindVisionModel:
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": 16,
        "image_size": 28,
    }
    torch.manual_seed(0)
    return ImageBindVisionModel(ImageBindVisionConfig(**(sizes | {"initializer_range": 0.2} | fields)))


def tiny_audio(**fields) -> ImageBindAudioModel:
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "projection_dim": 16}
    sizes |= {"num_mel_bins": 32, "num_mel_frames": 46}
    torch.manual_seed(0)
    return ImageBindAudioModel(ImageBindAudioConfig(**(sizes | {"initializer_range": 0.2} | fields)))


def inputs_of(model, batch: int = 2, seed: int = 1) -> torch.Tensor:
    shape = (3, 28, 28) if isinstance(model, ImageBindVisionModel) else (1, 32, 46)
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed))


both = pytest.mark.parametrize("make", [tiny_vision, tiny_audio])


@both
def test_frozen(make, tmp_path):
    """No parameter requires a gradient, built or loaded; none flows to the input; train() changes nothing."""
    model = make()
    model.save_pretrained(tmp_path)
    for tower in (model, type(model).from_pretrained(tmp_path)):
        assert not any(parameter.requires_grad for parameter in tower.parameters())
        inputs = inputs_of(tower).requires_grad_()
        embeds = tower.train()(inputs).embeds
        assert not embeds.requires_grad
        assert torch.equal(embeds, tower.eval()(inputs).embeds)


@both
def test_saved_and_loaded(make, tmp_path):
    model = make()
    model.save_pretrained(tmp_path)
    loaded, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert not loaded.training
    assert torch.equal(loaded(inputs_of(model)).embeds, model(inputs_of(model)).embeds)
    assert weights_hash(loaded) == weights_hash(model)


@both
def test_a_checkpoint_that_lacks_a_weight_is_refused(make, tmp_path):
    make().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["head_norm.wieght"] = tensors.pop("head_norm.weight")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    message = (
        r"lacks 1 weight \('head_norm.weight'\), which would be random, and holds 1 weight "
        r"\('head_norm.wieght'\), not known"
    )
    for load in (type(make()), AutoModel):
        with pytest.raises(ValueError, match=message):
            load.from_pretrained(tmp_path)


@both
def test_there_is_no_buffer_that_loading_could_forget(make):
    assert list(make().buffers()) == []


@both
def test_every_parameter_is_initialized(make):
    """Weights and learned tokens have initializer_range, norms are one, biases zero: nothing is left uninitialised."""
    for name, parameter in make(initializer_range=0.3).named_parameters():
        if name.endswith("norm.weight"):
            assert (parameter == 1).all(), name
        elif name.endswith(".bias"):
            assert (parameter == 0).all(), name
        else:
            assert 0.15 < parameter.std() < 0.45, name


@both
def test_rows_do_not_see_each_other(make):
    model = make()
    inputs = inputs_of(model, batch=5)
    together = model(inputs).embeds
    alone = torch.cat([model(row[None]).embeds for row in inputs])
    assert together.shape == (5, 16)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@both
def test_bfloat16(make):
    model = make()
    inputs = inputs_of(model)
    exact = model(inputs).embeds
    half = model.to(torch.bfloat16)(inputs).embeds
    assert half.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(half.float(), exact).min() > 0.99


@both
def test_bfloat16_autocast(make):
    model = make()
    inputs = inputs_of(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeds = model(inputs).embeds
    assert torch.nn.functional.cosine_similarity(embeds.float(), model(inputs).embeds).min() > 0.99


@both
def test_states_only_on_request_and_tuples(make):
    model = make()
    output = model(inputs_of(model))
    assert output.hidden_states is None and output.stem_output is None
    as_tuple = model(inputs_of(model), return_dict=False)
    assert torch.equal(as_tuple[0], output.embeds) and torch.equal(as_tuple[1], output.last_hidden_state)
    model.config.output_hidden_states = True
    assert len(model(inputs_of(model)).hidden_states) == 1 + model.config.num_hidden_layers


def test_a_still_picture_is_a_clip_of_equal_frames():
    model = tiny_vision(num_frames=3)
    pictures = inputs_of(model)
    clips = torch.stack([pictures] * 3, dim=2)
    assert torch.equal(model(pictures).embeds, model(clips).embeds)


def test_postprocess():
    """Hand-computed: (3, 4) has length 5; the audio factor is bounded by max_logit_scale."""
    row = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(tiny_vision().postprocess(row), torch.tensor([[0.6, 0.8]]))
    torch.testing.assert_close(tiny_audio().postprocess(row), torch.tensor([[12.0, 16.0]]))
    torch.testing.assert_close(tiny_audio(logit_scale=500.0).postprocess(row), torch.tensor([[60.0, 80.0]]))


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (tiny_vision, (2, 3, 28, 42), "expected pictures \\(B, 3, 28, 28\\) or clips \\(B, 3, 2, 28, 28\\)"),
        (tiny_vision, (2, 3, 3, 28, 28), "expected pictures"),
        (tiny_vision, (3, 28, 28), "expected pictures"),
        (tiny_audio, (2, 1, 46, 32), "expected \\(B, 1, 32, 46\\)"),
    ],
)
def test_wrong_shapes_are_refused(make, shape, expected):
    with pytest.raises(ValueError, match=expected):
        make()(torch.zeros(shape))


def test_weights_hash_sees_every_bit_name_and_dtype():
    model = tiny_audio()
    before = weights_hash(model)
    assert before == weights_hash(tiny_audio()) and len(before) == 64
    bits = model.layers[1].attention.bias_k.data.view(torch.int32)
    bits[0, 0, 3] ^= 1
    changed = weights_hash(model)
    assert changed != before
    bits[0, 0, 3] ^= 1
    assert weights_hash(model) == before
    assert weights_hash(model.to(torch.bfloat16)) not in (before, changed)
    assert weights_hash(tiny_vision()) != before
