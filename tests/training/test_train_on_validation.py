"""`--train_on_validation`: the clips of both splits are learnt, nothing is evaluated on validation."""

import pytest
import torch
from datasets import concatenate_datasets
from safetensors.torch import load_file

from modeling_semanticmac.benchmark.plan import PlannedRun, Row
from modeling_semanticmac.benchmark.pooled_features import PooledFeatures
from modeling_semanticmac.benchmark.simple_runs import run_simple
from modeling_semanticmac.commands import train
from modeling_semanticmac.runs.settings import ChangedSettingsError
from modeling_semanticmac.training import run as run_module
from modeling_semanticmac.training import run_features
from modeling_semanticmac.training.checkpoints import LABEL_STATE
from tests.helpers.project import RECIPE
from tests.helpers.runs import CLIPS, record, rows
from tests.helpers.tiny import EMOTIONS


@pytest.fixture
def command(world) -> list[str]:
    text = [*world["models"][:2], "--modalities", "text", "--num_train_epochs", "2", "--label_start_epoch", "1"]
    return [RECIPE, *world["common"], *text]


def test_it_equals_a_run_whose_training_split_holds_both(command, world, tmp_path, monkeypatch):
    train.main([*command, "--train_on_validation", "true", "--output_dir", str(tmp_path / "both")])
    splits = record(tmp_path / "both", "splits.json")
    learnt = world["clips"]["train"]["id"][:] + world["clips"]["validation"]["id"][:]
    assert splits == {"train": learnt, "test": world["clips"]["test"]["id"][:]}
    results = record(tmp_path / "both", "all_results.json")
    assert not [name for name in results if name.startswith("eval_")]
    assert results["test_opened"] == "the model of the last step, trained on train and validation together"
    checkpoint = sorted((tmp_path / "both").glob("checkpoint-*"))[-1]
    assert load_file(checkpoint / LABEL_STATE)["seen"].shape == (CLIPS["train"] + CLIPS["validation"],)
    other = ["--output_dir", str(tmp_path / "other"), "--resume_from_checkpoint", str(checkpoint)]
    with pytest.raises(ChangedSettingsError, match="clips of train removed"):
        train.main([*command, *other])

    load = run_features.load_corpus

    def together(*args, **kwargs):
        corpus = load(*args, **kwargs)
        return {"train": concatenate_datasets([corpus["train"], corpus["validation"]]), "test": corpus["test"]}

    monkeypatch.setattr(run_features, "load_corpus", together)
    plain = ["--eval_strategy", "no", "--do_eval", "false", "--load_best_model_at_end", "false"]
    train.main([*command, *plain, "--output_dir", str(tmp_path / "plain")])
    weights, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("both", "plain"))
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    assert rows(tmp_path / "both" / "predictions_test.csv") == rows(tmp_path / "plain" / "predictions_test.csv")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--do_train", "false"], "no effect without --do_train"),
        (["--metric_for_best_model", "mae"], "metric_for_best_model mae chooses a model on validation"),
        (["--save_strategy", "best"], "save_strategy .*best chooses a model on validation"),
        (["--do_search"], "a search scores its trials on validation"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_refused(world, monkeypatch, tmp_path, more, message):
    monkeypatch.setattr(run_module.Run, "_build", lambda run: pytest.fail("a model was built"))
    command = [*world["common"], *world["models"][:2], "--modalities", "text", "--output_dir", str(tmp_path / "run")]
    work = [] if "--do_search" in more else ["--do_train", "--do_predict"]
    with pytest.raises(ValueError, match=message):
        train.main([*command, *work, "--train_on_validation", "true", *more])
    assert not (tmp_path / "run").exists()


def test_thresholds_need_validation(command, monkeypatch, tmp_path):
    monkeypatch.setattr(run_module, "task_specification", lambda *args, **kwargs: EMOTIONS)
    with pytest.raises(ValueError, match="no clips on which the thresholds of 'emotion' can be tuned"):
        train.main([*command, "--train_on_validation", "true", "--output_dir", str(tmp_path)])


def test_a_simple_system_has_an_option_of_its_own(tmp_path):
    given = {"corpus": "synthetic", "data_dir": "nowhere", "train_on_validation": True}
    planned = PlannedRun(Row("probe", simple="linear_probe"), "", "", 1, given, tmp_path / "run")
    with pytest.raises(ValueError, match="probe: train_on_validation is of trained models; .* option refit"):
        run_simple(planned, PooledFeatures())
