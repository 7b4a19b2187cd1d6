"""`report.md` says what a run's files say; `compare` against intervals computed in another way."""

import csv
import json

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import classification_report, f1_score

import run_mac
from modeling_semanticmac.report import main, write_report
from modeling_semanticmac.run_comparison import RunPredictions, compare_runs
from tests.test_run_mac import RECIPE, world  # noqa: F401  (a fixture)


def write_run(folder, labels, predictions, ids=None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "predictions_test.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "prediction"])
        writer.writerows(zip(ids or [f"c{i}" for i in range(len(labels))], labels, predictions))


def section(text: str, title: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    body = text.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("|")]
    return [row for row in rows if set(row[0]) != {"-"}]


def test_a_run_reports_itself(world):  # noqa: F811
    text = (world["run"] / "report.md").read_text()
    results = json.loads((world["run"] / "all_results.json").read_text())
    clips = {row[0]: row[1:] for row in section(text, "Clips")}
    assert clips["train"] == ["unknown", "12", "0", "0"] and clips["test"] == ["unknown", "5", "0", "0"]
    found = {row[0]: row for row in section(text, "Test")}
    assert found["mae"][1] == f"{results['test_mae']:.4f}" and "test_runtime" not in found
    assert all(
        row[3] and row[3] != "of one class, see docs/metrics.md" for name, row in found.items() if name != "metric"
    )
    assert results["test_opened"] in text
    assert [row[0] for row in section(text, "Training")] == ["epoch", "1", "2"]
    assert [row[0] for row in section(text, "Pseudo labels")] == ["epoch", "2"]
    counted = sum(int(row[1]) for row in section(text, "By label")[1:])
    assert counted == 5 and "seed 42" in text and "torch" in text.split("## Circumstances")[1]


def test_classes_are_those_of_scikit_learn(world, tmp_path):  # noqa: F811
    run_mac.main([RECIPE, *world["common"], *world["models"][:2], "--modalities", "text", "--task", "sarcasm", "--num_train_epochs", "1",
                  "--output_dir", str(tmp_path)])  # fmt: skip
    generator = np.random.default_rng(0)
    labels, predictions = (generator.choice(["no", "yes"], 40).tolist() for _ in range(2))
    write_run(tmp_path, labels, predictions)
    text = write_report(tmp_path, {"train": 99})
    expected = classification_report(labels, predictions, output_dict=True)
    for name, clips, precision, recall, f1 in section(text, "By class")[1:3]:
        found = {"precision": float(precision), "recall": float(recall), "f1-score": float(f1), "support": float(clips)}
        assert found == pytest.approx(expected[name], abs=1e-4)
    assert {row[0]: row[1] for row in section(text, "Clips")}["train"] == "99"


def test_intervals_are_those_of_scipy(tmp_path):
    """The difference of two mean absolute errors, paired over clips."""
    generator = np.random.default_rng(1)
    labels = generator.uniform(-3, 3, 300)
    one, two = labels + generator.normal(0, 1.0, 300), labels + generator.normal(0, 0.8, 300)
    write_run(tmp_path / "one", labels, one)
    write_run(tmp_path / "two", labels, two)
    found = compare_runs(*(RunPredictions.read(tmp_path / name) for name in ("one", "two")))["mae"]
    assert found["difference"] == pytest.approx(np.abs(two - labels).mean() - np.abs(one - labels).mean())
    difference = np.abs(two - labels) - np.abs(one - labels)
    expected = bootstrap((difference,), np.mean, n_resamples=5000, method="percentile", rng=0).confidence_interval
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert found["significant"] == (expected.high < 0)


def test_a_run_does_not_differ_from_itself(tmp_path):
    labels = ["a", "b", "a", "c"] * 10
    write_run(tmp_path / "run", labels, ["a", "b", "b", "c"] * 10)
    run = RunPredictions.read(tmp_path / "run")
    for found in compare_runs(run, run).values():
        assert found["difference"] == found["low"] == found["high"] == 0 and not found["significant"]


def test_seeds_are_pooled(tmp_path):
    """The value is the mean over the seeds' own values; rows may come in any order."""
    labels = ["a", "b", "a", "c", "a", "b"]
    seeds = [["a", "b", "b", "c", "a", "a"], ["a", "a", "a", "c", "a", "b"]]
    order = [3, 1, 5, 0, 2, 4]
    for number, predictions in enumerate(seeds):
        ids = [f"c{i}" for i in order]
        write_run(tmp_path / f"run/seed_{number}", [labels[i] for i in order], [predictions[i] for i in order], ids)
    write_run(tmp_path / "other", labels, labels)
    found = compare_runs(RunPredictions.read(tmp_path / "run"), RunPredictions.read(tmp_path / "other"))["w_f1"]
    assert found["first"] == pytest.approx(np.mean([f1_score(labels, p, average="weighted") for p in seeds]))
    assert found["second"] == 1


def test_the_command(tmp_path, capsys):
    write_run(tmp_path / "one", [1.0, -1.0, 2.0], [0.5, -0.5, 1.0])
    write_run(tmp_path / "two", [1.0, -1.0, 2.0], [1.0, -1.0, 2.0])
    main(["compare", str(tmp_path / "one"), str(tmp_path / "two")])
    assert "| two | 1 | mae | 0.0000 | -0.6667 *" in capsys.readouterr().out
    write_run(tmp_path / "three", [1.0], [1.0], ["z"])
    for words, message in (
        (["compare", str(tmp_path / "one"), str(tmp_path / "three")], "share 0 of 3 and 1 clips"),
        (["compare", str(tmp_path / "one")], "needs two runs"),
        ([str(tmp_path)], "no run.json"),
        (["compare", str(tmp_path), str(tmp_path / "one")], "no predictions_test.csv"),
    ):
        with pytest.raises(SystemExit):
            main(words)
        assert message in capsys.readouterr().err
