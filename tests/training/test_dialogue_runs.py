"""Runs of systems that read whole dialogues, through the command."""

import json

import pytest

from datasets_scripts import load_corpus
from modeling_semanticmac.commands import train
from modeling_semanticmac.training.run_arguments import parse_arguments
from modeling_semanticmac.training.run_model import new_model_fields
from tests.helpers.meld_folder import write_meld
from tests.helpers.runs import record, rows

QUICK = ["--num_train_epochs", "1", "--extraction_workers", "0", "--disable_tqdm", "true", "--use_cpu"]


def test_a_run_predicts_each_clip_of_the_dialogues(tmp_path, models):
    write_meld(tmp_path / "corpus", with_media=True)
    run = tmp_path / "run"
    arguments = ["meld_emotion_dialogue_rnn", *models, "--data_dir", str(tmp_path / "corpus"), "--output_dir", str(run)]
    train.main([*arguments, *QUICK, "--use_context", "true"])
    clips = load_corpus("meld", tmp_path / "corpus", "emotion", cache_dir=tmp_path / "cache")["test"]
    predictions = rows(run / "predictions_test.csv")
    assert [row["id"] for row in predictions] == clips["id"][:]
    assert [row["label"] for row in predictions] == [clips.features["label"].int2str(label) for label in clips["label"]]
    config = json.loads((run / "config.json").read_text())
    assert config["options"]["modalities"] == ["text", "audio", "vision"] and config["language_model"] == "frozen"
    assert record(run)["data"]["use_context"] is False  # it would have no effect
    assert "test_w_f1" in json.loads((run / "all_results.json").read_text())


def test_only_modalities_of_the_run_are_read(tmp_path):
    arguments = ["meld_emotion_bc_lstm", "--data_dir", "x", "--output_dir", str(tmp_path)]
    model_args, _, _ = parse_arguments(arguments)
    assert new_model_fields(model_args, ["vision", "text"])["options"]["modalities"] == ["text", "vision"]
    model_args, _, _ = parse_arguments([*arguments, "--architecture_options", '{"modalities": ["text", "audio"]}'])
    assert new_model_fields(model_args)["options"]["modalities"] == ["text", "audio"]
    with pytest.raises(ValueError, match="bc_lstm is to read audio, but --modalities is text"):
        new_model_fields(model_args, ["text"])
