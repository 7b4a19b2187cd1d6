"""Language models by reference with an adapter: what is saved, what is loaded, and what is refused."""

import copy
import json
import os

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForVideoClassification

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.baselines.modeling_fusion import FusionForAffect
from modeling_semanticmac.language_model_adapter import AdapterOptions, merged
from tests.helpers.tiny import word_tokenizer
from tests.helpers.tiny_language_models import save_language_model

SIZES = dict(hidden_size=16, num_attention_heads=2, num_latents=2, num_perceiver_layers=1, num_interaction_layers=1)
SIZES |= dict(initializer_range=0.2)
DECODERS = ("llama", "qwen3", "gemma3", "smollm3")


def adapted(folder, r=4, **options):
    torch.manual_seed(0)
    options = dict(label_range=(-3, 3), vision_width=4, audio_width=4, **SIZES) | options
    return SemanticMACForAffect.from_language_model(str(folder), adapter=AdapterOptions(r=r, dropout=0.0), **options)


def moved(model):
    """Give the adapter, whose B starts at zero, weights that change the output."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def same(found, expected):
    """Compare up to the rounding that the place of weights in memory changes."""
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def batch(vocabulary=60, size=3, length=6):
    torch.manual_seed(2)
    ids = torch.randint(5, vocabulary, (size, length))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask, "audio_embeds": torch.randn(size, 2, 4)}


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_language_model("llama", tmp_path_factory.mktemp("models") / "llama")


def test_a_checkpoint_holds_the_adapter_and_not_the_base(llama, tmp_path):
    model = moved(adapted(llama))
    model.save_pretrained(tmp_path)
    assert not [name for name in load_file(tmp_path / "model.safetensors") if "language_model" in name]
    assert sorted(os.listdir(tmp_path / "language_model_adapter")) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    written = json.loads((tmp_path / "language_model_adapter/adapter_config.json").read_text())
    assert written["base_model_name_or_path"] is None  # a folder of this machine
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all("lora_" in name for name in trained if "language_model." in name)
    assert [name for name in trained if "language_model." not in name]


@pytest.mark.parametrize("auto", [SemanticMACForAffect, AutoModelForVideoClassification])
def test_a_saved_model_answers_the_same(llama, tmp_path, auto):
    model = moved(adapted(llama))
    model.save_pretrained(tmp_path)
    loaded = auto.from_pretrained(tmp_path)
    with torch.no_grad():
        same(loaded(**batch()).logits, model(**batch()).logits)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
        assert (loaded(**batch()).logits - model(**batch()).logits).abs().max() > 1e-4  # the adapter has an effect


def test_plain_peft_loads_the_adapter(llama, tmp_path):
    model = moved(adapted(llama))
    model.save_pretrained(tmp_path)
    oracle = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(llama), tmp_path / "language_model_adapter")
    inputs = {name: batch()[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        ours = model.semanticmac.language_model(**inputs).last_hidden_state
        same(ours, oracle.eval()(**inputs).last_hidden_state)


def test_the_base_model_of_a_head_has_its_adapter(llama, tmp_path):
    model = moved(adapted(llama))
    model.save_pretrained(tmp_path)
    base = AutoModel.from_pretrained(tmp_path)
    with torch.no_grad():
        expected = model.semanticmac(**batch()).multimodal_embeds
        same(base(**batch()).multimodal_embeds, expected)


def test_a_merged_model_needs_no_adapter(llama, tmp_path):
    model = moved(adapted(llama))
    with torch.no_grad():
        expected = model(**batch()).logits
    model.semanticmac.language_model = merged(model.semanticmac.language_model)
    model.config.language_model_reference = None
    model.save_pretrained(tmp_path)
    assert not (tmp_path / "language_model_adapter").exists()
    assert [name for name in load_file(tmp_path / "model.safetensors") if "q_proj.weight" in name]
    with torch.no_grad():
        found = SemanticMACForAffect.from_pretrained(tmp_path)(**batch()).logits
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_another_base_is_refused(llama, tmp_path):
    model = moved(adapted(llama))
    model.save_pretrained(tmp_path / "model")
    other = save_language_model("llama", tmp_path / "other", seed=7)
    config = json.loads((tmp_path / "model/config.json").read_text())
    config["language_model_reference"]["name_or_path"] = str(other)
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="the adapter was trained on"):
        SemanticMACForAffect.from_pretrained(tmp_path / "model")


def test_an_adapter_that_does_not_fit_is_refused(llama, tmp_path):
    moved(adapted(llama, r=4)).save_pretrained(tmp_path / "four")
    moved(adapted(llama, r=2)).save_pretrained(tmp_path / "two")
    weights = "language_model_adapter/adapter_model.safetensors"
    (tmp_path / "four" / weights).write_bytes((tmp_path / "two" / weights).read_bytes())
    with pytest.raises(ValueError, match="does not fit the language model"):
        SemanticMACForAffect.from_pretrained(tmp_path / "four")


def test_a_base_in_half_precision_has_an_adapter_in_single(llama, tmp_path):
    model = moved(adapted(llama, dtype=torch.bfloat16))
    dtypes = {
        ("lora_" in name): parameter.dtype for name, parameter in model.semanticmac.language_model.named_parameters()
    }
    assert dtypes == {True: torch.float32, False: torch.bfloat16}
    assert model.dtype == torch.float32
    model.save_pretrained(tmp_path)
    loaded = SemanticMACForAffect.from_pretrained(tmp_path)
    with torch.no_grad():
        same(loaded(**batch()).logits, model(**batch()).logits)
    kinds = {name: parameter.dtype for name, parameter in loaded.named_parameters()}
    assert kinds == {name: parameter.dtype for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", DECODERS)
def test_bidirectional_attention_lets_the_first_token_see_the_last(tmp_path, name):
    folder = save_language_model(name, tmp_path / name)
    changes = {}
    for attention in ("causal", "bidirectional"):
        model = adapted(folder, attention=attention).eval()
        model.save_pretrained(tmp_path / attention)
        language_model = SemanticMACForAffect.from_pretrained(tmp_path / attention).semanticmac.language_model
        first = batch()
        second = copy.deepcopy(first)
        second["input_ids"][:, -1] = 5
        with torch.no_grad():
            states = [
                language_model(input_ids=given["input_ids"], attention_mask=torch.ones_like(given["input_ids"]))
                for given in (first, second)
            ]
        changes[attention] = (states[0].last_hidden_state - states[1].last_hidden_state)[0, 0].abs().max().item()
    assert changes["causal"] == 0 and changes["bidirectional"] > 1e-3


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_a_quantised_base_trains_its_adapter_on_the_cpu(tmp_path, kind):
    pytest.importorskip("bitsandbytes")
    sizes = dict(hidden_size=64, intermediate_size=64, head_dim=32)  # multiples of 32, which the fast product needs
    model = adapted(save_language_model("llama", tmp_path / "base", **sizes), quantization=kind)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(8):
        loss = model(**batch(), labels=torch.tensor([1.0, -2.0, 0.5])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    model.eval().save_pretrained(tmp_path / "model")
    loaded = SemanticMACForAffect.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch()).logits, model(**batch()).logits, atol=1e-3, rtol=0)
    plain = json.loads((tmp_path / "model/config.json").read_text())
    assert plain["language_model_reference"]["quantization"] == kind


def test_a_quantised_base_without_an_adapter_is_refused(llama):
    with pytest.raises(ValueError, match="needs an adapter"):
        SemanticMACForAffect.from_language_model(str(llama), quantization="nf4", label_range=(-3, 3), **SIZES)


def test_a_comparison_system_trains_an_adapter_where_its_language_model_is_tuned(llama, tmp_path):
    fields = dict(label_range=(-3, 3), vision_width=4, audio_width=4, special_tokens=[0])
    options = dict(adapter=AdapterOptions(4, dropout=0.0), tokenizer=word_tokenizer(), **fields)
    model = moved(FusionForAffect.from_language_model(str(llama), architecture="mean_pooling", **options))
    assert all(parameter.requires_grad for name, parameter in model.named_parameters() if "lora_" in name)
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        same(FusionForAffect.from_pretrained(tmp_path)(**batch()).logits, model(**batch()).logits)
    with pytest.raises(ValueError, match="keeps its language model frozen"):
        FusionForAffect.from_language_model(str(llama), architecture="ef_lstm", **options)
