import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from modeling_semanticmac import metrics

pytestmark = pytest.mark.filterwarnings("error")  # degenerate input gives a defined value, not a warning

BITS = st.integers(0, 1)
BINARY = st.lists(st.tuples(BITS, BITS), min_size=1, max_size=30)
IDS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=30)  # class 4 is never true


def apart(pairs) -> tuple[np.ndarray, np.ndarray]:
    predictions, labels = np.array(pairs).T
    return predictions, labels


def counts(predictions, labels, positive=1) -> tuple[int, int, int, int]:
    """Return TP, FP, FN, TN, counted in plain Python."""
    pairs = [(p == positive, y == positive) for p, y in zip(predictions, labels)]
    return tuple(pairs.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False)))


def ratio(numerator, denominator) -> float:
    return numerator / denominator if denominator else 0.0


# Ten clips: TP 2, FP 1, FN 2, TN 5
PREDICTED = [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
TRUE = [1, 1, 0, 1, 1, 0, 0, 0, 0, 0]


def test_one_emotion_by_hand():
    assert metrics.n_acc(PREDICTED, TRUE) == pytest.approx((2 / 4 + 5 / 6) / 2, abs=1e-12)
    assert metrics.n_acc(PREDICTED, TRUE) == pytest.approx((2 * 6 / 4 + 5) / (2 * 6), abs=1e-12)  # as MESM writes it
    assert metrics.s_acc(PREDICTED, TRUE) == 0.7
    assert metrics.b_f1(PREDICTED, TRUE) == pytest.approx(4 / 7, abs=1e-12)  # 2*2 / (2*2 + 1 + 2)
    assert metrics.w_f1(PREDICTED, TRUE) == pytest.approx(0.4 * 4 / 7 + 0.6 * 10 / 13, abs=1e-12)


def test_the_published_mustard_accuracies_and_their_weighted_precision():
    # The confusion matrices that fit the published rows: 51/64 and 52/64 right.
    for tp, fn, fp, tn, printed in ((27, 4, 9, 24, "79.69"), (30, 1, 11, 22, "81.25")):
        labels = [1] * (tp + fn) + [0] * (fp + tn)
        predictions = [1] * tp + [0] * fn + [1] * fp + [0] * tn
        assert f"{100 * metrics.w_recall(predictions, labels):.2f}" == printed
        assert metrics.w_acc(predictions, labels) == pytest.approx(metrics.w_recall(predictions, labels), abs=1e-12)
        by_hand = (tp + fn) / 64 * tp / (tp + fp) + (fp + tn) / 64 * tn / (tn + fn)
        assert metrics.w_precision(predictions, labels) == pytest.approx(by_hand, abs=1e-12)


def test_published_accuracies_do_not_fit_the_stated_test_clips():
    """Neither one run nor the mean of five on 68 (MUStARD) or 994 clips (UR-FUNNY) gives them; whole batches do."""

    def fits(printed: str, clips: int) -> bool:
        return printed in {f"{100 * right / clips:.2f}" for right in range(clips + 1)}

    for printed, stated, batches in (
        ("79.69", 68, 64),
        ("81.25", 68, 64),
        ("74.48", 994, 15 * 64),
        ("75.60", 994, 31 * 32),
    ):
        assert not fits(printed, stated) and not fits(printed, 5 * stated) and fits(printed, batches)


def test_three_classes_by_hand():
    predictions, labels = [0, 0, 1, 1, 2, 2, 2, 0], [0, 0, 0, 1, 1, 2, 2, 1]
    # class 0: TP 2 FP 1 FN 1; class 1: TP 1 FP 1 FN 2; class 2: TP 2 FP 1 FN 0; class 3: nowhere
    assert metrics.f1_per_class(predictions, labels, 4) == pytest.approx([4 / 6, 2 / 5, 4 / 5, 0], abs=1e-12)
    assert metrics.w_f1(predictions, labels) == pytest.approx(3 / 8 * 4 / 6 + 3 / 8 * 2 / 5 + 2 / 8 * 4 / 5, abs=1e-12)
    assert metrics.w_precision(predictions, labels) == pytest.approx(
        3 / 8 * 2 / 3 + 3 / 8 / 2 + 2 / 8 * 2 / 3, abs=1e-12
    )
    assert metrics.w_acc(predictions, labels) == 5 / 8
    results = metrics.conversation_metrics(predictions, labels, ("joy", "anger", "fear", "disgust"))
    assert list(results) == ["w_acc", "w_f1", "macro_f1", "f1_joy", "f1_anger", "f1_fear", "f1_disgust"]
    assert results["f1_anger"] == pytest.approx(0.4) and results["f1_disgust"] == 0
    # The mean over the three classes that are somewhere: one that is neither predicted nor true has no say.
    assert results["macro_f1"] == pytest.approx((4 / 6 + 2 / 5 + 4 / 5) / 3, abs=1e-12)
    names = ["w_precision", "w_recall", "w_f1", "w_acc", "macro_f1"]
    assert list(metrics.weighted_metrics(predictions, labels)) == names


@settings(max_examples=40, deadline=None)
@given(BINARY)
def test_one_emotion_equals_counting_and_scikit_learn(pairs):
    predictions, labels = apart(pairs)
    tp, fp, fn, tn = counts(predictions, labels)
    assert metrics.s_acc(predictions, labels) == pytest.approx((tp + tn) / len(pairs), abs=1e-12)
    assert metrics.b_f1(predictions, labels) == pytest.approx(ratio(2 * tp, 2 * tp + fp + fn), abs=1e-12)
    present, absent = tp + fn, tn + fp
    if present and absent:
        assert metrics.n_acc(predictions, labels) == pytest.approx(
            (tp * absent / present + tn) / (2 * absent), abs=1e-12
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its words about absent classes
        expected = sklearn_metrics.balanced_accuracy_score(labels, predictions)
    assert metrics.n_acc(predictions, labels) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(IDS)
def test_weighted_metrics_equal_counting_and_scikit_learn(pairs):
    predictions, labels = apart(pairs)
    by_class = [counts(predictions, labels, positive) for positive in range(5)]
    weights = [(tp + fn) / len(pairs) for tp, _, fn, _ in by_class]
    f1 = [ratio(2 * tp, 2 * tp + fp + fn) for tp, fp, fn, _ in by_class]
    precision = [ratio(tp, tp + fp) for tp, fp, _, _ in by_class]
    assert metrics.f1_per_class(predictions, labels, 5) == pytest.approx(f1, abs=1e-12)
    assert metrics.w_f1(predictions, labels) == pytest.approx(np.dot(weights, f1), abs=1e-12)
    macro = sklearn_metrics.f1_score(labels, predictions, average="macro", zero_division=0)
    assert metrics.macro_f1(predictions, labels) == pytest.approx(macro, abs=1e-12)
    assert metrics.w_precision(predictions, labels) == pytest.approx(np.dot(weights, precision), abs=1e-12)
    accuracy = sklearn_metrics.accuracy_score(labels, predictions)
    assert metrics.w_recall(predictions, labels) == pytest.approx(accuracy, abs=1e-12)
    assert metrics.w_acc(predictions, labels) == pytest.approx(accuracy, abs=1e-12)


def test_a_class_that_is_absent():
    never = [0, 0, 0, 0]
    # No clip has the emotion: the rate of the others alone; F1 of nothing is 0.
    assert metrics.n_acc([0, 0, 0, 1], never) == 0.75
    assert metrics.b_f1(never, never) == 0
    assert metrics.s_acc(never, never) == 1 and metrics.w_f1(never, never) == 1
    # Every clip has it.
    assert metrics.n_acc([0, 1, 1, 1], [1, 1, 1, 1]) == 0.75
    # A class that is never predicted has precision 0 and keeps its weight.
    assert metrics.w_precision([0, 0, 0, 0], [0, 0, 0, 1]) == pytest.approx(0.75 * 0.75)
    # A class that is only predicted weighs nothing.
    assert metrics.w_f1([0, 2], [0, 0]) == pytest.approx(2 / 3)


def test_thresholds_by_hand():
    scores = np.array([[0.9, 0.3], [0.62, 0.32], [0.58, 0.1], [0.2, 0.7]])
    labels = np.array([[1, 1], [1, 1], [0, 0], [0, 1]])
    # Class 0 is perfect from 0.60 (0.62 > t) on, class 1 from 0.10 (0.1 > 0.1 is false); the lowest of equals is taken.
    assert metrics.tune_thresholds(scores, labels).tolist() == [0.6, 0.1]
    assert metrics.tune_thresholds(scores, labels, grid=[0.9, 0.5, 0.25]).tolist() == [0.25, 0.25]


def test_the_criterion_decides():
    # At 0.25: TP 2, FP 4, FN 0, TN 4: F1 1/2, n_acc 3/4.  At 0.75: TP 1, FP 0, FN 1, TN 8: F1 2/3, n_acc 3/4.
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1])[:, None]
    labels = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])[:, None]
    grid = [0.25, 0.75]
    assert metrics.tune_thresholds(scores, labels, metrics.b_f1, grid) == [0.75]
    assert metrics.tune_thresholds(scores, labels, metrics.n_acc, grid) == [0.25]  # equal: the lowest
    assert metrics.tune_thresholds(scores, labels, lambda p, y: np.mean(p[y == 1]), grid) == [0.25]  # recall


def test_the_grid_is_that_of_the_field_and_a_class_without_positives_stays_at_one_half():
    assert metrics.THRESHOLD_GRID.tolist() == [round(0.05 * step, 2) for step in range(1, 20)]
    scores = np.array([[0.1, 0.9], [0.4, 0.2]])
    assert metrics.tune_thresholds(scores, np.array([[0, 1], [0, 0]])).tolist() == [0.5, 0.2]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), BITS), min_size=2, max_size=20))
def test_tuned_thresholds_equal_brute_force(pairs):
    scores, labels = np.array([score / 100 for score, _ in pairs]), np.array([label for _, label in pairs])
    threshold = metrics.tune_thresholds(scores[:, None], labels[:, None])[0]

    def f1_at(t):
        tp, fp, fn, _ = counts([int(score > t) for score in scores], labels)
        return ratio(2 * tp, 2 * tp + fp + fn)

    best = max(f1_at(t) for t in metrics.THRESHOLD_GRID)
    if labels.any():
        assert f1_at(threshold) == pytest.approx(best, abs=1e-12)
        assert all(f1_at(t) < best - 1e-12 for t in metrics.THRESHOLD_GRID if t < threshold)
    else:
        assert threshold == 0.5


def test_multi_label_metrics_by_hand():
    scores = np.array([[0.9, 0.3], [0.6, 0.4], [0.5, 0.2], [0.1, 0.8]])
    labels = np.array([[1, 1], [0, 1], [1, 0], [0, 0]])
    # At 0.5 (0.5 itself is "absent"): happy 1 1 0 0 against 1 0 1 0; sad 0 0 0 1 against 1 1 0 0.
    results = metrics.multi_label_metrics(scores, labels, ("happy", "sad"))
    assert {name: value for name, value in results.items() if "happy" in name} == {
        "n_acc_happy": 0.5, "s_acc_happy": 0.5, "b_f1_happy": 0.5, "w_f1_happy": 0.5,
    }  # fmt: skip
    assert results["n_acc_sad"] == 0.25 and results["s_acc_sad"] == 0.25 and results["b_f1_sad"] == 0
    assert results["w_f1_sad"] == pytest.approx(0.5 * 2 / 5)
    for name in ("n_acc", "s_acc", "b_f1", "w_f1"):
        assert results[name] == pytest.approx((results[f"{name}_happy"] + results[f"{name}_sad"]) / 2)
    assert results["macro_f1"] == sklearn_metrics.f1_score(labels, scores > 0.5, average="macro", zero_division=0)
    assert len(results) == 13
    # With thresholds the same again: happy 1 1 1 0 (TP 2 FP 1), sad 1 1 0 1 (TP 2 FP 1); the others do not move.
    tuned = metrics.multi_label_metrics(scores, labels, ("happy", "sad"), [0.45, 0.25])
    assert {name: tuned[name] for name in results} == results and len(tuned) == 26
    assert tuned["b_f1_tuned"] == pytest.approx(4 / 5) and tuned["s_acc_tuned_sad"] == 0.75
    assert tuned["n_acc_tuned_happy"] == 0.75
