"""A live clip: its result is the model's on the same frames and windows, each encoded once."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from modeling_semanticmac.media_decoding import open_media
from modeling_semanticmac.serving.live import LiveClip

RATE = 16000


@pytest.fixture(scope="module")
def pipe(world):
    return pipeline("video-affect", model=str(world["run"]), device="cpu")


def recording(seconds, seed=0):
    generator = np.random.default_rng(seed)
    sound = (0.1 * generator.standard_normal(round(seconds * RATE))).astype(np.float32)
    frames = generator.integers(0, 255, (round(seconds * 10), 24, 32, 3), dtype=np.uint8)  # ten a second
    return frames, sound


def play(live, frames, sound, piece=0.1):
    """Push a recording in pieces of a tenth of a second."""
    size = round(piece * RATE)
    for number, frame in enumerate(frames):
        live.push_frame(frame, time=number / 10)
        live.push_sound(sound[number * size : (number + 1) * size], RATE)


def test_the_result_is_that_of_the_model_on_the_same_frames_and_windows(pipe):
    frames, sound = recording(12)
    live = LiveClip(pipe, seconds=4)
    live.say("I did not expect that.")
    play(live, frames, sound)
    found = live.result()
    # By hand: frames at 8.25, 8.75 ... 11.75 s are the first at or after that, in tenths 8.3, 8.8 ...; windows of 2 s
    # that begin at 8, 8.5 ... 10 s.
    pictures = np.stack([frames[round(10 * (8.3 + 0.5 * number))] for number in range(8)])
    windows = [
        torch.from_numpy(sound[round(start * RATE) : round((start + 2) * RATE)]) for start in (8, 8.5, 9, 9.5, 10)
    ]
    processor, model = pipe.processor, pipe.model
    pixels = processor(text=".", frames=torch.from_numpy(pictures))["pixel_values"]
    inputs = processor.encode_text(["I did not expect that."], [[]])
    batch = {"pixel_values": pixels, "input_features": processor.input_features_of(windows)[None]}
    with torch.no_grad():
        expected = model(**inputs, **batch).logits.item()
    assert found["score"] == pytest.approx(expected, abs=1e-4)
    assert found["media"] == {"path": "live", "start": 8.0, "end": 12.0, "duration": 4.0, "missing": {}, "notes": []}
    assert found["modalities"] == ["text", "audio", "vision"]


def test_each_frame_and_window_is_encoded_once(pipe, monkeypatch):
    counts = {"vision": 0, "audio": 0}
    embed = pipe.embed

    def counting(modality, inputs):
        counts[modality] += len(inputs)
        return embed(modality, inputs)

    monkeypatch.setattr(pipe, "embed", counting)
    live = LiveClip(pipe, seconds=3)
    frames, sound = recording(6)
    for number in range(60):
        live.push_frame(frames[number], number / 10)
        live.push_sound(sound[number * 1600 : (number + 1) * 1600], RATE)
        live.result()
    assert counts == {"vision": 12, "audio": 9}  # 2 a second; windows begin at 0, 0.5 ... 4 s


def test_the_size_of_the_pieces_does_not_matter(pipe):
    frames, sound = recording(5)
    results = []
    for size in (160, 1600, 80000):
        live = LiveClip(pipe)
        for start in range(0, len(sound), size):
            live.push_sound(sound[start : start + size], RATE)
        results.append(live.result()["score"])
    assert results[0] == pytest.approx(results[1], abs=1e-6) == pytest.approx(results[2], abs=1e-6)


def test_what_is_missing_is_said(pipe):
    live = LiveClip(pipe)
    assert live.result() is None
    live.push_sound(np.zeros(3 * RATE, dtype=np.float32), RATE)
    live.say("Well.")
    found = live.result()
    assert found["modalities"] == ["text"] and found["media"]["missing"] == {
        "vision": "nothing yet",
        "audio": "silence",
    }
    live.push_frame(np.full((24, 32, 3), 7, dtype=np.uint8), 0.3)
    assert live.result()["media"]["missing"]["vision"] == "blank picture"
    live.say("And then?")
    assert live.context == ["Well."]


def test_results_are_smoothed_by_their_half_life(pipe, monkeypatch):
    live = LiveClip(pipe, half_life=2.0)
    scores = iter((1.0, 3.0))
    monkeypatch.setattr(pipe, "predict_embeddings", lambda *args: {"score": next(scores)})
    live.say("Well.")
    assert live.result()["smoothed"]["score"] == 1.0
    live.push_sound(np.zeros(2 * RATE, dtype=np.float32), RATE)  # two seconds later the first one counts half
    assert live.result()["smoothed"]["score"] == pytest.approx(2.0)


def test_the_web_socket_answers_new_frames_and_windows(pipe):
    testclient = pytest.importorskip("fastapi.testclient")
    from modeling_semanticmac.serving.application import ServerOptions, create_application

    frames, sound = recording(3)
    picture = io.BytesIO()
    Image.fromarray(frames[0]).save(picture, "PNG")
    pcm = (sound * 32767).astype("<i2").tobytes()
    with testclient.TestClient(create_application(pipe, ServerOptions(most_streams=1))) as server:
        with server.websocket_connect("/v1/stream") as socket:
            socket.send_json({"frame": base64.b64encode(picture.getvalue()).decode(), "time": 0.3})
            assert socket.receive_json()["modalities"] == ["vision"]
            socket.send_json({"sound": base64.b64encode(pcm).decode(), "sampling_rate": RATE, "text": "Well."})
            assert socket.receive_json()["modalities"] == ["text", "audio", "vision"]
            for message, words in (
                ({"smell": 1}, "smell"), ({"frame": "%%", "time": 1}, "base64"), ({"frame": "AAAA", "time": 9}, "JPEG"),
                ({"frame": "AAAA"}, "time is None"),
            ):  # fmt: skip
                socket.send_json(message)
                assert words in socket.receive_json()["error"]


def test_a_real_file_played_live_is_near_its_prediction(pipe, shared):
    """The windows lie on another grid than those of the file, so the results are near and not equal."""
    path = shared / "real" / "ravdess_speech" / "01-01-01-01-01-01-01.mp4"
    live = LiveClip(pipe)
    with open_media(str(path)) as media:
        duration = media.info.duration
        times = [0.1 * number for number in range(int(duration * 10))]
        sound = media.waveform(0, duration, RATE)
        for time, frame in zip(times, (one for part in media.iter_frames(times, 8) for one in part)):
            live.push_frame(frame.numpy(), time)
            live.push_sound(sound[round(time * RATE) : round((time + 0.1) * RATE)].numpy(), RATE)
    found, whole = live.result(), pipe(str(path))
    assert found["modalities"] == whole["modalities"] == ["audio", "vision"]
    assert found["score"] == pytest.approx(whole["score"], abs=0.5)
