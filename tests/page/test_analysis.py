"""What the page shows of clips and words, and what it says before and in place of a prediction."""

import base64
import csv
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_semanticmac.clip_sampling import frame_times
from modeling_semanticmac.page import analysis
from modeling_semanticmac.page.analysis import Limits, analyse, arrival_html
from tests.helpers.media_files import read_number

LIMITS = Limits()


def bar(html, view):
    """Return left end and width of the bar of a view, in percent, and its class."""
    row = html[html.index(f'data-view="{view}"') :]
    found = re.search(r'class="smac-bar (\w+)" style="left:([\d.]+)%;width:([\d.]+)%"', row)
    return float(found[2]), float(found[3]), found[1]


def test_a_short_clip_is_one_prediction_with_the_frames_that_the_model_saw(pipe, clips):
    html = analyse(pipe, LIMITS, clips["short"], " good day ")
    result = pipe({"video": clips["short"], "text": "good day"})
    assert f"{result['polarity']} {result['score']:+.2f}</p>" in html
    assert "Made from: words, voice, picture." in html and "Missing" not in html
    for view, found in {"multimodal": result, **result["subtasks"]}.items():
        left, width, meaning = bar(html, view)
        place = 100 * (found["score"] + 3) / 6  # of a score from -3 to 3
        assert left == pytest.approx(min(50, place), abs=0.06) and width == pytest.approx(abs(place - 50), abs=0.06)
        assert meaning == found["polarity"]
    # The frames show their number, at 25 a second.
    shown = re.findall(r'src="data:image/jpeg;base64,([^"]+)" alt="frame at ([\d.]+) s"', html)
    times = frame_times(3.0)
    assert len(shown) == len(times) == 6
    for (picture, said), time in zip(shown, times):
        image = np.array(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"))
        assert abs(float(said) - time) <= 0.051
        assert read_number(torch.from_numpy(image).movedim(-1, 0)) in (int(time * 25) - 1, int(time * 25))


def test_no_frames_are_shown_that_the_model_did_not_use(pipe, clips, monkeypatch):
    monkeypatch.setattr(analysis, "predicted", lambda pipe, clip: pipe(clip, modalities=["text", "audio"]))
    html = analyse(pipe, LIMITS, clips["short"], "good day")
    assert "Made from: words, voice." in html and "<img" not in html


def test_words_alone_and_nothing_at_all(pipe):
    html = analyse(pipe, LIMITS, None, "good day")
    assert "Made from: words." in html and "<img" not in html
    with pytest.raises(ValueError, match="neither a clip nor text"):
        analyse(pipe, LIMITS, None, "  ")


def test_a_sound_file_is_predicted(pipe, clips):
    html = analyse(pipe, LIMITS, clips["sound"], None)
    assert "Made from: voice." in html and "picture: no video stream" in html and "<img" not in html


def test_subtitles_of_a_short_clip_are_its_words(pipe, clips):
    html = analyse(pipe, LIMITS, clips["short"], None, clips["words"])
    result = pipe({"video": clips["short"], "text": "a good film a bad day"})
    assert f"{result['polarity']} {result['score']:+.2f}</p>" in html
    typed = pipe({"video": clips["short"], "text": "no words"})
    assert f"{typed['score']:+.2f}</p>" in analyse(pipe, LIMITS, clips["short"], "no words", clips["words"])


@pytest.fixture
def short_limit(monkeypatch):
    monkeypatch.setattr(analysis, "LONG_SECONDS", 5.0)
    monkeypatch.setattr(analysis, "WINDOW_SECONDS", 2.0)
    monkeypatch.setattr(analysis, "speech_segments", lambda media: iter(()))  # a tone is no speech


def test_a_long_clip_is_a_timeline(pipe, clips, short_limit):
    html = analyse(pipe, LIMITS, clips["long"], "words without times")
    found = [pipe({"video": clips["long"], "start": start, "end": start + 2.0}) for start in (0.0, 2.0, 4.0, 6.0)]
    scores = [result["score"] for result in found]
    assert (
        "4 segments" in html and f"{np.mean(scores):+.2f} on average" in html and "not used: they have no times" in html
    )
    drawn = re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', html)
    for (meaning, left, top, width, height), result, start in zip(drawn, found, (0, 250, 500, 750), strict=True):
        share = 120 * (result["score"] + 3) / 6  # from the bottom of 120 units
        assert meaning == result["polarity"] and (float(left), float(width)) == (start, 250)
        assert float(top) == pytest.approx(min(60, 120 - share), abs=0.06)
        assert float(height) == pytest.approx(max(abs(share - 60), 1), abs=0.06)
    table = re.search(r'href="data:text/csv;base64,([^"]+)" download="timeline.csv"', html)[1]
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(table).decode())))
    assert [float(row["score"]) for row in rows] == pytest.approx(scores, abs=1e-4)


def test_the_cues_of_subtitles_are_the_segments_of_a_long_clip(pipe, clips, short_limit):
    html = analyse(pipe, LIMITS, clips["long"], "typed", clips["words"])
    assert "the subtitles are used in their place" in html
    result = pipe({"video": clips["long"], "start": 3.5, "end": 7.5, "text": "a bad day"})
    assert "2 segments" in html and "a good film" in html
    last = html[html.index("<time>0:03</time>") :]
    assert f"{result['score']:+.2f}</b><span>a bad day</span>" in last


def test_what_a_clip_is_is_said_when_it_arrives(clips, short_limit):
    assert "3.0 s, picture and sound." in arrival_html(LIMITS, clips["short"])
    assert "shown over time" not in arrival_html(LIMITS, clips["short"])
    assert "longer than 5 s" in arrival_html(LIMITS, clips["long"])
    assert "3.0 s, sound." in arrival_html(LIMITS, clips["sound"])
    assert "may not be able to show HEVC" in arrival_html(LIMITS, clips["hevc"])
    assert arrival_html(LIMITS, None) == ""


def test_what_cannot_be_used_is_said_at_once_and_names_no_folder(pipe, clips, tmp_path):
    (tmp_path / "words.mp4").write_text("no video")
    cases = [
        (Limits(seconds=2), clips["short"], "lasts 3 s; this page accepts up to 2 s"),
        (Limits(megabytes=0), clips["short"], "this page accepts up to 0"),
        (LIMITS, str(tmp_path / "words.mp4"), "not a video or sound file"),
        (LIMITS, str(tmp_path / "gone.mp4"), "uploads are deleted after half an hour"),
    ]
    for limits, path, sentence in cases:
        html = arrival_html(limits, path)
        assert sentence in html and 'role="alert"' in html and str(tmp_path) not in html
        with pytest.raises(ValueError, match=sentence):
            analyse(pipe, limits, path, None)


def test_the_nearest_training_clips_are_named_where_the_model_kept_them(pipe, clips, monkeypatch):
    asked = []

    def predict(clip, neighbors=0):
        asked.append(neighbors)
        result = json.loads(json.dumps(plain))
        near = {"text": [{"id": "train_<1>", "label": 1.5, "distance": 0.25}]}
        return {**result, "neighbors": near} if neighbors else result

    plain = pipe({"text": "good day"})
    stub = type("Stub", (), {"__call__": lambda self, *args, **options: predict(*args, **options)})
    for has in (False, True):
        stub.has_neighbors = has
        html = analyse(stub(), LIMITS, None, "good day")
        assert ("train_&lt;1&gt;</td><td>+1.50</td><td>0.25" in html) == has
    assert asked == [0, 3]
