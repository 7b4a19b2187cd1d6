import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from modeling_semanticmac import TaskSpecification, metrics
from modeling_semanticmac.configuration_semanticmac import metric_family, score_polarity

pytestmark = pytest.mark.filterwarnings("error")

STARS = TaskSpecification("sentiment", "regression", ("stars",), (1.0, 5.0))


def test_the_family_follows_from_the_range():
    ranges = [(-3, 3), (-1.0, 1.0), (1, 5), (0, 100), (-2, 2), (0, 1)]
    assert [metric_family(bounds) for bounds in ranges] == ["mosi", "sims"] + ["scores"] * 4
    assert STARS.metrics == "scores" and STARS.middle == 3


def test_polarities_of_stars_by_hand():
    # Neutral: within 4 / 12 of 3, both ends included.
    scores = [1.0, 2.66, 2.67, 3.0, 3.33, 3.34, 5.0, 7.0]
    assert score_polarity(scores, (1, 5)).tolist() == [-1, -1, 0, 0, 0, 1, 1, 1]


def test_a_model_that_says_one_number_has_no_perfect_scores():
    """2.566 for each clip on stars from 1 to 5 is "negative" for each; by cuts at 0 every clip was right."""
    labels, said = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 4.5, 3.5, 1.5]), np.full(8, 2.566)
    found = metrics.compute_metrics(STARS, said[:, None], labels)
    assert found["polarity_acc"] == 3 / 8
    assert found["polarity_f1"] == pytest.approx(3 / 8 * (2 * 3 / (8 + 3)))  # precision 3/8, recall 1
    assert found["polarity_macro_f1"] == pytest.approx((2 * 3 / (8 + 3)) / 3)
    assert found["mae"] == pytest.approx(np.abs(said - labels).mean()) and np.isnan(found["pearson"])
    assert set(found) == {"mae", "pearson", "polarity_acc", "polarity_f1", "polarity_macro_f1"}


@pytest.mark.parametrize("bounds", [(1.0, 5.0), (0.0, 100.0), (-3.0, 3.0), (-40.0, -10.0)])
def test_polarities_equal_scikit_learn_and_do_not_depend_on_the_scale(bounds):
    generator = np.random.default_rng(0)
    unit = generator.uniform(-1, 1, (2, 200))
    low, high = bounds
    predictions, labels = (low + high) / 2 + unit * (high - low) / 2
    classes = np.digitize(unit, [-1 / 6, 1 / 6])
    found = metrics.scores_metrics(predictions, labels, bounds)
    assert found["polarity_acc"] == pytest.approx(accuracy_score(classes[1], classes[0]), abs=1e-12)
    for name, average in (("polarity_f1", "weighted"), ("polarity_macro_f1", "macro")):
        assert found[name] == pytest.approx(f1_score(classes[1], classes[0], average=average), abs=1e-12)


def test_the_polarity_of_the_pipeline_is_the_three_class_accuracy_of_each_family():
    """Also for scores on the cuts, which are the values of raters."""
    for family, bound, own in (("mosi", 3, metrics.acc3), ("sims", 1, metrics.sims_acc3)):
        cuts = np.array([-1, -0.7, -0.5, -0.1, 0, 0.1, 0.5, 0.7, 1], dtype=np.float32)
        predictions, labels = (grid.ravel() for grid in np.meshgrid(cuts, cuts))
        agree = [score_polarity(scores, (-bound, bound), family) for scores in (predictions, labels)]
        assert own(predictions, labels) == np.mean(agree[0] == agree[1]), family


def test_a_family_with_cuts_at_zero_is_replaced_where_the_middle_is_another():
    old = TaskSpecification("sentiment", "regression", ("stars",), (1.0, 5.0), "mosi")
    assert old.metrics == "scores" and not old.scale_scores and old == STARS
    kept = TaskSpecification("sentiment", "regression", ("valence",), (-2.0, 2.0), "mosi")
    assert kept.metrics == "mosi" and not kept.scale_scores
    with pytest.raises(ValueError, match="do not fit"):
        TaskSpecification("x", "single_label_classification", ("no", "yes"), None, "scores")
