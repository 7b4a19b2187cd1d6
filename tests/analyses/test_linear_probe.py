"""The linear probe and its file of features, without a model."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score

from examples.ablations import linear_probe
from examples.ablations.feature_files import select_features
from modeling_semanticmac import SemanticMACForAffect
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT, tiny_config

GENERATOR = np.random.default_rng(0)
FEATURES = [GENERATOR.normal(size=(size, 30)) for size in (40, 30)]
SCORES = [features[:, :3].sum(axis=1) + GENERATOR.normal(size=len(features)) for features in FEATURES]


def standardised() -> list[np.ndarray]:
    mean, deviation = FEATURES[0].mean(axis=0), FEATURES[0].std(axis=0)
    return [(features - mean) / deviation for features in FEATURES]


def test_ridge_is_chosen_by_the_error_on_validation():
    train, validation = standardised()
    found = linear_probe.choose_probe(SENTIMENT, *zip(FEATURES, SCORES))
    errors = {
        a: np.abs(Ridge(alpha=a).fit(train, SCORES[0]).predict(validation) - SCORES[1]).mean()
        for a in linear_probe.GRID
    }
    assert found.strength == min(errors, key=errors.get) and found.strength not in linear_probe.GRID[[0, -1]]
    expected = Ridge(alpha=found.strength).fit(train, SCORES[0]).predict(validation)
    np.testing.assert_allclose(found.logits(FEATURES[1]), expected[:, None])


def test_classes_are_chosen_by_weighted_f1_on_validation():
    train, validation = standardised()
    labels = [(scores > 0).astype(int) for scores in SCORES]
    found = linear_probe.choose_probe(SARCASM, *zip(FEATURES, labels))
    models = {s: LogisticRegression(C=1 / s, max_iter=2000).fit(train, labels[0]) for s in linear_probe.GRID}
    quality = {s: f1_score(labels[1], model.predict(validation), average="weighted") for s, model in models.items()}
    assert quality[found.strength] == max(quality.values())
    assert found.strength == max(s for s, value in quality.items() if value == max(quality.values()))
    assert (found.logits(FEATURES[1]).argmax(axis=1) == models[found.strength].predict(validation)).all()


def test_several_labels_and_a_class_that_training_lacks():
    several = [np.stack([scores > 0, scores > 1, scores < -1], axis=1).astype(int) for scores in SCORES]
    found = linear_probe.choose_probe(EMOTIONS, *zip(FEATURES, several))
    assert found.logits(FEATURES[1]).shape == (30, 3)
    assert ((found.logits(FEATURES[0]) > 0) == several[0]).mean() > 0.7
    probe = linear_probe.LinearProbe(
        linear_probe.TaskSpecification("x", "single_label_classification", tuple("abc"), metrics="weighted"), 1.0
    )
    logits = probe.fit(FEATURES[0], np.where(SCORES[0] > 0, 2, 0)).logits(FEATURES[1])
    assert logits.shape == (30, 3) and np.isfinite(logits).all() and 1 not in logits.argmax(axis=1)


def test_a_clip_without_a_modality_has_zeros():
    torch.manual_seed(0)
    model = SemanticMACForAffect(tiny_config()).eval()
    nothing = {"audio": torch.zeros(0, 12).half(), "vision": torch.zeros(0, 20).half()}
    store = {"a": (torch.ones(2, 12).half(), nothing["vision"]), "b": tuple(nothing.values())}
    for found in (
        linear_probe.perceiver_tokens(model, store, ["a", "b"]),
        linear_probe.tower_embeddings(store, ["a", "b"]),
    ):
        assert found["audio"][0].any() and not found["audio"][1].any() and not found["vision"].any()
        assert len(found["audio"]) == len(found["vision"]) == 2


def test_features_come_in_the_order_of_the_clips(tmp_path):
    path = tmp_path / "features.npz"
    np.savez(path, ids=np.array(["a", "b", "c"]), vision=np.arange(6).reshape(3, 2))
    found = select_features(path, ["c", "a"])
    assert found.keys() == {"vision"} and found["vision"].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    with pytest.raises(ValueError, match="lacks 1 of 2 clips: d"):
        select_features(path, ["a", "d"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": ["a", "a"], "audio": np.zeros((2, 1))}, "all different"),
        ({"audio": np.zeros((2, 1))}, r"holds audio \(2, 1\)"),
        ({"ids": ["a", "b"]}, "with audio"),
        ({"ids": ["a", "b"], "audio": np.zeros((3, 1))}, r"audio \(3, 1\); expected ids \(n,\)"),
        ({"ids": ["a", "b"], "audio": np.zeros(2)}, r"audio \(2,\)"),
        ({"ids": ["a", "b"], "face": np.zeros((2, 1))}, r"face \(2, 1\)"),
        ({"ids": ["a", "b"], "audio": np.array([[1.0], [np.nan]])}, "audio hold numbers that are not finite"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "features.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        select_features(tmp_path / "features.npz", ["a"])


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected an npz with ids"):
        select_features(tmp_path / "features.npz", ["a"])
