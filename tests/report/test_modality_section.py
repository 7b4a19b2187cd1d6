"""The report says what each modality predicts by itself, and names one that says nothing."""

import json

import datasets
import numpy as np
import pytest

from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from modeling_semanticmac.report import write_report
from modeling_semanticmac.runs.record import write_predictions
from tests.helpers.run_folders import one_hot, write_run
from tests.helpers.tiny import SENTIMENT

MOODS = TaskSpecification("emotion", "single_label_classification", ("joy", "fear", "anger"), None, "conversation")


def reported(folder, task, labels, by_subtask, arguments=()):
    """Return text and data of the report of a run with validation predictions of M and of the sub-tasks."""
    run = write_run(folder, task, labels, by_subtask["M"], arguments=arguments)
    clips = datasets.Dataset.from_dict({"id": [f"v{n}" for n in range(len(labels))], "label": labels.tolist()})
    own = {name: np.asarray(by_subtask[name], np.float32) for name in "STAV"}
    write_predictions(run / "predictions_validation.csv", task, clips, np.asarray(by_subtask["M"], np.float32), own)
    return write_report(run), json.loads((run / "report.json").read_text()).get("modalities")


def test_classes_by_hand(tmp_path):
    """Of 60 clips 30 are joy, the constant is wrong in half; text is right in 54, sound says joy, faces are noise."""
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    text = labels.copy()
    text[:6] = 1
    noise = np.random.default_rng(0).permutation(labels)
    found = {"M": labels, "S": labels, "T": text, "A": np.zeros(60, int), "V": noise}
    page, data = reported(tmp_path / "run", MOODS, labels, {name: one_hot(ids, 3) for name, ids in found.items()})
    assert data["constant"] == 0.5 and data["all together"]["error"] == 0
    assert data["text"]["error"] == pytest.approx(0.1) and data["text"]["gain"] == pytest.approx(0.4)
    assert 0.2 < data["text"]["low"] < 0.4 < data["text"]["high"] < 0.6
    assert [data["audio"][name] for name in ("error", "gain", "low", "high")] == [0.5, 0, 0, 0]
    assert data["vision"]["error"] == np.mean(noise != labels)
    body = page.split("## Each modality by itself\n")[1].split("\n## ")[0]
    assert "No gain is shown for text" not in body and "| text | 0.1000 | +0.4000 (" in body
    for name, others in {"audio": "text vision", "vision": "text audio"}.items():
        assert f"**No gain is shown for {name}.**" in body and f"`--modalities {others}`" in body


def test_scores_are_compared_with_the_median(tmp_path):
    labels = np.linspace(-3, 3, 41).astype(np.float32)
    near, far = (labels + 0.5)[:, None], np.full((41, 1), 1.0)
    data = reported(tmp_path / "run", SENTIMENT, labels, {"M": near, "S": near, "T": near, "A": near, "V": far})[1]
    assert data["constant"] == pytest.approx(np.abs(labels).mean())
    assert data["audio"]["error"] == pytest.approx(0.5, abs=1e-6) and data["audio"]["low"] > 0
    assert data["vision"]["gain"] < 0 and data["vision"]["high"] < 0.2


@pytest.mark.parametrize("words", [("--modalities", "text"), ("--pseudo_labels", "off"), ("--architecture", "mult")])
def test_no_section_without_several_trained_predictors(tmp_path, words):
    labels = np.linspace(-3, 3, 11).astype(np.float32)
    page, data = reported(tmp_path / "run", SENTIMENT, labels, dict.fromkeys("MSTAV", labels[:, None]), words)
    assert data is None and "Each modality by itself" not in page
