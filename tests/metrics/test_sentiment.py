import csv
import math
import random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, mean_absolute_error

from modeling_semanticmac.metrics import sentiment as metrics

pytestmark = pytest.mark.filterwarnings("error")  # degenerate input gives a defined value, not a warning

THOUSANDTHS = st.integers(-4000, 4000).map(lambda value: value / 1000)
HALVES = st.integers(-8, 8).map(lambda value: value / 2)
CUTS = st.sampled_from([-1.0, -0.7, -0.1, 0.0, 0.1, 0.7, 1.0])
MOSI_PAIRS = st.lists(st.tuples(THOUSANDTHS | HALVES, THOUSANDTHS | HALVES), min_size=2, max_size=40)
SIMS_PAIRS = st.lists(st.tuples(THOUSANDTHS | CUTS, CUTS | st.integers(-10, 10).map(lambda v: v / 10)), min_size=2)
ALL = [
    getattr(metrics, name)
    for name in "acc7 acc5 acc3 acc2_neg_pos f1_neg_pos acc2_neg_nonneg f1_neg_nonneg mae pearson "
    "sims_acc2 sims_acc3 sims_acc5 sims_f1 sims_mae sims_pearson".split()
]


def apart(pairs) -> tuple[np.ndarray, np.ndarray]:
    predictions, labels = np.array(pairs, dtype=np.float64).T
    return predictions, labels


def f1_by_counting(predictions, labels) -> float:
    """Return sum_c (n_c / n) F1_c over the values of the labels, counted in plain Python."""
    total = 0.0
    for value in set(labels):
        hits = sum(p == y == value for p, y in zip(predictions, labels))
        claimed, true = list(predictions).count(value), list(labels).count(value)
        total += true / len(labels) * 2 * hits / (claimed + true)
    return total


def test_labels(folder) -> np.ndarray:
    with open(folder / "derived" / "labels.tsv", encoding="utf-8", newline="") as file:
        return np.array(
            [float(row["label"]) for row in csv.DictReader(file, delimiter="\t") if row["split"] == "test"], np.float32
        )


test_labels.__test__ = False  # the labels of a test split, not a test

GOLDEN_MOSI = [
    ("cmu_mosi", 686, 0.0, 0.0, ".1545 .1545 .1545 .5777 .4231 .4475 .2767 1.4174 nan"),
    ("cmu_mosi", 686, 0.7, 0.9, ".3878 .4315 .6939 .8720 .8716 .8557 .8549 .6762 .8651"),
    ("cmu_mosei", 4659, 0.0, 0.0, ".4136 .4136 .4136 .3715 .2012 .7102 .5899 .8384 nan"),
    ("cmu_mosei", 4659, 0.7, 0.9, ".4121 .4239 .5576 .7983 .8010 .7317 .7438 .6166 .7719"),
]
GOLDEN_SIMS = [
    ("ch_sims", 457, 0.0, 0.0, ".6937 .5682 .1510 .1510 .6057 nan"),
    ("ch_sims", 457, 0.7, 0.3, ".8425 .8474 .7659 .4683 .2583 .9109"),
    ("ch_sims_v2", 1034, 0.0, 0.0, ".5909 .4390 .1190 .1190 .5392 nan"),
    ("ch_sims_v2", 1034, 0.7, 0.3, ".8588 .8597 .7834 .5590 .2276 .9043"),
]


def four_digits(values) -> list[str]:
    return [f"{value:.4f}".removeprefix("0") for value in values]


@pytest.mark.parametrize(("corpus", "clips", "slope", "wave", "golden"), GOLDEN_MOSI + GOLDEN_SIMS)
def test_golden_numbers_of_the_real_label_files(shared, corpus, clips, slope, wave, golden):
    labels = test_labels(shared / "corpora" / corpus)
    assert len(labels) == clips
    predictions = (slope * labels + wave * np.sin(np.arange(clips))).astype(np.float32)
    family = metrics.sims_metrics if "sims" in corpus else metrics.mosi_metrics
    assert four_digits(family(predictions, labels).values()) == golden.split()


def test_the_order_of_the_golden_columns():
    assert list(metrics.mosi_metrics([1], [1])) == [
        "acc7", "acc5", "acc3", "acc2_neg_pos", "f1_neg_pos", "acc2_neg_nonneg", "f1_neg_nonneg", "mae", "pearson",
    ]  # fmt: skip
    assert list(metrics.sims_metrics([1], [1])) == [
        "sims_acc2", "sims_f1", "sims_acc3", "sims_acc5", "sims_mae", "sims_pearson",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("corpus", "counts"),
    [
        ("ch_sims", {2: [317, 140], 3: [248, 69, 140], 5: [151, 97, 69, 69, 71]}),
        ("ch_sims_v2", {2: [611, 423], 3: [488, 123, 423], 5: [227, 261, 123, 282, 141]}),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_class_counts_of_ch_sims(shared, corpus, counts, dtype):
    labels = test_labels(shared / "corpora" / corpus).astype(dtype)
    for classes, cuts in ((2, metrics.SIMS_CUTS_2), (3, metrics.SIMS_CUTS_3), (5, metrics.SIMS_CUTS_5)):
        assert np.bincount(metrics.sims_class(labels, cuts)).tolist() == counts[classes]


def test_class_counts_of_mosei_and_the_polar_subsets(shared):
    labels = test_labels(shared / "corpora" / "cmu_mosei")
    values, counts = np.unique(np.rint(np.clip(labels, -3, 3)), return_counts=True)
    assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert counts.tolist() == [70, 399, 554, 1927, 1228, 440, 41]
    for corpus, polar, positive in (("cmu_mosei", 3634, 2284), ("cmu_mosi", 656, 277)):
        labels = test_labels(shared / "corpora" / corpus)
        # A predictor that always says "positive" is right on the positive share of the polar clips.
        assert metrics.acc2_neg_pos(np.ones_like(labels), labels) == pytest.approx(positive / polar, abs=1e-12)


def test_the_published_ef_lstm_row_on_ch_sims_is_a_constant_predictor(shared):
    labels = test_labels(shared / "corpora" / "ch_sims")
    row = metrics.sims_metrics(np.full_like(labels, -0.3), labels)
    printed = [f"{100 * row[name]:.1f}" for name in ("sims_acc2", "sims_acc3", "sims_acc5", "sims_f1")]
    assert printed == ["69.4", "54.3", "21.2", "56.8"]


def test_rounding_by_hand():
    # 0.5 -> 0, 1.5 -> 2, 2.5 -> 2, -0.5 -> 0, -2.5 -> -2, 4 -> 3
    assert metrics.acc7([0.5, 1.5, 2.5, -0.5, -2.5, 4.0], [0, 2, 2, 0, -2, 3]) == 1
    assert metrics.acc7([0.51, 2.51, -3.4, -1.2], [0, 2, -3, -1]) == 0.5
    assert metrics.acc5([2.9, -1.5, 1.4], [2, -3, 2]) == pytest.approx(2 / 3)  # 2=2, -2=-2, 1!=2
    assert metrics.acc3([3.0, -0.6, 0.4], [1, -2, 1]) == pytest.approx(2 / 3)  # 1=1, -1=-1, 0!=1


def test_the_two_forms_of_the_two_class_decision_by_hand():
    predictions, labels = [1.0, -1.0, 0.0, 0.0, -0.5, 2.0], [2.0, 1.0, 0.0, -1.0, 0.0, -3.0]
    # Four clips have a polarity: +,-,-(0),+ against +,+,-,-: two right.
    assert metrics.acc2_neg_pos(predictions, labels) == 0.5
    # "pos": TP 1, FP 1, FN 1 -> F1 1/2; "neg" the same.
    assert metrics.f1_neg_pos(predictions, labels) == 0.5
    # All six, zero is non-negative: + - + + - + against + + + - + -: two right.
    assert metrics.acc2_neg_nonneg(predictions, labels) == pytest.approx(2 / 6)
    # "non-neg": TP 2, FP 2, FN 2 -> 1/2, weight 4/6; "neg": TP 0 -> 0.
    assert metrics.f1_neg_nonneg(predictions, labels) == pytest.approx(4 / 6 * 1 / 2)


def test_f1_weighs_by_the_labels_not_by_the_predictions():
    # "pos": TP 1, FN 2, 3 labels and 1 prediction of 5; "neg": TP 2, FP 2, 2 labels and 4 predictions.
    predictions, labels = [1, -1, -1, -1, -1], [1, 1, 1, -1, -1]
    positive, negative = 2 * 1 / (1 + 3), 2 * 2 / (4 + 2)
    assert metrics.f1_neg_pos(predictions, labels) == pytest.approx(3 / 5 * positive + 2 / 5 * negative)
    assert metrics.f1_neg_pos(labels, predictions) == pytest.approx(1 / 5 * positive + 4 / 5 * negative)


def test_sims_by_hand():
    predictions, labels = [0.0, 0.05, -0.1, 3.0, -0.7, -0.2], [-1.0, 0.0, -0.2, 0.8, -0.8, 0.2]
    # Acc2: - + - + - - against - - - + - +.
    assert metrics.sims_acc2(predictions, labels) == pytest.approx(4 / 6)
    # positive: TP 1, FP 1, FN 1 -> 1/2, weight 2/6; negative: TP 3, FP 1, FN 1 -> 3/4, weight 4/6.
    assert metrics.sims_f1(predictions, labels) == pytest.approx(2 / 6 * 1 / 2 + 4 / 6 * 3 / 4)
    # Acc3: 0 0 - + - - against - 0 - + - +.
    assert metrics.sims_acc3(predictions, labels) == pytest.approx(4 / 6)
    # Acc5: 2 2 1 4 0 1 against 0 2 1 4 0 3.
    assert metrics.sims_acc5(predictions, labels) == pytest.approx(4 / 6)
    # 3.0 is clipped to 1: errors 1, .05, .1, .2, .1, .4
    assert metrics.sims_mae(predictions, labels) == pytest.approx(1.85 / 6)
    assert metrics.mae([3.0, -1.0], [1.0, -2.5]) == 1.75


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_score_on_a_cut_lies_in_the_lower_interval(dtype):
    cuts = np.array([-0.7, -0.1, 0.1, 0.7], dtype=np.float32).astype(dtype)  # as stored in a label file
    assert metrics.sims_class(cuts, metrics.SIMS_CUTS_5).tolist() == [0, 1, 2, 3]
    above = np.nextafter(cuts.astype(np.float32), np.float32(2))
    assert metrics.sims_class(above, metrics.SIMS_CUTS_5).tolist() == [1, 2, 3, 4]
    assert metrics.sims_class(cuts[1:3], metrics.SIMS_CUTS_3).tolist() == [0, 1]
    assert metrics.sims_class(np.array([-0.0, 0.0], dtype), metrics.SIMS_CUTS_2).tolist() == [0, 0]


@settings(max_examples=50, deadline=None)
@given(MOSI_PAIRS)
def test_mosi_metrics_equal_counting_in_plain_python(pairs):
    predictions, labels = apart(pairs)
    for metric, bound in ((metrics.acc7, 3), (metrics.acc5, 2), (metrics.acc3, 1)):
        hits = [round(max(-bound, min(bound, p))) == round(max(-bound, min(bound, y))) for p, y in pairs]
        assert metric(predictions, labels) == pytest.approx(sum(hits) / len(pairs), abs=1e-12)
    has0 = [(p >= 0, y >= 0) for p, y in pairs]
    assert metrics.acc2_neg_nonneg(predictions, labels) == pytest.approx(sum(p == y for p, y in has0) / len(has0))
    assert metrics.f1_neg_nonneg(predictions, labels) == pytest.approx(f1_by_counting(*zip(*has0)), abs=1e-12)
    non0 = [(p > 0, y > 0) for p, y in pairs if y != 0]
    if non0:
        assert metrics.acc2_neg_pos(predictions, labels) == pytest.approx(sum(p == y for p, y in non0) / len(non0))
        assert metrics.f1_neg_pos(predictions, labels) == pytest.approx(f1_by_counting(*zip(*non0)), abs=1e-12)
    else:
        assert math.isnan(metrics.acc2_neg_pos(predictions, labels))
        assert math.isnan(metrics.f1_neg_pos(predictions, labels))


@settings(max_examples=50, deadline=None)
@given(MOSI_PAIRS)
def test_mae_and_pearson_equal_scikit_learn_and_scipy(pairs):
    predictions, labels = apart(pairs)
    assert metrics.mae(predictions, labels) == pytest.approx(mean_absolute_error(labels, predictions), abs=1e-12)
    if len(set(predictions)) > 1 and len(set(labels)) > 1:
        expected = scipy.stats.pearsonr(predictions, labels).statistic
        assert metrics.pearson(predictions, labels) == pytest.approx(expected, abs=1e-9)
    else:
        assert math.isnan(metrics.pearson(predictions, labels))


def interval(score: float, cuts) -> int:
    """Return the interval, counted one cut at a time in float32."""
    return sum(np.float32(score) > np.float32(cut) for cut in cuts)


@settings(max_examples=50, deadline=None)
@given(SIMS_PAIRS)
def test_sims_metrics_equal_counting_in_plain_python(pairs):
    predictions, labels = apart(pairs)
    for metric, cuts in (
        (metrics.sims_acc2, (0,)),
        (metrics.sims_acc3, (-0.1, 0.1)),
        (metrics.sims_acc5, (-0.7, -0.1, 0.1, 0.7)),
    ):
        hits = [interval(p, cuts) == interval(y, cuts) for p, y in pairs]
        assert metric(predictions, labels) == pytest.approx(sum(hits) / len(pairs), abs=1e-12)
    classes = [[interval(score, (0,)) for score in scores] for scores in (predictions, labels)]
    assert metrics.sims_f1(predictions, labels) == pytest.approx(f1_by_counting(*classes), abs=1e-12)
    assert metrics.sims_f1(predictions, labels) == f1_score(*classes[::-1], average="weighted")
    clipped = [[max(-1, min(1, score)) for score in scores] for scores in (predictions, labels)]
    assert metrics.sims_mae(predictions, labels) == pytest.approx(mean_absolute_error(*clipped), abs=1e-12)
    if all(len(set(scores)) > 1 for scores in clipped):
        expected = scipy.stats.pearsonr(*clipped).statistic
        assert metrics.sims_pearson(predictions, labels) == pytest.approx(expected, abs=1e-9)
    else:
        assert math.isnan(metrics.sims_pearson(predictions, labels))


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)
def test_the_order_of_the_clips_and_a_second_axis_change_nothing(metric):
    generator = random.Random(0)
    labels = np.array([generator.choice([-1, -0.5, 0.0, 0.1, 0.5, 1]) for _ in range(50)])
    predictions = labels + np.array([generator.gauss(0, 0.5) for _ in range(50)])
    order = generator.sample(range(50), 50)
    assert metric(predictions[order], labels[order]) == pytest.approx(metric(predictions, labels), abs=1e-12)
    assert metric(predictions[:, None], labels[:, None]) == metric(predictions, labels)
    assert isinstance(metric(predictions.astype(np.float32), labels.astype(np.float32)), float)


def test_constant_predictions_have_no_correlation():
    # 0.1 a thousand times: the mean is not exactly 0.1, so the deviations are not exactly 0.
    labels = np.linspace(-1, 1, 1000)
    assert math.isnan(metrics.pearson(np.full(1000, 0.1), labels))
    assert math.isnan(metrics.pearson(labels, np.full(1000, 0.1)))
    assert math.isnan(metrics.pearson([0.3], [0.5]))
    assert math.isnan(metrics.sims_pearson([2.0, 3.0, 1.0], [0.1, 0.2, 0.3]))  # constant once clipped


def test_correlation_by_hand_and_of_a_tiny_spread():
    # deviations -1 0 1 and -2 1 1: 3 / sqrt(2 * 6)
    assert metrics.pearson([1.0, 2.0, 3.0], [0.0, 3.0, 3.0]) == pytest.approx(3 / math.sqrt(12), abs=1e-12)
    assert metrics.pearson([1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]) == pytest.approx(-1, abs=1e-12)
    assert metrics.pearson([0.0, 1e-200], [0.0, 1.0]) == pytest.approx(
        1
    )  # the squared spread is below the smallest float64


def test_no_polar_clip_and_one_class_only():
    assert math.isnan(metrics.acc2_neg_pos([1.0, -1.0], [0.0, 0.0]))
    assert math.isnan(metrics.f1_neg_pos([1.0, -1.0], [0.0, 0.0]))
    # All labels positive, one of two found: F1 = 2 / 3 with the whole weight.
    assert metrics.f1_neg_pos([1.0, -1.0], [2.0, 1.0]) == pytest.approx(2 / 3)
    assert metrics.f1_neg_nonneg([1.0, 2.0], [2.0, 1.0]) == 1
    assert metrics.sims_f1([-1.0, -0.2], [0.5, 0.6]) == 0
