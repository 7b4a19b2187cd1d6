"""`semanticmac calibrate` and `semanticmac groups` on a run: files, report, pipeline."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import pipeline

from modeling_semanticmac.commands import calibrate, groups, train
from modeling_semanticmac.files.atomic_files import write_json
from modeling_semanticmac.hub.model_card import write_model_card
from modeling_semanticmac.hub.upload import files_to_upload
from modeling_semanticmac.report import write_report
from tests.helpers.project import RECIPE
from tests.helpers.runs import record, rows


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(world["run"], folder)
    return folder


def test_the_bound_comes_from_validation_and_the_pipeline_shows_it(world, run):
    validation = rows(run / "predictions_validation.csv")
    assert [row["id"] for row in validation] == world["clips"]["validation"]["id"][:]
    assert calibrate.main([str(run), "--level", "0.8"]) == 0
    errors = [abs(float(row["prediction"]) - float(row["label"])) for row in validation]
    assert record(run, "config.json")["calibration"] == {"level": 0.8, "clips": 5, "radius": max(errors)}  # 5th of 5
    clip = world["clips"]["test"][0]
    found = pipeline("video-affect", model=str(run), device="cpu")(
        {"video": clip["media"]["path"], "text": clip["text"]}, abstain=True
    )
    low, high = found["interval"]
    assert low == max(-3, found["score"] - max(errors)) and high == min(3, found["score"] + max(errors))
    assert found["abstained"] == (found["polarity"] is None)


def test_the_report_says_how_many_test_clips_are_covered(run):
    calibrate.main([str(run), "--level", "0.8"])
    radius = record(run, "config.json")["calibration"]["radius"]
    test = rows(run / "predictions_test.csv")
    covered = np.mean([abs(float(row["prediction"]) - float(row["label"])) <= radius for row in test])
    text = write_report(run)
    assert f"contains the truth of **{covered:.1%}**" in text and "promised 80 % interval" in text
    assert record(run, "report.json")["certainty"]["coverage"] == pytest.approx(covered)


def test_groups_go_into_the_report(run, capsys):
    assert groups.main([str(run), "--by", "missing", "duration", "--resamples", "20"]) == 0
    assert "groups of fewer than 10 clips (5 clips) are not shown" in capsys.readouterr().out
    assert "## Groups of clips" in (run / "report.md").read_text()
    with pytest.raises(ValueError, match="sex of its test clips"):
        groups.main([str(run), "--by", "sex"])


def test_what_is_published_names_no_speaker_and_no_clip(run):
    """Neither the report nor any other file that is uploaded, after the errors of speakers were measured."""
    errors = {"error": 0.5, "difference": 0.1, "low": 0.0, "high": 0.2}
    found = [{"group": name, "clips": 12, **errors} for name in ("Monica Geller", "Ross")]
    rest = {"error": "absolute error", "mean": 0.4, "unknown": 0}
    write_json(run / "groups_speaker.json", {"by": "speaker", **rest, "small": {"Gunther": 3}, "groups": found})
    report = write_report(run)
    assert "| speaker 1 | 12 |" in report and "1 groups of fewer than 10 clips (3 clips) are not shown" in report
    write_model_card(run, "org/name")
    clips = [clip for split in record(run, "splits.json").values() for clip in split]
    assert len(clips) > 20
    texts = {name: content if isinstance(content, bytes) else Path(content).read_bytes()
             for name, content in files_to_upload(run).items()}  # fmt: skip
    assert {"report.md", "report.json", "README.md", "run.json", "all_results.json"} <= texts.keys()
    for name, text in texts.items():
        if not name.endswith((".safetensors", ".png", "tokenizer.json")):
            words = text.decode()
            assert not [one for one in ("Monica", "Ross", "Gunther", *clips) if one in words], name


def test_five_clips_cannot_promise_nine_tenths(world, run):
    assert record(world["run"], "config.json")["calibration"] is None
    with pytest.raises(ValueError, match="5 validation clips, too few"):
        calibrate.main([str(run)])


def test_calibrating_twice_takes_the_temperature_back(world, tmp_path):
    """The file of predictions has probabilities after the temperature; another level is found on the logits."""
    arguments = [RECIPE, *world["models"][:2], *world["common"], "--task", "sarcasm", "--modalities", "text"]
    train.main([*arguments, "--num_train_epochs", "1", "--output_dir", str(tmp_path)])
    assert calibrate.main([str(tmp_path), "--level", "0.8"]) == 0
    first = record(tmp_path, "config.json")["calibration"]
    again = [RECIPE, "--model_name_or_path", str(tmp_path), *world["common"], "--task", "sarcasm"]
    train.main([*again, "--modalities", "text", "--do_train", "false", "--output_dir", str(tmp_path / "again")])
    # The saved model's temperature is in the new file of predictions, and stays.
    (tmp_path / "again" / "config.json").write_text(json.dumps(record(tmp_path, "config.json")))
    calibrate.main([str(tmp_path / "again"), "--level", "0.8"])
    second = record(tmp_path / "again", "config.json")["calibration"]
    assert second == pytest.approx(first, rel=1e-5)
