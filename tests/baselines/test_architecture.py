"""A comparison system through every command: trained, reported, loaded, predicted with, described, searched."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForVideoClassification, pipeline

import semanticmac
from modeling_semanticmac import FusionForAffect
from modeling_semanticmac.commands import train
from modeling_semanticmac.commands.info import info_text, model_info
from modeling_semanticmac.hub.model_card import write_model_card
from modeling_semanticmac.training.main import run_once
from modeling_semanticmac.training.run_arguments import parse_arguments
from modeling_semanticmac.training.training_args import SemanticMACTrainingArguments
from tests.helpers.project import RECIPE
from tests.helpers.runs import record, rows

SYSTEM = ["--architecture", "lf_dnn", "--architecture_options", '{"audio_hidden": 8, "language_model": "tuned"}']
# The recipe for SemanticMAC has arguments that other architectures lack.
PLAIN = ["--task", "sentiment", "--do_train", "--do_predict", "--use_context", "false", "--num_train_epochs", "2"]
PLAIN += ["--learning_rate", "0.003"]


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    """The run of a comparison system on the clips of `world`, which are encoded already."""
    path = tmp_path_factory.mktemp("system") / "run"
    train.main([*PLAIN, *world["common"], *world["models"], *SYSTEM, "--output_dir", str(path)])
    return path


def test_a_run_writes_what_every_run_writes(folder, world):
    names = {path.name for path in folder.iterdir()}
    wanted = {"run.json", "report.md", "report.json", "costs.json", "all_results.json", "predictions_test.csv"}
    assert wanted <= names and "auto_map" not in record(folder, "config.json")  # no code of the model
    assert record(folder)["model"]["architecture"] == "lf_dnn" and record(folder)["state"] == "finished"
    predicted = rows(folder / "predictions_test.csv")
    assert [row["id"] for row in predicted] == world["clips"]["test"]["id"][:]
    assert set(predicted[0]) == {"id", "label", "prediction"}
    model = AutoModelForVideoClassification.from_pretrained(folder)
    assert type(model) is FusionForAffect and model.config.options["audio_hidden"] == 8
    costs = record(folder, "costs.json")["parameters"]
    assert costs["new_modules"] == sum(weight.numel() for weight in model.fusion.parameters())
    assert costs["frozen_in_model"] == 0  # the options say that the language model is tuned


def test_predictions_of_the_pipeline_and_the_command_are_those_of_the_run(folder, world, capsys, tmp_path):
    """From the media themselves, with the towers that the run refers to."""
    clip = world["clips"]["test"][0]
    expected = float(rows(folder / "predictions_test.csv")[0]["prediction"])
    found = pipeline("video-affect", model=str(folder))({"video": clip["media"]["path"], "text": clip["text"]})
    assert found["score"] == pytest.approx(expected, abs=2e-2) and found["subtasks"] == {}  # the store is in half
    arguments = ["predict", clip["media"]["path"], "--model", str(folder), "--text", clip["text"]]
    assert semanticmac.main([*arguments, "--json", str(tmp_path / "found.json")]) == 0
    assert json.loads((tmp_path / "found.json").read_text())[0]["score"] == pytest.approx(found["score"], abs=1e-5)


def test_a_run_is_described(folder, tmp_path):
    found = model_info(str(folder))
    assert found["architecture"] == "lf_dnn" and found["sizes"]["audio_hidden"] == 8
    assert found["sizes"]["parameters"] == sum(record(folder, "costs.json")["parameters"][n] for n in ("trained",))
    assert "lf_dnn" in info_text(found)
    shutil.copytree(folder, tmp_path / "run")
    card = write_model_card(tmp_path / "run", "org/lf-dnn").read_text()
    assert "comparison system `lf_dnn`" in card and "trust_remote_code" not in card and "intra_weight" not in card


def test_a_run_resumes_and_a_changed_architecture_is_refused(folder, world, tmp_path):
    again = [*PLAIN, *world["common"], *world["models"], "--output_dir", str(tmp_path / "run")]
    again += ["--resume_from_checkpoint", str(folder / "checkpoint-2")]  # of four steps
    with pytest.raises(ValueError, match="architecture was 'lf_dnn', is 'ef_lstm'"):
        train.main([*again, "--architecture", "ef_lstm"])
    trainer = run_once(*parse_arguments([*again, *SYSTEM]))
    for name, value in FusionForAffect.from_pretrained(folder).state_dict().items():
        assert trainer.model.state_dict()[name].equal(value), name


SMALL_CORECT = {"width": 8, "text_width": 8, "text_heads": 2, "feed_forward": 16, "graph_heads": 1, "num_layers": 1}


@pytest.mark.parametrize(("name", "sizes"), [("bc_lstm", {"hidden": 8}), ("corect", SMALL_CORECT)])
def test_a_system_that_reads_dialogues_predicts_every_clip(name, sizes, world, tmp_path):
    """Clips of a video are a dialogue; the rows of the test split keep their order."""
    options = ["--architecture", name, "--architecture_options", json.dumps(sizes), "--output_dir", str(tmp_path)]
    train.main([*PLAIN, *world["common"], *world["models"], *options])
    clips = world["clips"]["test"]
    assert [row["id"] for row in rows(tmp_path / "predictions_test.csv")] == clips["id"][:]
    assert record(tmp_path)["data"]["use_context"] is False
    found = pipeline("video-affect", model=str(tmp_path))({"text": clips["text"][0]})
    assert -3 <= found["score"] <= 3 and found["modalities"] == ["text"]


@pytest.mark.parametrize("name", ["mag", "misa"])
def test_a_tuned_system_trains_in_bfloat16(name, world, tmp_path):
    """MAG runs inside the language model, MISA has losses of moments; weights and predictions stay float32."""
    arguments = [*PLAIN, *world["common"], *world["models"], "--architecture", name, "--bf16", "true"]
    train.main([*arguments, "--logging_steps", "1", "--output_dir", str(tmp_path)])
    losses = [row["loss"] for row in record(tmp_path, "trainer_state.json")["log_history"] if "loss" in row]
    assert len(losses) >= 2 and torch.tensor(losses).isfinite().all()
    model = FusionForAffect.from_pretrained(tmp_path)
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in model.state_dict().values())
    predicted = torch.tensor([float(row["prediction"]) for row in rows(tmp_path / "predictions_test.csv")])
    assert predicted.isfinite().all() and predicted.std() > 0


def test_settings_of_a_system_are_searched(world, tmp_path):
    """The score of a trial is that of a run of the recipe that the search writes."""
    (tmp_path / "space.yaml").write_text("learning_rate: {low: 1e-3, high: 1e-2, log: true}\n")
    data = [*world["common"], *world["models"][:2], "--modalities", "text", "--task", "sentiment"]
    command = [*data, *SYSTEM, "--num_train_epochs", "1", "--do_search", "--search_trials", "1"]
    train.main([*command, "--search_space", str(tmp_path / "space.yaml"), "--output_dir", str(tmp_path / "search")])
    best = record(tmp_path / "search", "search.json")["best"]
    own = ["--data_dir", str(world["folder"] / "corpus"), "--output_dir", str(tmp_path / "run")]
    train.main([str(tmp_path / "search/best.yaml"), *own, "--do_train", "--do_eval"])
    assert record(tmp_path / "run", "all_results.json")["eval_loss"] == pytest.approx(best["score"], abs=1e-6)
    with pytest.raises(ValueError, match="the search space has dropout, .*hidden_size.*which lf_dnn does not have"):
        train.main([*command, "--output_dir", str(tmp_path / "other")])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--architecture", "lf_dn"], "architecture is 'lf_dn'. Did you mean 'lf_dnn'"),
        (["--architecture", "lf_dnn", "--num_latents", "4"], "--num_latents: an argument of SemanticMAC"),
        (["--architecture_options", '{"width": 4}'], "are for a comparison system"),
        (["--architecture", "lf_dnn", "--architecture_options", "[3]"], "expected a JSON mapping"),
    ],
)
def test_arguments_that_do_not_fit_the_architecture_are_refused(given, message, tmp_path):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        parse_arguments([*PLAIN, "--output_dir", str(tmp_path), *given])


def test_a_recipe_of_semanticmac_is_refused_by_the_names_of_its_arguments(world, tmp_path):
    with pytest.raises(ValueError, match="--label_start_epoch 1.*, which tfn does not have"):
        train.main([
            *PLAIN, *world["common"], *world["models"], "--output_dir", str(tmp_path / "run"), "--architecture", "tfn",
            "--label_start_epoch", "1",
        ])  # fmt: skip
    assert RECIPE.endswith(".yaml") and not (tmp_path / "run").exists()


def test_rates_have_factors_by_the_beginning_of_a_name(tmp_path):
    """Self-MM's public settings: 5 for audio. The language model keeps its own rate, and a wrong name is refused."""
    from modeling_semanticmac.training.optimizer_groups import parameter_groups

    args = SemanticMACTrainingArguments(
        str(tmp_path), use_cpu=True, learning_rate=1e-3, rate_multiplier='{"audio": 5, "audio.1": 0.1}'
    )
    model = torch.nn.ModuleDict({
        "fusion": torch.nn.ModuleDict({"audio": torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)]),
                                       "output": torch.nn.Linear(2, 1)}),
        "language_model": torch.nn.Linear(3, 3),
    })  # fmt: skip
    model.config = SimpleNamespace(language_model_reference=None)  # it is tuned whole
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, set(), args)
    rates = {names[p].rpartition(".")[0]: group["lr"] for group in groups for p in group["params"]}
    expected = {"fusion.audio.0": 5e-3, "fusion.audio.1": 1e-4, "fusion.output": 1e-3, "language_model": 4e-5}
    assert rates == pytest.approx(expected) and groups[0]["lr"] == 1e-3
    args.rate_multiplier = '{"video": 2}'
    with pytest.raises(ValueError, match="rate_multiplier names video"):
        parameter_groups(model, set(), args)
    for wrong in ("3", '{"audio": -1}', '{"audio": "x"}'):
        with pytest.raises(ValueError, match="expected a JSON mapping of the beginnings"):
            SemanticMACTrainingArguments(str(tmp_path), use_cpu=True, rate_multiplier=wrong)
