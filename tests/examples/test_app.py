"""Test the page: what it shows of clips and text, what it refuses, and that it keeps nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.media_files import write_media
from tests.helpers.project import PROJECT
from tests.helpers.tiny import EMOTIONS
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint

gradio = pytest.importorskip("gradio", reason="the page needs gradio: pip install -e .[app]")

from examples import app  # noqa: E402
from modeling_semanticmac.clip_sampling import frame_times  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def pipe(checkpoint):
    return app.pipeline("video-affect", model=str(checkpoint), device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(write_media(tmp_path_factory.mktemp("media") / "clip.mp4", seconds=8.0))


def test_a_short_clip_is_one_prediction_with_the_frames_that_the_model_saw(pipe, clip):
    found = app.analyse(pipe, app.Limits(), clip, " good day ")
    result = pipe({"video": clip, "text": "good day"})
    assert f"{result['polarity']} {result['score']:+.2f} on a scale from -3 to 3" in found["summary"]
    assert "Made from: words, voice, picture." in found["summary"] and "Missing" not in found["summary"]
    assert isinstance(found["bars"], Image.Image) and found["timeline"] is None
    times = frame_times(8.0, 2.0)  # 16; every shown one is one of them
    shown = [float(caption.removesuffix(" s")) for _, caption in found["frames"]]
    assert len(shown) == app.FRAMES_SHOWN and shown == sorted(shown)
    assert set(shown) <= {round(time + 1e-9, 1) for time in times} | {round(time - 1e-9, 1) for time in times}
    assert all(max(image.size) <= 480 and np.asarray(image).std() > 0 for image, _ in found["frames"])


def test_words_alone_and_nothing_at_all(pipe):
    assert "Made from: words." in app.analyse(pipe, app.Limits(), None, "good day")["summary"]
    with pytest.raises(ValueError, match="neither a clip nor text"):
        app.analyse(pipe, app.Limits(), None, "  ")


def test_a_long_clip_is_a_timeline(pipe, clip, monkeypatch):
    monkeypatch.setattr(app, "LONG_SECONDS", 5.0)
    monkeypatch.setattr(app, "WINDOW_SECONDS", 2.0)
    monkeypatch.setattr(app, "speech_segments", lambda media: iter(()))  # a tone is no speech
    found = app.analyse(pipe, app.Limits(), clip, "words without times")
    scores = [pipe({"video": clip, "start": start, "end": start + 2.0})["score"] for start in (0.0, 2.0, 4.0, 6.0)]
    assert "4 segments" in found["summary"] and f"{np.mean(scores):+.2f} on average" in found["summary"]
    assert "text: it has no times" in found["summary"]
    assert isinstance(found["timeline"], Image.Image) and found["bars"] is None and found["frames"]


def test_what_is_too_long_too_large_or_no_media_is_said(pipe, clip, tmp_path):
    with pytest.raises(ValueError, match="lasts 8 s; this page accepts up to 3 s"):
        app.analyse(pipe, app.Limits(seconds=3), clip, None)
    with pytest.raises(ValueError, match="this page accepts up to 0"):
        app.analyse(pipe, app.Limits(megabytes=0), clip, None)
    (tmp_path / "words.mp4").write_text("no video")
    with pytest.raises(ValueError, match="not a video or sound file"):
        app.analyse(pipe, app.Limits(), str(tmp_path / "words.mp4"), None)


def test_several_segments_of_classes_are_counted_and_html_is_escaped():
    rows = [
        {"task": "<b>", "labels": ["happy", "sad"], "contradictions": []},
        {"task": "<b>", "labels": ["sad"], "contradictions": ["x"]},
    ]
    text = app.timeline_summary(rows, [])
    assert "sad in 2, happy in 1" in text and "2 segments, 1 with" in text and "<b>" not in text.lower()
    nothing = {"labels": [], "probabilities": dict.fromkeys(EMOTIONS.label_names, 0.1)}
    assert app.headline(nothing)[0] == "none of the labels"


@pytest.mark.slow
def test_the_served_page_answers_and_keeps_no_upload(checkpoint, clip, tmp_path):
    """Serve in a process, as a user does, and use the client of gradio."""
    gradio_client = pytest.importorskip("gradio_client")
    environment = {**os.environ, "TMPDIR": str(tmp_path), "NO_PROXY": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
    options = ["--model", str(checkpoint), "--device", "cpu", "--host", "127.0.0.1"]
    command = [sys.executable, str(PROJECT / "examples/app.py"), *options]
    with (
        open(tmp_path / "log", "w+") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as server,
    ):
        try:
            address = _address(tmp_path / "log", server)
            client = gradio_client.Client(address, verbose=False, download_files=str(tmp_path / "answer"))
            summary, *_ = client.predict(gradio_client.handle_file(clip), "good day", api_name="/predict")
            assert "Made from: words, voice, picture." in summary
            with pytest.raises(gradio_client.exceptions.AppError, match="neither a clip nor text"):
                client.predict(None, "", api_name="/predict")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    assert not list(tmp_path.glob("semanticmac-app-*"))


def _address(log: Path, server) -> str:
    for _ in range(600):
        for word in log.read_text().split():
            if word.startswith("http://127.0.0.1"):
                return word
        assert server.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError("the page did not start within 120 s")
