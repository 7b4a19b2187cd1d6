"""Majority and linear probe against scikit-learn's own pipelines and values computed by hand."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from modeling_semanticmac.benchmark.pooled_features import pooled
from modeling_semanticmac.benchmark.simple_systems import LinearProbe, Majority, ProbeOptions, fit_probe, refitted
from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from modeling_semanticmac.metrics import compute_metrics
from tests.helpers.tiny import EMOTIONS, SENTIMENT

CLASSES = TaskSpecification("emotion", "single_label_classification", ("a", "b", "c", "d"), None, "conversation")


@pytest.fixture
def clips():
    """Features of 80 clips with two streams, and their classes (never the fourth)."""
    generator = np.random.default_rng(0)
    labels = np.arange(80) % 3
    audio = generator.normal(5, 3, (80, 6)) + labels[:, None]
    vision = generator.normal(-1, 0.1, (80, 4)) - 0.05 * labels[:, None]
    return {"audio": audio, "vision": vision}, labels


def test_the_pooled_stream_is_mean_and_deviation_over_time():
    stream = torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, 2.0]], dtype=torch.float16)
    assert pooled(stream, "mean").tolist() == [3, 2]
    assert pooled(stream, "mean_deviation").tolist() == [3, 2, pytest.approx(np.sqrt(8 / 3)), 0]
    assert pooled(stream[:0], "mean_deviation").shape == (0,)


def test_the_majority_is_the_most_frequent_class_and_its_probabilities_are_the_shares():
    logits = Majority(CLASSES).fit(np.array([1, 1, 0, 2, 1])).logits(3)
    assert np.exp(logits[0]).tolist() == pytest.approx([0.2, 0.6, 0.2, 0]) and (logits == logits[0]).all()
    assert Majority(SENTIMENT).fit(np.array([-1.0, 3.0, 0.5])).logits(2).tolist() == [[0.5], [0.5]]
    several = Majority(EMOTIONS).fit(np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]])).logits(1)[0]
    assert expit(several).tolist() == pytest.approx([1, 0.25, 0], abs=1e-6)


def test_the_probe_is_a_logistic_regression_on_weighted_standardised_streams(clips):
    streams, labels = clips
    probe = LinearProbe(CLASSES, ProbeOptions(weights={"vision": 3}), 0.1).fit(streams, labels)
    audio, vision = (StandardScaler().fit_transform(streams[name]) for name in ("audio", "vision"))
    expected = LogisticRegression(C=0.1, max_iter=1000).fit(np.hstack([audio, 3 * vision]), labels)
    probabilities = np.exp(probe.logits(streams))
    np.testing.assert_allclose(probabilities[:, :3], expected.predict_proba(np.hstack([audio, 3 * vision])), atol=1e-4)
    assert (probabilities[:, 3] == 0).all()  # a class that training lacks
    assert probe.num_parameters == 3 * (6 + 4) + 3


def test_the_probe_of_scores_is_a_ridge_regression(clips):
    streams, labels = clips
    scores = labels + 0.25
    probe = LinearProbe(SENTIMENT, ProbeOptions(), 0.5).fit({"audio": streams["audio"]}, scores)
    columns = StandardScaler().fit_transform(streams["audio"])
    expected = Ridge(alpha=2.0).fit(columns, scores)
    np.testing.assert_allclose(probe.logits({"audio": streams["audio"]})[:, 0], expected.predict(columns))
    assert probe.num_parameters == 7


def test_a_lacking_stream_is_the_mean_and_does_not_move_the_scale(clips):
    streams, labels = clips
    vision = streams["vision"].copy()
    vision[::2] = np.nan
    probe = LinearProbe(CLASSES, ProbeOptions(), 0.1).fit({"audio": streams["audio"], "vision": vision}, labels)
    mean, deviation = probe.scales["vision"]
    np.testing.assert_allclose(mean, streams["vision"][1::2].mean(axis=0))
    np.testing.assert_allclose(deviation, streams["vision"][1::2].std(axis=0))
    without = probe.logits({"audio": streams["audio"], "vision": np.full((80, 4), np.nan)})
    at_mean = probe.logits({"audio": streams["audio"], "vision": np.tile(mean, (80, 1))})
    np.testing.assert_allclose(without, at_mean)


def test_columns_that_do_not_vary_are_left_out(clips):
    """One vector a clip has the deviation 0 over time."""
    streams, labels = clips
    constant = np.full((80, 4), 1 / 3)
    probe = LinearProbe(CLASSES, ProbeOptions(), 0.1).fit({"vision": np.hstack([streams["vision"], constant])}, labels)
    alone = LinearProbe(CLASSES, ProbeOptions(), 0.1).fit({"vision": streams["vision"]}, labels)
    np.testing.assert_allclose(
        probe.logits({"vision": np.hstack([streams["vision"], constant + 9])}),
        alone.logits({"vision": streams["vision"]}),
    )
    with pytest.raises(ValueError, match="no column .* varies"):
        LinearProbe(CLASSES, ProbeOptions(), 0.1).fit({"vision": constant}, labels)


def test_the_regularisation_is_the_best_on_validation_and_never_that_of_test(clips):
    streams, labels = clips
    train = ({name: rows[:50] for name, rows in streams.items()}, labels[:50])
    validation = ({name: rows[50:] for name, rows in streams.items()}, labels[50:])
    chosen = fit_probe(CLASSES, ProbeOptions(), train, validation)
    found = {}
    for C in 10.0 ** np.arange(-5, 0.5, 0.5):
        probe = LinearProbe(CLASSES, ProbeOptions(), C).fit(*train)
        found[C] = compute_metrics(CLASSES, probe.logits(validation[0]), validation[1])["w_f1"]
    assert found[chosen.C] == max(found.values())
    assert chosen.C == min(C for C, value in found.items() if value == max(found.values()))
    assert fit_probe(CLASSES, ProbeOptions(C=0.02), train, validation).C == 0.02
    together = refitted(chosen, train, validation)
    np.testing.assert_allclose(
        together.logits(streams), LinearProbe(CLASSES, ProbeOptions(), chosen.C).fit(streams, labels).logits(streams)
    )


def test_several_labels_have_a_regression_each(clips):
    streams, labels = clips
    several = np.eye(3, dtype=int)[labels]
    probe = LinearProbe(EMOTIONS, ProbeOptions(), 0.1).fit({"audio": streams["audio"]}, several)
    columns = StandardScaler().fit_transform(streams["audio"])
    expected = [LogisticRegression(C=0.1, max_iter=1000).fit(columns, several[:, c]) for c in range(3)]
    np.testing.assert_allclose(
        probe.logits({"audio": streams["audio"]}),
        np.stack([m.decision_function(columns) for m in expected], axis=1),
        atol=1e-3,
    )
    assert probe.num_parameters == 3 * 7


def test_wrong_options_are_refused():
    for options, message in (
        ({"weight": {}}, "no option 'weight'. Did you mean 'weights'"),
        ({"C": 0}, "C is 0"),
        ({"weights": {"face": 1}}, "weights names face"),
        ({"pooling": "max"}, "pooling is 'max'"),
        ({"class_weight": "even"}, "class_weight is 'even'"),
    ):
        with pytest.raises(ValueError, match=message):
            ProbeOptions.read(options)
