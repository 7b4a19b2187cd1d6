"""Pictures of one colour and silent sound count as missing; a chosen sound track reaches processor and store."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, pipeline

from modeling_semanticmac.clip_sampling import MediaClip
from modeling_semanticmac.embedding_store import EmbeddingStore, FingerprintError
from tests.helpers.extraction_cases import clip, extract, tiny_processor, tiny_towers
from tests.helpers.media_files import numbered, tone, write_media, write_tracks
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint

NOTES = ["the picture is one colour throughout", "the sound is silent throughout"]


@pytest.fixture(scope="module")
def processor():
    """A processor of tiny sizes."""
    return tiny_processor()


@pytest.fixture(scope="module")
def towers():
    """Towers that fit the processor."""
    return tiny_towers()


@pytest.fixture(scope="module")
def black(tmp_path_factory) -> Path:
    """A second of black with digital silence, as a muted call without a camera is recorded."""
    nothing = np.zeros((64, 96, 3), dtype=np.uint8)
    return write_media(
        tmp_path_factory.mktemp("black") / "black.mp4", 1.0, picture=lambda number: nothing, sound=tone(level=0.0)
    )


def test_a_black_picture_and_silence_count_as_missing(processor, black, plain):
    encoded = processor.encode_media(black)
    assert encoded["pixel_values"] is None and encoded["input_features"] is None
    assert encoded["report"]["missing"] == {
        "vision": "no picture: one colour throughout",
        "audio": "no sound: silent throughout",
    }
    assert encoded["report"]["notes"] == NOTES
    batch = processor(text=["good", "bad"], media=[black, plain])
    assert batch["vision_mask"].any(dim=1).tolist() == batch["audio_mask"].any(dim=1).tolist() == [False, True]
    assert set(processor(text="good", media=black)) == {"input_ids", "attention_mask"}
    with pytest.raises(ValueError, match="clip 0 of the batch has no text, no picture and no sound"):
        processor(media=black)


def test_a_real_black_recording(processor, shared):
    report = processor.encode_media(shared / "cases" / "black.mp4")["report"]
    assert set(report["missing"]) == {"vision", "audio"} and report["notes"] == NOTES


@pytest.mark.parametrize("side, missing", [("left", True), ("right", False), (None, False)])
def test_the_half_that_is_used_decides(processor, tmp_path, side, missing):
    picture = numbered(255)
    picture[:, :48] = 0
    path = write_media(tmp_path / "half.mkv", 1.0, picture=lambda number: picture, sound_codec="flac")
    report = processor.encode_media({"path": path, "crop": side})["report"]
    assert ("vision" in report["missing"]) == missing


def test_a_picture_that_appears_once_is_one(plain, tmp_path):
    """Pieces of the beginning are of one colour; the whole is not."""
    processor, blank = tiny_processor(), np.zeros((64, 96, 3), dtype=np.uint8)
    path = write_media(
        tmp_path / "late.mkv",
        3.0,
        picture=lambda number: numbered(number) if number > 60 else blank,
        sound_codec="flac",
    )
    with MediaClip(path) as clip:
        assert [len(piece) for piece in processor.iter_vision(clip, chunk=2)] == [2, 2, 2] and not clip.notes


def test_blank_arrays_count_as_missing(processor):
    frames, sound = np.zeros((2, 64, 96, 3), dtype=np.uint8), np.zeros(16000, dtype=np.float32)
    assert set(processor(text="good", frames=frames, waveform=sound, sampling_rate=16000)) == {
        "input_ids",
        "attention_mask",
    }
    both = np.stack([tone()(np.arange(16000) / 16000), -tone()(np.arange(16000) / 16000)])
    opposite = processor(waveform=both, sampling_rate=16000)["input_features"]
    assert torch.equal(opposite, processor(waveform=both[0], sampling_rate=16000)["input_features"])


def test_the_processor_chooses_the_sound_track(tmp_path):
    path = write_tracks(tmp_path / "tracks.mkv", [tone(level=0.0), tone(700)], 1.0)
    first, second = tiny_processor(), tiny_processor(audio_stream=1)
    assert first.encode_media(path)["report"]["missing"]["audio"] == "no sound: silent throughout"
    found = second.encode_media(path)
    assert found["input_features"] is not None and "1 is used" in found["report"]["notes"][0]
    per_clip = first.encode_media({"path": path, "audio_stream": 1})
    assert torch.equal(per_clip["input_features"], found["input_features"])
    second.save_pretrained(tmp_path / "saved")
    assert AutoProcessor.from_pretrained(tmp_path / "saved").audio_stream == 1
    with pytest.raises(ValueError, match="audio_stream is -1; expected None, or the number of a sound track"):
        tiny_processor(audio_stream=-1)


# Extraction


def test_extraction_stores_nothing_of_blank_media(processor, towers, black, tmp_path):
    half = write_media(tmp_path / "half.mp4", 1.0, sound=tone(level=0.0))
    report = extract([clip("black", black), clip("half", half)], processor, towers, tmp_path / "store")
    store = EmbeddingStore(tmp_path / "store")
    assert report.failed == {"no sound: silent throughout": 1} and report.done == 1
    record = store.status("half")
    assert (record.status, record.reason, record.vision, record.audio) == (
        "partial",
        "no sound: silent throughout",
        2,
        0,
    )
    assert record.note == "the sound is silent throughout"
    assert store.status("black").status == "failed" and all(note in store.status("black").note for note in NOTES)


def test_the_sound_track_is_part_of_the_fingerprint_and_of_the_content(towers, tmp_path):
    path = write_tracks(tmp_path / "tracks.mkv", [tone(300), tone(700)], 1.0)
    chosen = {"id": "chosen", "media": {"path": str(path), "start": None, "end": None, "crop": None, "audio_stream": 1}}
    one, two = tiny_processor(), tiny_processor(audio_stream=1)
    extract([clip("plain", path), chosen], one, {"audio": towers["audio"]}, tmp_path / "one")
    extract([clip("plain", path)], two, {"audio": towers["audio"]}, tmp_path / "two")
    first, second = EmbeddingStore(tmp_path / "one"), EmbeddingStore(tmp_path / "two")
    assert first.fingerprint["audio"]["audio_stream"] is None and second.fingerprint["audio"]["audio_stream"] == 1
    assert not torch.equal(first["plain"][0], second["plain"][0]) and torch.equal(
        first["chosen"][0], second["plain"][0]
    )
    assert first.status("plain").content_hash + ":1" == first.status("chosen").content_hash
    with pytest.raises(FingerprintError, match="audio.audio_stream"):
        extract([clip("plain", path)], two, {"audio": towers["audio"]}, tmp_path / "one")


def test_the_pipeline_chooses_the_sound_track(tmp_path):
    path = str(write_tracks(tmp_path / "tracks.mkv", [tone(level=0.0), tone(700)], 1.0))
    pipe = pipeline("video-affect", model=str(save_tiny_checkpoint(tmp_path / "model")), device="cpu")
    heard = {}
    for track in (None, 1):
        result = pipe({"video": path, "text": "good"}, **({} if track is None else {"audio_stream": track}))
        heard[track] = result["modalities"], result["media"]["missing"].get("audio")
    assert heard == {None: (["text"], "no sound: silent throughout"), 1: (["text", "audio"], None)}
    assert pipe.processor.audio_stream is None
