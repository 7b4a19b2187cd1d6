"""Errors of groups of test clips, against hand-computed means."""

import csv
import json

import numpy as np
import pytest

from modeling_semanticmac.runs import groups
from modeling_semanticmac.runs.folder import RunFolder
from modeling_semanticmac.runs.record import write_predictions
from tests.helpers.tiny import SENTIMENT

SPEAKERS = ["a"] * 10 + ["b"] * 10 + ["c"] * 3
ERRORS = [1.0] * 10 + [0.5] * 10 + [0.0] * 3


@pytest.fixture
def run(tmp_path):
    ids = [f"clip{number:02d}" for number in range(23)]
    (tmp_path / "run.json").write_text(json.dumps({"task": {**vars(SENTIMENT)}}))
    clips = {"id": ids, "label": [0.0] * 23, "speaker": SPEAKERS, "text": ["Yes."] * 20 + [""] * 3}
    clips["media"] = [{"start": 0.0, "end": 1.0 + number} for number in range(23)]

    class Rows(dict):
        def __len__(self):
            return len(self["id"])

    write_predictions(tmp_path / "predictions_test.csv", SENTIMENT, Rows(clips), np.array(ERRORS)[:, None])
    groups.write_clip_facts(tmp_path / groups.FILE, clips, ("text",), None, {"a": "male", "b": "female", "c": ""}.get)
    return RunFolder(tmp_path)


def test_facts_of_the_clips_are_written(run):
    with open(run.path / groups.FILE, newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"id": "clip00", "speaker": "a", "sex": "male", "seconds": "1.0", "missing": ""}
    assert rows[22] == {"id": "clip22", "speaker": "c", "sex": "", "seconds": "23.0", "missing": "text"}


def test_the_worst_group_stands_first_with_its_difference_from_the_others(run):
    found = groups.group_errors(run, "speaker", resamples=200)
    assert [row["group"] for row in found["groups"]] == ["a", "b"] and found["small"] == {"c": 3}
    first, second = found["groups"]
    assert first["error"] == 1.0 and first["difference"] == pytest.approx(1 - 10 * 0.5 / 13)
    assert second["error"] == 0.5 and second["difference"] == pytest.approx(0.5 - 10 / 13)
    assert first["low"] <= first["difference"] <= first["high"] and first["low"] > 0
    assert found["mean"] == pytest.approx(15 / 23) and found["unknown"] == 0 and found["error"] == "absolute error"


def test_clips_of_unknown_group_are_left_out_and_counted(run):
    found = groups.group_errors(run, "sex", resamples=50)
    assert [row["group"] for row in found["groups"]] == ["male", "female"] and found["unknown"] == 3
    assert found["mean"] == pytest.approx(15 / 20)


def test_thirds_by_duration_and_what_is_missing(run):
    thirds = groups.clip_groups(run, "duration")
    assert thirds["clip00"].startswith("shortest third") and thirds["clip22"].startswith("longest third")
    counts = [sum(name.startswith(part) for name in thirds.values()) for part in groups.PARTS]
    assert sum(counts) == 23 and max(counts) - min(counts) <= 1
    assert groups.clip_groups(run, "missing")["clip22"] == "without text"
    assert "groups of fewer than 10 clips (3 clips)" in groups.groups_text(groups.group_errors(run, "missing", 0, 20))


def test_an_older_run_is_refused_in_a_sentence(run):
    (run.path / groups.FILE).unlink()
    with pytest.raises(ValueError, match="clips_test.csv"):
        groups.clip_groups(run, "sex")
