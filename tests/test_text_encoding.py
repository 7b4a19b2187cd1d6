"""Tokens of tiny tokenizers of the recipes' families, BERT, RoBERTa and XLNet, worked out by hand."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from modeling_semanticmac.text_encoding import encode_text

WORDS = "a b c d e f g h".split()


def bert(tmp_path) -> BertTokenizerFast:
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    return BertTokenizerFast(str(tmp_path / "vocab.txt"))


def by_template(special: list[str], single: str, pair: str, **names) -> PreTrainedTokenizerFast:
    """Build a tokenizer of whole words with a family's arrangement of segments."""
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens = [(word, vocabulary[word]) for word in special]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=tokens)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", **names)


def roberta(tmp_path) -> PreTrainedTokenizerFast:
    return by_template(
        ["<s>", "<pad>", "</s>", "<unk>"], "<s> $A </s>", "<s> $A </s> </s> $B </s>",
        bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def xlnet(tmp_path) -> PreTrainedTokenizerFast:
    return by_template(
        ["<unk>", "<cls>", "<sep>", "<pad>"], "$A:0 <sep>:0 <cls>:2", "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2",
        cls_token="<cls>", sep_token="<sep>", padding_side="left", pad_token_type_id=3,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


FAMILIES = {"bert": bert, "roberta": roberta, "xlnet": xlnet}
# family: the text alone, after a context of two, the same in eight tokens, the text cut to eight tokens
EXPECTED = {
    "bert": [
        "[CLS] a b [SEP]",
        "[CLS] c d [SEP] e f [SEP] a b [SEP]",
        "[CLS] [SEP] e f [SEP] a b [SEP]",
        "[CLS] a b c d e f [SEP]",
    ],
    "roberta": [
        "<s> a b </s>",
        "<s> c d </s> e f </s> </s> a b </s>",
        "<s> e f </s> </s> a b </s>",
        "<s> a b c d e f </s>",
    ],
    "xlnet": [
        "a b <sep> <cls>",
        "c d <sep> e f <sep> a b <sep> <cls>",
        "<sep> e f <sep> a b <sep> <cls>",
        "a b c d e f <sep> <cls>",
    ],
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def tokenizer(family, tmp_path):
    return FAMILIES[family](tmp_path)


def words(tokenizer, encoded, row: int = 0) -> str:
    ids = encoded["input_ids"][row][encoded["attention_mask"][row].bool()]
    return " ".join(tokenizer.convert_ids_to_tokens(ids.tolist()))


def test_text_alone_and_with_context(family, tokenizer):
    alone, together, shortened, cut = EXPECTED[family]
    assert words(tokenizer, encode_text(tokenizer, ["a b"])) == alone
    assert words(tokenizer, encode_text(tokenizer, ["a b"], [["c d", "e f"]])) == together
    assert words(tokenizer, encode_text(tokenizer, ["a b"], [["c d", "e f"]], max_length=8)) == shortened
    assert words(tokenizer, encode_text(tokenizer, ["a b c d e f g h"], max_length=8)) == cut


def test_a_text_that_fills_the_length_drops_its_context(family, tokenizer):
    cut = EXPECTED[family][3]
    assert words(tokenizer, encode_text(tokenizer, ["a b c d e f g h"], [["g", "h"]], max_length=8)) == cut


def test_blank_utterances_are_no_context(family, tokenizer):
    alone, together = EXPECTED[family][:2]
    assert words(tokenizer, encode_text(tokenizer, ["a b"], [["", " ", None]])) == alone
    assert words(tokenizer, encode_text(tokenizer, ["a b"], [["c d", "", "e f"]])) == together


def test_rows_do_not_depend_on_their_batch(family, tokenizer):
    texts, contexts = ["a b", "c", "d e f g h a b c"], [["g"], [], ["a b", "c d"]]
    batch = encode_text(tokenizer, texts, contexts, max_length=9)
    for row in range(3):
        alone = encode_text(tokenizer, texts[row : row + 1], contexts[row : row + 1], max_length=9)
        for name in batch:
            valid = batch["attention_mask"][row].bool()
            assert batch[name][row][valid].tolist() == alone[name][0].tolist()


def test_padding_on_the_side_of_the_tokenizer(family, tokenizer):
    encoded = encode_text(tokenizer, ["a", "a b c"])
    mask = encoded["attention_mask"]
    assert mask[1].all() and int(mask[0].sum()) == mask.shape[1] - 2
    assert mask[0, 0 if family == "xlnet" else -1] == 0
    padding = encoded["input_ids"][0][mask[0] == 0]
    assert (padding == tokenizer.pad_token_id).all()
    assert encode_text(tokenizer, ["a"], max_length=10, padding="max_length")["input_ids"].shape == (1, 10)


def test_missing_texts_are_rows_of_zeros(tokenizer):
    encoded = encode_text(tokenizer, [None, "a b", "", "  "], [["c"], [], ["d"], []])
    assert encoded["attention_mask"].sum(dim=1).tolist() == [0, 4, 0, 0]
    nothing = encode_text(tokenizer, [None, ""])
    assert (
        nothing["input_ids"].shape == nothing["attention_mask"].shape == (2, 1) and not nothing["attention_mask"].any()
    )


def test_token_types_where_the_tokenizer_has_them(family, tokenizer):
    encoded = encode_text(tokenizer, ["a b"], [["c"]])
    if family == "roberta":
        assert "token_type_ids" not in encoded
    else:
        types = {"bert": [0, 0, 0, 1, 1, 1], "xlnet": [0, 0, 1, 1, 1, 2]}[family]
        assert encoded["token_type_ids"][0].tolist() == types


def test_the_tokenizer_is_left_as_it_was(family, tokenizer):
    tokenizer.truncation_side = "left"
    assert words(tokenizer, encode_text(tokenizer, ["a b c d e f g h"], max_length=8)) == EXPECTED[family][3]
    assert tokenizer.truncation_side == "left"
    tokens = tokenizer("a b c d e f g h")["input_ids"]
    encode_text(tokenizer, ["a b"], [["c d e f"]], max_length=6)
    assert tokenizer("a b c d e f g h")["input_ids"] == tokens


def test_the_separator_costs_one_token_in_byte_level_tokenizers():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", "<pad>", "</s>", *alphabet])}
    model = Tokenizer(models.BPE(vocabulary, []))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="<pad>", cls_token="<s>", sep_token="</s>", bos_token="<s>", eos_token="</s>"
    )
    encoded = encode_text(tokenizer, ["c"], [["a", "b"]])
    assert words(tokenizer, encoded) == "<s> a </s> Ġ b </s> </s> c </s>"


def test_lengths_that_do_not_fit(tokenizer):
    with pytest.raises(ValueError, match="leaves no room for words; expected at least"):
        encode_text(tokenizer, ["a"], max_length=3)
    with pytest.raises(ValueError, match="1 contexts for 2 texts"):
        encode_text(tokenizer, ["a", "b"], [["c"]])
    tokenizer.model_max_length = 8
    assert encode_text(tokenizer, ["a b c d e f g h"], max_length=100)["input_ids"].shape[1] == 8


def byte_level(**names) -> PreTrainedTokenizerFast:
    """Build a byte-level tokenizer like GPT-2's: nothing between two segments, no padding token unless named."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*names.values(), *alphabet])}
    model = Tokenizer(models.BPE(vocabulary, []))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=model, **names)


@pytest.mark.parametrize("names", [{}, {"eos_token": "<|end|>"}])
def test_context_and_utterance_are_kept_apart_without_a_pair_template(names):
    """Otherwise the last word of the context and the first of the utterance become one: "wellI"."""
    tokenizer = byte_level(**names)
    separator = names.get("eos_token", "\n")
    encoded = encode_text(tokenizer, ["I"], [["oh", "well"]])
    between = f"{separator} " if names else separator
    assert tokenizer.decode(encoded["input_ids"][0]) == f"oh{between}well{separator}I"
    shortened = encode_text(tokenizer, ["I"], [["oh", "well"]], max_length=4)
    assert tokenizer.decode(shortened["input_ids"][0]) == f"ll{separator}I"
    assert tokenizer.decode(encode_text(tokenizer, ["I"])["input_ids"][0]) == "I"


def test_tokenizers_without_a_padding_token():
    tokenizer = byte_level()
    encoded = encode_text(tokenizer, ["ab", "abcd", None])
    assert encoded["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert tokenizer.decode(encoded["input_ids"][1]) == "abcd" and tokenizer.pad_token is None
    assert encode_text(tokenizer, ["ab"], max_length=7, padding="max_length")["input_ids"].shape == (1, 7)
