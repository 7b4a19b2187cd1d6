"""Run the short examples as a user does (predict.py: test_pipeline_semanticmac.py; the longer ones: test_hub.py)."""

import csv
import itertools
import runpy

import pytest
from transformers import pipeline

from tests.helpers.media_files import write_media
from tests.helpers.project import PROJECT
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint")))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(write_media(tmp_path_factory.mktemp("media") / "clip.mp4", seconds=3.0))


def run(name: str, *words: str, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", [name, *words])
    runpy.run_path(str(PROJECT / "examples" / name), run_name="__main__")


def test_every_set_of_modalities_is_predicted(checkpoint, clip, monkeypatch, capsys):
    run("missing_modality.py", clip, checkpoint, "good", "day", monkeypatch=monkeypatch)
    found = dict(line.rsplit(": ", 1) for line in capsys.readouterr().out.splitlines() if " +" in line or ":" in line)
    names = [" + ".join(s) for n in (1, 2, 3) for s in itertools.combinations(("text", "audio", "vision"), n)]
    assert set(names) <= found.keys() and len({found[name] for name in names}) == 7
    alone = pipeline("video-affect", model=checkpoint)({"text": "good day"})
    assert float(found["text"]) == pytest.approx(alone["score"], abs=1e-5)


def test_a_timeline_has_a_row_a_cue(checkpoint, clip, tmp_path, monkeypatch, capsys):
    cues = ("00:00:00,000 --> 00:00:01,500\ngood day\n", "00:00:01,500 --> 00:00:03,000\nbad talk\n")
    (tmp_path / "talk.srt").write_text("\n".join(f"{number}\n{cue}" for number, cue in enumerate(cues, start=1)))
    run("timeline.py", clip, str(tmp_path / "talk.srt"), checkpoint, str(tmp_path / "out"), monkeypatch=monkeypatch)
    assert "2 segments" in capsys.readouterr().out
    with open(tmp_path / "out" / "timeline.csv", newline="", encoding="utf-8") as file:
        assert [row["text"] for row in csv.DictReader(file)] == ["good day", "bad talk"]
