import csv
import json
import math

import numpy as np
import pytest
from scipy.special import expit

from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from modeling_semanticmac.runs.record import (
    git_revision,
    prediction_arrays,
    predictions_in_words,
    read_predictions,
    save_run_record,
    write_predictions,
)
from modeling_semanticmac.training.run_arguments import parse_arguments
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT, word_corpus


def read(path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_scores_have_one_row_a_clip(tmp_path):
    clips = word_corpus(2)
    write_predictions(
        tmp_path / "p.csv",
        SENTIMENT,
        clips,
        np.array([[0.5], [-1.0]]),
        dict(zip("STAV", np.arange(8.0).reshape(2, 4, 1).swapaxes(0, 1))),
    )
    rows = read(tmp_path / "p.csv")
    assert [row["id"] for row in rows] == ["clip_0", "clip_1"]
    assert [float(row["prediction"]) for row in rows] == [0.5, -1.0]
    assert [float(rows[1][f"prediction_{s}"]) for s in "STAV"] == [4, 5, 6, 7]
    assert list(tmp_path.iterdir()) == [tmp_path / "p.csv"]


def test_classes_have_names_and_probabilities(tmp_path):
    clips = word_corpus(1, SARCASM)
    write_predictions(
        tmp_path / "p.csv", SARCASM, clips, np.array([[0.0, math.log(3)]]), dict.fromkeys("STAV", np.zeros((1, 2)))
    )
    row = read(tmp_path / "p.csv")[0]
    assert row["prediction"] == "yes" and row["label"] == SARCASM.label_names[clips["label"][0]]
    assert float(row["probability_yes"]) == pytest.approx(0.75) and float(row["probability_no"]) == pytest.approx(0.25)


def test_several_labels_are_joined(tmp_path):
    write_predictions(
        tmp_path / "p.csv", EMOTIONS, word_corpus(1, EMOTIONS), np.array([[1.0, -1.0, 2.0]]), {"T": np.zeros((1, 3))}
    )
    row = read(tmp_path / "p.csv")[0]
    assert row["prediction"] == "happy|angry" and row["prediction_T"] == ""
    assert float(row["probability_sad"]) == pytest.approx(1 / (1 + math.e))
    assert predictions_in_words(EMOTIONS, np.array([[-1.0, -1.0, -1.0]])) == [""]


def test_a_lost_prediction_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="1 predictions for 2 clips"):
        write_predictions(
            tmp_path / "p.csv", SENTIMENT, word_corpus(2), np.zeros((1, 1)), dict.fromkeys("STAV", np.zeros((1, 1)))
        )


def test_record_holds_arguments_versions_and_revision(tmp_path):
    save_run_record(
        tmp_path, *parse_arguments(["--corpus", "meld", "--seed", "9", "--output_dir", str(tmp_path)]), SARCASM
    )
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["data"]["corpus"] == "meld" and record["seed"] == 9
    assert TaskSpecification(**record["task"]) == SARCASM
    assert record["versions"]["torch"].startswith("2.")
    assert record["git_revision"] == git_revision()


@pytest.mark.parametrize("task", [SENTIMENT, SARCASM, EMOTIONS], ids=lambda task: task.name)
def test_what_is_written_is_read_again(tmp_path, task):
    """Numbers are read as they were; classes and labels by their ids."""
    clips = word_corpus(12, task)
    logits = np.random.default_rng(0).normal(size=(12, task.num_labels)).astype(np.float32)
    write_predictions(tmp_path / "p.csv", task, clips, logits, dict.fromkeys("STAV", np.zeros((12, task.num_labels))))
    rows = read_predictions(tmp_path / "p.csv")
    predictions, labels = prediction_arrays(task, rows)
    assert labels.tolist() == clips["label"][:]
    expected = {
        "sentiment": logits[:, 0],
        "sarcasm": logits.argmax(axis=1),
        "emotion": expit(logits.astype(np.float64)),
    }
    assert (predictions == expected[task.name]).all()
    rows[0]["label"] = "bored" if not task.is_regression else "0"
    if not task.is_regression:
        with pytest.raises(ValueError, match="labels bored are not classes of task"):
            prediction_arrays(task, rows)
