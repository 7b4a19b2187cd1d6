"""Run the short examples as a user does (predict.py: test_pipeline_semanticmac.py; the longer ones: test_hub.py)."""

import csv
import itertools
import runpy

import pytest
import torch
from transformers import AutoModel, pipeline

from modeling_semanticmac.feature_files.reading import clips_of, read_feature_file
from tests.helpers.media_files import write_media
from tests.helpers.meld_folder import ROWS, TIMES, make_meld
from tests.helpers.project import PROJECT
from tests.helpers.tiny import word_tokenizer
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint
from tests.helpers.tiny_language_models import save_language_model


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


def test_vectors_of_text_are_the_mean_token_of_each_utterance_by_itself(tmp_path, monkeypatch, capsys):
    corpus = make_meld(tmp_path / "meld")
    with open(corpus / "test_sent_emo.csv", "a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow((7, " ", "Ross", "neutral", "neutral", 9, 0, *TIMES))  # nothing said
    folder = save_language_model("modernbert", tmp_path / "language_model")
    word_tokenizer().save_pretrained(folder)
    words = ("--corpus", "meld", "--data_dir", str(corpus), "--language_model", str(folder), "--batch_size", "3")
    run("text_vectors.py", *words, "--output", str(tmp_path / "vectors.parquet"), monkeypatch=monkeypatch)
    assert "8 utterances in" in capsys.readouterr().out
    clips = {clip.id: clip for clip in clips_of(read_feature_file(tmp_path / "vectors.parquet"))}
    tokenizer, model = word_tokenizer(), AutoModel.from_pretrained(folder).eval()
    assert len(clips) == sum(len(rows) for rows in ROWS.values())
    for split, rows in ROWS.items():
        for text, *_, dialogue, utterance in rows:
            with torch.inference_mode():
                states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            found = clips[f"{split}_dia{dialogue}_utt{utterance}"].single
            torch.testing.assert_close(torch.tensor(found), states.mean(dim=0)[None], atol=1e-5, rtol=0)
