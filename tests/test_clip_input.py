"""What users of the Hugging Face libraries pass for a clip: answered as the file is, or refused by its type."""

import io
import math
from pathlib import Path

import datasets
import fsspec
import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from transformers import pipeline

from modeling_semanticmac.clip_input import CLIP_FIELDS, as_clip
from modeling_semanticmac.media_decoding import open_media
from modeling_semanticmac.media_info import MediaError
from tests.helpers.media_files import tone, write_media
from tests.helpers.timelines import with_tracks
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    model = save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return pipeline("video-affect", model=str(model), device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return write_media(tmp_path_factory.mktemp("media with blank") / "both.mp4", seconds=2.0)


@pytest.fixture(scope="module")
def voice(video) -> Path:
    return write_media(video.parent / "voice.wav", 2.0, picture=None, sound=tone(300.0), sound_codec="pcm_s16le")


@pytest.fixture(scope="module")
def expected(pipe, video, voice):
    """The predictions of the files."""
    return {"video": pipe(str(video)), "audio": pipe({"audio": str(voice)})}


def same(found, expected):
    assert found["score"] == pytest.approx(expected["score"], abs=1e-5)
    assert found["modalities"] == expected["modalities"]
    return True


class Decoder:
    """A decoder as `datasets` returns it: it keeps what it decodes."""

    def __init__(self, **encoded):
        self._hf_encoded = {"path": None, "bytes": None, **encoded}


class AudioDecoder:
    """A decoder of torchcodec that somebody opened."""

    def __init__(self, path):
        self.path = path

    def get_all_samples(self):
        with open_media(self.path, "pyav") as media:
            sound = media.waveform(sampling_rate=16000)
        return type("AudioSamples", (), {"data": sound[None], "sample_rate": 16000})()


def stored(path):
    """The bytes of a file under an address of a file system in memory."""
    with fsspec.open("memory://clips/both.mp4", "wb") as file:
        file.write(path.read_bytes())
    return "memory://clips/both.mp4"


VIDEOS = {
    "path": lambda path: path,
    "file address": lambda path: path.as_uri(),
    "fsspec address": stored,
    "open media": open_media,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "open file": lambda path: open(path, "rb"),  # noqa: SIM115
    "undecoded by path": lambda path: {"path": str(path), "bytes": None},
    "undecoded by bytes": lambda path: {"path": "gone.mp4", "bytes": path.read_bytes()},
    "decoder by path": lambda path: Decoder(path=str(path)),
    "decoder by bytes": lambda path: Decoder(bytes=path.read_bytes()),
}


@pytest.mark.parametrize("kind", VIDEOS)
def test_every_form_of_a_video_is_the_file(pipe, video, expected, kind):
    value = VIDEOS[kind](video)
    assert same(pipe(value), expected["video"]) and same(pipe({"video": VIDEOS[kind](video)}), expected["video"])
    if hasattr(value, "closed"):
        assert not value.closed and same(pipe(value), expected["video"])  # again from its beginning
        value.close()


@pytest.mark.parametrize("field", ["audio", "video"])
def test_samples_of_sound_are_the_file(pipe, voice, expected, field):
    with open_media(voice, "pyav") as media:
        samples = media.waveform(sampling_rate=16000)
    for array in (samples, samples.numpy(), samples.tolist(), samples[None].repeat(2, 1)):
        found = pipe({field: {"array": array, "sampling_rate": 16000}})
        assert same(found, expected["audio"]) and found["media"]["duration"] == pytest.approx(2.0)
    assert same(pipe({field: {"path": None, "array": samples.numpy(), "sampling_rate": 16000}}), expected["audio"])
    assert same(pipe({field: AudioDecoder(voice)}), expected["audio"])
    cut = {"start": 0.5, "end": 1.5}
    assert same(pipe({"audio": {"array": samples, "sampling_rate": 16000}, **cut}), pipe({"audio": str(voice), **cut}))


def test_frames_with_their_rate_are_the_picture(pipe, video, voice):
    with open_media(video, "pyav") as media:
        frames = media.frames([(number + 0.5) / 25 for number in range(50)])  # uint8 (50, 3, H, W)
    alone = pipe({"video": str(video)}, modalities=["vision"])
    pictures = [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in frames]
    for given in (frames, frames.numpy(), frames.permute(0, 2, 3, 1).numpy(), pictures, list(frames)):
        found = pipe({"video": {"frames": given, "fps": 25}})
        assert same(found, alone) and found["media"]["missing"] == {"audio": "no audio stream"}
    cut = {"start": 0.5, "end": 1.7, "crop": "left"}
    one = pipe({"video": {"frames": frames, "fps": 25}, **cut})
    assert same(one, pipe({"video": str(video), **cut}, modalities=["vision"]))
    both = pipe({"video": {"frames": frames, "fps": 25}, "audio": str(voice)})
    assert same(both, pipe({"video": str(video), "audio": str(voice)})) and both["media"]["audio"] == str(voice)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((8, 4, 4, 3), np.uint8), "video is a ndarray of 8, and when they are shown is not known"),
        (torch.zeros(8, 3, 4, 4), "video is a Tensor of 8, and when"),
        ([Image.new("RGB", (4, 4))] * 3, "video is a list of 3, and when they are shown is not known; give .*fps"),
        (object(), "video is given as object; expected a path"),
        (7, "video is given as int; expected a path, an address, bytes, an open file"),
        (io.StringIO("words"), "video is an open file of str; open it in binary mode"),
        ({"frames": np.zeros((2, 4, 4, 3)), "fps": 2}, r"a frame is torch.float64 \(3, 4, 4\); expected uint8"),
        ({"frames": [], "fps": 2}, "video has 0 frames at 2 a second"),
        ({"frames": [1], "fps": 0}, "video has 1 frames at 0 a second"),
        ({"array": [0.0, 0.1], "sampling_rate": None}, "sampling_rate is None; expected the samples a second"),
        (
            {"array": np.zeros(99, np.int16), "sampling_rate": 16000},
            "the samples are int16; expected floats from -1 to 1",
        ),
        ({"array": np.full(99, 3e4), "sampling_rate": 16000}, "the samples reach 30000; expected floats from -1 to 1"),
        (
            {"array": np.zeros((99, 2)), "sampling_rate": 16000},
            r"the samples have shape \(99, 2\); expected .samples,.",
        ),
        ({"url": "x"}, "video is a dict with url; expected a path"),
        (b"", "the file is empty"),
        ("s3://bucket/clip.mp4", "nothing is downloaded unless allow_download=True"),
        ("memory://clips/none.mp4", "memory://clips/none.mp4: it cannot be downloaded"),
        ("file:///no/such/clip.mp4", "/no/such/clip.mp4: there is no such file"),
    ],
)
def test_what_is_no_clip_is_refused_by_its_type(pipe, value, message):
    with pytest.raises(ValueError, match=message):
        pipe({"video": value})
    answer = pipe([{"video": value}], on_error="skip")[0]
    assert set(answer) == {"error", "media"} and len(answer["media"]) < 100


def test_nothing_in_its_forms_is_nothing(pipe):
    words = pipe({"text": "good day"})
    for nothing in (None, "", math.nan, np.float64("nan"), pandas.NA, pandas.NaT, {"path": None, "bytes": None}):
        assert same(pipe({"video": nothing, "audio": nothing, "text": "good day"}), words)
    assert as_clip({"text": math.nan, "video": None, "context": math.nan}) == {
        **dict.fromkeys(CLIP_FIELDS),
        "context": [],
        "context_speakers": [],
    }


def test_the_sound_track_is_chosen(pipe, tmp_path):
    """The first of two is silent."""
    one = write_media(tmp_path / "one.mka", 2.0, picture=None, sound=tone(300.0))
    silence = write_media(tmp_path / "silence.mka", 2.0, picture=None, sound=lambda seconds: 0 * seconds)
    both = with_tracks(tmp_path / "both.mka", silence, one)
    assert same(pipe({"audio": str(both), "audio_stream": 1}), pipe({"audio": str(one)}))
    media = {"path": str(both), "audio_stream": 1}
    assert same(pipe({"media": media, "label": 1.0}), pipe({"audio": str(one)}))
    with pytest.raises(MediaError, match="sound tracks?"):
        pipe({"audio": str(both), "audio_stream": 2})


# Whole tables


@pytest.fixture(scope="module")
def table(video, voice):
    return {"id": ["a", "b", "c"], "video": [str(video), None, None], "audio": [None, str(voice), None],
            "text": ["good day", None, "bad"], "label": [1.0, 0.0, -1.0]}  # fmt: skip


@pytest.fixture(scope="module")
def answers(pipe, table):
    clips = [dict(zip(table, row)) for row in zip(*table.values())]
    return [pipe({name: clip[name] for name in ("video", "audio", "text")}) for clip in clips]


@pytest.mark.parametrize(
    "kind", ["Dataset", "with features", "IterableDataset", "DataFrame", "row by row", "corpus rows"]
)
def test_a_whole_table_with_its_labels(pipe, table, answers, kind):
    dataset = datasets.Dataset.from_dict(table)
    typed = dataset.cast_column("video", datasets.Video()).cast_column("audio", datasets.Audio())
    paths = [path or sound for path, sound in zip(table["video"], table["audio"])]
    media = [{"path": path, "start": None, "end": None, "crop": None} for path in paths]
    given = {
        "Dataset": dataset,
        "with features": typed,
        "IterableDataset": typed.to_iterable_dataset(),
        "DataFrame": pandas.DataFrame(table),
        "row by row": [row for _, row in pandas.DataFrame(table).iterrows()],
        "corpus rows": [
            {"id": "x", "label": 1.0, "text": text, "context": [], "media": one}
            for text, one in zip(table["text"], media)
        ],
    }[kind]  # fmt: skip
    found = list(pipe(given, batch_size=2))
    assert len(found) == 3 and all(same(one, other) for one, other in zip(found, answers))


def test_tables_without_clips_and_typing_errors(pipe, table, caplog):
    with pytest.raises(ValueError, match="a DatasetDict of the splits train, test; give one of them"):
        pipe(datasets.DatasetDict({name: datasets.Dataset.from_dict(table) for name in ("train", "test")}))
    with pytest.raises(ValueError, match="the table has the columns vido, label; expected some of video"):
        pipe(datasets.Dataset.from_dict({"vido": ["a.mp4"], "label": [1]}))
    assert len(list(pipe(datasets.Dataset.from_dict({"text": ["good"], "vido": ["a.mp4"], "label": [1]})))) == 1
    assert "Columns that are not read: vido; read are text" in caplog.text
    with pytest.raises(MediaError, match="no such file"):
        list(pipe(pandas.DataFrame({"video": ["gone.mp4"]})))
