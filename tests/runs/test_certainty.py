"""Coverage by group of runs whose calibration and test have other speakers, against sets counted by hand."""

import csv
import json

import numpy as np
import pytest

from examples.analysis import coverage_by_speaker
from modeling_semanticmac.runs.groups import COLUMNS, FILE
from modeling_semanticmac.runs.record import write_predictions
from tests.helpers.tiny import SARCASM, SENTIMENT


class Rows(dict):
    def __len__(self):
        return len(self["id"])


def write_fold(folder, task, validation, test, speakers) -> None:
    """Write a run with predictions of both splits: (labels, logits) each."""
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"task": vars(task)}))
    for split, (labels, logits) in {"validation": validation, "test": test}.items():
        clips = Rows(id=[f"{split}{number}" for number in range(len(labels))], label=labels)
        write_predictions(folder / f"predictions_{split}.csv", task, clips, np.asarray(logits, dtype=np.float32))
    with open(folder / FILE, "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *((f"test{n}", name, "", "", "") for n, name in enumerate(speakers))])


def test_scores_are_covered_where_the_error_is_within_the_radius(tmp_path, capsys):
    """Nine validation errors 0.1 ... 0.9: at 80 % the radius is the 8th, 0.8."""
    errors = np.arange(1, 10) / 10
    test = ([0.0] * 6, [[0.5], [0.79], [1.5], [0.2], [2.0], [2.9]])
    for fold in ("one", "two"):
        names = ["anna", "anna", "anna", "ben", "ben", f"only {fold}"]
        write_fold(tmp_path / fold, SENTIMENT, ([0.0] * 9, errors[:, None]), test, names)
    folders = [str(tmp_path / fold) for fold in ("one", "two")]
    coverage_by_speaker.main([*folders, "--level", "0.8", "--output", str(tmp_path / "found.csv")])
    with open(tmp_path / "found.csv", newline="") as file:
        found = {row["group"]: row for row in csv.DictReader(file)}
    assert list(found) == ["only one", "only two", "ben", "anna"]  # the lowest coverage first
    assert float(found["anna"]["coverage"]) == pytest.approx(2 / 3) and found["anna"]["clips"] == "6"
    assert float(found["ben"]["coverage"]) == 0.5 and float(found["only one"]["coverage"]) == 0
    assert float(found["anna"]["size"]) == pytest.approx(1.6)  # twice the radius
    printed = capsys.readouterr().out
    assert "All 12 clips: 50.0% (promised 80%). 4 groups: from 0.0% to 66.7%" in printed
    assert "Below the promise: 4 of 4." in printed


def test_classes_are_covered_where_the_set_holds_them(tmp_path):
    """The most probable class is always in the set; the other one where its probability is within the threshold."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(60, 2)) * 2
    labels = (generator.random(60) < 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))).astype(int).tolist()
    test = generator.normal(size=(40, 2)) * 2
    write_fold(tmp_path / "run", SARCASM, (labels, logits), ([0, 1] * 20, test), ["anna"] * 40)
    ((name, clips, share, size),) = coverage_by_speaker.group_coverage([tmp_path / "run"], 0.9, "speaker")
    run = coverage_by_speaker.RunFolder(tmp_path / "run")
    found = coverage_by_speaker.run_calibration(run, 0.9)
    shares = np.exp(test / found["temperature"])
    shares = shares / shares.sum(axis=1, keepdims=True)
    sets = (1 - shares <= found["threshold"]) | (shares >= shares.max(axis=1, keepdims=True))
    assert (name, clips) == ("anna", 40) and share == pytest.approx(sets[np.arange(40), [0, 1] * 20].mean())
    assert size == pytest.approx(sets.sum(axis=1).mean()) and 1 < size < 2
