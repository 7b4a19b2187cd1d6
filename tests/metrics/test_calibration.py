"""How sure a model is: conformal bounds, temperature, calibration error, risk, against hand-computed values."""

import math

import numpy as np
import pytest
from scipy.special import log_softmax

from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from modeling_semanticmac.metrics.calibration import (
    conformal_quantile,
    expected_calibration_error,
    fit_calibration,
    fit_temperature,
    risk_coverage,
)
from tests.helpers.tiny import EMOTIONS, SENTIMENT

FACES = TaskSpecification("emotion", "single_label_classification", ("joy", "anger", "fear"), None, "weighted")


def test_the_bound_is_the_score_of_the_right_rank():
    scores = np.array([0.9, 0.1, 0.5, 0.3, 0.7, 0.2, 0.8, 0.4, 0.6])
    assert conformal_quantile(scores, 0.9) == 0.9  # ceil(10 * 0.9) = 9th of 9
    assert conformal_quantile(scores, 0.5) == 0.5  # ceil(10 * 0.5) = 5th
    assert conformal_quantile(scores, 0.41) == 0.5  # ceil(4.1) = 5th
    assert conformal_quantile(scores[1:], 0.9) == math.inf  # ceil(9 * 0.9) = 9th of 8


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_the_bound_is_that_of_crepes(level):
    crepes = pytest.importorskip("crepes")
    residuals = np.random.default_rng(0).standard_normal(230)  # no rank is a whole number, which crepes may round
    interval = crepes.ConformalRegressor().fit(residuals).predict_int(np.zeros(1), confidence=level)
    assert conformal_quantile(np.abs(residuals), level) == pytest.approx(interval[0, 1])


def test_intervals_and_sets_cover_what_they_promise():
    generator = np.random.default_rng(1)
    covered, promised = [], 0.9
    for _ in range(200):
        errors = np.abs(generator.standard_exponential(120))
        covered.append((errors[:60] <= conformal_quantile(errors[60:], promised)).mean())
    # With 60 clips the bound is the 55th of 61 ranks: a new score is below it with probability 55 / 61.
    assert np.mean(covered) == pytest.approx(55 / 61, abs=3 * np.std(covered) / math.sqrt(200))


def test_the_temperature_has_the_lowest_cross_entropy():
    generator = np.random.default_rng(2)
    truth = generator.standard_normal((4000, 3))
    labels = np.array([generator.choice(3, p=np.exp(row)) for row in log_softmax(truth, axis=1)])
    found = fit_temperature(3 * truth, labels)  # logits that are three times too sure
    grid = np.exp(np.linspace(math.log(2), math.log(4.5), 801))
    losses = [-log_softmax(3 * truth / t, axis=1)[np.arange(4000), labels].mean() for t in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.003) and found == pytest.approx(3, rel=0.06)
    assert fit_temperature(log_softmax(3 * truth, axis=1), labels) == pytest.approx(found, rel=1e-6)


def test_a_calibration_has_the_fields_of_its_kind():
    scores, labels = np.array([[0.5], [-1.0], [2.0]]), np.array([1.0, -1.0, 0.0])
    assert fit_calibration(SENTIMENT, scores, labels, 0.5) == {"level": 0.5, "clips": 3, "radius": 0.5}
    assert fit_calibration(SENTIMENT, scores, labels, 0.9) is None  # three clips cannot promise it
    assert fit_calibration(EMOTIONS, np.zeros((50, 3)), np.zeros((50, 3))) is None
    probabilities = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]] * 20
    found = fit_calibration(FACES, np.log(probabilities), np.tile([0, 1, 1], 20))
    assert found.keys() == {"level", "clips", "temperature", "threshold"} and found["clips"] == 60
    powers = np.array([0.6, 0.3, 0.1]) ** (1 / found["temperature"])
    assert found["threshold"] == pytest.approx(1 - powers[1] / powers.sum())  # a third of the clips has this score


def test_the_calibration_error_is_the_gap_of_each_bin():
    confidences, correct = np.array([0.55, 0.58, 0.95, 0.97, 1.0]), np.array([1, 0, 1, 1, 0])
    # Bins of a fifth: the first two clips, then the other three.
    expected = (abs(1 - 0.55 - 0.58) + abs(2 - 0.95 - 0.97 - 1.0)) / 5
    assert expected_calibration_error(confidences, correct, bins=5) == pytest.approx(expected)


def test_risk_grows_from_the_most_confident_clip():
    coverages, risks = risk_coverage(np.array([0.5, 0.9, 0.7, 0.6]), np.array([1, 0, 1, 0]))
    assert coverages.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risks.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
