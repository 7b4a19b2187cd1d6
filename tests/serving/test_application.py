"""The server: results are those of the pipeline, uploads that cannot be used get a sentence, nothing is kept."""

import asyncio
import json
import tempfile
import threading
from pathlib import Path

import pytest
from transformers import pipeline

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient  # noqa: E402

from modeling_semanticmac.hub.responsible_use import NOTICE  # noqa: E402
from modeling_semanticmac.serving.application import ServerOptions, create_application  # noqa: E402
from modeling_semanticmac.serving.batching import BatchPredictor, Busy  # noqa: E402


@pytest.fixture(scope="module")
def pipe(world):
    return pipeline("video-affect", model=str(world["run"]), device="cpu")


@pytest.fixture
def clip(world):
    return world["clips"]["test"][0]


def client(pipe, **options) -> TestClient:
    return TestClient(create_application(pipe, ServerOptions(**options)))


def upload(path, name="clip.mp4"):
    return {"file": (name, Path(path).read_bytes(), "video/mp4")}


def test_a_clip_has_the_result_of_the_pipeline(pipe, clip):
    expected = pipe({"video": clip["media"]["path"], "text": clip["text"], "context": ["Well.", "And then?"]})
    with client(pipe) as server:
        data = {"text": clip["text"], "context": ["Well.", "And then?"]}
        found = server.post("/v1/predict", files=upload(clip["media"]["path"]), data=data).json()
        cut = server.post("/v1/predict", files=upload(clip["media"]["path"]), data={"end": "0.5"}).json()
        words = server.post("/v1/predict", data={"text": clip["text"]}).json()
    assert _close(found, expected)
    assert found["media"]["path"] == "clip.mp4" and cut["media"]["end"] == 0.5
    assert words["modalities"] == ["text"] and _close(words, pipe({"text": clip["text"]}))


def _close(one, two):
    return one["score"] == pytest.approx(two["score"], abs=1e-5) and one["modalities"] == two["modalities"]


def test_requests_that_come_together_are_one_batch_with_the_right_results(pipe, world):
    clips = [{"text": row["text"]} for row in world["clips"]["train"].select(range(6))]
    expected = pipe(clips)
    predictor = BatchPredictor(pipe, batch_size=4, wait_seconds=0.5)

    async def all_at_once():
        return await asyncio.gather(*(predictor.predict(clip) for clip in clips))

    found = asyncio.run(all_at_once())
    predictor.close()
    assert [row["score"] for row in found] == pytest.approx([row["score"] for row in expected], abs=1e-5)
    assert predictor.batches == {4: 1, 2: 1} and predictor.waiting == 0


def test_more_requests_than_may_wait_are_refused(clip):
    release = threading.Event()

    def slow(clips, **options):
        release.wait(10)
        return [{"score": 0.0}] * len(clips)

    predictor = BatchPredictor(slow, batch_size=1, wait_seconds=0, most_waiting=2)

    async def three():
        first = [asyncio.ensure_future(predictor.predict({"text": "a"})) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(Busy):
            await predictor.predict({"text": "b"})
        first[1].cancel()  # its client went away
        release.set()
        return await first[0]

    assert asyncio.run(three()) == {"score": 0.0}
    predictor.close()


def test_what_cannot_be_used_gets_its_status_and_a_sentence(pipe, clip):
    video = Path(clip["media"]["path"]).read_bytes()
    with client(pipe, most_bytes=len(video) + 3000, max_seconds=0.2) as server:
        found = {
            "no media": server.post("/v1/predict", files={"file": ("notes.mp4", b"not a video", "video/mp4")}),
            "nothing": server.post("/v1/predict", data={"text": ""}),
            "JSON": server.post("/v1/predict", json={"text": "Well."}),
            "too large": server.post("/v1/predict", files={"file": ("a.mp4", b"0" * len(video) * 2, "video/mp4")}),
            "not a number": server.post("/v1/predict", data={"text": "Well.", "start": "soon"}),
            "modality": server.post("/v1/predict", data={"text": "Well.", "modalities": "smell"}),
            "address": server.post("/v1/predict", data={"url": "file:///etc/passwd"}),
            "no bank": server.post("/v1/predict", data={"text": "Well.", "neighbors": "2"}),
            "too long": server.post("/v1/predict", files=upload(clip["media"]["path"])),
        }
    codes = {name: response.status_code for name, response in found.items()}
    assert codes == {
        "no media": 422, "nothing": 422, "JSON": 415, "too large": 413, "not a number": 422, "modality": 422,
        "address": 422, "no bank": 422, "too long": 422,
    }  # fmt: skip
    errors = {name: response.json()["error"] for name, response in found.items()}
    assert errors["no media"].startswith("notes.mp4: ") and "curl" in errors["JSON"]
    assert "the limit is 0.2 s" in errors["too long"] and "MB" in errors["too large"]
    assert "--keep_bank" in errors["no bank"]
    assert errors["not a number"].startswith("start: ") and "smell" in errors["modality"]


def test_a_body_of_unstated_size_is_counted_while_it_arrives(pipe):
    sent = []

    def endless():
        for _ in range(1000):
            sent.append(1)
            yield b"0" * 1000

    with client(pipe, most_bytes=20_000) as server:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        response = server.post("/v1/predict", content=endless(), headers=headers)
        assert response.status_code == 413 and "0.02 MB" in response.json()["error"]
        assert 'path="/v1/predict",status="413"} 1' in server.get("/metrics").text


def test_local_addresses_are_not_read_even_with_downloads(pipe, clip):
    with client(pipe, allow_download=True) as server:
        for address in (clip["media"]["path"], f"file://{clip['media']['path']}", "memory://clip.mp4"):
            response = server.post("/v1/predict", data={"url": address})
            assert response.status_code == 422 and "https" in response.json()["error"]


def test_a_token_opens_everything_but_health(pipe):
    with client(pipe, token="secret") as server:
        assert server.get("/health").json()["status"] == "ok"
        assert server.post("/v1/predict", data={"text": "Well."}).status_code == 401
        wrong, right = ({"Authorization": f"Bearer {token}"} for token in ("other", "secret"))
        assert server.post("/v1/predict", data={"text": "Well."}, headers=wrong).status_code == 401
        assert server.post("/v1/predict", data={"text": "Well."}, headers=right).status_code == 200


def test_it_says_what_the_model_is_for_and_what_the_law_asks(pipe, monkeypatch):
    with client(pipe) as server:
        found = server.get("/health").json()
        assert found["intended_use"] is None and found["notice"] == NOTICE and "50(3)" in NOTICE
    monkeypatch.setattr(pipe.model.config, "intended_use", "Research on drawn faces.")
    with client(pipe) as server:
        assert server.get("/health").json()["intended_use"] == "Research on drawn faces."
        description = server.get("/openapi.json").json()["info"]["description"]
        assert "states it: Research on drawn faces. " in description and description.endswith(NOTICE)


def test_a_timeline_is_one_line_a_segment(pipe, clip):
    with client(pipe) as server:
        response = server.post("/v1/timeline", files=upload(clip["media"]["path"]), data={"window": "0.5"})
        rows = [json.loads(line) for line in response.text.splitlines()]
        subtitles = b"1\n00:00:00,000 --> 00:00:00,700\nI did not expect that.\n"
        files = {**upload(clip["media"]["path"]), "transcript": ("a.srt", subtitles, "text/plain")}
        said = [json.loads(line) for line in server.post("/v1/timeline", files=files).text.splitlines()]
        bad = server.post("/v1/timeline", files=upload(clip["media"]["path"]), data={"window": "-1"})
    alone = pipe({"video": clip["media"]["path"], "start": rows[1]["start"], "end": rows[1]["end"]})
    assert [row["start"] for row in rows] == [0.5 * number for number in range(len(rows))] and len(rows) > 1
    assert rows[1]["score"] == pytest.approx(alone["score"], abs=1e-5) and "contradictions" in rows[1]
    assert [(row["end"], row["text"]) for row in said] == [(0.7, "I did not expect that.")]
    assert bad.status_code == 422 and "positive" in bad.json()["error"]


def test_nothing_is_kept_and_requests_are_counted(pipe, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with client(pipe) as server:
        server.post("/v1/predict", files=upload(clip["media"]["path"]))
        server.post("/v1/timeline", files=upload(clip["media"]["path"]), data={"window": "1"})
        server.get("/nowhere")
        text = server.get("/metrics").text
    assert not list(tmp_path.iterdir())
    assert 'semanticmac_requests_total{path="/v1/predict",status="200"} 1' in text
    assert 'semanticmac_requests_total{path="other",status="404"} 1' in text
    assert 'semanticmac_request_seconds_bucket{le="+Inf"} 3' in text
