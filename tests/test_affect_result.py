import json

import pytest
import torch

from modeling_semanticmac import TaskSpecification
from modeling_semanticmac.pipeline_semanticmac import affect_result, polarity
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
