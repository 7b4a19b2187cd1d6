"""`pipeline("video-affect")`: every way to give a clip, results as the model's own, batches, errors, saving."""

import json
import os
import runpy
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from transformers import pipeline

from modeling_semanticmac import SemanticMACForAffect, SemanticMACPipeline, SemanticMACProcessor
from modeling_semanticmac.media_info import MediaError
from tests.helpers.media_files import random_bytes, tone, write_media
from tests.helpers.project import PROJECT
from tests.helpers.tiny import EMOTIONS
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def pipe(checkpoint):
    return pipeline("video-affect", model=str(checkpoint), device="cpu")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A folder with a video, one without sound, a sound file and a text file."""
    folder = tmp_path_factory.mktemp("media")
    write_media(folder / "both.mp4", seconds=3.0)
    write_media(folder / "silent.mkv", seconds=1.0, sound=None)
    write_media(folder / "voice.wav", seconds=2.0, picture=None, sound=tone(300.0), sound_codec="pcm_s16le")
    (folder / "notes.txt").write_text("no media")
    return folder


def by_hand(checkpoint, **inputs):
    """The model's answer to the processor's tensors, without the pipeline."""
    model = SemanticMACForAffect.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        return model(**SemanticMACProcessor.from_pretrained(checkpoint)(**inputs))


def scores(results):
    return torch.tensor([[r["score"], *(view["score"] for view in r["subtasks"].values())] for r in results])


SUBSETS = [
    ({"text": "good day"}, ["text"]),
    ({"audio": "both.mp4"}, ["audio"]),
    ({"video": "silent.mkv"}, ["vision"]),
    ({"text": "good day", "audio": "voice.wav"}, ["text", "audio"]),
    ({"text": "good day", "video": "silent.mkv"}, ["text", "vision"]),
    ({"video": "both.mp4"}, ["audio", "vision"]),
    ({"video": "both.mp4", "text": "good day", "context": ["what do you mean"]}, ["text", "audio", "vision"]),
]


@pytest.mark.parametrize(
    "given, modalities", SUBSETS, ids=lambda value: "+".join(value) if isinstance(value, list) else ""
)
def test_each_subset_of_modalities_is_answered_as_the_model_does(pipe, checkpoint, media, given, modalities):
    clip = {name: str(media / value) if name in ("video", "audio") else value for name, value in given.items()}
    found = pipe(clip)
    source = clip.get("video") or clip.get("audio")
    inputs = SemanticMACProcessor.from_pretrained(checkpoint)(
        text=clip.get("text"), media=source, context=clip.get("context")
    )
    if "vision" not in modalities:
        inputs = {name: value for name, value in inputs.items() if name not in ("pixel_values", "vision_mask")}
    with torch.no_grad():
        expected = SemanticMACForAffect.from_pretrained(checkpoint).eval()(**inputs)
    assert found["modalities"] == modalities and list(found["subtasks"]) == ["shared", *modalities]
    assert found["score"] == pytest.approx(expected.logits.item(), abs=1e-5)
    for position, view in enumerate(("shared", "text", "audio", "vision")):
        if view in found["subtasks"]:
            assert found["subtasks"][view]["score"] == pytest.approx(
                expected.subtask_logits[0, position].item(), abs=1e-5
            )
    assert json.loads(json.dumps(found)) == found
    assert (found["media"] is None) == (source is None)


def test_modalities_that_are_not_wanted_are_as_if_missing(pipe, media):
    clip = {"video": str(media / "both.mp4"), "text": "good day"}
    found = pipe(clip, modalities=["audio", "text"])
    alike = pipe({"audio": clip["video"], "text": "good day"})
    assert found["modalities"] == ["text", "audio"] and found["media"]["missing"] == {"vision": "left out as asked"}
    assert {**found, "media": 0} == {**alike, "media": 0}
    assert pipe(clip, modalities=["vision"])["subtasks"].keys() == {"shared", "vision"}
    with pytest.raises(ValueError, match="the model reads vision here"):
        pipe({"text": "good day"}, modalities=["vision"])
    with pytest.raises(ValueError, match="modalities has 'face'"):
        pipe(clip, modalities=["face"])


def test_sound_of_another_file_replaces_the_video_s(pipe, checkpoint, media):
    found = pipe({"video": str(media / "both.mp4"), "audio": str(media / "voice.wav")})
    processor = SemanticMACProcessor.from_pretrained(checkpoint)
    picture, sound = processor(media=media / "both.mp4"), processor(media=media / "voice.wav")
    inputs = {name: picture[name] for name in ("pixel_values", "vision_mask")}
    inputs |= {name: sound[name] for name in ("input_features", "audio_mask")}
    with torch.no_grad():
        expected = SemanticMACForAffect.from_pretrained(checkpoint).eval()(**inputs)
    assert found["score"] == pytest.approx(expected.logits.item(), abs=1e-5)
    assert found["media"]["path"].endswith("both.mp4") and found["media"]["audio"].endswith("voice.wav")


def test_a_cut_is_the_processor_s(pipe, checkpoint, media):
    found = pipe({"video": str(media / "both.mp4"), "start": 0.5, "end": 2.0, "crop": "left"})
    cut = {"path": str(media / "both.mp4"), "start": 0.5, "end": 2.0, "crop": "left"}
    assert found["score"] == pytest.approx(by_hand(checkpoint, media=cut).logits.item(), abs=1e-5)
    assert {name: found["media"][name] for name in ("start", "end", "duration")} == {
        "start": 0.5,
        "end": 2.0,
        "duration": 1.5,
    }


def test_a_folder_a_list_and_bytes_are_the_same_clips(pipe, media):
    names = ["both.mp4", "silent.mkv", "voice.wav"]
    one_by_one = [pipe(str(media / name)) for name in names]
    assert [os.path.basename(r["media"]["path"]) for r in pipe(media)] == names
    batched = pipe(str(media), batch_size=3)
    assert [list(r["subtasks"]) for r in batched] == [list(r["subtasks"]) for r in one_by_one]
    for several in (batched, pipe([(media / name).read_bytes() for name in names], batch_size=2)):
        for alone, together in zip(one_by_one, several, strict=True):
            torch.testing.assert_close(scores([alone]), scores([together]), atol=1e-5, rtol=0)
    assert one_by_one[1]["media"]["missing"] == {"audio": "no audio stream"}


def test_clips_that_lack_different_things_share_a_batch(pipe, media):
    clips = [
        {"text": "good day"},
        {"video": str(media / "both.mp4")},
        {"audio": str(media / "voice.wav"), "text": "bad"},
        {"video": str(media / "silent.mkv"), "text": "fine day talk"},
    ]
    alone = [pipe(clip) for clip in clips]
    for batch_size, given in ((4, clips), (3, (clip for clip in clips))):
        for one, several in zip(alone, pipe(given, batch_size=batch_size), strict=True):
            assert one["modalities"] == several["modalities"]
            torch.testing.assert_close(scores([one]), scores([several]), atol=1e-5, rtol=0)


def test_processes_that_decode_change_nothing(pipe, media):
    clips = [str(media / "both.mp4"), "gone.mp4", {"text": "good"}]
    found = pipe(clips, on_error="skip", num_workers=1, batch_size=3)
    assert found[1] == pipe(clips[1:2], on_error="skip")[0]
    torch.testing.assert_close(scores(found[:1]), scores([pipe(clips[0])]), atol=1e-5, rtol=0)
    with pytest.raises(MediaError, match="gone.mp4: there is no such file"):
        pipe(clips, num_workers=1)


def test_bad_clips_raise_or_are_skipped(pipe, media, tmp_path):
    broken = random_bytes(tmp_path / "broken.mp4")
    clips = [str(media / "silent.mkv"), str(broken), "no such file", {"text": "good"}, {"text": " "}]
    with pytest.raises(MediaError, match="broken.mp4: this is not a video"):
        pipe(clips)
    found = pipe(clips, on_error="skip", batch_size=2)
    assert ["error" in result for result in found] == [False, True, True, False, True]
    assert found[1]["media"] == str(broken) and "not a video" in found[1]["error"]
    assert 'give words as {"text": "..."}' in found[2]["error"]
    assert "nothing to predict from" in found[4]["error"]
    assert pipe(clips[1:3], on_error="skip")[0] == found[1]


@pytest.mark.parametrize(
    "given, message",
    [
        (7, "given as int; expected a path"),
        ({"vido": "x.mp4"}, "unknown field 'vido'"),
        ({"text": "good", "context": "one string"}, "expected a list of the earlier utterances"),
        ({"text": "good", "context": [1]}, "expected a list of the earlier utterances"),
        ({"text": 7}, "text is 7; expected words"),
        ({"text": "good", "start": float("nan")}, "start is nan; expected a number of seconds"),
        ({"text": "good", "end": "7"}, "end is '7'; expected a number of seconds"),
        (b"", "empty"),
        ({}, "nothing to predict from"),
        ("http://127.0.0.1:9/clip.mp4", "allow_download=True"),
    ],
)
def test_what_cannot_be_understood_is_said(pipe, given, message):
    with pytest.raises(ValueError, match=message):
        pipe(given)


def test_arguments_are_checked(pipe, media, tmp_path):
    with pytest.raises(ValueError, match='expected "raise" or "skip"'):
        pipe({"text": "good"}, on_error="ignore")
    with pytest.raises(TypeError, match="no argument 'time'"):
        pipe({"text": "good"}, time=True)
    with pytest.raises(ValueError, match="holds no video or sound file"):
        pipe(tmp_path)
    assert pipe([]) == []
    with pytest.raises(MediaError, match="lasts 3.0 s, the limit is 2 s"):
        pipe(str(media / "both.mp4"), max_seconds=2)
    assert pipe({"video": str(media / "both.mp4"), "end": 1.5}, max_seconds=2)["media"]["end"] == 1.5


@pytest.fixture
def address(media):
    """A server of this machine that gives one file, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            found = self.path == "/clip.mkv"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write((media / "silent.mkv").read_bytes() if found else b"")

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_is_read_only_when_allowed(pipe, media, address):
    found = pipe(f"{address}/clip.mkv", allow_download=True)
    assert found["score"] == pytest.approx(pipe(str(media / "silent.mkv"))["score"], abs=1e-6)
    assert found["media"]["path"] == f"{address}/clip.mkv"
    with pytest.raises(MediaError, match="cannot be downloaded .*404"):
        pipe(f"{address}/other.mkv", allow_download=True)
    with pytest.raises(ValueError, match="nothing is downloaded"):
        pipe(f"{address}/clip.mkv")


def test_saving_includes_processor_and_towers_and_names_the_pipeline(pipe, media, tmp_path):
    pipe.save_pretrained(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["custom_pipelines"]["video-affect"]["impl"] == "pipeline_semanticmac.SemanticMACPipeline"
    assert not hasattr(pipe.model.config, "custom_pipelines")
    again = pipeline("video-affect", model=str(tmp_path / "saved"), device="cpu")  # no trust: the package is imported
    assert type(again) is SemanticMACPipeline
    clip = {"video": str(media / "both.mp4"), "text": "good day"}
    assert again(clip) == pipe(clip)


def test_a_model_in_training_predicts_without_dropout(checkpoint, pipe):
    model = SemanticMACForAffect.from_pretrained(checkpoint).train()
    trained = pipeline("video-affect", model=model, processor=pipe.processor, device="cpu")
    assert trained({"text": "good day"}) == pipe({"text": "good day"})


def test_timings_are_those_of_the_stages(pipe, media):
    found = pipe([str(media / "both.mp4"), {"text": "good"}], timings=True, batch_size=2)
    assert all(set(result["timings"]) == {"decode", "encode", "model"} for result in found)
    assert found[0]["timings"]["decode"] > found[1]["timings"]["decode"] > 0
    assert found[0]["timings"]["encode"] == found[1]["timings"]["encode"] > 0
    assert "timings" not in pipe({"text": "good"})


def test_bfloat16(checkpoint, pipe, media):
    half = pipeline("video-affect", model=str(checkpoint), device="cpu", dtype=torch.bfloat16)
    clip = {"video": str(media / "both.mp4"), "text": "good day"}
    assert half.model.dtype == torch.bfloat16
    torch.testing.assert_close(scores([half(clip)]), scores([pipe(clip)]), atol=0.1, rtol=0.1)


def test_a_model_that_reads_only_words(tmp_path, media):
    words = pipeline("video-affect", model=str(save_tiny_checkpoint(tmp_path, modalities=())), device="cpu")
    found = words({"video": str(media / "both.mp4"), "text": "good day"})
    assert found["modalities"] == ["text"] and set(found["media"]["missing"]) == {"vision", "audio"}
    assert found["score"] == words({"text": "good day"})["score"]
    with pytest.raises(ValueError, match="nothing to predict from; the model reads text here"):
        words(str(media / "both.mp4"))


def test_several_labels_use_the_thresholds_that_the_configuration_has(tmp_path):
    labels = pipeline("video-affect", model=str(save_tiny_checkpoint(tmp_path, EMOTIONS, modalities=())), device="cpu")
    found = labels({"text": "good day"})
    shares = found["probabilities"]
    assert list(shares) == ["happy", "sad", "angry"]
    assert found["labels"] == [name for name in shares if shares[name] > 0.5]
    labels.model.config.label_thresholds = [(1 + shares["happy"]) / 2, shares["sad"] / 2, 0.0]
    found = labels({"text": "good day"})
    assert found["labels"] == ["sad", "angry"] and "angry" in found["subtasks"]["text"]["labels"]
    labels.save_pretrained(tmp_path / "saved")
    again = pipeline("video-affect", model=str(tmp_path / "saved"), device="cpu")
    assert again({"text": "good day"}) == found


def test_the_example(checkpoint, media, pipe, monkeypatch, capsys):
    video = str(media / "both.mp4")
    monkeypatch.setattr("sys.argv", ["predict.py", video, str(checkpoint), "good", "day"])
    runpy.run_path(str(PROJECT / "examples" / "predict.py"), run_name="__main__")
    expected = pipe({"video": video, "text": "good day"})
    first, *views = capsys.readouterr().out.splitlines()
    assert first == f"all together: {expected['score']}"
    assert [view.partition(":")[0] for view in views] == ["shared", "text", "audio", "vision"]


def test_another_kind_of_model_is_refused(pipe):
    base = pipe.model.base_model
    with pytest.raises(ValueError, match="needs a SemanticMAC model with its predictors"):
        SemanticMACPipeline(model=base, processor=pipe.processor, device=-1)


def test_files_and_threads_are_given_back(pipe, media):
    pipe(str(media), batch_size=3)
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc to count open files")
    files, threads = os.listdir("/proc/self/fd"), threading.active_count()
    for _ in range(5):
        pipe([str(media / "both.mp4"), "gone", str(media / "notes.txt")], on_error="skip")
    assert len(os.listdir("/proc/self/fd")) == len(files) and threading.active_count() == threads


def test_the_pipeline_of_frames_alone_is_refused_in_a_sentence(checkpoint, media):
    """It would answer from the first frames of the picture, without sound and text."""
    frames = pipeline("video-classification", model=str(checkpoint), device="cpu")
    with pytest.raises(AttributeError, match='reads text and sound too.*use pipeline."video-affect", model=...'):
        frames(str(media / "both.mp4"))
    assert not hasattr(frames.model.config, "num_frames")
