"""MAG: the gate by hand, and inside language models: copies, gradient checkpointing, models without layers."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel

from modeling_semanticmac import FusionConfig, FusionForAffect
from modeling_semanticmac.baselines.mag import AdaptationGate, AdaptationGateFusion
from modeling_semanticmac.language_models import new_language_model
from tests.helpers.clip_streams import WIDTHS, clip_streams
from tests.helpers.tiny import SENTIMENT, random_batch, text_config

CLIPS = [(6, 3, 5), (4, 0, 2), (5, 5, 0)]
SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 30}
LANGUAGE_MODELS = {
    "bert": SIZES,
    "roberta": SIZES,
    "deberta-v2": SIZES,
    "electra": SIZES | {"embedding_size": 8},
    "modernbert": SIZES | {f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")},
    "distilbert": {"dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 16, "vocab_size": 30},
    "xlnet": {"d_model": 8, "n_layer": 2, "n_head": 2, "d_inner": 16, "vocab_size": 30},
    "t5": {"d_model": 8, "num_layers": 2, "num_heads": 2, "d_ff": 16, "d_kv": 4, "vocab_size": 30},
    "gpt2": {"n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 30},
}  # fmt: skip


def language_model(kind: str = "bert"):
    """Return a tiny language model with random weights of ordinary size."""
    torch.manual_seed(0)
    model = new_language_model(AutoConfig.for_model(kind, **LANGUAGE_MODELS[kind])).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def attached(model, **options) -> AdaptationGateFusion:
    """Return MAG inside a language model."""
    torch.manual_seed(1)
    fusion = AdaptationGateFusion(AdaptationGateFusion.Options(**options), WIDTHS, SENTIMENT).eval()
    fusion.attach(model)
    return fusion


def words(streams) -> dict[str, torch.Tensor]:
    """Return random tokens for the texts of streams."""
    ids = torch.randint(5, 30, streams.text_mask.shape, generator=torch.Generator().manual_seed(2))
    return {"input_ids": ids, "attention_mask": streams.text_mask.long()}


def read(fusion, model, streams) -> torch.Tensor:
    """Return what the language model makes of random tokens (B, L, 8)."""
    fusion.before_text(streams)
    return model(**words(streams)).last_hidden_state


def gate_of(audio_shift: list[float], beta: float = 1.0) -> AdaptationGate:
    """Return a gate for words of width 2 that is open and shifts by the same vector for any audio."""
    gate = AdaptationGate(2, 1, 1, beta, 0.0)
    for parameter in gate.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(gate.audio_gate.bias)
    gate.audio_shift.bias.data = torch.tensor(audio_shift)
    gate.norm = nn.Identity()
    return gate


def test_the_shift_is_as_long_as_the_word_at_most():
    word, media, yes = torch.tensor([[[3.0, 4.0]]]), torch.ones(1, 1, 1), torch.ones(1, 1, dtype=torch.bool)
    long, short = gate_of([0.0, 10.0]), gate_of([0.0, 2.0])
    torch.testing.assert_close(long(word, media, media, yes, ~yes), torch.tensor([[[3.0, 9.0]]]))  # alpha = 1/2
    torch.testing.assert_close(short(word, media, media, yes, ~yes), torch.tensor([[[3.0, 6.0]]]))  # alpha = 1
    half = gate_of([0.0, 10.0], beta=0.5)
    torch.testing.assert_close(half(word, media, media, yes, ~yes), torch.tensor([[[3.0, 6.5]]]))  # alpha = 1/4
    torch.testing.assert_close(long(word, media, media, ~yes, yes), word)


def test_the_equations_of_the_gate():
    torch.manual_seed(0)
    gate = AdaptationGate(4, 2, 3, 1.0, 0.0)
    z, a, v = torch.randn(5, 4), torch.randn(5, 2), torch.randn(5, 3)
    yes = torch.ones(1, 5, dtype=torch.bool)
    h = F.relu(gate.vision_gate(torch.cat([v, z], 1))) * gate.vision_shift(v)
    h = h + F.relu(gate.audio_gate(torch.cat([a, z], 1))) * gate.audio_shift(a)
    alpha = (z.norm(dim=1) / (h.norm(dim=1) + 1e-6)).clamp(max=1)
    expected = F.layer_norm(z + alpha[:, None] * h, (4,))
    torch.testing.assert_close(gate(z[None], a[None], v[None], yes, yes)[0], expected)


def test_shifted_words_are_dropped_in_training_only():
    torch.manual_seed(0)
    gate, words, yes = AdaptationGate(50, 2, 3, 1.0, 0.25), torch.randn(40, 1, 50), torch.ones(40, 1, dtype=torch.bool)
    given = words, torch.randn(40, 1, 2), torch.randn(40, 1, 3), yes, yes
    whole, dropped = gate.eval()(*given), gate.train()(*given)
    assert (whole != 0).all() and (dropped == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(dropped[dropped != 0], whole[dropped != 0] / 0.75)


def test_no_shift_has_a_finite_gradient():
    gate, word = AdaptationGate(2, 1, 1, 1.0, 0.0), torch.randn(1, 1, 2, requires_grad=True)
    no = torch.zeros(1, 1, dtype=torch.bool)
    result = gate(word, torch.ones(1, 1, 1), torch.ones(1, 1, 1), no, no)
    torch.testing.assert_close(result, F.layer_norm(word, (2,)))
    result.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in [*gate.parameters(), word])


@pytest.mark.parametrize(("audio", "vision", "expected"), [(74, 47, 1370112), (5, 20, 1222656), (1024, 1024, 4329984)])
def test_as_many_parameters_as_the_public_gate(audio, vision, expected):
    with torch.device("meta"):
        gate = AdaptationGate(768, audio, vision, 1.0, 0.1)
    assert sum(parameter.numel() for parameter in gate.parameters()) == expected


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_audio_and_vision_reach_the_words(kind):
    model = language_model(kind)
    fusion, streams = attached(model), clip_streams(CLIPS)
    before = read(fusion, model, streams)
    for name, row in (("audio", 1), ("vision", 2)):  # what a missing modality holds does not matter
        getattr(streams, name)[row] = 7.0
    torch.testing.assert_close(read(fusion, model, streams), before)
    streams.audio[0] += 1.0
    after = read(fusion, model, streams)
    assert not torch.allclose(after[0, :6], before[0, :6], atol=1e-3)
    torch.testing.assert_close(after[1:], before[1:])


def test_a_missing_modality_makes_no_shift():
    """The words of a clip without audio do not depend on the weights for audio, nor those of one without vision."""
    for name, row in (("audio", 1), ("vision", 2)):
        model = language_model()
        fusion, streams = attached(model), clip_streams(CLIPS)
        before = read(fusion, model, streams)
        for part in (f"{name}_gate", f"{name}_shift"):
            for parameter in getattr(fusion.gate, part).parameters():
                nn.init.zeros_(parameter)
        after = read(fusion, model, streams)
        assert after[row].equal(before[row]) and not torch.allclose(after[0, :6], before[0, :6], atol=1e-3)


@pytest.mark.parametrize(("kind", "layer"), [("bert", 0), ("bert", 1), ("xlnet", 1)])
def test_the_gate_is_before_a_layer(kind, layer):
    model = language_model(kind)
    fusion, streams = attached(copy.deepcopy(model), inject_layer=layer), clip_streams([(5, 3, 3), (5, 3, 3)])
    layers = (model.encoder if kind == "bert" else model).layer
    # As many frames as words; the first and the last token are special.
    media = {name: F.pad(getattr(streams, name), (0, 0, 1, 1)) for name in ("audio", "vision")}
    inner = F.pad(torch.ones(2, 3, dtype=torch.bool), (1, 1))

    def shift(_, given):
        hidden = given[0].transpose(0, 1) if kind == "xlnet" else given[0]
        shifted = fusion.gate(hidden, media["audio"], media["vision"], inner, inner)
        return (shifted.transpose(0, 1) if kind == "xlnet" else shifted, *given[1:])

    layers[layer].register_forward_pre_hook(shift)
    expected = model(**words(streams)).last_hidden_state
    inside = language_model(kind)
    own = attached(inside, inject_layer=layer)
    torch.testing.assert_close(read(own, inside, streams), expected)


def test_without_media_the_words_are_normalised_once_more():
    model, plain = language_model(), language_model()
    fusion, streams = attached(model), clip_streams([(6, 0, 0), (4, 0, 0)])
    plain.embeddings.register_forward_hook(lambda _, given, output: F.layer_norm(output, (8,)))
    torch.testing.assert_close(read(fusion, model, streams), plain(**words(streams)).last_hidden_state)


def test_the_logits_read_one_hidden_state():
    model, streams = language_model(), clip_streams(CLIPS + [(0, 4, 4)])
    fusion = attached(model)
    for streams.summary, place in (("first", [0, 0, 0]), ("last", [5, 3, 4])):
        expected = fusion.output(streams.text[range(3), place])
        torch.testing.assert_close(fusion(streams).logits[:3], expected)
        torch.testing.assert_close(fusion(streams).logits[3], fusion.output.bias)


def test_a_copy_has_its_own_gate():
    model = nn.ModuleDict({"language_model": language_model()})
    model["fusion"] = attached(model["language_model"])
    streams, twin = clip_streams(CLIPS), copy.deepcopy(model)
    assert twin.state_dict().keys() == model.state_dict().keys() and "gate" in str(model.state_dict().keys())
    expected = read(model["fusion"], model["language_model"], streams)
    for parameter in model["fusion"].parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(read(twin["fusion"], twin["language_model"], streams), expected)
    assert not torch.allclose(read(model["fusion"], model["language_model"], streams), expected, atol=1e-3)


@pytest.mark.parametrize("layer", [0, 1])
def test_activation_checkpointing_changes_no_gradient(layer):
    gradients = []
    for checkpoints in (False, True):
        model = language_model()
        fusion = attached(model, inject_layer=layer, dropout=0.0)
        for part in model.modules():
            part.p = 0.0  # dropout off, in training mode
        model.config.attention_probs_dropout_prob = 0.0
        model.train()
        if checkpoints:
            model.activation_checkpointing_enable({"use_reentrant": False})
        # Two batches before one backward pass: each is recomputed with its own media.
        losses = [read(fusion, model, clip_streams(CLIPS, seed)).square().sum() for seed in (0, 1)]
        sum(losses).backward()
        gradients.append([p.grad for p in (*fusion.gate.parameters(), *model.parameters()) if p.grad is not None])
    assert len(gradients[0]) > 10
    torch.testing.assert_close(gradients[0], gradients[1])


def test_the_language_model_alone_is_refused():
    model = language_model()
    attached(model)
    with pytest.raises(RuntimeError, match="without the audio and vision"):
        model(**words(clip_streams(CLIPS)))


def whole_model(**fields) -> FusionForAffect:
    """Return MAG with a tiny BERT, without dropout."""
    sizes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(0)
    return FusionForAffect(
        FusionConfig(
            architecture="mag", options={"dropout": 0.0}, text_config=text_config(**sizes), audio_width=12,
            vision_width=20, special_tokens=[4], **fields, **SENTIMENT.config_fields(),
        )
    )  # fmt: skip


def test_the_gate_learns_in_a_frozen_language_model():
    model = whole_model(language_model="frozen").train()
    model(**random_batch([(6, 4, 5), (3, 7, 2)]), labels=torch.tensor([1.0, -2.0])).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in model.fusion.gate.parameters())
    assert all(p.grad is None for p in model.language_model.parameters())


def test_a_copy_of_the_whole_model_predicts_the_same():
    model, batch = whole_model().eval(), random_batch([(6, 4, 5), (3, 0, 2), (0, 4, 4)])
    twin = copy.deepcopy(model)
    assert twin(**batch).logits.equal(model(**batch).logits)
    nn.init.normal_(twin.fusion.gate.audio_shift.weight)
    assert not torch.allclose(twin(**batch).logits[0], model(**batch).logits[0], atol=1e-4)
    # A batch without text has no words to shift.
    media = {name: value for name, value in batch.items() if name not in ("input_ids", "attention_mask")}
    assert model(**media).logits[0].equal(model.fusion.output.bias)


def test_models_without_a_list_of_layers_are_refused():
    albert = AutoModel.from_config(AutoConfig.for_model("albert", **SIZES | {"embedding_size": 8}))
    with pytest.raises(ValueError, match="AlbertModel keeps no list of its 2 layers"):
        attached(albert)
    with pytest.raises(ValueError, match="inject_layer is 2; the language model has layers 0 to 1"):
        attached(language_model(), inject_layer=2)


def test_a_model_that_packs_its_tokens_is_refused():
    model = AutoModel.from_config(AutoConfig.for_model(**text_config(hidden_size=8)))
    fusion, streams = attached(model), clip_streams(CLIPS)
    fusion.before_text(streams)
    with pytest.raises(ValueError, match="MAG cannot tell the words apart"):
        model(input_ids=torch.ones(1, 9, dtype=torch.long))
