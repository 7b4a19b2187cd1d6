"""Towers with an adapter: gradients through the whole way, what is saved, what is loaded, what is refused."""

import copy
import json
import os

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForVideoClassification, CLIPVisionConfig, CLIPVisionModel

from examples.tiny_models import save_tiny_towers
from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.encoder_adapter import linear_layers
from modeling_semanticmac.encoder_outputs import embed_batch, is_trained
from modeling_semanticmac.encoders import embedding_width, encoder_reference, load_encoder
from modeling_semanticmac.language_model_adapter import AdapterOptions
from tests.helpers.tiny import SENTIMENT, tiny_config

OPTIONS = AdapterOptions(2, dropout=0.0)


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    """Folders of the tiny towers of ImageBind."""
    return dict(zip(("vision", "audio"), save_tiny_towers(tmp_path_factory.mktemp("towers"))))


def new_model(towers, **fields):
    encoders = {modality: load_encoder({"name_or_path": folder}, modality) for modality, folder in towers.items()}
    fields |= {f"{m}_encoder": encoder_reference(towers[m], encoder) for m, encoder in encoders.items()}
    fields |= {f"{m}_width": embedding_width(encoder) for m, encoder in encoders.items()}
    torch.manual_seed(0)
    return SemanticMACForAffect(tiny_config(initializer_range=0.2, linear_start=False, **fields)).eval()


def moved(model):
    """Give the adapters, whose B starts at zero, weights that change the output."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return model


def raw_batch(model, size=2):
    """Two frames and windows of each clip; the second clip has one of each."""
    torch.manual_seed(2)
    vision, audio = (model.get_encoder(modality).config for modality in ("vision", "audio"))
    batch = {
        "pixel_values": torch.randn(size, 2, 3, vision.image_size, vision.image_size),
        "input_features": torch.randn(size, 2, 1, audio.num_mel_bins, audio.num_mel_frames),
    }
    mask = torch.tensor([[1, 1]] + [[1, 0]] * (size - 1))
    return {**batch, "vision_mask": mask, "audio_mask": mask, "input_ids": torch.tensor([[5, 6, 7]] * size)}


class HandMadeAdapter(nn.Module):
    """W x + (alpha / r) B A x, written out."""

    def __init__(self, layer: nn.Linear, a: torch.Tensor, b: torch.Tensor, scale: float):
        super().__init__()
        self.layer, self.scale = layer, scale
        self.a, self.b = nn.Parameter(a.detach().clone()), nn.Parameter(b.detach().clone())

    def forward(self, inputs):
        return self.layer(inputs) + self.scale * (inputs @ self.a.T @ self.b.T)


def plain_embeds(tower, inputs):
    """Compute ImageBind's embeddings from the parts of a tower, with gradient: (n, ...) -> (n, D)."""
    if inputs.ndim == 4 and hasattr(tower.config, "num_frames"):
        inputs = inputs.unsqueeze(2).expand(-1, -1, tower.config.num_frames, -1, -1)
    hidden = tower.trunk_norm(tower.stem(inputs))
    for layer in tower.layers:
        hidden = hidden + layer.attention(layer.attention_norm(hidden))
        hidden = hidden + layer.contract(nn.functional.gelu(layer.expand(layer.mlp_norm(hidden))))
    return tower.projection(tower.head_norm(hidden[:, 0]))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_one_step_equals_autograd_through_a_plain_composition(towers, checkpointing):
    model = new_model(towers)
    head = copy.deepcopy(model)  # it gets embeddings
    model.adapt_encoders(["vision", "audio"], OPTIONS)
    moved(model)
    if checkpointing:
        model.activation_checkpointing_enable()
    batch, labels = raw_batch(model), torch.tensor([1.0, -2.0])

    given = {name: batch[name] for name in ("input_ids", "vision_mask", "audio_mask")}
    by_hand = {}
    for modality, raw in (("vision", "pixel_values"), ("audio", "input_features")):
        tower, adapted = load_encoder({"name_or_path": towers[modality]}, modality), model.get_encoder(modality)
        for name in linear_layers(tower):
            ours = adapted.get_submodule(name)
            layer = HandMadeAdapter(
                tower.get_submodule(name), ours.lora_A["default"].weight, ours.lora_B["default"].weight, scale=2.0
            )
            tower.set_submodule(name, layer)
            by_hand[modality, name] = layer
        valid = batch[f"{modality}_mask"].bool()
        embeds = torch.zeros(*valid.shape, embedding_width(tower))
        embeds[valid] = plain_embeds(tower, batch[raw][valid])
        given[f"{modality}_embeds"] = embeds
    plain = [parameter for layer in by_hand.values() for parameter in (layer.a, layer.b)] + list(head.parameters())
    for parameters, inputs, one in ((model.parameters(), batch, model.train()), (plain, given, head.train())):
        for module in one.modules():  # the draws of the two would differ
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        one.semanticmac.config.dropout = 0.0
        optimizer = torch.optim.SGD([p for p in parameters if p.requires_grad], lr=0.1)
        one(**inputs, labels=labels).loss.backward()
        optimizer.step()
    for (modality, name), layer in by_hand.items():
        ours = model.get_encoder(modality).get_submodule(name)
        assert layer.a.grad.abs().sum() > 0 and layer.b.grad.abs().sum() > 0, (modality, name)
        for found, expected in ((ours.lora_A, layer.a), (ours.lora_B, layer.b)):
            torch.testing.assert_close(found["default"].weight, expected, atol=1e-6, rtol=1e-5)
        assert ours.get_base_layer().weight.equal(layer.layer.weight) and ours.get_base_layer().weight.grad is None
    expected = dict(head.named_parameters())
    for name, parameter in model.named_parameters():
        if "adapted_encoders" not in name:
            torch.testing.assert_close(parameter, expected[name], atol=1e-6, rtol=1e-5)


def test_a_new_adapter_changes_nothing_yet(towers):
    model = new_model(towers)
    batch = raw_batch(model)
    with torch.no_grad():
        expected = model(**batch).logits
        model.adapt_encoders(["vision", "audio"])
        torch.testing.assert_close(model(**batch).logits, expected, atol=1e-6, rtol=1e-5)
        assert (moved(model)(**batch).logits - expected).abs().max() > 1e-4
    assert is_trained(model.get_encoder("vision"))
    assert model(**batch).logits.grad_fn is not None
    frozen = load_encoder({"name_or_path": towers["vision"]}, "vision")
    assert embed_batch(frozen, batch["pixel_values"][0]).grad_fn is None


@pytest.mark.parametrize("include_encoders", [False, True])
@pytest.mark.parametrize("auto", [SemanticMACForAffect, AutoModelForVideoClassification])
def test_a_checkpoint_holds_the_adapters_and_not_the_towers(towers, tmp_path, auto, include_encoders):
    model = new_model(towers)
    model.adapt_encoders(["audio"], OPTIONS)
    moved(model).save_pretrained(tmp_path, include_encoders=include_encoders)
    assert not [name for name in load_file(tmp_path / "model.safetensors") if "adapted_encoders" in name]
    assert not (tmp_path / "vision_encoder_adapter").exists()
    assert sorted(os.listdir(tmp_path / "audio_encoder_adapter")) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["audio_encoder"]["adapter"] is True and "adapter" not in config["vision_encoder"]
    loaded = auto.from_pretrained(tmp_path).eval()
    assert loaded.adapted_modalities == ("audio",)
    batch = raw_batch(model)
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits, atol=0, rtol=0)
    kept = loaded.state_dict()
    assert all(value.equal(kept[name]) for name, value in model.state_dict().items())
    if include_encoders:
        base = load_encoder({"name_or_path": tmp_path / "audio_encoder"}, "audio")
        assert base.state_dict().keys() == load_encoder({"name_or_path": towers["audio"]}, "audio").state_dict().keys()
    oracle = peft.PeftModel.from_pretrained(
        load_encoder({"name_or_path": towers["audio"]}, "audio"), tmp_path / "audio_encoder_adapter"
    )
    with torch.no_grad():
        sound = batch["input_features"][0]
        torch.testing.assert_close(oracle(sound).embeds, model.get_encoder("audio")(sound).embeds, atol=0, rtol=0)


def test_a_batch_without_frames_still_has_a_gradient_for_every_weight(towers):
    """Which distributed training waits for; it is zero."""
    model = new_model(towers)
    model.adapt_encoders(["vision", "audio"], OPTIONS)
    batch = raw_batch(moved(model))
    batch["vision_mask"], batch["audio_mask"] = torch.zeros(2, 2), torch.zeros(2, 2)
    output = model.train()(**batch, labels=torch.zeros(2))
    output.loss.backward()
    assert not output.modality_mask[:, 1:].any()
    gradients = [p.grad for name, p in model.named_parameters() if "lora_" in name]
    assert gradients and all(gradient is not None and not gradient.any() for gradient in gradients)


def test_a_tower_of_transformers_within_a_model(tmp_path, towers):
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, projection_dim=8)
    CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=8, patch_size=4)).save_pretrained(tmp_path / "clip")
    model = new_model({"vision": tmp_path / "clip", "audio": towers["audio"]})
    model.adapt_encoders(["vision"], OPTIONS)
    batch = {"pixel_values": torch.randn(2, 1, 3, 8, 8)}
    moved(model)(**batch, labels=torch.zeros(2)).loss.backward()
    gradients = [p.grad for name, p in model.named_parameters() if "lora_" in name and "post" not in name]
    assert gradients and all(gradient is not None and gradient.any() for gradient in gradients)
    model.save_pretrained(tmp_path / "run")
    with torch.no_grad():
        again = SemanticMACForAffect.from_pretrained(tmp_path / "run").eval()
        torch.testing.assert_close(again(**batch).logits, model(**batch).logits, atol=0, rtol=0)


def test_what_cannot_be_adapted_is_refused(towers):
    model = SemanticMACForAffect(tiny_config(SENTIMENT))
    with pytest.raises(ValueError, match="names no vision tower"):
        model.adapt_encoders(["vision"])
    model = new_model(towers)
    model.adapt_encoders(["vision"])
    with pytest.raises(ValueError, match="has an adapter already"):
        model.adapt_encoders(["vision"])
    with pytest.raises(ValueError, match="another cannot replace it"):
        model.set_encoders(vision=load_encoder({"name_or_path": towers["vision"]}, "vision"))
    with pytest.raises(ValueError, match="has no linear layers"):
        linear_layers(nn.Sequential(nn.Conv2d(1, 1, 1)))
