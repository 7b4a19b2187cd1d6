"""Logits as results: values by hand, and the same in the pipeline, in the predictions of a run and in words."""

import json

import numpy as np
import pytest
import torch
from transformers import pipeline

from modeling_semanticmac import TaskSpecification
from modeling_semanticmac.affect_results import abstained, affect_result, polarity, result_cell, result_words
from modeling_semanticmac.commands import train
from modeling_semanticmac.runs.record import read_predictions
from modeling_semanticmac.training import main as training_main
from tests.helpers.project import RECIPE
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT

SIMS = TaskSpecification("sentiment", "regression", ("sentiment",), (-1.0, 1.0), "sims")
FACES = TaskSpecification("emotion", "single_label_classification", ("joy", "anger", "fear"), None, "weighted")
# Of odds 1:3, 1:1 and 3:1, so that the probabilities are known.
ODDS = torch.tensor([1 / 3, 1.0, 3.0]).log()


def test_a_score_has_its_polarity_and_range():
    assert affect_result(SENTIMENT, torch.tensor([1.25])) == {"score": 1.25, "polarity": "positive", "range": [-3, 3]}


@pytest.mark.parametrize(
    "task, low, high",
    [(SENTIMENT, -0.5, 0.5), (SIMS, -0.1, 0.1)],
    ids=["seven classes", "CH-SIMS"],
)
def test_the_neutral_band_is_that_of_the_field_s_classes(task, low, high):
    found = [polarity(task, score) for score in (low - 0.01, low + 0.01, 0.0, high - 0.01, high + 0.01)]
    assert found == ["negative", "neutral", "neutral", "neutral", "positive"]


def test_the_middle_of_another_scale_is_neutral():
    stars = TaskSpecification("sentiment", "regression", ("stars",), (1.0, 5.0), "mosi")
    assert [polarity(stars, score) for score in (1.0, 3.0, 3.5)] == ["negative", "neutral", "positive"]


def test_one_of_several_classes_has_its_probability():
    found = affect_result(FACES, torch.tensor([1.0, 5.0, 2.0]).log())
    assert found["label"] == "anger" and found["score"] == pytest.approx(5 / 8)
    assert found["probabilities"] == pytest.approx({"joy": 1 / 8, "anger": 5 / 8, "fear": 2 / 8})
    assert "probability" not in found


def test_of_two_classes_the_second_is_the_positive_one():
    found = affect_result(SARCASM, torch.tensor([3.0, 1.0]).log())
    assert (
        found["label"] == "no"
        and found["score"] == pytest.approx(3 / 4)
        and found["probability"] == pytest.approx(1 / 4)
    )


def test_several_labels_are_present_above_a_half_or_their_thresholds():
    found = affect_result(EMOTIONS, ODDS)
    assert found["probabilities"] == pytest.approx({"happy": 1 / 4, "sad": 1 / 2, "angry": 3 / 4})
    assert found["labels"] == ["angry"]
    assert affect_result(EMOTIONS, ODDS, thresholds=[0.2, 0.4, 0.8])["labels"] == ["happy", "sad"]


@pytest.mark.parametrize("task", [SENTIMENT, FACES, SARCASM, EMOTIONS], ids=lambda task: task.problem_type)
def test_results_are_plain_json_also_of_half_precision_and_large_logits(task):
    logits = torch.full((task.num_labels,), 3e4, dtype=torch.bfloat16, requires_grad=True)
    found = affect_result(task, logits)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    "task, values, words, cell",
    [
        (SENTIMENT, [1.25], "positive +1.25", 1.25),
        (FACES, [1.0, 6.0, 3.0], "anger 0.60", "anger"),
        (EMOTIONS, [3.0, 1.0, 4.0], "happy 0.75, angry 0.80", "happy|angry"),
        (EMOTIONS, [0.1, 0.2, 0.9], "none of the labels", ""),
    ],
    ids=["score", "one class", "several labels", "no label"],
)
def test_results_in_words_and_as_a_cell(task, values, words, cell):
    """Logits are the scores, and the logarithms of the odds of classes."""
    logits = torch.tensor(values) if task.is_regression else torch.tensor(values).log()
    found = affect_result(task, logits)
    assert result_words(found) == words and result_cell(found) == cell


def test_equal_classes_are_the_first_one():
    assert affect_result(FACES, torch.zeros(3))["label"] == "joy"


def test_the_predictions_of_a_run_are_those_of_its_pipeline(world, tmp_path, monkeypatch):
    """Several labels: tuned thresholds decide about the whole, 0.5 about the sub-tasks, on the same clips."""
    tuned = []

    def tuned_thresholds(trainer, run):
        tuned.append([0.0, 0.999] * (run.task.num_labels // 2) + [0.0] * (run.task.num_labels % 2))
        return np.array(tuned[-1])

    monkeypatch.setattr(training_main, "tuned_thresholds", tuned_thresholds)
    arguments = [RECIPE, *world["models"][:2], *world["common"], "--task", "emotion", "--modalities", "text"]
    train.main([*arguments, "--num_train_epochs", "1", "--output_dir", str(tmp_path)])
    rows = read_predictions(tmp_path / "predictions_test.csv")
    pipe = pipeline("video-affect", model=str(tmp_path), device="cpu")
    clips = world["clips"]["test"]
    found = pipe([{"text": clip["text"], "context": clip["context"]} for clip in clips])
    names = pipe.model.config.task.label_names
    assert [row["id"] for row in rows] == clips["id"][:] and pipe.model.config.label_thresholds == tuned[0]
    assert [row["prediction"] for row in rows] == ["|".join(names[::2])] * len(rows)
    assert [row["prediction"] for row in rows] == ["|".join(result["labels"]) for result in found]
    for column, view in (("prediction_S", "shared"), ("prediction_T", "text")):
        assert [row[column] for row in rows] == ["|".join(result["subtasks"][view]["labels"]) for result in found]
    for row, result in zip(rows, found):
        probabilities = [float(row[f"probability_{name}"]) for name in names]
        assert probabilities == pytest.approx(list(result["probabilities"].values()), abs=1e-5)
        half = [name for name, value in result["subtasks"]["text"]["probabilities"].items() if value > 0.5]
        assert result["subtasks"]["text"]["labels"] == half


def test_a_calibrated_score_has_an_interval_within_its_range():
    calibration = {"level": 0.9, "clips": 60, "radius": 1.5}
    found = affect_result(SENTIMENT, torch.tensor([2.25]), calibration=calibration)
    assert found["interval"] == [0.75, 3.0] and found["level"] == 0.9 and found["score"] == 2.25
    assert not abstained(SENTIMENT, found)["abstained"]  # 0.75 and 3 are both positive
    unsure = abstained(SENTIMENT, affect_result(SENTIMENT, torch.tensor([1.25]), calibration=calibration))
    assert unsure["abstained"] and unsure["polarity"] is None and unsure["score"] == 1.25
    assert result_words(unsure) == "undecided, -0.25 to +2.75" and result_cell(unsure) == 1.25


def test_a_calibrated_class_has_the_set_of_those_that_are_probable_enough():
    calibration = {"level": 0.9, "clips": 60, "threshold": 0.8, "temperature": 2.0}
    logits = 2 * torch.tensor([1.0, 5.0, 2.0]).log()  # the temperature gives 1/8, 5/8, 2/8
    found = affect_result(FACES, logits, calibration=calibration)
    assert found["probabilities"] == pytest.approx({"joy": 1 / 8, "anger": 5 / 8, "fear": 2 / 8})
    assert found["label_set"] == ["anger", "fear"]  # 1 - 2/8 is within 0.8, 1 - 1/8 is not
    unsure = abstained(FACES, found)
    assert unsure["label"] is None and result_words(unsure) == "undecided, anger or fear" and result_cell(unsure) == ""
    alone = affect_result(FACES, logits, calibration={**calibration, "threshold": 0.1})
    assert alone["label_set"] == ["anger"] and abstained(FACES, alone)["label"] == "anger"


def test_a_model_without_calibration_does_not_abstain():
    with pytest.raises(ValueError, match="semanticmac calibrate"):
        abstained(FACES, affect_result(FACES, torch.zeros(3)))
