"""Language models as people have them: in half precision, under other names, encoder-decoders, with added tokens."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    BartConfig,
    BartModel,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5EncoderModel,
    T5Model,
    ViTConfig,
    ViTModel,
)

from modeling_semanticmac import SemanticMACForAffect, SemanticMACModel
from modeling_semanticmac.language_models import max_text_tokens
from tests.helpers.tiny import random_batch, tiny_config, word_tokenizer
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
BERT = BertConfig(**SIZES, max_position_embeddings=40)
T5 = T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=4)
BART = BartConfig(
    vocab_size=50, d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=64,
)  # fmt: skip
FIELDS = {
    name: getattr(tiny_config(), name) for name in ("hidden_size", "num_attention_heads", "audio_width", "vision_width")
}
LENGTHS = [(6, 4, 5), (2, 1, 9), (4, 0, 3)]
WORDS = {
    "input_ids": torch.tensor([[5, 6, 7, 8], [9, 5, 6, 0]]),
    "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
}


def saved(model, folder, dtype=torch.float32):
    torch.manual_seed(0)
    model.to(dtype).save_pretrained(folder)
    return str(folder)


def rename(folder, change) -> None:
    path = folder / "model.safetensors"
    save_file({change(name): tensor for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})


@pytest.fixture
def bert(tmp_path):
    torch.manual_seed(0)
    return saved(BertModel(BERT), tmp_path / "bert")


def test_a_language_model_none_of_whose_weights_fit_is_refused(bert, tmp_path):
    rename(tmp_path / "bert", lambda name: f"wrapped.{name}")
    with pytest.raises(
        ValueError, match=r"lacks 21 weights \('embeddings.*which would be random, and holds .*'wrapped"
    ):
        SemanticMACModel.from_language_model(bert, **FIELDS)


def test_one_missing_weight_is_refused_and_a_missing_pooler_is_not(bert, tmp_path):
    rename(tmp_path / "bert", lambda name: name.replace("pooler", "x"))
    SemanticMACModel.from_language_model(bert, **FIELDS)
    rename(tmp_path / "bert", lambda name: name.replace("word_embeddings", "words"))
    with pytest.raises(
        ValueError, match=r"lacks 1 weight \('embeddings.word_embeddings.weight'\), which would be random"
    ):
        SemanticMACModel.from_language_model(bert, **FIELDS)


def test_the_weights_of_a_model_with_another_head_fit(tmp_path):
    torch.manual_seed(0)
    masked = BertForMaskedLM(BERT)
    model = SemanticMACModel.from_language_model(saved(masked, tmp_path), **FIELDS)
    assert all(value.equal(masked.bert.state_dict()[name]) for name, value in model.language_model.state_dict().items())


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_half_precision_is_loaded_in_float32(stored, tmp_path):
    """Updates of bfloat16 weights round to nothing: the master weights are float32 unless requested otherwise."""
    torch.manual_seed(0)
    model = SemanticMACForAffect.from_language_model(saved(BertModel(BERT), tmp_path, stored), **FIELDS)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    model(**random_batch(LENGTHS)).logits.sum().backward()
    before = {name: parameter.clone() for name, parameter in model.semanticmac.language_model.named_parameters()}
    torch.optim.SGD(model.parameters(), lr=1e-4).step()
    changed = [
        not parameter.equal(before[name])
        for name, parameter in model.semanticmac.language_model.named_parameters()
        if parameter.grad.any()
    ]
    assert all(changed)


@pytest.mark.parametrize("width", [16, 32], ids=["projected", "same width"])
def test_a_mixed_model_answers_and_keeps_its_dtypes(width, tmp_path):
    torch.manual_seed(0)
    name = saved(BertModel(BERT), tmp_path / "bert", torch.bfloat16)
    options = {**FIELDS, "hidden_size": width}
    model = SemanticMACForAffect.from_language_model(name, dtype=torch.bfloat16, **options).eval()
    kinds = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert {kind for name, kind in kinds.items() if "language_model" in name} == {torch.bfloat16}
    assert {kind for name, kind in kinds.items() if "language_model" not in name} == {torch.float32}
    batch = random_batch(LENGTHS)
    expected = model(**batch).logits
    whole = SemanticMACForAffect.from_language_model(name, **options).eval()
    whole.load_state_dict(model.state_dict())
    torch.testing.assert_close(expected, whole(**batch).logits, atol=0.02, rtol=0.02)
    model.save_pretrained(tmp_path / "run")
    for load in (SemanticMACForAffect, AutoModel):
        again = load.from_pretrained(tmp_path / "run")
        prefix = "" if load is SemanticMACForAffect else "semanticmac."
        assert {prefix + name: parameter.dtype for name, parameter in again.named_parameters()}.items() <= kinds.items()
        found = again.eval()(**batch)
        if load is SemanticMACForAffect:
            torch.testing.assert_close(found.logits, expected)
    for load in (SemanticMACForAffect, AutoModel):  # an explicit dtype is for all weights
        plain = load.from_pretrained(tmp_path / "run", dtype=torch.float32)
        assert {parameter.dtype for parameter in plain.parameters()} == {torch.float32}
        plain.save_pretrained(tmp_path / "plain")
        assert AutoModel.from_pretrained(tmp_path / "plain").language_model.dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "config"), [(T5Model, T5), (T5EncoderModel, T5), (BartModel, BART)], ids=["t5", "t5-encoder", "bart"]
)
def test_of_an_encoder_decoder_the_encoder_is_taken(kind, config, tmp_path):
    torch.manual_seed(0)
    full = kind(config).eval()
    model = SemanticMACForAffect.from_language_model(saved(full, tmp_path / "lm"), **FIELDS).eval()
    encoder = full.get_encoder()
    with torch.no_grad():
        found = model.semanticmac.language_model(**WORDS).last_hidden_state
        torch.testing.assert_close(found, encoder(**WORDS).last_hidden_state)
        assert not any("decoder" in name for name in model.state_dict())
        expected = model(**random_batch(LENGTHS)).logits
        types = torch.ones_like(WORDS["input_ids"])
        torch.testing.assert_close(model(**WORDS, token_type_ids=types).logits, model(**WORDS).logits)
        model.save_pretrained(tmp_path / "run")
        again = SemanticMACForAffect.from_pretrained(tmp_path / "run").eval()
        torch.testing.assert_close(again(**random_batch(LENGTHS)).logits, expected)
    model.train()(**WORDS).logits.sum().backward()
    assert model.get_input_embeddings().weight.grad.abs().sum() > 0
    model.resize_token_embeddings(60)
    assert model.get_input_embeddings().num_embeddings == 60 and model.config.text_config.vocab_size == 60


def test_places_of_a_language_model(tmp_path):
    roberta = RobertaModel(RobertaConfig(**SIZES, max_position_embeddings=40))
    assert [
        max_text_tokens(model)
        for model in (BertModel(BERT), roberta, T5Model(T5).get_encoder(), BartModel(BART).get_encoder())
    ] == [40, 38, None, 64]
    for language_model, limit in ((BertModel(BERT), 40), (roberta, 38)):
        model = SemanticMACModel(tiny_config(text_config=language_model.config.to_dict())).eval()
        assert model(input_ids=torch.full((1, limit), 5)).multimodal_embeds.isfinite().all()
        with pytest.raises(
            ValueError, match=f"rows of {limit + 1} tokens, and the language model has positions for {limit}"
        ):
            model(input_ids=torch.full((1, limit + 1), 5))


def test_tokens_added_to_a_tokenizer_get_embeddings(tmp_path):
    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    bert = saved(BertModel(BertConfig(**{**SIZES, "vocab_size": len(tokenizer)})), tmp_path / "bert")
    tokenizer.add_tokens(["[laughs]", "[sighs]"])
    inputs = dict(tokenizer(["good [sighs]"], return_tensors="pt"))
    with pytest.raises(ValueError, match="input_ids hold 22, and the language model has 21 embeddings"):
        SemanticMACForAffect.from_language_model(bert, **FIELDS)(**inputs)
    model = SemanticMACForAffect.from_language_model(bert, tokenizer=tokenizer, **FIELDS).eval()
    assert model.get_input_embeddings().num_embeddings == 23
    model.save_pretrained(tmp_path / "run")
    again = SemanticMACForAffect.from_pretrained(tmp_path / "run").eval()
    torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits)


@pytest.mark.parametrize("kind", ["roberta", "distilbert"])
def test_segments_that_a_language_model_does_not_tell_apart_are_left_out(kind):
    """A tokenizer may give segment ids that its language model has no embeddings for."""
    torch.manual_seed(0)
    config = {
        "roberta": RobertaConfig(**SIZES, type_vocab_size=1),
        "distilbert": DistilBertConfig(vocab_size=50, dim=32, n_layers=1, n_heads=2, hidden_dim=32),
    }[kind]
    model = SemanticMACModel(tiny_config(text_config=config.to_dict())).eval()
    types = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0]])
    with torch.no_grad():
        expected = model(**WORDS).multimodal_embeds
        torch.testing.assert_close(model(**WORDS, token_type_ids=types).multimodal_embeds, expected)


def test_segments_matter_where_the_language_model_has_them():
    torch.manual_seed(0)
    model = SemanticMACModel(tiny_config(initializer_range=0.5)).eval()
    model.language_model.embeddings.token_type_embeddings.weight.data.normal_()
    types = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0]])
    found, without = model(**WORDS, token_type_ids=types), model(**WORDS)
    assert not torch.allclose(found.multimodal_embeds, without.multimodal_embeds)


def test_what_is_not_a_language_model_is_refused_in_a_sentence(tmp_path):
    run = save_tiny_checkpoint(tmp_path / "run")
    ViTModel(
        ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    ).save_pretrained(tmp_path / "vit")
    old = tmp_path / "sentences"
    (old / "0_BERT").mkdir(parents=True)
    (old / "modules.json").write_text("[]")
    (old / "config.json").write_text('{"__version__": "0.4.0"}')
    (old / "0_BERT" / "config.json").write_text(BERT.to_json_string())
    (tmp_path / "empty").mkdir()
    for name, message in [
        (run, "is a whole SemanticMAC checkpoint; .*--model_name_or_path"),
        (tmp_path / "nowhere", "is a folder that does not exist; check the path"),
        ("./nowhere", "is a folder that does not exist; check the path"),
        (old, r"sentence-transformers folder of the old layout; name the transformer inside it: .*0_BERT"),
        (tmp_path / "vit", "is a vit model, which is not a text encoder"),
        (tmp_path / "empty", "cannot be read: expected the folder of a model of transformers"),
        ("no-such-model", "cannot be read: expected the folder of a model of transformers"),
    ]:
        with pytest.raises(ValueError, match=message):
            SemanticMACForAffect.from_language_model(str(name), **FIELDS)


class Int8Linear(torch.nn.Module):
    """A quantised layer as bitsandbytes makes it: int8 weights, a floating bias, floating inputs required."""

    def __init__(self, layer: torch.nn.Linear):
        super().__init__()
        self.scale = layer.weight.detach().abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127
        self.weight = torch.nn.Parameter(
            (layer.weight.detach() / self.scale).round().to(torch.int8), requires_grad=False
        )
        self.bias = layer.bias

    def forward(self, inputs):
        assert inputs.is_floating_point(), inputs.dtype
        return torch.nn.functional.linear(inputs, self.weight * self.scale, self.bias)


def test_quantised_layers_get_floating_inputs():
    torch.manual_seed(0)
    model = SemanticMACForAffect(tiny_config(initializer_range=0.3)).eval()
    batch = random_batch(LENGTHS)
    with torch.no_grad():
        expected = model(**batch).logits
        for parent in list(model.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, torch.nn.Linear):
                    setattr(parent, name, Int8Linear(layer))
        found = model(**batch).logits
    assert 0 < (found - expected).abs().max() < 0.05 * expected.abs().max()
