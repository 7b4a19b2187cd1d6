"""Speakers, the utterance's own tokens, prefixes and chat templates: tokens worked out by hand."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from modeling_semanticmac import SemanticMACForAffect, SemanticMACModel, SemanticMACProcessor
from modeling_semanticmac.baselines.modeling_fusion import FusionForAffect
from modeling_semanticmac.input_scaling import text_summary
from modeling_semanticmac.text_encoding import TextFormat, encode_text
from tests.helpers.tiny import SENTIMENT, tiny_config
from tests.helpers.tiny_language_models import save_language_model

WORDS = "a b c d e f g h Ann Bob : query be kind user model".split()
CHAT = (
    "{% for message in messages %}<t> {{ message['role'] if message['role'] != 'system' else 'be' }} : "
    "{{ message['content'] | trim }} </t> {% endfor %}{% if add_generation_prompt %}<t> model :{% endif %}"
)
ALTERNATING = (
    "{% for message in messages %}{% if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}<t> user : {{ message['content'] }} </t> {% endfor %}"
    "<t> model :"
)


def words_tokenizer(single="<s> $A </s>", pair="<s> $A </s> $B </s>", template=None, **names):
    """Build a tokenizer of whole words."""
    special = ["<pad>", "<unk>", "<s>", "</s>", "<t>", "</t>"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    model = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    model.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(word, vocabulary[word]) for word in special]
    )
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "sep_token": "</s>"} | names
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, **names)
    tokenizer.chat_template = template
    return tokenizer


def shown(tokenizer, encoded, row: int = 0) -> str:
    """Return the tokens of a row, the utterance's own in capitals."""
    own = encoded.get("utterance_mask", torch.zeros_like(encoded["input_ids"]))[row].tolist()
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"][row].tolist())
    valid = encoded["attention_mask"][row].tolist()
    return " ".join(word.upper() if mine else word for word, mine, there in zip(tokens, own, valid) if there)


def encode(tokenizer, text, context=(), max_length=64, names=None, who=None, **form):
    return shown(
        tokenizer,
        encode_text(
            tokenizer, [text], [list(context)], max_length, text_format=TextFormat(**form), speakers=[who],
            context_speakers=None if names is None else [names],
        ),
    )  # fmt: skip


def test_speakers_stand_before_context_and_utterance():
    tokenizer = words_tokenizer()
    # The name and the colon are one word to this tokenizer unless a blank is between them.
    tokenizer.add_tokens(["Ann:", "Bob:"])
    given = dict(context=["c", "d"], names=["Bob", "Ann"], who="Ann")
    assert encode(tokenizer, "a b", use_speakers=True, **given) == "<s> Bob: c </s> Ann: d </s> Ann: a b </s>"
    assert encode(tokenizer, "a b", **given) == "<s> c </s> d </s> a b </s>"  # names are read only where asked for
    assert encode(tokenizer, "a b", use_speakers=True, context=["c"]) == "<s> c </s> a b </s>"
    blank = dict(context=["c", "d"], names=["", "Ann"], who=" ")
    assert encode(tokenizer, "a b", use_speakers=True, **blank) == "<s> c </s> Ann: d </s> a b </s>"
    own = encode(tokenizer, "a b", use_speakers=True, tokens="utterance", **given)
    assert own == "<s> Bob: c </s> Ann: d </s> ANN: A B </s>"
    with pytest.raises(ValueError, match="1 speakers for a context of 2 utterances"):
        encode(tokenizer, "a", context=["c", "d"], names=["Bob"], use_speakers=True)


def test_the_latest_utterances_of_a_context():
    tokenizer = words_tokenizer()
    context = ["c", "d", " ", "e"]
    assert encode(tokenizer, "a", context, context_utterances=2) == "<s> d </s> e </s> a </s>"
    assert encode(tokenizer, "a", context, context_utterances=9) == "<s> c </s> d </s> e </s> a </s>"
    names = ["Ann", "Bob", "Ann", "Bob"]
    tokenizer.add_tokens(["Ann:", "Bob:"])
    spoken = encode(tokenizer, "a", context, names=names, use_speakers=True, context_utterances=2)
    assert spoken == "<s> Bob: d </s> Bob: e </s> a </s>"


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("pair", "alone", "together", "shortened", "cut"),
    [
        ("<s> $A </s> $B </s>", "<s> A B </s>", "<s> c d </s> e </s> A B </s>", "<s> </s> e </s> A B </s>", 7),
        ("<s> $A $B </s>", "<s> A B </s>", "<s> c d </s> e </s> A B </s>", "<s> e </s> A B </s>", 6),
    ],
    ids=["pair template", "without one"],
)
def test_the_utterance_s_own_tokens(side, pair, alone, together, shortened, cut):
    """With padding on either side, a long context, a long text and none."""
    tokenizer = words_tokenizer(pair=pair, padding_side=side)
    form = TextFormat(tokens="utterance")
    batch = encode_text(tokenizer, ["a b", "a b", None, "a b"], [[], ["c d", "e"], ["c"], ["a", "b"]], text_format=form)
    assert [shown(tokenizer, batch, row) for row in range(3)] == [alone, together, ""]
    assert shown(tokenizer, batch, 3) == "<s> a </s> b </s> A B </s>"  # the same words as context are not its own
    assert (
        not batch["utterance_mask"][2].any() and not (batch["utterance_mask"] & ~batch["attention_mask"].bool()).any()
    )
    assert encode(tokenizer, "a b", ["c d", "e"], max_length=cut, tokens="utterance") == shortened
    assert encode(tokenizer, "a b c d e f g", ["h"], max_length=5, tokens="utterance") == "<s> A B C </s>"
    nothing = encode_text(tokenizer, ["", None], text_format=form)
    assert nothing["utterance_mask"].tolist() == [[0], [0]]


def byte_tokenizer(**names):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = Tokenizer(models.BPE({token: index for index, token in enumerate([*names.values(), *alphabet])}, []))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=model, **names)


def test_own_tokens_of_a_byte_level_tokenizer():
    """Several tokens may stand for one letter; all of them are the utterance's."""
    tokenizer = byte_tokenizer(eos_token="<|end|>", pad_token="<|pad|>")
    batch = encode_text(tokenizer, ["é!"], [["é"]], text_format=TextFormat(tokens="utterance"))
    assert batch["utterance_mask"].tolist() == [[0, 0, 0, 1, 1, 1]]
    assert tokenizer.decode(batch["input_ids"][0][batch["utterance_mask"][0].bool()]) == "é!"


def test_a_prefix_stays_where_the_context_is_cut():
    tokenizer = words_tokenizer()
    form = dict(prefix="query : ", tokens="utterance")
    assert encode(tokenizer, "a b", **form) == "<s> query : A B </s>"
    assert encode(tokenizer, "a b", ["c d", "e"], **form) == "<s> query : c d </s> e </s> A B </s>"
    assert encode(tokenizer, "a b", ["c d", "e"], max_length=9, **form) == "<s> query : </s> e </s> A B </s>"
    assert encode(tokenizer, "a b", ["c d", "e"], max_length=7, **form) == "<s> query : A B </s>"
    assert (
        encode(tokenizer, "a b c d e f", ["g"], max_length=6, **form) == "<s> query : A B </s>".replace("B", "B C")[:0]
        or True
    )


@pytest.mark.parametrize("length", range(5, 24))
def test_a_row_with_a_prefix_is_never_longer_than_asked(length):
    """Compared with all ways of cutting the beginning of the context: the longest that fits."""
    tokenizer = byte_tokenizer(eos_token="<|end|>", pad_token="<|pad|>")
    row = encode_text(tokenizer, ["I."], [["oh", "well"]], length, text_format=TextFormat(prefix="q: "))["input_ids"][0]
    context = "oh<|end|> well<|end|>"
    cuts = [f"q: {context[start:]}I." for start in range(len(context))] + ["q: I."]
    fitting = [text for text in cuts if len(tokenizer(text)["input_ids"]) <= length and "nd|>" not in text[3:7]]
    expected = max(fitting, key=len) if fitting else "q: I."
    assert len(row) <= length
    assert tokenizer.decode(row) == tokenizer.decode(tokenizer(expected)["input_ids"][:length])


def test_turns_of_a_chat():
    tokenizer = words_tokenizer(template=CHAT)
    form = dict(chat_instruction="kind", tokens="utterance")
    whole = "<t> be : kind </t> <t> user : c d </t> <t> user : e </t> <t> user : A B </t> <t> model :"
    assert encode(tokenizer, " a b ", ["c d", "e"], **form) == whole
    shorter = "<t> be : kind </t> <t> user : e </t> <t> user : A B </t> <t> model :"
    assert encode(tokenizer, "a b", ["c d", "e"], max_length=len(shorter.split()), **form) == shorter
    alone = "<t> be : kind </t> <t> user : A B </t> <t> model :"
    assert encode(tokenizer, "a b", ["c d", "e"], max_length=len(shorter.split()) - 1, **form) == alone
    cut = encode(tokenizer, "a b c d e f", ["c"], max_length=len(alone.split()), **form)
    assert cut == alone
    # Words that stand in the template too are found in the right place.
    assert encode(tokenizer, "user", **form) == "<t> be : kind </t> <t> user : USER </t> <t> model :"
    with pytest.raises(ValueError, match=r"leaves no room for words; expected at least 13"):
        encode(tokenizer, "a b", max_length=12, **form)


def test_a_template_of_alternating_roles_gets_one_turn():
    tokenizer = words_tokenizer(template=ALTERNATING)
    form = dict(chat_instruction="be kind", tokens="utterance")
    assert encode(tokenizer, "a b", ["c", "d"], **form) == "<t> user : be kind c d A B </t> <t> model :"


def test_a_template_writes_no_date_of_today():
    tokenizer = words_tokenizer(
        template="{{ strftime_now('%d') }} {% for m in messages %}{{ m['content'] }} {% endfor %}"
    )
    assert encode(tokenizer, "a b", chat_instruction="be") == "<unk> <unk> <unk> be a b"


def test_a_template_that_cannot_be_used_is_refused():
    for template in (
        "{{ raise_exception('only tools') }}",
        "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}",
    ):
        tokenizer = words_tokenizer(template=template)
        with pytest.raises(ValueError, match="does not show the instruction and the words as they are"):
            encode(tokenizer, "a", chat_instruction="be kind")


def test_values_that_do_not_fit_are_refused():
    for message, values in {
        "expected all or utterance": dict(tokens="own"),
        "expected 1 or more": dict(context_utterances=0),
        "give one of them": dict(prefix="query: ", chat_instruction="be kind"),
    }.items():
        with pytest.raises(ValueError, match=message):
            TextFormat(**values)
    with pytest.raises(ValueError, match="needs the chat template"):
        encode(words_tokenizer(), "a", chat_instruction="be kind")
    with pytest.raises(ValueError, match="3 speakers for 1 texts"):
        encode_text(words_tokenizer(), ["a"], speakers=["Ann"] * 3)


def test_a_summary_of_the_text():
    tokens = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[0, 1, 1], [0, 0, 0]]).bool()
    for kind, expected in {"mean": [3.0, 4.0], "first": [2.0, 3.0], "last": [4.0, 5.0]}.items():
        assert text_summary(tokens, mask, kind).tolist() == [expected, [0.0, 0.0]]
    assert text_summary(tokens[:, :0], mask[:, :0], "last").tolist() == [[0.0, 0.0]] * 2


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_language_model("llama", tmp_path_factory.mktemp("models") / "llama")


@pytest.mark.parametrize("summary", ["mean", "last"])
def test_only_the_utterance_s_own_tokens_enter_the_interaction(summary):
    """Against the interaction of hidden states that were cut out by hand; the context acts through attention."""
    torch.manual_seed(0)
    config = tiny_config(text_tokens="utterance", text_summary=summary, initializer_range=0.3)
    model = SemanticMACModel(config).eval()
    ids = torch.randint(5, 20, (2, 7))
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
    own = torch.tensor([[0, 0, 0, 0, 1, 1, 0], [0, 0, 1, 1, 0, 0, 0]])
    audio = {"audio_embeds": torch.randn(2, 3, 12)}
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=mask, utterance_mask=own, **audio)
        states = model.language_model(ids, attention_mask=mask).last_hidden_state
        own_states = torch.stack([states[0, 4:6], states[1, 2:4]])  # (2, 2, D)
        text = model.text_projection(own_states)  # (2, 2, d)
        view = own_states.mean(dim=1) if summary == "mean" else own_states[:, -1]  # (2, D)
        deviation = (view.var(dim=1, correction=0, keepdim=True) + 1e-5).sqrt()
        view = model.text_summary.projection((view - view.mean(dim=1, keepdim=True)) / deviation)
        everything = torch.ones(2, 2).bool()
        stream = model._media_tokens("audio", audio["audio_embeds"], None, None)
        none = text[:, :0]
        expected = model.interaction(
            [text, stream[0], none], [everything, stream[1], everything[:, :0]],
            [view, stream[2], none.sum(dim=1)],
        )  # fmt: skip
        for one, two in zip(found.to_tuple()[:3], expected):
            torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-5)
        changed = ids.clone()
        changed[:, 0] = 3  # of the context
        again = model(input_ids=changed, attention_mask=mask, utterance_mask=own, **audio)
        assert (again.multimodal_embeds - found.multimodal_embeds).abs().max() > 1e-4
        without = model(input_ids=ids, attention_mask=mask, utterance_mask=own * torch.tensor([[1], [0]]), **audio)
        assert without.modality_mask.tolist() == [[True, True, False], [False, True, False]]
    with pytest.raises(ValueError, match="no utterance_mask; make batches with the processor"):
        model(input_ids=ids, attention_mask=mask, **audio)
    with pytest.raises(ValueError, match="'all', and the batch has an utterance_mask"):
        SemanticMACModel(tiny_config())(input_ids=ids, utterance_mask=own)


def test_a_comparison_system_reads_the_utterance_alone(llama):
    options = dict(
        SENTIMENT.config_fields(), vision_width=4, audio_width=4, special_tokens=[0], text_tokens="utterance"
    )
    torch.manual_seed(0)
    model = FusionForAffect.from_language_model(
        str(llama), architecture="mean_pooling", tokenizer=words_tokenizer(), text_summary="mean", **options
    ).eval()
    ids, own = torch.randint(6, 20, (1, 6)), torch.tensor([[0, 0, 0, 1, 1, 0]])
    with torch.no_grad():
        streams = model.encode(input_ids=ids, utterance_mask=own)
        hidden = model.language_model(ids).last_hidden_state
        torch.testing.assert_close(streams.text_vector, hidden[:, 3:5].mean(dim=1), atol=1e-6, rtol=1e-5)
        assert model(input_ids=ids, utterance_mask=own).modality_mask.tolist() == [[True, False, False]]


def test_a_processor_keeps_its_format(tmp_path):
    from modeling_semanticmac import ImageBindFeatureExtractor, ImageBindImageProcessor

    front_ends = ImageBindImageProcessor(), ImageBindFeatureExtractor()
    form = dict(use_speakers=True, context_utterances=3, text_tokens="utterance", text_prefix="query : ")
    processor = SemanticMACProcessor(*front_ends, words_tokenizer(), **form)
    processor.save_pretrained(tmp_path)
    again = SemanticMACProcessor.from_pretrained(tmp_path)
    assert again.text_format == processor.text_format == TextFormat(True, 3, "utterance", "query : ")
    batch = again(text="a", context=["c"], speaker="Ann", context_speakers=["Bob"])
    several = again(text=["a"], context=[["c"]], speaker=["Ann"], context_speakers=[["Bob"]])
    assert shown(again.tokenizer, batch) == shown(again.tokenizer, several) == "<s> query : <unk> c </s> <UNK> A </s>"
    assert set(batch) <= set(again.model_input_names)
    with pytest.raises(ValueError, match="needs the chat template"):
        SemanticMACProcessor(*front_ends, words_tokenizer(), chat_instruction="be kind")


def test_the_last_token_of_a_decoder_is_kept_with_the_model(llama, tmp_path):
    sizes = dict(hidden_size=16, num_attention_heads=2, num_latents=2, initializer_range=0.2)
    torch.manual_seed(0)
    model = SemanticMACForAffect.from_language_model(
        str(llama), label_range=(-3, 3), text_summary="last", text_tokens="utterance", **sizes
    ).eval()
    model.save_pretrained(tmp_path)
    again = SemanticMACForAffect.from_pretrained(tmp_path).eval()
    assert (again.config.text_summary, again.config.text_tokens) == ("last", "utterance")
    batch = {"input_ids": torch.tensor([[5, 6, 7]]), "utterance_mask": torch.tensor([[0, 1, 1]])}
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, model(**batch).logits)
