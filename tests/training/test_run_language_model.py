"""Runs on language models with few positions and added tokens, and on what is not a language model."""

import json
import logging

import pytest
from transformers import AutoTokenizer, BertConfig, BertModel

from modeling_semanticmac import SemanticMACConfig
from modeling_semanticmac.commands import train
from tests.helpers.project import RECIPE


def test_texts_are_cut_to_the_positions_of_the_language_model(world, tmp_path, caplog):
    """The tokenizer has no limit and two added tokens; run.json holds the length in use."""
    tokenizer = AutoTokenizer.from_pretrained(world["models"][1])
    known = len(tokenizer)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=known, max_position_embeddings=6, **sizes)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "words")
    tokenizer.add_tokens(["[laughs]", "[sighs]"])
    tokenizer.model_max_length = 10**30
    tokenizer.save_pretrained(tmp_path / "words")
    command = [RECIPE, *world["common"], "--language_model", str(tmp_path / "words"), "--modalities", "text"]
    with caplog.at_level(logging.WARNING, logger="run_mac"):
        train.main([*command, "--num_train_epochs", "1", "--max_length", "64", "--output_dir", str(tmp_path / "run")])
    assert "--max_length 64: the language model takes 6 tokens" in caplog.text
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["max_length"] == 6
    assert json.loads((tmp_path / "run" / "processor_config.json").read_text())["max_length"] == 6
    assert SemanticMACConfig.from_pretrained(tmp_path / "run").text_config.vocab_size == known + 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run", "is a whole SemanticMAC checkpoint; .*--model_name_or_path"),
        ("none/at/all", "a folder that does not exist"),
    ],
)
def test_what_is_not_a_language_model_is_refused(name, message, world, tmp_path):
    given = str(world["folder"] / name)
    command = [RECIPE, *world["common"], "--language_model", given, "--modalities", "text"]
    with pytest.raises(ValueError, match=message):
        train.main([*command, "--output_dir", str(tmp_path)])
