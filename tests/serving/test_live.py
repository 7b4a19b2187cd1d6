"""A live clip: its result is the model's on the same frames and windows, each encoded once."""

import base64
import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_semanticmac.clip_sampling import MediaClip, frame_times
from modeling_semanticmac.media_decoding import open_media
from modeling_semanticmac.serving.live import LiveClip
from modeling_semanticmac.serving.live_sources import file_pieces

RATE = 16000


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


def test_each_frame_and_window_is_encoded_once(pipe, encoded):
    live = LiveClip(pipe, seconds=3)
    frames, sound = recording(6)
    for number in range(60):
        live.push_frame(frames[number], number / 10)
        live.push_sound(sound[number * 1600 : (number + 1) * 1600], RATE)
        live.result()
    assert encoded == {"vision": 12, "audio": 9}  # 2 a second; windows begin at 0, 0.5 ... 4 s


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


def test_no_window_of_sound_reaches_over_a_gap(pipe, monkeypatch):
    """Sound from 0 to 3 s and, after a gap, from 5.2 to 8.2 s: windows of 2 s begin at 0, 0.5, 1 and 5.5, 6 s."""
    _, sound = recording(6)
    live, windows = LiveClip(pipe, seconds=9), []
    encode = pipe.processor.input_features_of
    monkeypatch.setattr(pipe.processor, "input_features_of", lambda parts: windows.extend(parts) or encode(parts))
    for number in range(30):
        live.push_sound(sound[1600 * number : 1600 * (number + 1)], RATE, time=0.1 * number + 0.3)  # late, no gap
    for number in range(30, 60):
        live.push_sound(sound[1600 * number : 1600 * (number + 1)], RATE, time=5.2 + 0.1 * (number - 30))
    starts = [0, 0.5, 1, 3 + 0.3, 3 + 0.8]  # in the samples that were pushed
    for window, start in zip(windows, starts, strict=True):
        assert np.array_equal(window, sound[round(start * RATE) : round(start * RATE) + 2 * RATE])
    assert live.now == pytest.approx(8.2)
    assert live.result()["media"]["notes"] == ["5 of the 13 windows of sound of these seconds were there in time"]


def test_windows_further_apart_than_they_are_long_keep_their_place(pipe, monkeypatch):
    """With a frame every 2.5 s, windows of 2 s begin at 0, 2.5 and 5 s, whatever the pieces are."""
    monkeypatch.setattr(pipe.processor, "frames_per_second", 0.4)
    _, sound = recording(8)
    windows = []
    monkeypatch.setattr(pipe.processor, "input_features_of", lambda parts: windows.extend(parts) or torch.zeros(1))
    monkeypatch.setattr(pipe, "embed", lambda modality, inputs: inputs)
    live = LiveClip(pipe)
    for start in range(0, len(sound), 700):
        live.push_sound(sound[start : start + 700], RATE)
    for window, start in zip(windows, (0, 2.5, 5), strict=True):
        assert np.array_equal(window, sound[round(start * RATE) : round((start + 2) * RATE)])


def test_only_the_latest_windows_are_encoded_where_asked(pipe):
    _, sound = recording(6)
    live = LiveClip(pipe)
    assert live.push_sound(sound, RATE, most_windows=2) == 2
    assert [number for number, _, _ in live._windows] == [7, 8]  # those that begin at 3.5 and 4 s
    assert live.push_sound(sound[: RATE // 2], RATE, most_windows=2) == 1


def test_what_was_there_long_ago_counts_no_more(pipe):
    frames, sound = recording(3)
    live = LiveClip(pipe, seconds=2)
    live.push_frame(frames[0], 0.3)
    for start in (0.0, 3.0):
        live.push_sound(sound, RATE, time=start)
    found = live.result()
    assert found["modalities"] == ["audio"] and found["media"]["missing"] == {"vision": "nothing in these seconds"}


def test_a_file_played_live_equals_its_prediction(pipe, plain):
    """Frames lie where the pipeline takes them, so pictures alone give the same; windows begin every half second."""
    live = LiveClip(pipe)
    for piece in itertools.islice(file_pieces(plain, 0.5), 8):  # the whole of its 4 s
        live.push_frame(piece.picture, piece.picture_time)
    offline = pipe({"video": str(plain)}, modalities=["vision"])
    assert live.result()["score"] == pytest.approx(offline["score"], abs=1e-5)
    for piece in itertools.islice(file_pieces(plain, 0.5), 8):
        live.push_sound(piece.sound, RATE)
    with MediaClip(str(plain)) as clip:
        frames = torch.cat(list(clip.iter_frames(frame_times(4.0), 1)))
        windows = list(clip.iter_windows([0, 0.5, 1, 1.5, 2], 2.0, RATE))
    pixels = pipe.processor(text=".", frames=frames)["pixel_values"]
    with torch.no_grad():
        logits = pipe.model(pixel_values=pixels, input_features=pipe.processor.input_features_of(windows)[None]).logits
    found = live.result()
    assert found["modalities"] == ["audio", "vision"] and found["media"]["notes"] == []
    assert found["score"] == pytest.approx(logits.item(), abs=1e-4)


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
