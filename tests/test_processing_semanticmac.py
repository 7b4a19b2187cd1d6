"""Files and arrays to tensors, against the front ends called by hand on known frames and samples."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor

from modeling_semanticmac import ImageBindFeatureExtractor, ImageBindImageProcessor, SemanticMACProcessor
from modeling_semanticmac.clip_sampling import MediaClip
from modeling_semanticmac.media_decoding import MediaError, open_media
from tests.helpers.media_files import cut, numbered, odd_media, tone, write_media
from tests.helpers.tiny import word_tokenizer

SIZE = 32


def make_processor(num_crops: int = 1, **settings) -> SemanticMACProcessor:
    images = ImageBindImageProcessor(size=SIZE, num_crops=num_crops)
    return SemanticMACProcessor(images, ImageBindFeatureExtractor(), word_tokenizer(), **settings)


@pytest.fixture(scope="module")
def processor():
    return make_processor()


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """2.2 s, 25 numbered frames a second, lossless sound at 16 kHz."""
    return write_media(tmp_path_factory.mktemp("media") / "plain.mkv", seconds=2.2, sound_codec="flac")


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> dict[str, Path]:
    return odd_media(tmp_path_factory.mktemp("odd"))


def frames_of(path: Path, times: list[float]) -> torch.Tensor:
    with open_media(path, "pyav") as media:
        return media.frames(times)


# One clip


def test_a_file_is_sampled_at_the_stated_times(processor, plain):
    batch = processor(media=plain)
    expected = processor.image_processor(frames_of(plain, [0.25, 0.75, 1.25, 1.75, 2.199]))["pixel_values"]
    assert batch["pixel_values"].shape == (1, 5, 3, SIZE, SIZE) and torch.equal(batch["pixel_values"][0], expected)
    assert batch["vision_mask"].tolist() == batch["audio_mask"].tolist() == [[1] * 5]
    with open_media(plain, "pyav") as media:
        sound = media.waveform()
    windows = [sound[round(start * 16000) : round(start * 16000) + 32000] for start in (0, 0.05, 0.1, 0.15, 0.2)]
    expected = processor.feature_extractor(windows, sampling_rate=16000)["input_features"]
    assert batch["input_features"].shape == (1, 5, 1, 128, 204)
    assert torch.allclose(batch["input_features"][0], expected, atol=1e-5)
    assert set(batch) == {"pixel_values", "vision_mask", "input_features", "audio_mask"}


def test_a_cut_and_a_half_of_the_picture(processor, plain):
    batch = processor(media={"path": str(plain), "start": 0.5, "end": 1.6, "crop": "left"})
    frames = frames_of(plain, [0.75, 1.25, 1.599])
    assert torch.equal(batch["pixel_values"][0], processor.image_processor(frames, side="left")["pixel_values"])
    whole = processor(media={"path": str(plain), "start": 0.5, "end": 1.6, "crop": None})
    assert torch.equal(whole["pixel_values"][0], processor.image_processor(frames)["pixel_values"])


def test_text_media_and_context_together(processor, plain):
    batch = processor(text="a good film", media=plain, context=["bad day", "it was"])
    tokens = processor.tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist())
    assert " ".join(tokens) == "[CLS] bad day [SEP] it was [SEP] a good film [SEP]"
    assert batch["pixel_values"].shape[:2] == (1, 5)
    assert set(batch) <= set(processor.model_input_names)


def test_arrays_are_as_good_as_a_file(processor, plain):
    with open_media(plain, "pyav") as media:
        sound, frames = media.waveform(), media.frames([0.25, 0.75, 1.25, 1.75, 2.199])
    from_file = processor(media=plain)
    for pictures in (frames, frames.numpy(), frames.permute(0, 2, 3, 1)):
        from_arrays = processor(frames=pictures, waveform=sound, sampling_rate=16000)
        for name in from_file:
            assert torch.allclose(from_arrays[name], from_file[name], atol=1e-5), name


def test_sound_of_another_rate_and_of_two_channels(processor):
    seconds = np.arange(2 * 44100) / 44100
    both = np.stack([tone(300, 0.6)(seconds), tone(700, 0.2)(seconds)])
    mono = 0.5 * (tone(300, 0.6)(np.arange(32000) / 16000) + tone(700, 0.2)(np.arange(32000) / 16000))
    stereo = processor(waveform=both, sampling_rate=44100)["input_features"]
    expected = processor(waveform=mono, sampling_rate=16000)["input_features"]
    # Loud bands agree; the quiet ones hold what the resampler leaves at the ends.
    assert stereo.shape == expected.shape == (1, 4, 1, 128, 204)
    loud = expected > expected.max() - 0.7
    assert torch.allclose(stereo[loud], expected[loud], atol=0.02)


def test_the_shortest_clip(processor, tmp_path):
    path = write_media(tmp_path / "short.mkv", 0.04, sound_codec="flac")
    batch = processor(media=path)
    assert batch["pixel_values"].shape[:2] == (1, 1) and batch["input_features"].shape[:2] == (1, 1)
    assert all(torch.isfinite(value).all() for value in batch.values())


def test_fixed_number_rate_and_window(plain):
    assert make_processor(num_frames=3)(media=plain)["vision_mask"].shape == (1, 3)
    assert make_processor(frames_per_second=5.0)(media=plain)["audio_mask"].shape == (1, 11)
    batch = make_processor(audio_window=1.0)(media=plain)
    padding = (0 - -4.268) / 9.138
    assert torch.allclose(batch["input_features"][0, :, 0, :, 98:], torch.tensor(padding))  # 1 s has 98 frames
    assert not torch.allclose(batch["input_features"][0, :, 0, :, 97], torch.tensor(padding))


@pytest.mark.parametrize("num_crops", [1, 3])
def test_windows_of_two_frames(plain, num_crops):
    processor = make_processor(num_crops, vision_window="clip")
    batch = processor(media=plain)
    assert batch["pixel_values"].shape == (1, 5 * num_crops, 3, 2, SIZE, SIZE)
    around = [(0.0, 0.5), (0.5, 1.0), (1.0, 1.5), (1.5, 2.0), (1.949, 2.199)]
    for step, times in enumerate(around):
        for offset, time in enumerate(times):
            crops = processor.image_processor(frames_of(plain, [time]))["pixel_values"]
            assert torch.equal(batch["pixel_values"][0, step * num_crops : (step + 1) * num_crops, :, offset], crops)
    pairs = torch.stack([frames_of(plain, list(times)) for times in around])  # (T, 2, 3, H, W)
    assert torch.equal(processor(frames=pairs)["pixel_values"], batch["pixel_values"])


def test_crops_of_one_time_lie_next_to_each_other(plain):
    processor = make_processor(num_crops=3)
    batch = processor(media=plain)
    assert batch["pixel_values"].shape[1] == batch["vision_mask"].shape[1] == 15 and batch["audio_mask"].shape[1] == 5
    second = processor.image_processor(frames_of(plain, [0.75]))["pixel_values"]
    assert torch.equal(batch["pixel_values"][0, 3:6], second)


def test_pieces_are_the_whole(plain):
    processor = make_processor(num_crops=2)
    whole = processor(media=plain)
    with MediaClip(plain) as clip:
        pictures, sounds = list(processor.iter_vision(clip, chunk=2)), list(processor.iter_audio(clip, chunk=2))
    assert [len(piece) for piece in pictures] == [4, 4, 2] and [len(piece) for piece in sounds] == [2, 2, 1]
    assert torch.equal(torch.cat(pictures), whole["pixel_values"][0])
    assert torch.equal(torch.cat(sounds), whole["input_features"][0])


# Batches


def test_a_batch_is_its_clips_padded(processor, plain):
    short = {"path": str(plain), "start": 0.0, "end": 1.0}
    batch = processor(text=["good", "a bad day"], media=[plain, short], context=[[], ["fine"]])
    for row, (text, media, context) in enumerate((("good", plain, []), ("a bad day", short, ["fine"]))):
        alone = processor(text=text, media=media, context=context)
        for name, mask in (
            ("input_ids", "attention_mask"),
            ("pixel_values", "vision_mask"),
            ("input_features", "audio_mask"),
        ):
            assert torch.equal(batch[name][row][batch[mask][row].bool()], alone[name][0]), name
            assert int(batch[mask][row].sum()) == alone[mask].shape[1]
    assert batch["vision_mask"].tolist() == [[1] * 5, [1, 1, 0, 0, 0]]


def test_what_a_clip_lacks_is_a_row_of_zeros(processor, plain, odd):
    nothing = {"path": "", "start": None, "end": None, "crop": None}
    batch = processor(text=["good", None, "bad"], media=[nothing, odd["no video"], odd["no audio"]])
    assert batch["attention_mask"].any(dim=1).tolist() == [True, False, True]
    assert batch["vision_mask"].any(dim=1).tolist() == [False, False, True]
    assert batch["audio_mask"].any(dim=1).tolist() == [False, True, False]


def test_what_the_whole_batch_lacks_is_left_out(processor, odd):
    assert set(processor(text="good")) == {"input_ids", "attention_mask"}
    assert set(processor(media=odd["no video"])) == {"input_features", "audio_mask"}
    assert set(processor(text=["", None], media=[odd["no audio"]] * 2)) == {"pixel_values", "vision_mask"}


def test_numpy(processor, plain):
    batch = processor(text="good", media=plain, return_tensors="np")
    assert all(isinstance(value, np.ndarray) for value in batch.values())
    with pytest.raises(ValueError, match="return_tensors is 'tf'"):
        processor(text="good", return_tensors="tf")


def test_padding_and_length_of_the_text(processor):
    assert processor(text="good bad fine", padding="max_length", max_length=9)["input_ids"].shape == (1, 9)
    assert make_processor(max_length=5)(text="good bad fine awful great poor")["input_ids"].shape == (1, 5)


# What does not work


def test_nothing_at_all(processor, plain):
    with pytest.raises(ValueError, match="clip 1 of the batch has no text, no picture and no sound; give at least one"):
        processor(text=["good", ""], media=[plain, None])
    with pytest.raises(ValueError, match="clip 0 of the batch has no text"):
        processor()
    with pytest.raises(ValueError, match="the batch is empty"):
        processor(text=[])


@pytest.mark.parametrize(
    "kind, reason", [("missing", "no file"), ("text", "not media"), ("empty", "not media"), ("cut", "truncated")]
)
def test_files_that_cannot_be_used(processor, plain, tmp_path, kind, reason):
    path = tmp_path / f"{kind}.mp4"
    if kind == "text":
        path.write_text("not a video " * 100)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        cut(write_media(tmp_path / "whole.mp4", 1.0), path)
    with pytest.raises(MediaError) as caught:
        processor(text="good", media=path)
    message = str(caught.value)
    assert (
        caught.value.reason == reason
        and message.startswith(str(path))
        and message.endswith(".")
        and "\n" not in message
    )


def test_a_file_cut_off_in_the_middle_gives_what_it_has(processor, odd):
    encoded = processor.encode_media(odd["cut mp4"])
    assert len(encoded["pixel_values"]) == len(encoded["input_features"]) == 5  # of 8
    assert encoded["report"]["duration"] == pytest.approx(2.4, abs=0.05)
    assert any("truncated at 2.4 s of 4.0 s" in note for note in encoded["report"]["notes"])


def test_each_odd_file_answers_or_says_why_not(processor, odd):
    answers = {}
    for kind, path in odd.items():
        try:
            encoded = processor.encode_media(path)
            answers[kind] = (encoded["pixel_values"] is not None, encoded["input_features"] is not None)
            assert set(encoded["report"]["missing"]) == {
                name for name, there in zip(("vision", "audio"), answers[kind]) if not there
            }
        except MediaError as error:
            answers[kind] = error.reason
    both, picture, sound = (True, True), (True, False), (False, True)
    assert answers == {
        "zero bytes": "not media", "random bytes": "not media", "cut mp4": both, "cut mkv": both, "no audio": picture,
        "no video": sound, "one frame": picture, "variable rate": both, "rotated": both, "10-bit HEVC": both,
        "5.1 audio": both, "wrong extension": both,
    }  # fmt: skip


def test_pictures_that_cannot_be_decoded_leave_the_sound(processor, tmp_path):
    path = write_media(tmp_path / "half.mkv", 1.0, sound_codec="flac")
    with open_media(path, "pyav") as media:
        assert media.info.video
    data = path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/AVX")
    encoded = processor.encode_media(data)
    assert encoded["pixel_values"] is None and len(encoded["input_features"]) == 2
    assert encoded["report"]["missing"] == {"vision": "no video stream"} and "unknown" in encoded["report"]["notes"][0]


def test_arguments_that_do_not_fit(processor, plain):
    frames, sound = np.stack([numbered(0)] * 2), np.zeros(16000, dtype=np.float32)
    wrong = {
        "both media and arrays": {"media": plain, "frames": frames},
        r"different numbers of clips \(2 of text, 1 of media\)": {"text": ["a", "b"], "media": [plain]},
        "media is one clip's and text a list": {"text": ["a"], "media": plain},
        "without sampling_rate": {"waveform": sound},
        "the waveform has shape": {"waveform": np.zeros((1, 2, 3), dtype=np.float32), "sampling_rate": 16000},
        "there is no frame": {"frames": frames[:0]},
        "1 contexts for 2 texts": {"text": ["a", "b"], "context": [["c"]]},
    }
    for message, arguments in wrong.items():
        with pytest.raises(ValueError, match=message):
            processor(**arguments)
    with pytest.raises(ValueError, match="expected pairs"):
        make_processor(vision_window="clip")(frames=frames)


@pytest.mark.parametrize(
    "settings",
    [
        {"vision_window": "video"},
        {"frames_per_second": 0},
        {"num_frames": 0},
        {"audio_window": -1.0},
        {"max_length": 0},
    ],
)
def test_settings_out_of_range(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} is .*expected"):
        make_processor(**settings)


# Saving

SETTINGS = {"frames_per_second": 4.0, "num_frames": 6, "vision_window": "clip", "audio_window": 1.0, "max_length": 40}


def test_saved_and_loaded(tmp_path, plain):
    processor = make_processor(num_crops=3, **SETTINGS)
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is SemanticMACProcessor
    assert {name: getattr(loaded, name) for name in SETTINGS} == SETTINGS
    before, after = (each(text="a good film", media=plain, context=["bad"]) for each in (processor, loaded))
    assert set(before) == set(after) and all(torch.equal(before[name], after[name]) for name in before)
    changed = AutoProcessor.from_pretrained(tmp_path, num_frames=2, vision_window="image")
    assert changed(media=plain)["pixel_values"].shape == (1, 6, 3, SIZE, SIZE)  # 2 times of 3 crops


REMOTE = """
import json, sys, torch
from transformers import AutoProcessor
processor = AutoProcessor.from_pretrained(sys.argv[1], trust_remote_code=True)
batch = processor(text="a good film", media=sys.argv[2], context=["bad"])
torch.save(dict(batch), sys.argv[3])
print(json.dumps([type(processor).__module__, "modeling_semanticmac" in sys.modules]))
"""


@pytest.mark.slow
def test_loaded_as_remote_code_without_the_package(tmp_path, plain):
    processor = make_processor(**SETTINGS)
    processor.save_pretrained(tmp_path / "saved")
    (tmp_path / "script.py").write_text(REMOTE)
    arguments = [str(tmp_path / name) for name in ("script.py", "saved")] + [str(plain), str(tmp_path / "batch.pt")]
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": "",
        "OMP_NUM_THREADS": "1",
    }
    run = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    module, imported = json.loads(run.stdout.splitlines()[-1])
    assert module.startswith("transformers_modules.") and not imported
    remote, here = torch.load(tmp_path / "batch.pt"), processor(text="a good film", media=plain, context=["bad"])
    assert set(remote) == set(here) and all(torch.equal(remote[name], here[name]) for name in here)
