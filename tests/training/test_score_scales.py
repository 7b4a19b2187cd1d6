"""Scores of any range are learnt alike: what differs between [-3, 3] and [0, 100] is the unit of the answers."""

import json

import numpy as np
import pytest
import torch
from transformers import pipeline

from examples.tiny_models import save_tiny_language_model
from modeling_semanticmac import SemanticMACConfig, SemanticMACForAffect, TaskSpecification
from modeling_semanticmac.affect_heads import on_task_scale, task_loss
from modeling_semanticmac.baselines.training_state import Observed
from modeling_semanticmac.commands import train
from modeling_semanticmac.files.atomic_files import write_csv
from modeling_semanticmac.runs.record import read_predictions
from modeling_semanticmac.training.collator import SemanticMACCollator
from modeling_semanticmac.training.objectives import subtask_losses
from modeling_semanticmac.training.semantic_contrast import shares_label
from modeling_semanticmac.training.semantic_labels import SemanticLabels
from modeling_semanticmac.training.trainer import SemanticMACTrainer
from tests.helpers.tiny import SENTIMENT, random_batch, tiny_config, word_corpus
from tests.helpers.trainers import WordProcessor, arguments

PERCENT = TaskSpecification("sentiment", "regression", ("sentiment",), (0.0, 100.0))
STARS = TaskSpecification("sentiment", "regression", ("sentiment",), (1.0, 5.0))
RANGES = (SENTIMENT, PERCENT, STARS)


def rescaled(score, task):
    """A score in [-3, 3] in the range of a task."""
    low, high = task.label_range
    return low + (score + 3) / 6 * (high - low)


def trained(folder, task, **changes) -> SemanticMACTrainer:
    torch.manual_seed(0)
    clips = word_corpus(40).map(lambda row: {"label": rescaled(row["label"], task)})
    options = {
        "num_train_epochs": 6,
        "label_start_epoch": 1,
        "num_neighbors": 3,
        "learning_rate": 3e-3,
        "warmup_epochs": 0.0,
    }
    trainer = SemanticMACTrainer(
        SemanticMACForAffect(tiny_config(task)), arguments(folder, **{**options, **changes}), clips,
        eval_dataset=clips, data_collator=SemanticMACCollator(WordProcessor(), task, modalities=("text",)),
    )  # fmt: skip
    trainer.train()
    return trainer


@pytest.mark.parametrize("changes", [{}, {"regression_loss": "mse", "inter_weight": 1.0}], ids=["l1", "mse"])
def test_the_same_texts_are_learnt_alike_on_every_scale(tmp_path, changes):
    """Errors in percent of the range, losses and pseudo labels: 1.1 % against 8.4 % before scores were scaled."""
    found = {}
    for task in RANGES:
        trainer = trained(tmp_path / str(task.label_range), task, **changes)
        measured = trainer.evaluate()
        low, high = task.label_range
        moved = {name: value for row in trainer.state.log_history for name, value in row.items() if "differs" in name}
        losses = [row[name] for row in trainer.state.log_history for name in row if name.startswith("loss")]
        labels = (trainer.label_state.labels - low) / (high - low)
        found[task] = (measured["eval_mae"] / (high - low), measured["eval_loss"], losses, moved, labels)
    error, loss, losses, moved, labels = found[SENTIMENT]
    assert 0.01 < error < 0.3
    for task in (PERCENT, STARS):
        assert found[task][0] == pytest.approx(error, abs=2e-3)
        assert found[task][1] == pytest.approx(loss, abs=1e-2)
        assert found[task][2] == pytest.approx(losses, abs=2e-2)
        assert found[task][3] == moved
        torch.testing.assert_close(found[task][4], labels, atol=2e-3, rtol=0)


def test_the_loss_counts_in_sixths_of_the_range_by_hand():
    logits, labels = torch.tensor([[25.0], [50.0]]), torch.tensor([75.0, 100.0])
    assert task_loss(logits, labels, PERCENT).tolist() == pytest.approx([3.0, 3.0])  # 50 of 100 is 3 of 6
    assert task_loss(logits, labels, PERCENT, "mse").tolist() == pytest.approx([9.0, 9.0])
    model = SemanticMACForAffect(tiny_config(PERCENT)).eval()
    output = model(**random_batch([(4, 2, 3), (2, 3, 1)]), labels=labels)
    expected = (output.logits[:, 0] - labels).abs().mean() / (100 / 6)
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-6)
    pseudo = {"M": labels, "T": torch.tensor([20.0, 40.0])}
    losses = subtask_losses(output, pseudo, PERCENT)
    expected = (output.subtask_logits[:, 1, 0] - pseudo["T"]).abs().mean() / (100 / 6)
    assert losses["T"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_answers_are_in_the_range_of_the_task():
    """A new head says about the middle; each sub-task's predictor is mapped."""
    torch.manual_seed(0)
    model = SemanticMACForAffect(tiny_config(PERCENT)).eval()
    output = model(**random_batch([(4, 2, 3)]))
    everyone = torch.cat([output.logits[:, None], output.subtask_logits], dim=1)
    assert (everyone - 50).abs().max() < 10
    half = on_task_scale(torch.tensor([[2.0]], dtype=torch.bfloat16), PERCENT)
    assert half.dtype == torch.float32 and half.item() == pytest.approx(50 + 2 * 100 / 6)


@pytest.mark.parametrize("bounds", [(-3.0, 3.0), (-1.0, 1.0)])
def test_the_scales_of_the_field_are_untouched(bounds):
    task = TaskSpecification("sentiment", "regression", ("sentiment",), bounds)
    assert not task.scale_scores and task.score_unit == 1.0 and not tiny_config(task).scale_scores
    logits = torch.randn(3, 1)
    assert on_task_scale(logits, task) is logits
    assert SemanticMACConfig(label_range=list(bounds)).metrics == {3.0: "mosi", 1.0: "sims"}[bounds[1]]


def test_a_model_of_before_answers_the_same_and_is_measured_rightly(tmp_path):
    """Its config.json names the metrics of MOSI and knows no scaling: its head works on the scale itself."""
    model = SemanticMACForAffect(tiny_config(PERCENT)).eval()
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    assert stored["scale_scores"] is True and stored["metrics"] == "scores"
    again = SemanticMACForAffect.from_pretrained(tmp_path).eval()
    del stored["scale_scores"]
    path.write_text(json.dumps({**stored, "metrics": "mosi"}))
    old = SemanticMACForAffect.from_pretrained(tmp_path).eval()
    assert old.config.task == PERCENT and old.config.metrics == "scores" and old.config.scale_scores is False
    batch = random_batch([(4, 2, 3)])
    assert again(**batch).logits.equal(model(**batch).logits)
    torch.testing.assert_close(old(**batch).logits * 100 / 6 + 50, model(**batch).logits)
    assert old.config.task.polarity(old(**batch).logits).item() == -1  # near 0 of 100
    old.save_pretrained(tmp_path / "again")
    assert SemanticMACForAffect.from_pretrained(tmp_path / "again").config.scale_scores is False


def test_pairs_share_a_label_by_the_middle_of_the_scale():
    stars = torch.tensor([1.0, 2.5, 3.0, 3.2, 5.0])
    assert shares_label(stars[:1], stars, STARS).int().tolist() == [[1, 1, 0, 0, 0]]
    assert shares_label(stars[2:3], stars, STARS).int().tolist() == [[0, 0, 1, 0, 0]]
    assert shares_label(stars[2:3], stars, STARS, 0.25).int().tolist() == [[0, 0, 1, 1, 0]]
    scores = torch.tensor([-2.0, -0.5, 0.0, 0.3, 3.0])
    for task in RANGES:
        expected = shares_label(scores, scores, SENTIMENT)
        assert shares_label(rescaled(scores, task), rescaled(scores, task), task).equal(expected)


def test_labels_differ_where_their_side_of_the_middle_does():
    """Two clips of stars, 1 and 5, at one place: each label moves to the other's, across the middle, not 0."""
    state = SemanticLabels(torch.tensor([1.0, 5.0]), STARS, 2, num_neighbors=1, start_epoch=1, momentum=False)
    state.observe(
        torch.arange(2),
        None,
        Observed(torch.ones(2, 3, dtype=torch.bool), embeds=dict.fromkeys("STAV", torch.zeros(2, 2))),
    )
    report = state.begin_epoch(2)
    assert state.targets(torch.arange(2))["T"].tolist() == [5.0, 1.0]
    assert report["differs_T"] == 1.0 and report["movement_T"] == 4.0


def test_a_run_on_your_own_scale_from_table_to_prediction(tmp_path):
    """Texts with percentages: predictions, metrics, report and the pipeline of the saved model all use the range."""
    texts = word_corpus(40)["text"]
    scores = [rescaled(score, PERCENT) for score in word_corpus(40)["label"]]
    folder, run = tmp_path / "clips", tmp_path / "run"
    folder.mkdir()
    splits = ["train"] * 28 + ["validation"] * 6 + ["test"] * 6
    write_csv(folder / "clips.csv", ["text", "label", "split"], zip(texts, scores, splits))
    words = save_tiny_language_model(tmp_path / "words", texts)
    train.main([
        "--corpus", "video_folder", "--task", "sentiment", "--data_dir", str(folder), "--output_dir", str(run),
        "--corpus_options", '{"label_range": [0, 100]}', "--language_model", str(words), "--modalities", "text",
        "--num_train_epochs", "2", "--use_cpu", "--do_train", "--do_predict",
    ])  # fmt: skip
    rows = read_predictions(run / "predictions_test.csv")
    predictions, labels = (np.array([float(row[name]) for row in rows]) for name in ("prediction", "label"))
    results = json.loads((run / "all_results.json").read_text())
    assert results["test_mae"] == pytest.approx(np.abs(predictions - labels).mean(), rel=1e-5)
    assert results["test_loss"] == pytest.approx(results["test_mae"] / (100 / 6), rel=1e-5)
    sides = [np.digitize(values, [50 - 100 / 12, 50 + 100 / 12]) for values in (predictions, labels)]
    assert results["test_polarity_acc"] == pytest.approx((sides[0] == sides[1]).mean())
    assert "acc7" not in (run / "report.md").read_text() and "a score in [0, 100]" in (run / "report.md").read_text()
    assert json.loads((run / "config.json").read_text())["scale_scores"] is True
    found = pipeline("video-affect", model=str(run), device="cpu")([{"text": text} for text in texts[-6:]])
    assert [result["score"] for result in found] == pytest.approx(predictions.tolist(), abs=1e-3)
    assert [result["polarity"] for result in found] == [("negative", "neutral", "positive")[side] for side in sides[0]]
