"""The card of a run, for every kind of task and of towers, without a Hub."""

import json
import math

import pytest
import yaml
from huggingface_hub import ModelCard
from transformers import CLIPVisionConfig

from modeling_semanticmac import ImageBindAudioConfig, ImageBindVisionConfig
from modeling_semanticmac.hub.model_card import RunCard, main, metric_type, write_model_card
from modeling_semanticmac.hub.model_card_text import config_card
from modeling_semanticmac.hub.responsible_use import LAW
from modeling_semanticmac.metrics.definitions import definition
from tests.helpers.card_metadata import FRONT_MATTER, metadata_errors
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT, tiny_config

SMALL_TOWER = ImageBindVisionConfig(hidden_size=64, num_attention_heads=4)
ON_THE_HUB = {"name_or_path": "org/ImageBind-vision", "revision": "abc"}
RESULTS = {
    "sentiment": {"mae": 0.5, "pearson": float("nan"), "acc2_neg_pos": 0.75},
    "sarcasm": {"w_f1": 0.5, "w_acc": 0.625},
    "emotion": {"w_f1": 0.5, "n_acc_happy": 0.25, "b_f1_tuned_sad": 0.375, "threshold_sad": 0.3},
}
CORPUS = {
    "title": "CMU-MOSI",
    "language": "en",
    "people": "YouTube users.",
    "terms": "research use",
    "citation": "@article{mosi}",
}


def run_folder(folder, task=SENTIMENT, corpus="mosi", facts=CORPUS, towers=None, **config):
    """Write the files of a run that its card reads."""
    folder.mkdir(parents=True)
    for name, tower in (towers or {}).items():
        tower.save_pretrained(folder / name)
        config[name] = {"name_or_path": None, "subfolder": name, "weights_hash": "0" * 64}
    tiny_config(task, **config).save_pretrained(folder)
    found = RESULTS[task.name]
    results = {f"{split}_{name}": value for split in ("test", "eval") for name, value in found.items()}
    results |= {"test_opened": "checkpoint-3 is chosen by validation loss 0.5", "test_runtime": 1.0, "test_loss": 0.1}
    record = {
        "data": {"corpus": corpus, "modalities": ["text", "audio"], "task": task.name},
        "model": {"model_name_or_path": None},
        "training": {"num_train_epochs": 3.0, "learning_rate": 1e-4},
        "command": ["run_mac.py", "--data_dir", "/home/anna/my corpora/mosi"],
        "seed": 7,
        "versions": {"python": "3.11"},
        "git_revision": None,
        "corpus": facts,
    }
    for name, value in (
        ("run", record),
        ("all_results", results),
        ("splits", {"train": ["a", "b"], "test": ["c"], "validation": ["d"]}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def read(folder, repo_id="org/name") -> tuple[dict, str]:
    """Return metadata and text, after checking that they are valid and stable."""
    text = write_model_card(folder, repo_id).read_text(encoding="utf-8")
    assert metadata_errors(text) == []
    card = ModelCard(text)
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict() == yaml.safe_load(FRONT_MATTER.match(text)[1])
    return card.data.to_dict(), card.text


@pytest.mark.parametrize("task", [SENTIMENT, SARCASM, EMOTIONS], ids=lambda task: task.name)
def test_metrics_are_the_runs_with_their_definitions(tmp_path, task):
    data, text = read(run_folder(tmp_path / "run", task))
    (model,) = data["model-index"]
    (result,) = model["results"]
    assert result["dataset"] == {"name": "CMU-MOSI", "type": "mosi", "config": task.name, "split": "test"}
    found = {metric["name"].split(":")[0]: metric["value"] for metric in result["metrics"]}
    expected = {name: value for name, value in RESULTS[task.name].items() if not name.startswith("threshold_")}
    assert found == {name: value for name, value in expected.items() if math.isfinite(value)}
    for name, value in expected.items():
        shown = "undefined" if math.isnan(value) else f"{value:.4f}"
        meaning = definition(name).replace("|", "\\|")  # as Markdown wants it in a table
        assert f"| {name} | {shown} | {shown} | {meaning} |\n" in text
    assert "test (1 clips)" in text and "| train | 2 |" in text and "Seed 7." in text
    assert data["language"] == "en" and "YouTube users." in text and "@article{mosi}" in text
    assert "/home/anna" not in text and "--data_dir mosi" in text
    for label in task.label_names:
        assert label in text


def test_the_intended_use_stands_before_the_limits(tmp_path):
    _, text = read(run_folder(tmp_path / "run", intended_use="Research on  actors'\ndialogues."))
    limits = text.partition("## What it is for, and what not\n\n")[2]
    assert limits.startswith("Intended use, as its author states it: Research on actors' dialogues.\n\nA score says")
    assert f"[Regulation (EU) 2024/1689]({LAW})" in limits and "article 50(3)" in limits
    stated = config_card(tiny_config(intended_use="Research."), "org/name")
    assert "author states it: Research.\n" in stated and "author states it" not in config_card(
        tiny_config(), "org/name"
    )


def test_without_a_test_split_validation_counts(tmp_path):
    folder = run_folder(tmp_path / "run")
    results = {
        name: value
        for name, value in json.loads((folder / "all_results.json").read_text()).items()
        if "test" not in name
    }
    (folder / "all_results.json").write_text(json.dumps(results))
    data, text = read(folder)
    assert data["model-index"][0]["results"][0]["dataset"]["split"] == "validation" and "test (" not in text
    (folder / "all_results.json").write_text("{}")
    data, text = read(folder)
    assert "model-index" not in data and "Nothing was measured." in text


@pytest.mark.parametrize(
    ("towers", "config", "license", "words"),
    [
        ({"vision_encoder": ImageBindVisionConfig()}, {}, "cc-by-nc-sa-4.0", "**Non-commercial**"),
        ({"audio_encoder": ImageBindAudioConfig()}, {}, "cc-by-nc-sa-4.0", "**Non-commercial**"),
        ({"vision_encoder": SMALL_TOWER}, {}, "other", "do not hold ImageBind's weights"),
        ({"vision_encoder": CLIPVisionConfig()}, {}, "other", "clip_vision_model"),
        (None, {"vision_encoder": ON_THE_HUB}, "cc-by-nc-sa-4.0", "| abc |"),
        (None, {"audio_encoder": {"name_or_path": "org/away"}}, "other", "of unknown kind"),
        (None, {}, "other", "ask before use"),
    ],
)  # fmt: skip
def test_the_licence_follows_the_towers(tmp_path, towers, config, license, words):
    data, text = read(run_folder(tmp_path / "run", towers=towers, **config))
    assert data["license"] == license and words in text
    assert ("license_name" in data) == (license == "other")
    assert ("Non-commercial" in text) == (license != "other")


def test_synthetic_runs_say_so(tmp_path):
    _, text = read(run_folder(tmp_path / "run", corpus="synthetic", facts=None))
    assert "Trained on drawn faces and computed voices" in text and "Who is in it: not written down." in text
    assert "drawn faces" not in read(run_folder(tmp_path / "other"))[1]


def test_the_base_model_is_what_was_trained_on_from(tmp_path):
    folder = run_folder(
        tmp_path / "run", text_config={**tiny_config().text_config.to_dict(), "_name_or_path": "org/bert"}
    )
    assert read(folder)[0]["base_model"] == "org/bert"
    record = json.loads((folder / "run.json").read_text())
    for start, base in (("org/mosei", "org/mosei"), ("org/name", "org/bert"), ("/home/anna/run", "org/bert")):
        record["model"]["model_name_or_path"] = start
        (folder / "run.json").write_text(json.dumps(record))
        assert read(folder)[0]["base_model"] == base
    assert "/home/anna" not in read(folder)[1]


def test_the_best_of_several_seeds_shows_their_spread(tmp_path):
    folder = run_folder(tmp_path / "seed_7")
    seeds = {
        "seeds": [7, 8],
        "best_folder": "seed_7",
        "chosen_by": "validation loss",
        "results": {"test_mae": {"values": [0.5, 0.7]}},
    }
    (tmp_path / "seeds.json").write_text(json.dumps(seeds))
    _, text = read(folder)
    assert "| mae | 0.5000 | 0.6000 +- 0.1414 | 0.5000 |" in text and "Of the seeds 7, 8 this one was chosen" in text
    seeds["best_folder"] = "seed_8"
    (tmp_path / "seeds.json").write_text(json.dumps(seeds))
    assert "Of the seeds" not in read(folder)[1]


def test_a_model_without_a_run_has_a_card_too(tmp_path):
    tiny_config(SARCASM).save_pretrained(tmp_path)
    data, text = read(tmp_path)
    assert (
        "model-index" not in data and "It predicts sarcasm: one of no, yes." in text and "Not written down here" in text
    )
    card = config_card(tiny_config(EMOTIONS), "org/new", home="org/old")
    assert "each of happy, sad, angry" in card and "It was loaded from [org/old]" in card


def test_names_of_metrics():
    assert metric_type("w_f1") == "f1" and metric_type("sims_mae") == "mae" and metric_type("n_acc_happy") == "accuracy"


def test_the_command_writes_or_says_what_is_missing(tmp_path, capsys):
    folder = run_folder(tmp_path / "run")
    assert main([str(folder), "org/name"]) == 0 and (folder / "README.md").is_file()
    assert isinstance(RunCard(folder, tiny_config(), "org/name").text(), str)
    assert main([str(tmp_path), "org/name"]) == 1 and "holds no model" in capsys.readouterr().err
