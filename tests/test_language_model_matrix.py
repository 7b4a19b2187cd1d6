"""Every kind of language model, in single and half precision, tuned whole or by an adapter: trained, saved, loaded,
with padding on either side, without text, and after a context.
"""

import functools

import pytest
import torch

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.language_model_adapter import AdapterOptions
from modeling_semanticmac.language_models import first_position, load_language_model
from modeling_semanticmac.text_encoding import TextFormat, encode_text
from tests.helpers.tiny_language_models import LANGUAGE_MODELS, save_language_model
from tests.test_text_format import words_tokenizer

SIZES = dict(hidden_size=16, num_attention_heads=2, num_latents=2, num_perceiver_layers=1, num_interaction_layers=1)
FIELDS = dict(label_range=(-3, 3), vision_width=4, audio_width=4, initializer_range=0.2) | SIZES
PRECISIONS = {torch.float32: 2e-5, torch.bfloat16: 0.05}  # dtype -> what padding may change by rounding
LABELS = torch.tensor([1.0, -2.0, 0.5])


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A folder of each language model, made when it is first needed."""
    folder = tmp_path_factory.mktemp("bases")
    return functools.cache(lambda name: save_language_model(name, folder / name))


def batch():
    """Three texts of different lengths, the last one missing, and sound."""
    generator = torch.Generator().manual_seed(2)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [0] * 6])
    ids = torch.randint(6, 25, mask.shape, generator=generator)
    return {"input_ids": ids, "attention_mask": mask, "audio_embeds": torch.randn(3, 2, 4, generator=generator)}


def padded_left(given):
    """The same batch with its padding on the other side."""
    moved = dict(given)
    for name in ("input_ids", "attention_mask"):
        moved[name] = torch.stack([row.roll(6 - length) for row, length in zip(given[name], (6, 4, 6))])
    return moved


@pytest.mark.parametrize("with_adapter", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("dtype", list(PRECISIONS), ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", sorted(LANGUAGE_MODELS))
def test_every_language_model(bases, tmp_path, name, dtype, with_adapter):
    if (name, dtype) == ("xlnet", torch.bfloat16):
        pytest.skip("transformers computes it in float32 alone, see below")
    torch.manual_seed(0)
    adapter = AdapterOptions(4, dropout=0.0) if with_adapter else None
    model = SemanticMACForAffect.from_language_model(str(bases(name)), dtype=dtype, adapter=adapter, **FIELDS)
    base = model.semanticmac.language_model
    before = {key: value.clone() for key, value in base.state_dict().items()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.05)
    for _ in range(2):  # B of an adapter starts at zero, and so do the gradients of A
        model.train()(**batch(), labels=LABELS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = {key for key, value in base.state_dict().items() if not value.equal(before[key])}
    adapters = {key for key in before if "lora_" in key}
    assert bool(adapters) == with_adapter and (moved == adapters if with_adapter else len(moved) > 3)
    assert {value.dtype for key, value in base.state_dict().items() if key in adapters} <= {torch.float32}

    model.eval().save_pretrained(tmp_path)
    loaded = SemanticMACForAffect.from_pretrained(tmp_path).eval()
    kept = loaded.state_dict()
    assert all(value.dtype == kept[key].dtype and value.equal(kept[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        expected = model(**batch())
        # Weights lie elsewhere in memory, which may change the last bit of a sum.
        torch.testing.assert_close(loaded(**batch()).logits, expected.logits, atol=1e-6, rtol=1e-5)
        assert expected.logits.isfinite().all()

        left = loaded(**padded_left(batch()))
        torch.testing.assert_close(left.logits, expected.logits, atol=PRECISIONS[dtype], rtol=0)

        assert expected.modality_mask.tolist() == [[True, True, False]] * 2 + [[False, True, False]]
        sound = loaded(audio_embeds=batch()["audio_embeds"][2:])
        torch.testing.assert_close(expected.logits[2:], sound.logits, atol=1e-5, rtol=1e-5)

        form, tokenizer = TextFormat(tokens="utterance"), words_tokenizer(padding_side="left")
        rows = [encode_text(tokenizer, ["a b", "c"], context, text_format=form) for context in (None, [["d e"], ["f"]])]
        loaded.config.text_tokens = "utterance"
        alone, after = (loaded(**row).logits for row in rows)
        assert after.isfinite().all() and ((alone - after).abs() > 1e-5).all()


def test_a_language_model_that_cannot_compute_in_half_precision_is_refused(bases):
    with pytest.raises(ValueError, match="xlnet model cannot compute in bfloat16.*load it in float32"):
        SemanticMACForAffect.from_language_model(str(bases("xlnet")), dtype=torch.bfloat16, **FIELDS)


@pytest.mark.parametrize("name", sorted(LANGUAGE_MODELS))
def test_positions_that_are_given_are_those_that_a_language_model_counts(bases, name):
    """Without padding a language model's own count is right; with it on the right, too."""
    language_model = load_language_model(str(bases(name)), _config(bases(name))).eval()
    first = first_position(language_model)
    assert first == {"gpt2": 0, "roberta": 2}.get(name)
    if first is not None:
        ids = torch.arange(6, 12)[None]
        with torch.no_grad():
            own = language_model(input_ids=ids).last_hidden_state
            given = language_model(input_ids=ids, position_ids=torch.arange(6)[None] + first).last_hidden_state
        torch.testing.assert_close(given, own, atol=0, rtol=0)


def _config(folder):
    from modeling_semanticmac.language_models import language_model_config

    return language_model_config(str(folder))


def test_an_embedding_model_of_qwen3_s_form(bases):
    """Padding on the left, <eos> after the text, which the last token is: the summary of a text is that of the text
    alone, with an instruction before it.
    """
    tokenizer = words_tokenizer(
        single="$A </s>", pair="$A $B </s>", padding_side="left", eos_token="</s>", sep_token=None
    )
    torch.manual_seed(0)
    model = SemanticMACForAffect.from_language_model(str(bases("qwen3")), text_summary="last", **FIELDS).eval()
    seen = []
    model.semanticmac.interaction.register_forward_pre_hook(lambda _, given: seen.append(given[2][0]))
    form = TextFormat(prefix="query : ")
    rows = encode_text(tokenizer, ["a b c d", "e", "f"], [[], ["g"], []], text_format=form)
    shown = [tokenizer.convert_ids_to_tokens(ids[mask.bool()]) for ids, mask in zip(*map(rows.get, ROW))]
    assert [" ".join(row) for row in shown] == [
        "query : a b c d </s>", "query : g </s> e </s>", "query : f </s>",
    ]  # fmt: skip
    assert rows["attention_mask"][2].tolist() == [0] * 3 + [1] * 4
    with torch.no_grad():
        model(**rows)
        for row in shown:
            ids = torch.tensor([tokenizer.convert_tokens_to_ids(row)])
            last = model.semanticmac.language_model(input_ids=ids).last_hidden_state[:, -1]  # (1, D)
            last = (last - last.mean()) / (last.var(correction=0) + 1e-5).sqrt()
            seen.append(model.semanticmac.text_summary.projection(last))
    torch.testing.assert_close(seen[0], torch.cat(seen[1:]), atol=1e-5, rtol=1e-5)


ROW = ("input_ids", "attention_mask")
