"""How sure and for whom, on the card: the figures of the report, and nothing where nothing was measured."""

import json

from modeling_semanticmac.hub.card_trust import certainty_text, groups_text
from modeling_semanticmac.hub.model_card import write_model_card
from tests.hub.test_model_card import run_folder

CALIBRATION = {"level": 0.9, "clips": 240, "threshold": 0.5, "temperature": 0.8}
CERTAINTY = {
    "calibration": CALIBRATION,
    "coverage": 0.8839,
    "clips": 300,
    "mean_size": 1.25,
    "alone": 0.8,
    "ece": 0.0543,
}
WORST = {"group": "actor13", "clips": 60, "error": 0.4, "difference": 0.21, "low": 0.1, "high": 0.33}
OTHER = {"group": "actor02", "clips": 60, "error": 0.1, "difference": -0.2, "low": -0.3, "high": -0.1}
GROUPS = {
    "speaker": {"error": "error rate", "mean": 0.19, "unknown": 0, "small": {}, "groups": [WORST, OTHER]},
    "missing": {
        "error": "error rate", "mean": 0.19, "unknown": 0, "small": {},
        "groups": [{"group": "complete", "clips": 300, "error": 0.19, "difference": None, "low": None, "high": None}],
    },
}  # fmt: skip


def test_the_card_has_coverage_calibration_error_and_the_worst_groups(tmp_path):
    folder = run_folder(tmp_path / "run")
    (folder / "report.json").write_text(json.dumps({"certainty": CERTAINTY, "groups": GROUPS}))
    text = write_model_card(folder, "org/name").read_text()
    section = text.partition("## How sure, and for whom\n")[2].partition("\n## ")[0]
    assert "the 90 % set of classes contains the truth of **88.4%** of the 300 test clips (mean size 1.25" in section
    assert "Calibrated on 240 validation clips" in section and "Expected calibration error: 0.0543." in section
    assert "| speaker | one speaker (of 2 groups) | 60 | 0.4000 | +0.210 | +0.100 to +0.330 | 0.1900 |" in section
    assert "missing" not in section.partition("The group")[2] and "actor" not in section  # nothing to compare
    assert "groups of the test clips are compared above" in text and "nothing here measures that" not in text


def test_scores_have_intervals_and_no_calibration_error(tmp_path):
    found = {
        "calibration": {"level": 0.8, "clips": 50, "radius": 1.0},
        "coverage": 0.75,
        "clips": 40,
        "mean_width": 1.9,
    }
    text = certainty_text(found)
    assert "the 80 % interval contains the truth of **75.0%**" in text and "calibration error" not in text
    assert (
        certainty_text(None) == groups_text(None) == "" == groups_text({"speaker": {**GROUPS["speaker"], "groups": []}})
    )
    text = write_model_card(run_folder(tmp_path / "run"), "org/name").read_text()
    assert "How sure" not in text and "nothing here measures that." in text
