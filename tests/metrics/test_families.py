from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score

from modeling_semanticmac import metrics
from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT

pytestmark = pytest.mark.filterwarnings("error")

SIMS = TaskSpecification("sentiment", "regression", ("sentiment",), (-1.0, 1.0), "sims")
MELD = TaskSpecification(
    "emotion", "single_label_classification", ("neutral", "joy", "fear"), None, "conversation"
)  # fmt: skip


@pytest.fixture
def generator():
    return np.random.default_rng(3)


def test_scores_carry_both_forms_of_the_two_class_decision(generator):
    logits, labels = generator.normal(size=(40, 1)).astype(np.float32), generator.integers(-3, 4, 40).astype(np.float32)
    results = metrics.compute_metrics(SENTIMENT, logits, labels)
    assert set(results) == {
        "acc7", "acc5", "acc3", "acc2_neg_pos", "f1_neg_pos", "acc2_neg_nonneg", "f1_neg_nonneg", "mae", "pearson",
    }  # fmt: skip
    polar = labels != 0
    assert results["acc2_neg_pos"] == pytest.approx(accuracy_score(labels[polar] > 0, logits[polar, 0] > 0))
    assert results["acc2_neg_nonneg"] == pytest.approx(accuracy_score(labels >= 0, logits[:, 0] >= 0))
    assert results["mae"] == pytest.approx(np.abs(logits[:, 0] - labels).mean())
    assert results == metrics.compute_metrics(SENTIMENT, logits[:, 0], labels[:, None])


def test_the_family_not_the_range_chooses_the_metrics(generator):
    logits, labels = generator.normal(size=(40, 1)), generator.uniform(-1, 1, 40)
    sims = {"sims_acc2", "sims_f1", "sims_acc3", "sims_acc5", "sims_mae", "sims_pearson"}
    for label_range in ((-1.0, 1.0), (-3.0, 3.0)):
        task = TaskSpecification("sentiment", "regression", ("sentiment",), label_range, "sims")
        assert set(metrics.compute_metrics(task, logits, labels)) == sims
        assert "acc7" in metrics.compute_metrics(replace(task, metrics="mosi"), logits, labels)


def test_single_labels_take_the_largest_logit(generator):
    logits, labels = generator.normal(size=(60, 3)), generator.integers(0, 3, 60)
    results = metrics.compute_metrics(MELD, logits, labels)
    chosen = logits.argmax(axis=1)
    assert results["w_acc"] == pytest.approx(accuracy_score(labels, chosen))
    assert results["w_f1"] == pytest.approx(f1_score(labels, chosen, average="weighted"))
    assert [results[f"f1_{name}"] for name in MELD.label_names] == pytest.approx(f1_score(labels, chosen, average=None))
    results = metrics.compute_metrics(SARCASM, logits[:, :2], labels % 2)
    chosen = logits[:, 1] > logits[:, 0]
    assert results["w_precision"] == pytest.approx(precision_score(labels % 2, chosen, average="weighted"))
    assert results["w_f1"] == pytest.approx(f1_score(labels % 2, chosen, average="weighted"))
    assert results["w_recall"] == pytest.approx(results["w_acc"])


def test_several_labels_are_cut_at_a_logit_of_zero_and_at_the_tuned_thresholds(generator):
    logits, labels = generator.normal(size=(60, 3)), generator.integers(0, 2, (60, 3))
    results = metrics.compute_metrics(EMOTIONS, logits, labels)
    each = [f1_score(labels[:, c], logits[:, c] > 0, average="weighted") for c in range(3)]
    assert results["w_f1"] == pytest.approx(np.mean(each))
    assert [results[f"w_f1_{name}"] for name in EMOTIONS.label_names] == pytest.approx(each)
    scores = metrics.class_scores(logits)
    assert scores == pytest.approx(1 / (1 + np.exp(-logits)))
    thresholds = metrics.tune_thresholds(scores, labels)
    tuned = metrics.compute_metrics(EMOTIONS, logits, labels, thresholds)
    assert {name: tuned[name] for name in results} == results
    assert tuned["b_f1_tuned"] >= results["b_f1"]  # 0.5 is in the grid, and these are the clips that were tuned on
    each = [balanced_accuracy_score(labels[:, c], scores[:, c] > thresholds[c]) for c in range(3)]
    assert tuned["n_acc_tuned"] == pytest.approx(np.mean(each))


@pytest.mark.parametrize("task", [SENTIMENT, SIMS, MELD, SARCASM, EMOTIONS], ids=lambda task: task.metrics)
def test_every_value_is_a_float_and_classes_have_the_figure_that_selects(task, generator):
    logits = generator.normal(size=(12, task.num_labels)).astype(np.float16)
    labels = generator.integers(0, 2, (12, 3) if task.is_multi_label else 12)
    results = metrics.compute_metrics(task, logits, labels.astype(np.float32))
    assert {type(value) for value in results.values()} == {float}
    assert ("w_f1" in results) != task.is_regression
    assert metrics.compute_metrics(task, logits[::-1], labels[::-1]) == pytest.approx(results, abs=1e-12)
    assert metrics.compute_metrics(task, logits[:1], labels[:1]).keys() == results.keys()  # a single clip is enough


BAD = [
    (SENTIMENT, [[0.0], [np.nan]], [0.0, 0.0], r"predictions hold 1 of 2 .* NaN or infinite, the first at \(1, 0\)"),
    (SENTIMENT, [0.0, 1.0], [0.0, np.inf], r"labels hold 1 of 2 values .* first at \(1,\)"),
    (SENTIMENT, [0.0, 1.0], [0.0], r"predictions have shape \(2,\) and labels \(1,\)"),
    (SENTIMENT, [[0.0, 1.0]], [0.0], r"shape \(1, 2\) and labels \(1,\); expected two \(n,\) or \(n, 1\) scores"),
    (SENTIMENT, [], [], r"predictions are empty \(shape \(0,\)\)"),
    (SENTIMENT, ["a"], [0.0], "expected an array of numbers"),
    (SIMS, [np.inf], [0.0], "NaN or infinite"),
    (MELD, [[0.0, 1.0]], [0], r"logits have shape \(1, 2\); expected \(n, 3\), .* of neutral, joy, fear"),
    (MELD, [[0.0, 1.0, 2.0]], [0, 1], "1 rows of logits for 2 labels"),
    (MELD, [[0.0, 1.0, np.nan]], [0], "logits hold 1 of 3 values that are NaN"),
    (MELD, [[0.0, 1.0, 2.0]], [3], "labels of task 'emotion' hold the class id 3; expected ids from 0 to 2"),
    (SARCASM, [[0.0, 1.0]], [2], "class id 2; expected ids from 0 to 1"),
    (SARCASM, [[0.0, 1.0]], [-1], "labels hold -1; expected whole numbers from 0 on"),
    (SARCASM, [[0.0, 1.0]], [0.4], "labels hold 0.4; expected whole numbers"),
    (EMOTIONS, [[0.0, 1.0, 2.0]], [[0, 1, 2]], "class id 2; expected ids from 0 to 1"),
    (EMOTIONS, [[0.0, 1.0, 2.0]], [[0, 0.5, 1]], "labels hold 0.5"),
    (EMOTIONS, [[0.0, 1.0, 2.0]], [1], r"scores have shape \(1, 3\) and labels \(1,\)"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "logits", "labels", "message"), BAD)
def test_what_cannot_be_measured_is_refused_with_a_sentence(task, logits, labels, message):
    with pytest.raises(ValueError, match=message):
        metrics.compute_metrics(task, logits, labels)


def test_misplaced_and_malformed_thresholds_are_refused():
    with pytest.raises(ValueError, match="thresholds belong to multi-label tasks; task 'sarcasm'"):
        metrics.compute_metrics(SARCASM, [[0.0, 1.0]], [1], [0.5, 0.5])
    with pytest.raises(ValueError, match="2 thresholds for 3 classes"):
        metrics.compute_metrics(EMOTIONS, [[0.0, 1.0, 2.0]], [[1, 0, 1]], [0.5, 0.5])
    for bad in ([[0.5, 0.5, 0.5]], [0.5, 0.5, 1.0], [0.5, -0.1, 0.5], [0.5, np.nan, 0.5]):
        with pytest.raises(ValueError, match=r"expected a list of numbers in \[0, 1\)"):
            metrics.compute_metrics(EMOTIONS, [[0.0, 1.0, 2.0]], [[1, 0, 1]], bad)
    with pytest.raises(ValueError, match=r"scores lie in \[-2, 3\]; expected \[0, 1\]. Take the sigmoid"):
        metrics.tune_thresholds([[-2.0, 3.0]], [[0, 1]])
    with pytest.raises(ValueError, match="numbers in"):
        metrics.tune_thresholds([[0.2, 0.3]], [[0, 1]], grid=[])
    with pytest.raises(ValueError, match="1 label names for 2 columns"):
        metrics.multi_label_metrics([[0.2, 0.3]], [[0, 1]], ["happy"])


def test_scores_given_for_class_ids_are_refused():
    with pytest.raises(ValueError, match="predictions hold 0.7; expected whole numbers from 0 on. Turn logits"):
        metrics.w_f1([0.7, 0.2], [1, 0])
    with pytest.raises(ValueError, match="predictions hold the class id 2; expected ids from 0 to 1"):
        metrics.b_f1([2, 1], [1, 0])
    with pytest.raises(ValueError, match="labels hold the class id 3"):
        metrics.f1_per_class([0, 1], [1, 3], 2)
