"""Arguments without effect, or wrong, are refused before anything is loaded; what a saved model cannot follow, too."""

import json

import numpy as np
import pytest
import torch

from modeling_semanticmac.commands import train as train_command
from modeling_semanticmac.metrics import compute_metrics
from modeling_semanticmac.training import run as run_module
from modeling_semanticmac.training import run_features
from modeling_semanticmac.training.argument_checks import metric_names
from modeling_semanticmac.training.run_arguments import parse_arguments
from tests.helpers.project import RECIPE
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT


@pytest.fixture
def command(world, tmp_path) -> list[str]:
    return [
        RECIPE,
        *world["common"],
        *world["models"][:2],
        "--modalities",
        "text",
        "--output_dir",
        str(tmp_path / "run"),
    ]


@pytest.fixture
def nothing_is_loaded(monkeypatch):
    """Models are out of reach."""
    monkeypatch.setattr(run_module.Run, "_build", lambda run: pytest.fail("a model was built"))
    monkeypatch.setattr(run_module.Run, "_load", lambda run: pytest.fail("a model was loaded"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--label_smoothing_factor", "0.1"], "--label_smoothing_factor 0.1 has no effect here"),
        (["--prediction_loss_only", "true"], "--prediction_loss_only True has no effect here"),
        (["--batch_eval_metrics", "true"], "--batch_eval_metrics True has no effect"),
        (["--include_for_metrics", "inputs"], "--include_for_metrics .* has no effect"),
        (["--eval_do_concat_batches", "false"], "--eval_do_concat_batches False has no effect"),
        (["--label_names", "other"], "--label_names .* has no effect"),
        (["--average_tokens_across_devices", "false"], "--average_tokens_across_devices False has no effect"),
        (["--length_column_name", "words"], "--length_column_name words has no effect"),
        (["--use_cache", "true"], "--use_cache True has no effect"),
        (["--auto_find_batch_size", "true"], "--auto_find_batch_size True has no effect"),
        (["--optim_target_modules", "all-linear"], "--optim_target_modules .* has no effect"),
        (["--warmup_steps", "5"], "--warmup_steps 5.* has no effect beside --warmup_epochs 1"),
        (
            ["--metric_for_best_model", "f2"],
            "metric_for_best_model is 'f2'; task 'sentiment' has acc2_neg_nonneg, .*mae.*pearson",
        ),
        (
            ["--metric_for_best_model", "mae", "--greater_is_better", "true"],
            "greater_is_better is True, but of mae the lower",
        ),
        (["--metric_for_best_model", "eval_pearson", "--greater_is_better", "false"], "but of pearson the higher"),
        (["--seeds", "1", "1"], "names a seed twice"),
        (["--search_trials", "3"], "--search_trials: no effect without --do_search"),
        (["--do_train", "false", "--resume_from_checkpoint", "last"], "continues a training: give --do_train"),
        (["--max_train_samples", "0"], "max_train_samples is 0; expected 1 or more"),
        (["--max_eval_samples", "-1"], "max_eval_samples is -1; expected 1 or more"),
        (["--max_predict_samples", "0"], "max_predict_samples is 0; expected 1 or more"),
        (["--learning_rate", "nan"], "learning_rate is nan; expected a finite number"),
        (["--weight_decay", "-0.1"], "weight_decay is -0.1; expected 0 or more"),
        (["--hidden_size", "-8"], "hidden_size is -8; expected 0 or more"),
        (["--per_device_train_batch_size", "0"], "per_device_train_batch_size is 0; expected more than 0"),
        (["--num_train_epochs", "0"], "num_train_epochs is 0.0; expected more than 0"),
        (["--max_length", "0"], "max_length is 0; expected 1 or more"),
        (["--modalities", "text", "smell"], "modalities is .*; expected one or more of text, audio, vision"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused(command, nothing_is_loaded, tmp_path, more, message):
    with pytest.raises(ValueError, match=message):
        train_command.main([*command, *more])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_without_clips(command, nothing_is_loaded, monkeypatch, tmp_path, split):
    load = run_features.load_corpus

    def without(*args, **kwargs):
        corpus = dict(load(*args, **kwargs))
        return {**corpus, split: corpus[split].select([])}

    monkeypatch.setattr(run_features, "load_corpus", without)
    with pytest.raises(ValueError, match=rf"has no clips of {split} \(clips: .*{split} 0"):
        train_command.main(command)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", [SENTIMENT, SARCASM, EMOTIONS], ids=lambda task: task.name)
def test_the_metrics_of_a_task_are_those_that_validation_computes(task):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(40, task.num_labels))
    labels = generator.normal(size=40) if task.is_regression else generator.integers(0, task.num_labels, 40)
    if task.is_multi_label:
        labels = generator.integers(0, 2, (40, task.num_labels))
    assert metric_names(task) == set(compute_metrics(task, logits, labels))


def test_a_saved_model_keeps_its_architecture(world, tmp_path):
    """An argument that it would ignore is refused; dropout, which has no weights, is set."""
    command = [RECIPE, *world["common"], "--model_name_or_path", str(world["run"]), "--num_train_epochs", "1"]
    for more, message in (
        (["--num_latents", "4"], r"--num_latents 4 \(the model has 8\)"),
        (["--num_frames", "3"], r"--num_frames 3 \(the model has None\)"),
        (["--language_model_revision", "main"], r"--language_model_revision main \(the model has its own\)"),
        (["--gate", "none", "--hidden_size", "32"], r"--gate none \(the model has reglu\), --hidden_size 32"),
    ):
        with pytest.raises(ValueError, match=message):
            train_command.main([*command, *more, "--output_dir", str(tmp_path / "other")])
    assert not (tmp_path / "other").exists()
    run = run_module.Run(*parse_arguments([*command, "--dropout", "0.35", "--output_dir", str(tmp_path)]))
    assert run.model.config.dropout == 0.35
    assert {m.p for m in run.model.semanticmac.interaction.modules() if isinstance(m, torch.nn.Dropout)} == {0.35}


def test_yaml_says_each_thing_once_and_no_infinity(tmp_path):
    path = tmp_path / "recipe.yaml"
    for text, message in (
        ("seed: 1\nlearning_rate: 0.1\nseed: 2\n", "recipe.yaml cannot be read.*line 3 gives 'seed' a second time"),
        ("corpus_options: {fold: 0, fold: 1}\n", "line 1 gives 'fold' a second time"),
        ("learning_rate: .nan\n", "learning_rate is nan"),
        ("max_grad_norm: .inf\n", "max_grad_norm is inf"),
        ("num_bridge_tokens: -4\n", "num_bridge_tokens is -4"),
        ("per_device_train_batch_size: -4\n", "per_device_train_batch_size is -4"),
        ("seed: [1\n", "cannot be read as YAML or JSON"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            parse_arguments([str(path), "--use_cpu", "--output_dir", str(tmp_path)])
    path = path.with_suffix(".json")
    path.write_text(json.dumps({"seed": 1})[:-1] + ', "seed": 2}')
    with pytest.raises(ValueError, match="'seed' a second time"):
        parse_arguments([str(path)])
