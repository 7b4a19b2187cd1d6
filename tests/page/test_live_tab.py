"""The web socket of the live tab: results as HTML, and a machine that is too slow stays with the present."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

testclient = pytest.importorskip("fastapi.testclient")
pytest.importorskip("gradio", reason="the page needs gradio: pip install -e .[app]")

import contextlib  # noqa: E402
import json  # noqa: E402

from fastapi import FastAPI  # noqa: E402

from modeling_semanticmac.page import live_tab  # noqa: E402
from modeling_semanticmac.serving import stream  # noqa: E402
from modeling_semanticmac.serving.live import LiveClip  # noqa: E402

RATE = 16000


def picture(seed=0):
    image = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(image, "PNG")
    return base64.b64encode(image.getvalue()).decode()


def sound(seconds):
    samples = 3000 * np.random.default_rng(1).standard_normal(round(seconds * RATE))
    return base64.b64encode(samples.astype("<i2").tobytes()).decode()


@pytest.fixture
def client(pipe):
    app = FastAPI()
    live_tab.add_live_socket(app, pipe, contextlib.nullcontext())
    with testclient.TestClient(app) as client:
        yield client


def test_results_come_back_as_html(client, pipe):
    expected = LiveClip(pipe)
    with client.websocket_connect("/live") as socket:
        socket.send_json({"frame": picture(), "time": 0.3})
        html = socket.receive_json()["html"]
        stream.push(expected, {"frame": picture(), "time": 0.3})
        found = expected.result()["smoothed"]
        assert f"{found['polarity']} {found['score']:+.2f}</p>" in html and "Made from: picture." in html
        assert "<polyline" not in html
        socket.send_json({"frame": picture(1), "time": 0.8})
        assert "<polyline" in socket.receive_json()["html"]  # of two results
        socket.send_json({"smell": 1})
        assert "smell" in socket.receive_json()["error"]
        socket.send_text("no JSON")
        assert "not JSON" in socket.receive_json()["error"]
        socket.send_json({"sound": sound(0.1), "sampling_rate": RATE, "sound_time": -1})
        assert "sound_time is -1" in socket.receive_json()["error"]


def test_no_more_visitors_than_it_serves(client, monkeypatch):
    monkeypatch.setattr(live_tab, "MOST_VISITORS", 1)
    with client.websocket_connect("/live"):
        with client.websocket_connect("/live") as second:
            assert second.receive_json()["error"] == live_tab.FULL
    with client.websocket_connect("/live") as third:  # the first has left
        third.send_json({"text": "Well."})
        assert "Made from: words." in third.receive_json()["html"]


def test_what_waits_together_is_taken_together(pipe, encoded):
    """Of the frames the latest, of the windows of sound the latest two; the errors are all answered."""
    frames = [{"frame": picture(number), "time": 0.25 + 0.5 * number} for number in range(4)]
    texts = [json.dumps(message) for message in (*frames, {"sound": sound(4), "sampling_rate": RATE})]
    error, result = stream._answers(LiveClip(pipe), ["{", *texts, None], contextlib.nullcontext(), True)
    assert "not JSON" in error["error"] and result["modalities"] == ["audio", "vision"]
    assert encoded == {"vision": 1, "audio": 2}  # windows of 2 s that begin at 1.5 and 2 s, not at 0, 0.5, 1 s
    assert result["media"]["notes"] == [
        "1 of the 8 frames of these seconds were there in time",
        "2 of the 5 windows of sound of these seconds were there in time",
    ]
    encoded.update(vision=0, audio=0)
    (result,) = stream._answers(LiveClip(pipe), texts, contextlib.nullcontext(), False)
    assert encoded == {"vision": 4, "audio": 5}


def test_a_model_that_cannot_predict_live_says_so(pipe, monkeypatch):
    import gradio as gr

    monkeypatch.setattr(pipe.processor, "num_frames", 8)
    with gr.Blocks() as page:
        live_tab.add_live_tab(pipe)
    assert "this model cannot predict live" in str(page.get_config_file()).lower()
