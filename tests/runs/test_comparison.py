"""`compare`: values and intervals against scikit-learn and scipy; seeds pooled; other clips refused."""

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score

from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from modeling_semanticmac.report import main
from modeling_semanticmac.runs.comparison import RunPredictions, compare_runs
from tests.helpers.run_folders import one_hot, write_run
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT

MELD = TaskSpecification("emotion", "single_label_classification", ("a", "b", "c"), None, "conversation")
SIMS = TaskSpecification("sentiment", "regression", ("sentiment",), (-1.0, 1.0), "sims")


def test_intervals_are_those_of_scipy(tmp_path):
    """The difference of two mean absolute errors, paired over clips."""
    generator = np.random.default_rng(1)
    labels = generator.uniform(-3, 3, 300)
    one, two = labels + generator.normal(0, 1.0, 300), labels + generator.normal(0, 0.8, 300)
    runs = [
        RunPredictions.read(write_run(tmp_path / n, SENTIMENT, labels, p[:, None]))
        for n, p in (("one", one), ("two", two))
    ]
    found = compare_runs(*runs)["mae"]
    assert found["difference"] == pytest.approx(np.abs(two - labels).mean() - np.abs(one - labels).mean())
    difference = np.abs(two - labels) - np.abs(one - labels)
    expected = bootstrap((difference,), np.mean, n_resamples=5000, method="percentile", rng=0).confidence_interval
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert found["significant"] == (expected.high < 0)


def test_the_interval_of_an_accuracy_is_that_of_scipy(tmp_path):
    """Paired: the interval of the mean difference of right and wrong, clip by clip."""
    generator = np.random.default_rng(2)
    labels, first = generator.integers(0, 2, (2, 200))
    second = np.where(generator.random(200) < 0.3, labels, first)
    runs = [
        RunPredictions.read(write_run(tmp_path / n, SARCASM, labels, one_hot(p, 2)))
        for n, p in (("one", first), ("two", second))
    ]
    found = compare_runs(*runs)
    assert found.keys() == {"w_precision", "w_recall", "w_f1", "w_acc", "macro_f1"}
    gain = (second == labels).astype(float) - (first == labels)
    expected = bootstrap((gain,), np.mean, n_resamples=5000, method="percentile", rng=0).confidence_interval
    assert (found["w_acc"]["low"], found["w_acc"]["high"]) == pytest.approx((expected.low, expected.high), abs=0.015)
    for name, values in (("first", first), ("second", second)):
        assert found["w_precision"][name] == pytest.approx(precision_score(labels, values, average="weighted"))
        assert found["w_f1"][name] == pytest.approx(f1_score(labels, values, average="weighted"))


@pytest.mark.parametrize(("task", "names"), [
    (SENTIMENT, {"acc7", "acc5", "acc3", "acc2_neg_pos", "f1_neg_pos", "acc2_neg_nonneg", "f1_neg_nonneg", "mae",
                 "pearson"}),
    (SIMS, {"sims_acc2", "sims_f1", "sims_acc3", "sims_acc5", "sims_mae", "sims_pearson"}),
    (MELD, {"w_acc", "w_f1", "macro_f1", "f1_a", "f1_b", "f1_c"}),
], ids=["mosi", "sims", "conversation"])  # fmt: skip
def test_a_run_does_not_differ_from_itself_in_any_metric_of_its_family(tmp_path, task, names):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 40) if task is MELD else generator.uniform(*task.label_range, 40)
    run = RunPredictions.read(write_run(tmp_path / "run", task, labels, generator.normal(size=(40, task.num_labels))))
    found = compare_runs(run, run, resamples=30)
    assert found.keys() == names
    for row in found.values():
        assert row["difference"] == row["low"] == row["high"] == 0 and not row["significant"]


def test_seeds_are_pooled(tmp_path):
    """The value is the mean over the seeds' own values; rows may come in any order."""
    labels = np.array([0, 1, 0, 2, 0, 1])
    seeds = np.array([[0, 1, 1, 2, 0, 0], [0, 0, 0, 2, 0, 1]])
    order = [3, 1, 5, 0, 2, 4]
    for number, predictions in enumerate(seeds):
        ids = [f"c{index}" for index in order]
        write_run(tmp_path / f"run/seed_{number}", MELD, labels[order], one_hot(predictions[order], 3), ids)
    other = RunPredictions.read(write_run(tmp_path / "other", MELD, labels, one_hot(labels, 3)))
    found = compare_runs(RunPredictions.read(tmp_path / "run"), other, resamples=20)["w_f1"]
    assert found["first"] == pytest.approx(np.mean([f1_score(labels, p, average="weighted") for p in seeds]))
    assert found["second"] == 1


def test_several_labels_at_one_half_and_at_the_tuned_thresholds(tmp_path):
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 2, (80, 3))
    labels[0] = 0  # a clip with no label at all
    logits = generator.normal(size=(80, 3)).astype(np.float32)
    thresholds = [0.35, 0.5, 0.65]
    results = {f"test_threshold_{name}": value for name, value in zip(EMOTIONS.label_names, thresholds)}
    tuned = RunPredictions.read(write_run(tmp_path / "tuned", EMOTIONS, labels, logits, results=results))
    plain = RunPredictions.read(write_run(tmp_path / "plain", EMOTIONS, labels, -logits))
    found = tuned.metrics(np.arange(80))
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert found["n_acc"] == pytest.approx(
        np.mean([balanced_accuracy_score(labels[:, c], logits[:, c] > 0) for c in range(3)])
    )
    assert found["b_f1_tuned"] == pytest.approx(
        np.mean([f1_score(labels[:, c], scores[:, c] > thresholds[c]) for c in range(3)])
    )
    compared = compare_runs(tuned, plain, resamples=10)
    assert compared.keys() == {"n_acc", "s_acc", "b_f1", "w_f1", "macro_f1"}  # what both have, means over the labels
    assert compared["s_acc"]["second"] == pytest.approx(accuracy_score(labels.ravel(), (logits < 0).ravel()))


def test_the_command(tmp_path, capsys):
    write_run(tmp_path / "one", SENTIMENT, [1.0, -1.0, 2.0], [[0.5], [-0.5], [1.0]])
    write_run(tmp_path / "two", SENTIMENT, [1.0, -1.0, 2.0], [[1.0], [-1.0], [2.0]])
    main(["compare", str(tmp_path / "one"), str(tmp_path / "two"), "--resamples", "50"])
    told = capsys.readouterr().out
    assert "| two | 1 | mae (lower is better) | 0.6667 | 0.0000 | -0.6667 * |" in told
    assert "paired bootstrap over clips, 50 draws, percentiles, seeds pooled" in told and "3 test clips" in told
    write_run(tmp_path / "elsewhere/one", SENTIMENT, [1.0, -1.0, 2.0], [[1.0], [-1.0], [2.0]])
    main(["compare", str(tmp_path / "one"), str(tmp_path / "elsewhere/one"), "--resamples", "2"])
    assert f"| {tmp_path / 'elsewhere/one'} | 1 | mae" in capsys.readouterr().out
    write_run(tmp_path / "three", SENTIMENT, [1.0], [[1.0]], ["z"])
    write_run(tmp_path / "seeds/seed_1", SENTIMENT, [1.0], [[1.0]])
    write_run(tmp_path / "seeds/seed_2", SENTIMENT, [1.0], [[1.0]], ["z"])
    (tmp_path / "four").mkdir()
    write_run(tmp_path / "five", SENTIMENT, [1.0], [[1.0]])
    (tmp_path / "five/predictions_test.csv").unlink()
    for arguments, message in (
        (["compare", "one", "three"], "share 0 of 3 and 1 clips"),
        (["compare", "one"], "needs two runs"),
        (["compare", "seeds", "one"], "other clips or another task than"),
        (["compare", "four", "one"], "no run.json"),
        (["compare", "five", "one"], "run it with --do_predict"),
    ):
        with pytest.raises(SystemExit):
            main([arguments[0], *(str(tmp_path / name) for name in arguments[1:])])
        assert message in capsys.readouterr().err
