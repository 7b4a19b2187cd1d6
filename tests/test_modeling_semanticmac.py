import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel, RobertaConfig, XLNetConfig

from modeling_semanticmac import SemanticMACModel
from tests.helpers.tiny import random_batch, tiny_config

LENGTHS = [(6, 4, 5), (2, 1, 9), (4, 0, 3), (0, 7, 2), (5, 3, 0), (3, 0, 0), (0, 2, 0), (0, 0, 1)]


@pytest.fixture(scope="module")
def model() -> SemanticMACModel:
    torch.manual_seed(0)
    return SemanticMACModel(tiny_config()).eval()


@torch.no_grad()
def run(model, batch):
    return model(**batch)


def rows(batch: dict, index: list[int]) -> dict:
    """Return some samples of a batch, cut to their own longest streams."""
    found = {name: value[index] for name, value in batch.items()}
    for mask, *others in (
        ("attention_mask", "input_ids"),
        ("audio_mask", "audio_embeds"),
        ("vision_mask", "vision_embeds"),
    ):
        longest = max(int(found[mask].sum(1).max()), 1)
        for name in (mask, *others):
            found[name] = found[name][:, :longest]
    return found


def assert_same(found, expected, tolerance=2e-6):
    for name in ("multimodal_embeds", "specific_embeds", "shared_embeds"):
        torch.testing.assert_close(
            found[name], expected[name], atol=tolerance, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_shapes_and_modality_mask(model):
    output = run(model, random_batch(LENGTHS))
    assert output.multimodal_embeds.shape == (8, 16)
    assert output.specific_embeds.shape == output.shared_embeds.shape == (8, 3, 16)
    assert output.modality_mask.tolist() == [[t > 0, a > 0, v > 0] for t, a, v in LENGTHS]
    for name in ("specific_embeds", "shared_embeds"):
        assert output[name][~output.modality_mask].eq(0).all()
        assert output[name][output.modality_mask].abs().sum(-1).gt(0).all()


def test_padding_and_batch_size_change_nothing(model):
    batch = random_batch(LENGTHS)
    together = run(model, batch)
    for index in range(len(LENGTHS)):
        alone = run(model, rows(batch, [index]))
        assert_same(alone, {name: together[name][[index]] for name in together})


def test_batch_order_changes_nothing(model):
    batch, order = random_batch(LENGTHS), [3, 0, 7, 1, 6, 2, 5, 4]
    together = run(model, batch)
    assert_same(
        run(model, {name: value[order] for name, value in batch.items()}),
        {name: together[name][order] for name in together},
    )


@pytest.mark.parametrize("frames", [1, 8, 9, 40])
def test_any_number_of_frames_works(model, frames):
    """The frame embedding table of this model has 8 rows."""
    assert torch.isfinite(run(model, random_batch([(3, frames, frames)])).multimodal_embeds).all()


@pytest.mark.parametrize("missing", ["text", "audio", "vision"])
def test_missing_equals_masked(model, missing):
    batch = random_batch([(4, 5, 6), (2, 3, 4)])
    masks = {"text": "attention_mask", "audio": "audio_mask", "vision": "vision_mask"}
    masked = {**batch, masks[missing]: torch.zeros_like(batch[masks[missing]])}
    stream = {"text": "input_ids", "audio": "audio_embeds", "vision": "vision_embeds"}[missing]
    absent = {name: value for name, value in batch.items() if name not in (masks[missing], stream)}
    assert_same(run(model, absent), run(model, masked))
    assert not torch.allclose(run(model, absent).multimodal_embeds, run(model, batch).multimodal_embeds, atol=1e-4)


def test_all_three_missing_is_an_error(model):
    with pytest.raises(ValueError, match=r"Sample\(s\) \[1\] of the batch have no modality"):
        run(model, random_batch([(1, 2, 3), (0, 0, 0)]))
    with pytest.raises(ValueError, match="neither text nor audio nor vision"):
        run(model, {})


def test_shapes_that_do_not_fit_are_refused(model):
    batch = random_batch([(1, 2, 3)])
    with pytest.raises(ValueError, match="audio_mask has shape"):
        run(model, {**batch, "audio_mask": torch.ones(1, 7)})
    with pytest.raises(ValueError, match="vision_embeds have width 19, but config.vision_width is 20"):
        run(model, {**batch, "vision_embeds": torch.randn(1, 3, 19)})
    with pytest.raises(ValueError, match="names no vision encoder"):
        run(model, {"pixel_values": torch.randn(1, 1, 3, 4, 4)})


CONFIGS = {
    "bert": BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32),
    "xlnet": XLNetConfig(vocab_size=50, d_model=24, n_layer=2, n_head=2, d_inner=32),
    "roberta": RobertaConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_any_text_encoder(name, tmp_path):
    torch.manual_seed(0)
    config = tiny_config(text_config=CONFIGS[name].to_dict())
    model = SemanticMACModel(config).eval()
    assert isinstance(model.text_projection, torch.nn.Identity) == (config.text_config.hidden_size == 16)
    batch = random_batch([(6, 2, 2), (3, 4, 1)])
    together = run(model, batch)
    assert_same(run(model, rows(batch, [1])), {key: together[key][[1]] for key in together})
    model.save_pretrained(tmp_path)
    assert_same(run(AutoModel.from_pretrained(tmp_path).eval(), batch), together)


def test_language_model_keeps_its_pretrained_weights(tmp_path):
    torch.manual_seed(0)
    language_model = BertModel(CONFIGS["bert"])
    language_model.save_pretrained(tmp_path)
    fields = {
        name: value for name, value in tiny_config().to_dict().items() if name in ("hidden_size", "num_attention_heads")
    }
    model = SemanticMACModel.from_language_model(str(tmp_path), **fields)
    expected = language_model.state_dict()
    found = model.language_model.state_dict()
    assert found and all(value.equal(expected[name]) for name, value in found.items())
    assert not any("pooler" in name for name in found)


def test_initial_state_follows_the_method():
    torch.manual_seed(0)
    model = SemanticMACModel(tiny_config(hidden_size=64, max_frames=256))
    for weight in (
        model.audio_perceiver.latents,
        model.vision_perceiver.frame_embedding.weight,
        model.interaction.modality_embedding,
    ):
        assert weight.std().item() == pytest.approx(0.02, rel=0.25)
    gate = model.interaction.specific.layers[0].gate_projection
    assert gate.bias.eq(1).all() and gate.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_eager_and_sdpa_agree(model):
    batch = random_batch(LENGTHS)
    expected = run(model, batch)
    model.set_attn_implementation("eager")
    try:
        assert_same(run(model, batch), expected, tolerance=1e-5)
    finally:
        model.set_attn_implementation("sdpa")


def test_bf16_loads_and_answers(model, tmp_path):
    model.save_pretrained(tmp_path)
    half = SemanticMACModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    output = run(half, random_batch(LENGTHS))
    assert output.multimodal_embeds.dtype == torch.bfloat16
    assert torch.isfinite(output.multimodal_embeds).all()
    torch.testing.assert_close(
        output.multimodal_embeds.float(), run(model, random_batch(LENGTHS)).multimodal_embeds, atol=0.05, rtol=0.1
    )
