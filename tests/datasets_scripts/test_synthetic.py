"""The synthetic corpus: what is planted, what follows from it, what is on disk, and that random towers can find it."""

import csv
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV

from datasets_scripts import load_corpus, synthetic_rendering
from datasets_scripts.__main__ import main
from datasets_scripts.synthetic import plant_corpus, render
from datasets_scripts.synthetic_face import Expression, draw_camera, draw_frame, draw_head
from datasets_scripts.synthetic_rendering import FRAME_RATE, perform
from datasets_scripts.synthetic_scores import (
    GRADED_WORDS,
    emotion_label,
    plant_clip,
    sarcasm_label,
    sentiment_label,
    write_text,
)
from datasets_scripts.synthetic_voice import SAMPLING_RATE, Voice, draw_voice, speak
from modeling_semanticmac.configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from modeling_semanticmac.feature_extraction_imagebind import ImageBindFeatureExtractor
from modeling_semanticmac.files.media_writing import write_video
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor
from modeling_semanticmac.modeling_imagebind import ImageBindAudioModel, ImageBindVisionModel

SIZES = {"train": 7, "validation": 2, "test": 2}
TOWER = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "projection_dim": 64,
    "initializer_range": 0.1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small corpus, rendered once."""
    return render(tmp_path_factory.mktemp("synthetic"), num_proc=1, **SIZES)


@pytest.fixture(scope="module")
def planted():
    """Many clips, planted and not rendered, by the default settings."""
    rows = [plant_clip(np.random.default_rng([1, index]), 1 / 3) for index in range(3000)]
    return rows, np.array([row.scores for row in rows])


def test_the_words_carry_their_score(planted):
    valence = {word: score for score, words in GRADED_WORDS.items() for word in words}
    for row in planted[0][:300]:
        graded = [valence[word] for word in row.text.split() if word in valence]
        assert row.scores[0] == pytest.approx(np.mean(graded), abs=1e-3) and len(graded) in (2, 3)
    vocabulary = {word for row in planted[0] for word in row.text.split()}
    assert len(vocabulary) < 100 and valence.keys() <= vocabulary


@pytest.mark.parametrize("score", [-3.0, -1.7, 0.0, 0.4, 2.2, 3.0])
def test_a_text_comes_close_to_the_score_asked_for(score):
    found = [write_text(score, np.random.default_rng(seed))[1] for seed in range(50)]
    assert np.abs(np.array(found) - score).max() <= 0.5


def test_scores_agree_except_in_the_stated_share(planted):
    rows, scores = planted
    odd = np.array([row.contradicts for row in rows])
    assert np.abs(scores).max() <= 3 and np.mean(odd != "") == pytest.approx(1 / 3, abs=0.03)
    agree = scores[odd == ""]
    assert np.corrcoef(agree.T).min() > 0.9
    for index, name in enumerate(("text", "audio", "vision")):
        assert np.mean(odd == name) == pytest.approx(1 / 9, abs=0.02)
        others = np.delete(scores[odd == name], index, axis=1)
        clear = np.abs(others).min(axis=1) > 1.5  # where the mood itself is not near zero
        assert (np.sign(others[clear, 0]) == -np.sign(scores[odd == name][clear, index])).all()
    assert not any(plant_clip(np.random.default_rng(seed), 0.0).contradicts for seed in range(50))


def test_no_modality_alone_explains_the_label(planted):
    scores = planted[1]
    label = np.array([sentiment_label(tuple(row)) for row in scores])
    assert np.allclose(label, np.clip(0.45 * scores[:, 0] + 0.3 * scores[:, 1] + 0.25 * scores[:, 2], -3, 3))
    text, audio, vision = np.corrcoef(label, scores.T)[0, 1:]
    assert 0.85 < text < 0.92 and 0.72 < vision < audio < 0.85


@pytest.mark.parametrize(
    "scores, sentiment, emotions, sarcasm",
    [
        ((2.0, 1.0, 1.5), 1.575, [1, 0, 1, 0], "not_sarcastic"),
        ((-2.0, -1.0, -1.0), -1.45, [0, 1, 0, 1], "not_sarcastic"),
        ((2.0, -1.5, -1.0), 0.2, [0, 0, 0, 0], "sarcastic"),
        ((-1.0, 0.4, 0.0), -0.33, [0, 0, 0, 0], "not_sarcastic"),
        ((-1.0, 0.5, 3.0), 0.45, [1, 0, 1, 0], "sarcastic"),
        ((-3.0, -3.0, -3.0), -3.0, [0, 1, 0, 1], "not_sarcastic"),
    ],
)
def test_labels_by_hand(scores, sentiment, emotions, sarcasm):
    assert sentiment_label(scores) == pytest.approx(sentiment)
    assert emotion_label(scores) == emotions and sarcasm_label(scores) == sarcasm


def pitch(sound: np.ndarray) -> float:
    """Hz, by the highest peak of the autocorrelation between 70 and 400 Hz."""
    spectrum = np.abs(np.fft.rfft(sound, 2 * len(sound))) ** 2
    lags = np.fft.irfft(spectrum)[SAMPLING_RATE // 400 : SAMPLING_RATE // 70]
    return SAMPLING_RATE / (SAMPLING_RATE // 400 + lags.argmax())


def test_the_voice_carries_its_score():
    voice = Voice(pitch=150.0, formant_scale=1.0, gain=0.0)
    found = []
    for score in (-3, -1, 1, 3):
        sound, envelope = speak(score, voice, 5.0, np.random.default_rng(0))
        assert (
            len(sound) == len(envelope) == 5 * SAMPLING_RATE and np.abs(sound).max() < 1 and 0.9 < envelope.max() <= 1
        )
        loudness = 10 * np.log10(np.mean(sound[envelope > 0] ** 2))
        syllables = int(np.sum((envelope[1:] > 0) & (envelope[:-1] == 0)))
        found.append((loudness, pitch(sound), syllables))
        assert loudness == pytest.approx(-27 + 4 * score, abs=1.5)
        assert found[-1][1] == pytest.approx(150 * 2 ** (score * 0.8 / 6), rel=0.12)
    assert sorted(found) == found and [row[2] for row in found] == sorted({row[2] for row in found})


def test_the_mouth_follows_the_voice():
    _, envelope = speak(1.0, draw_voice(np.random.default_rng(0)), 4.0, np.random.default_rng(1))
    frames = perform(1.0, envelope, 4 * FRAME_RATE, np.random.default_rng(2))
    expected = [envelope[int((index + 0.5) / FRAME_RATE * SAMPLING_RATE)] for index in range(4 * FRAME_RATE)]
    assert [frame.opening for frame in frames] == expected and 0 < np.mean(expected) < 1
    assert np.mean([frame.score for frame in frames]) == pytest.approx(1.0, abs=0.2)
    head, camera = draw_head(np.random.default_rng(0)), draw_camera(np.random.default_rng(0))
    dark = [(draw_frame(head, camera, Expression(0.0, opening)).sum(axis=2) < 160).sum() for opening in (0, 0.5, 1)]
    assert dark == sorted(set(dark))  # the inside of the mouth is the darkest there is


def embed(model, inputs: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(model(inputs).embeds, dim=-1).numpy()


def explained(train, test, train_scores, test_scores) -> float:
    """R^2 on speakers that were not seen, of a linear model on one frame's embedding."""
    return RidgeCV(np.logspace(-6, 3, 19)).fit(train, train_scores).score(test, test_scores)


def test_a_random_frozen_tower_finds_the_score_of_the_face():
    """Random towers know nothing of positions: what they see is how much there is of what.

    The face must show its score that way too.
    """
    torch.manual_seed(0)
    model = ImageBindVisionModel(ImageBindVisionConfig(**TOWER)).eval()
    generator = np.random.default_rng(0)
    scores = generator.uniform(-3, 3, 330)
    frames = []
    for index, score in enumerate(scores):
        head, camera = draw_head(np.random.default_rng([1, index // 6])), draw_camera(generator)
        frames.append(draw_frame(head, camera, Expression(score, generator.uniform(), generator.normal(0, 0.03))))
    pixels = ImageBindImageProcessor()(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2))["pixel_values"]
    embeds = np.concatenate([embed(model, part) for part in pixels.split(66)])
    assert explained(embeds[:240], embeds[240:], scores[:240], scores[240:]) > 0.6


def test_a_random_frozen_tower_finds_the_score_of_the_voice():
    torch.manual_seed(0)
    model = ImageBindAudioModel(ImageBindAudioConfig(**TOWER)).eval()
    generator = np.random.default_rng(0)
    scores = generator.uniform(-3, 3, 200)
    voices = [draw_voice(np.random.default_rng([1, index // 5])) for index in range(200)]
    windows = np.stack([speak(score, voice, 2.0, generator)[0] for score, voice in zip(scores, voices)])
    embeds = embed(model, ImageBindFeatureExtractor()(windows, SAMPLING_RATE)["input_features"])
    assert explained(embeds[:140], embeds[140:], scores[:140], scores[140:]) > 0.8


def test_files_are_real_media(folder):
    paths = sorted((folder / "clips").iterdir())
    assert len(paths) == sum(SIZES.values())
    for path in paths:
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert (video.width, video.height, video.average_rate, audio.rate) == (160, 160, FRAME_RATE, SAMPLING_RATE)
            seconds = float(video.duration * video.time_base)
            assert 2.0 <= seconds <= 6.0 and float(audio.duration * audio.time_base) == pytest.approx(seconds, abs=0.1)
            assert len(list(container.decode(video=0))) == round(seconds * FRAME_RATE)
        assert path.stat().st_size < 200_000


def test_the_picture_and_the_sound_of_a_file_are_those_drawn(tmp_path):
    head, camera = draw_head(np.random.default_rng(0)), draw_camera(np.random.default_rng(0))
    frames = [draw_frame(head, camera, Expression(score)) for score in (-3, 0, 3) for _ in range(6)]
    sound = np.sin(2 * np.pi * 440 * np.arange(24000) / SAMPLING_RATE).astype(np.float32) * 0.5
    write_video(tmp_path / "clip.mp4", frames, FRAME_RATE, sound, SAMPLING_RATE)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24").astype(float) for frame in container.decode(video=0)]
    with av.open(str(tmp_path / "clip.mp4")) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(decoded) == 18 and max(np.abs(a - b).mean() for a, b in zip(decoded, frames)) < 8
    peak = np.abs(np.fft.rfft(heard[4000:20000])).argmax() * SAMPLING_RATE / 16000
    assert peak == pytest.approx(440, abs=2) and np.sqrt(np.mean(heard[4000:20000] ** 2)) == pytest.approx(
        0.3536, rel=0.03
    )


def test_a_failure_leaves_no_file(tmp_path, folder):
    def frames():
        yield np.zeros((160, 160, 3), np.uint8)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_video(tmp_path / "clip.mp4", frames(), FRAME_RATE, np.zeros(16000, np.float32), SAMPLING_RATE)
    assert not list(tmp_path.iterdir())


def test_columns_of_every_task(folder, tmp_path):
    with open(folder / "clips.csv", newline="", encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    for task, function in (("sentiment", sentiment_label), ("emotion", emotion_label), ("sarcasm", sarcasm_label)):
        corpus = load_corpus("synthetic", folder, task, cache_dir=tmp_path, num_proc=1)
        assert {split: len(clips) for split, clips in corpus.items()} == SIZES
        for clip in (clip for split in corpus.values() for clip in split):
            row = rows[clip["id"]]
            scores = tuple(float(row[name]) for name in ("label_text", "label_audio", "label_vision"))
            expected = function(scores)
            expected = ["not_sarcastic", "sarcastic"].index(expected) if task == "sarcasm" else expected
            assert clip["label"] == (pytest.approx(expected) if task == "sentiment" else expected)
            assert (clip["label_text"], clip["label_audio"], clip["label_vision"]) == pytest.approx(scores)
            assert clip["text"] == row["text"] and clip["media"]["path"] == str(folder / "clips" / f"{clip['id']}.mp4")
    assert corpus["train"]["speaker"] == ["train_speaker_000"] * 6 + ["train_speaker_001"]


def contents(folder) -> dict:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".mp4", ".csv", ".json")}


def test_same_settings_same_bytes(folder, tmp_path):
    assert contents(render(tmp_path / "again", num_proc=2, **SIZES)) == contents(folder)
    longer = contents(render(tmp_path / "longer", num_proc=1, train=2, validation=3, test=1))
    for name in ("train_0001.mp4", "validation_0001.mp4", "test_0000.mp4"):
        assert longer[name] == contents(folder)[name]
    other = contents(render(tmp_path / "other", num_proc=1, seed=1, train=1, validation=1, test=1))
    assert not any(other[name] == contents(folder)[name] for name in other)


def test_an_interrupted_rendering_goes_on(folder, tmp_path, monkeypatch):
    def stop_after(count):
        def render_clip(path, *args):
            nonlocal count
            if not count:
                raise KeyboardInterrupt
            count -= 1
            rendered.append(path.name)
            original(path, *args)

        monkeypatch.setattr(synthetic_rendering, "render_clip", render_clip)

    rendered, original = [], synthetic_rendering.render_clip
    stop_after(4)
    with pytest.raises(KeyboardInterrupt):
        render(tmp_path, num_proc=1, **SIZES)
    assert len(rendered) == 4 and not (tmp_path / "clips.csv").exists()
    stop_after(100)
    render(tmp_path, num_proc=1)  # the sizes are those that the folder holds
    assert len(rendered) == len(set(rendered)) == sum(SIZES.values()) and contents(tmp_path) == contents(folder)
    (tmp_path / "clips/test_0001.mp4").unlink()
    load_corpus("synthetic", tmp_path, cache_dir=tmp_path / "cache", num_proc=1, **SIZES)
    assert (
        rendered[sum(SIZES.values()) :] == ["test_0001.mp4"] and contents(folder).items() <= contents(tmp_path).items()
    )


def test_two_who_ask_at_the_same_time_render_once(tmp_path, monkeypatch):
    rendered, original = [], synthetic_rendering.render_clip
    monkeypatch.setattr(
        synthetic_rendering, "render_clip", lambda path, *args: (rendered.append(path), original(path, *args))
    )
    sizes = {"train": 3, "validation": 1, "test": 1}
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(render, tmp_path, 1, **sizes) for _ in range(3)]
    assert [future.result() for future in found] == [tmp_path] * 3
    assert len(rendered) == 5 == len(list((tmp_path / "clips").iterdir()))


def test_who_looks_while_another_begins_waits_for_it(tmp_path, monkeypatch):
    """The settings appear between the first look for them and the look into the folder."""
    sizes = {"train": 1, "validation": 1, "test": 1}
    listed = os.listdir

    def begun_meanwhile(folder):
        monkeypatch.setattr(os, "listdir", listed)
        render(tmp_path, 1, **sizes)
        return listed(folder)

    monkeypatch.setattr(os, "listdir", begun_meanwhile)
    assert render(tmp_path, 1, **sizes) == tmp_path and len(list((tmp_path / "clips").iterdir())) == 3


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"seed": 1}, "holds a synthetic corpus with seed=0; requested seed=1"),
        ({"train": 8}, "with train=7; requested train=8"),
        ({"contradiction_share": 0.5}, "requested contradiction_share=0.5"),
        ({"sed": 1}, "unknown option 'sed' of synthetic; known: .*Did you mean 'seed'"),
    ],
)
def test_a_folder_that_holds_something_else(folder, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        load_corpus("synthetic", folder, cache_dir=tmp_path, **settings)


def test_settings_that_cannot_be(tmp_path):
    for settings, message in (
        ({"train": 0}, "at least 1"),
        ({"contradiction_share": 1.5}, "from 0 to 1"),
        ({"label_weights": [0.5, 0.5, 0.5]}, "add up to 1"),
        ({"label_weights": [0.5, 0.5]}, "expected three numbers"),
        ({"sed": 1}, "sed"),
    ):
        with pytest.raises(ValueError, match=message):
            render(tmp_path, num_proc=1, **settings)
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(ValueError, match="is not empty and does not hold a synthetic corpus .thesis.doc."):
        render(tmp_path, num_proc=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def test_share_and_seed_change_what_is_planted():
    base = {"train": 60, "validation": 1, "test": 1, "seed": 0, "contradiction_share": 0.0}
    assert not any(row["contradicts"] for row in plant_corpus(base))
    assert sum(row["contradicts"] != "" for row in plant_corpus({**base, "contradiction_share": 1.0})) == 62
    texts = {seed: [row["text"] for row in plant_corpus({**base, "seed": seed})] for seed in (0, 1)}
    assert texts[0] != texts[1]


def test_label_weights_change_the_labels_and_no_clip(folder, tmp_path):
    """Words count nothing, the voice a quarter, the face three quarters."""
    shutil.copytree(folder, tmp_path / "corpus")
    settings = json.loads((folder / "corpus.json").read_text())
    del settings["label_weights"]  # as a folder from before there was this setting
    (tmp_path / "corpus" / "corpus.json").write_text(json.dumps(settings))
    usual = load_corpus("synthetic", tmp_path / "corpus", cache_dir=tmp_path / "cache", label_weights=[0.45, 0.3, 0.25])
    (tmp_path / "corpus" / "corpus.json").write_text(json.dumps({**settings, "label_weights": [0.0, 0.25, 0.75]}))
    other = load_corpus("synthetic", tmp_path / "corpus", cache_dir=tmp_path / "cache")
    for split in usual:
        for before, clip in zip(usual[split], other[split]):
            assert clip["label"] == pytest.approx(0.25 * clip["label_audio"] + 0.75 * clip["label_vision"])
            assert {**before, "label": None} == {**clip, "label": None}
        assert usual[split]["label"] != other[split]["label"]
    with pytest.raises(ValueError, match="requested label_weights"):
        load_corpus("synthetic", tmp_path / "corpus", cache_dir=tmp_path / "cache", label_weights=[1.0, 0.0, 0.0])


def test_command_line(tmp_path, capsys):
    words = ["--train", "1", "--validation", "1", "--test", "1", "--num_proc", "1"]
    main(["synthetic", str(tmp_path / "corpus"), *words, "--label_weights", "0.2", "0.2", "0.6"])
    assert json.loads((tmp_path / "corpus" / "corpus.json").read_text())["label_weights"] == [0.2, 0.2, 0.6]
    assert "holds the corpus" in capsys.readouterr().out and len(list((tmp_path / "corpus/clips").iterdir())) == 3
    assert main(["synthetic", str(tmp_path / "corpus"), "--seed", "7"]) == 2
    assert "requested seed=7" in capsys.readouterr().err
