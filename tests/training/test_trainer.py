import json

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.runs.folder import RunFolder, split_results
from modeling_semanticmac.training.collator import SemanticMACCollator
from modeling_semanticmac.training.objectives import subtask_losses
from modeling_semanticmac.training.semantic_contrast import inter_sample_loss, intra_sample_loss
from modeling_semanticmac.training.trainer import SemanticMACTrainer
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT, tiny_config, word_corpus
from tests.helpers.trainers import WordProcessor, arguments


def trainer(folder, task=SENTIMENT, clips=20, **changes) -> SemanticMACTrainer:
    torch.manual_seed(0)
    model = SemanticMACForAffect(tiny_config(task, dropout=0.2))
    collator = SemanticMACCollator(WordProcessor(), task, modalities=["text"])
    train, validation = word_corpus(clips, task), word_corpus(13, task, seed=1)
    return SemanticMACTrainer(model, arguments(folder, **changes), train, validation, collator)


def batch_of(run: SemanticMACTrainer, size: int) -> dict:
    return run.data_collator([run.train_dataset[index] for index in range(size)])


def test_parts_of_the_loss_are_logged_and_add_up(tmp_path):
    run = trainer(tmp_path)
    run.train()
    steps = [row for row in run.state.log_history if "loss_M" in row]
    assert len(steps) == 6  # two epochs of 20 clips in batches of 8, the last batch of 4 kept
    for row in steps:
        total = sum(row[f"loss_{s}"] for s in "MSTAV") + 0.1 * row["loss_intra"] + 0.1 * row["loss_inter"]
        assert row["loss"] == pytest.approx(total, rel=1e-5)
        assert row["loss_T"] > 0 and row["loss_A"] == row["loss_V"] == 0  # clips of words alone


def test_training_loss_is_the_objective_of_the_batch(tmp_path):
    """Eq. (22) written out: what the Trainer computes for a batch, from the head's output of the same dropout."""
    run = trainer(tmp_path, intra_weight=0.3, inter_weight=0.7, intra_temperature=0.4, inter_temperature=0.2)
    model, batch = run.model.train(), batch_of(run, 8)
    torch.manual_seed(5)
    loss = run.compute_loss(model, batch)
    torch.manual_seed(5)
    output = model(**{name: value for name, value in batch.items() if name not in ("labels", "clip_index")})
    expected = sum(subtask_losses(output, dict.fromkeys("MSTAV", batch["labels"]), SENTIMENT).values())
    expected += 0.3 * intra_sample_loss(output.specific_embeds, output.shared_embeds, output.modality_mask, 0.4).mean()
    sign = batch["labels"].sign()
    own = torch.eye(8, dtype=torch.bool)
    expected += (
        0.7
        * inter_sample_loss(output.multimodal_embeds, output.multimodal_embeds, sign[:, None] == sign, own, 0.2).mean()
    )
    torch.testing.assert_close(loss, expected)


def test_two_learning_rates_and_no_decay_on_norms_and_biases(tmp_path):
    run = trainer(tmp_path, learning_rate=1e-3, language_model_learning_rate=1e-5, weight_decay=0.1)
    optimizer = run.create_optimizer()
    names = {parameter: name for name, parameter in run.model.named_parameters()}
    seen = set()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[parameter]
            seen.add(name)
            assert group["lr"] == (1e-5 if "language_model." in name else 1e-3), name
            if name.endswith("bias") or "norm" in name.lower():
                assert group["weight_decay"] == 0, name
            elif name.endswith("weight"):
                assert group["weight_decay"] == 0.1, name
    assert seen == set(names.values())
    assert optimizer.param_groups[0]["lr"] == 1e-3  # the one that is logged


@pytest.mark.parametrize(("kind", "last"), [("constant_with_warmup", 1.0), ("cosine", 0.0)])
def test_warm_up_takes_the_first_epoch(tmp_path, kind, last):
    run = trainer(tmp_path, lr_scheduler_type=kind, num_train_epochs=4, learning_rate=1e-3)
    run.train()
    rates = [row["learning_rate"] for row in run.state.log_history if "learning_rate" in row]
    assert rates[:4] == pytest.approx([0.0, 1e-3 / 3, 2e-3 / 3, 1e-3])  # three steps an epoch
    assert run.lr_scheduler.get_last_lr()[0] == pytest.approx(last * 1e-3, abs=1e-9)
    if kind == "cosine":  # 0.5 (1 + cos(pi t)) over the nine steps after warm-up
        assert rates[6] == pytest.approx(1e-3 * 0.5 * (1 + np.cos(np.pi * 3 / 9)))


def test_without_warm_up_epochs_the_steps_given_count(tmp_path):
    run = trainer(tmp_path, warmup_epochs=0.0, warmup_steps=2, learning_rate=1e-3)
    run.train()
    rates = [row["learning_rate"] for row in run.state.log_history if "learning_rate" in row]
    assert rates[:3] == pytest.approx([0.0, 5e-4, 1e-3])


@pytest.mark.parametrize(
    ("task", "asked", "metric", "greater"),
    [
        (SENTIMENT, None, "loss", False), (SARCASM, None, "w_f1", True), (EMOTIONS, None, "w_f1", True),
        (SENTIMENT, "mae", "mae", False), (SENTIMENT, "pearson", "pearson", True), (SENTIMENT, "loss", "loss", False),
        (SARCASM, "loss", "loss", False), (EMOTIONS, "loss", "loss", False),
    ],
)  # fmt: skip
def test_selection_follows_the_task_or_the_metric_asked_for(tmp_path, task, asked, metric, greater):
    run = trainer(
        tmp_path, task, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True, num_train_epochs=3,
        metric_for_best_model=asked,
    )  # fmt: skip
    run.train()
    assert (run.args.metric_for_best_model, run.args.greater_is_better) == (metric, greater)
    values = [row[f"eval_{metric}"] for row in run.state.log_history if f"eval_{metric}" in row]
    assert run.state.best_metric == (max if greater else min)(values)
    assert run.evaluate()[f"eval_{metric}"] == pytest.approx(run.state.best_metric)


def test_the_callers_arguments_stay_as_they_are(tmp_path):
    """Training resolves the metric of the task and the warm-up steps in its own copy."""
    args = arguments(
        tmp_path, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True, num_train_epochs=1
    )
    before = args.to_sanitized_dict()
    model = SemanticMACForAffect(tiny_config(SARCASM))
    clips, collator = word_corpus(12, SARCASM), SemanticMACCollator(WordProcessor(), SARCASM, modalities=["text"])
    run = SemanticMACTrainer(model, args, clips, eval_dataset=clips, data_collator=collator)
    run.train()
    assert args.to_sanitized_dict() == before
    assert (run.args.metric_for_best_model, run.args.greater_is_better, run.args.warmup_steps) == ("w_f1", True, 2)
    assert (args.metric_for_best_model, args.greater_is_better) == (
        None,
        None,
    ) and "clip_index" not in clips.column_names


def test_a_second_training_makes_its_own_pseudo_labels(tmp_path):
    run = trainer(tmp_path, label_start_epoch=1, num_train_epochs=3)
    run.train()
    assert run.label_state.epoch == 3 and not run.label_state.labels.equal(
        run.label_state.ground_truth.expand(4, -1, -1)
    )
    run.args.num_train_epochs = 1
    run.train()
    assert run.label_state.epoch == 1
    assert run.label_state.labels.equal(run.label_state.ground_truth.expand(4, -1, -1))


def test_evaluation_counts_every_clip_once(tmp_path):
    """13 clips in batches of 8: the loss is the mean over clips, not over batches."""
    run = trainer(tmp_path, per_device_eval_batch_size=8)
    found = run.predict(run.eval_dataset)
    assert found.predictions[0].shape == (13, 1) and found.predictions[1].shape == (13, 4, 1)
    expected = np.abs(found.predictions[0][:, 0] - np.array(run.eval_dataset["label"], dtype=np.float32)).mean()
    assert found.metrics["test_loss"] == pytest.approx(expected, rel=1e-5)
    alone = run.predict(run.eval_dataset.select([12])).predictions[0]
    np.testing.assert_allclose(alone, found.predictions[0][[12]], atol=1e-6)


def test_balanced_class_weights_reach_the_loss(tmp_path):
    run = trainer(tmp_path, SARCASM, class_weight="balanced")
    labels = np.array(run.train_dataset["label"])
    np.testing.assert_allclose(run.class_weight, len(labels) / (2 * np.bincount(labels)), rtol=1e-6)
    assert trainer(tmp_path, SARCASM).class_weight is None
    batch = batch_of(run, 8)
    run.model.train()
    torch.manual_seed(1)
    weighted = run.compute_loss(run.model, batch)
    run.class_weight = None
    torch.manual_seed(1)
    assert weighted != run.compute_loss(run.model, batch)


def test_class_weights_of_your_own_reach_the_loss(tmp_path):
    """Cross entropy of each sub-task with the weights, which scikit-learn's log loss takes as weights of clips."""
    run = trainer(tmp_path, SARCASM, class_weights=["yes=7"], pseudo_labels="off", intra_weight=0.0, inter_weight=0.0)
    assert run.class_weight.tolist() == [1.0, 7.0]
    batch = batch_of(run, 8)
    labels = batch["labels"].numpy()
    assert 0 < labels.sum() < 8
    run.model.train()
    torch.manual_seed(1)
    loss = run.compute_loss(run.model, batch)
    torch.manual_seed(1)
    shares = torch.softmax(run.model(**{k: v for k, v in batch.items() if k not in ("labels", "clip_index")}).logits, 1)
    weight = np.where(labels == 1, 7.0, 1.0)
    expected = log_loss(labels, shares.detach().numpy(), sample_weight=weight, normalize=False) / 8
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_best_model_can_be_chosen_by_macro_f1(tmp_path):
    args = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True, "num_train_epochs": 3}
    run = trainer(tmp_path, SARCASM, metric_for_best_model="macro_f1", **args)
    run.train()
    measured = [row["eval_macro_f1"] for row in run.state.log_history if "eval_macro_f1" in row]
    assert len(measured) == 3 and run.state.best_metric == max(measured)


@pytest.mark.parametrize("step", [1, 3, 4])
def test_stopped_and_resumed_equals_never_stopped(tmp_path, step):
    """Bit for bit, with dropout, in mid-epoch (1, 4) and at an epoch's end (3)."""
    whole = trainer(tmp_path / "whole")
    whole.train()
    trainer(tmp_path / "parts", save_strategy="steps", save_steps=step, save_total_limit=None).train()
    resumed = trainer(tmp_path / "parts")
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts" / f"checkpoint-{step}"))
    for (name, expected), found in zip(whole.model.state_dict().items(), resumed.model.state_dict().values()):
        assert found.equal(expected), name
    logged = [
        {k: v for k, v in row.items() if k.startswith(("loss", "learning"))}
        for row in whole.state.log_history
        if "loss_M" in row
    ]
    again = [
        {k: v for k, v in row.items() if k.startswith(("loss", "learning"))}
        for row in resumed.state.log_history
        if "loss_M" in row
    ]
    assert again == logged


def test_a_checkpoint_is_safetensors_and_json(tmp_path):
    run = trainer(tmp_path, num_train_epochs=1)
    run.train()
    run.save_model(tmp_path / "final")
    assert {path.name for path in (tmp_path / "final").iterdir() if path.suffix not in (".py", ".json")} == {
        "model.safetensors"
    }
    assert json.loads((tmp_path / "final" / "training_args.json").read_text())["seed"] == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"regression_loss": "huber"}, "expected l1 or mse"),
        ({"class_weight": "auto"}, "expected none or balanced"),
        ({"class_weight": "balanced", "class_weights": ["yes=2"]}, "give one of them"),
        ({"warmup_epochs": -1.0}, "expected 0 or more"),
        ({"modality_dropout": 1.0}, r"expected a probability in \[0, 1\)"),
        ({"modality_dropout": -0.1}, r"expected a probability in \[0, 1\)"),
        ({"remove_unused_columns": True}, "must be False"),
    ],
)
def test_arguments_that_cannot_work_are_refused(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        arguments(tmp_path, **fields)


def test_regression_loss_changes_training_only(tmp_path):
    l1, mse = trainer(tmp_path), trainer(tmp_path, regression_loss="mse")
    batch = batch_of(l1, 8)
    losses = []
    for run in (l1, mse):
        run.model.train()
        torch.manual_seed(1)
        losses.append(run.compute_loss(run.model, batch).item())
    assert losses[0] != pytest.approx(losses[1])
    assert l1.evaluate()["eval_loss"] == pytest.approx(mse.evaluate()["eval_loss"])


def test_an_undefined_figure_is_null_in_the_results_and_undefined_when_read(tmp_path):
    """Pearson's r of constant labels: null on disk, and NaN, not absent, for the reader of the run."""
    run = trainer(tmp_path)
    clips = run.eval_dataset.remove_columns("label").add_column("label", [1.0] * 13)
    metrics = run.evaluate(clips)
    assert np.isnan(metrics["eval_pearson"])
    run.save_metrics("eval", metrics)
    run.save_metrics("train", {"train_loss": 0.5})
    for name in ("eval_results.json", "all_results.json"):
        found = json.loads((tmp_path / name).read_text(), parse_constant=pytest.fail)
        assert found["eval_pearson"] is None and found["eval_mae"] == metrics["eval_mae"]
    assert found["train_loss"] == 0.5
    run.save_state()
    json.loads((tmp_path / "trainer_state.json").read_text(), parse_constant=pytest.fail)
    (tmp_path / "run.json").write_text("{}")
    assert np.isnan([row["eval_pearson"] for row in RunFolder(tmp_path).history if "eval_pearson" in row]).all()
    assert np.isnan(split_results(found, "eval")["pearson"]) and split_results(found, "train") == {"loss": 0.5}
