"""The command line of extraction."""

import json
import logging

import pytest
import torch
from transformers import SiglipVisionConfig, SiglipVisionModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from modeling_semanticmac import SemanticMACForAffect, embedding_extraction
from modeling_semanticmac.embedding_extraction.command import ExtractionArguments, main, media_clips
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.embedding_store.fingerprint import make_fingerprint
from modeling_semanticmac.feature_extraction_imagebind import ImageBindFeatureExtractor
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor
from tests.helpers.extraction_cases import (
    AUDIO_WIDTH,
    PICTURES,
    VISION_WIDTH,
    clip,
    tiny_processor,
    tiny_towers,
    write_clips,
)
from tests.helpers.tiny import tiny_config


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    return save_towers(tmp_path_factory.mktemp("towers"))


def save_towers(folder) -> list[str]:
    """Save the tiny towers with their front ends, and return the arguments that name them."""
    for modality, tower in tiny_towers().items():
        tower.save_pretrained(folder / modality)
    ImageBindImageProcessor(size=28).save_pretrained(folder / "vision")
    ImageBindFeatureExtractor(num_mel_bins=32).save_pretrained(folder / "audio")
    return [f"--vision_encoder={folder / 'vision'}", f"--audio_encoder={folder / 'audio'}"]


@pytest.fixture
def media(tmp_path):
    folder = tmp_path / "media"
    write_clips(folder / "day", [0.4, 1.0])
    (folder / "notes.TXT").write_text("no media")
    (folder / ".hidden.mp4").write_bytes(b"")
    (folder / "unknown").write_bytes(b"what is this?")
    return folder


def test_a_folder_of_media(towers, media, tmp_path, capsys, caplog):
    words = [
        "--media",
        str(media),
        "--embeddings_dir",
        str(tmp_path / "store"),
        "--num_workers=0",
        "--device=cpu",
        *towers,
    ]
    with caplog.at_level(logging.INFO):
        assert main(words) == 0
    printed = capsys.readouterr().out
    assert "unknown: failed: not media: this is not a video or sound file" in printed
    assert (
        "encoded" in printed
        and "2 file(s) are not media by their names and are left out: .hidden.mp4, notes.TXT" in caplog.text
    )
    store = EmbeddingStore(tmp_path / "store")
    assert sorted(store) == ["day/0.mp4", "day/1.mp4", "unknown"]
    # The same as from Python.
    rows = [clip("day/0.mp4", media / "day/0.mp4"), clip("day/1.mp4", media / "day/1.mp4")]
    embedding_extraction.extract_embeddings(
        rows, tiny_processor(), tiny_towers(), tmp_path / "other", num_workers=0, device="cpu"
    )
    other = EmbeddingStore(tmp_path / "other")
    for row in rows:
        assert all(torch.equal(one, two) for one, two in zip(store[row["id"]], other[row["id"]]))
    assert json.loads((tmp_path / "store" / "report.json").read_text())["done"] == 2


def test_options_reach_the_extraction(towers, media, tmp_path):
    words = [
        "--media",
        str(media / "day/0.mp4"),
        str(media / "day/1.mp4"),
        "--embeddings_dir",
        str(tmp_path / "store"),
        *towers,
    ]
    options = [
        "--frames_per_second=4",
        "--num_crops=3",
        "--audio_window=1",
        "--dtype=bfloat16",
        "--shard_clips=1",
        "--max_seconds=0.7",
        "--batch_size=2",
        "--num_workers=0",
        "--device=cpu",
    ]
    assert main([*words, *options]) == 0
    store = EmbeddingStore(tmp_path / "store")
    assert [tuple(map(len, store[name])) for name in ("0.mp4", "1.mp4")] == [(2, 6), (0, 0)]
    assert store.status("1.mp4").reason == "over the length limit" and store.fingerprint["dtype"] == "bfloat16"
    assert len(list((tmp_path / "store" / "shards").iterdir())) == 2
    assert store.fingerprint["audio"]["window"] == 1.0 and store.fingerprint["sampling"]["frames_per_second"] == 4.0


def test_the_towers_and_sampling_of_a_model(media, tmp_path):
    """A checkpoint that brings its towers along gives the store that they give by themselves."""
    towers = tiny_towers()
    model = SemanticMACForAffect(tiny_config(audio_width=AUDIO_WIDTH, vision_width=VISION_WIDTH))
    model.semanticmac.set_encoders(**towers)
    model.save_pretrained(tmp_path / "model", include_encoders=True)
    tiny_processor(frames_per_second=4.0).save_pretrained(tmp_path / "model")
    words = ["--media", str(media / "day"), "--num_workers=0", "--device=cpu", f"--model={tmp_path / 'model'}"]
    assert main([*words, f"--embeddings_dir={tmp_path / 'store'}"]) == 0
    store = EmbeddingStore(tmp_path / "store", make_fingerprint(tiny_processor(frames_per_second=4.0), towers))
    assert [tuple(map(len, store[name])) for name in ("0.mp4", "1.mp4")] == [(2, 2), (4, 4)]


def test_a_corpus(towers, tmp_path, monkeypatch, capsys):
    rows = write_clips(tmp_path / "clips", [0.4, 0.6])
    asked = []

    def load_corpus(*args, **options):
        asked.append((args, options))
        return {"train": rows[:1], "validation": rows[1:], "test": None}

    monkeypatch.setattr("datasets_scripts.loading.load_corpus", load_corpus)
    words = [
        "--corpus=meld",
        "--data_dir=MELD",
        "--task=emotion",
        '--corpus_options={"fold": 2}',
        "--splits",
        "train",
        "validation",
    ]
    assert main([*words, f"--embeddings_dir={tmp_path / 'store'}", "--num_workers=0", "--device=cpu", *towers]) == 0
    assert asked == [(("meld", "MELD", "emotion"), {"fold": 2})]
    assert sorted(EmbeddingStore(tmp_path / "store")) == ["clip_0", "clip_1"]
    printed = capsys.readouterr().out
    assert printed.index("train\nclips") < printed.index("validation\nclips")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vision_encoder=v"], "give either --corpus (with --data_dir) or --media"),
        (["--media=x", "--corpus=y", "--vision_encoder=v"], "give either --corpus"),
        (["--corpus=y", "--vision_encoder=v"], "--corpus needs --data_dir"),
        (["--media=x"], "give either --model, or --vision_encoder"),
        (["--media=x", "--model=m", "--audio_encoder=a"], "give either --model, or"),
        (["--media=x", "--model=m", "--num_frames=3"], "--num_frames is set by the model"),
        (
            ["--corpus=y", "--data_dir=d", "--model=m", "--splits=dev"],
            "unknown split(s) dev; expected train, validation, test",
        ),
    ],
)
def test_arguments_that_cannot_be(words, message, capsys):
    assert main(["--embeddings_dir=e", *words]) == 1
    assert f"error: {message}" in capsys.readouterr().err


def test_crops_of_another_front_end_are_not_set(tmp_path, media, capsys):
    SiglipVisionModel(SiglipVisionConfig(**PICTURES)).save_pretrained(tmp_path / "siglip")
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "siglip")
    words = [f"--vision_encoder={tmp_path / 'siglip'}", "--num_crops=3", "--media", str(media), "--embeddings_dir=e"]
    assert main(words) == 1
    expected = "error: --num_crops belongs to ImageBind's image processor; SiglipImageProcessorPil crops in its own way"
    assert expected in capsys.readouterr().err


def test_what_cannot_be_done_is_one_line(towers, media, tmp_path, capsys):
    assert main(["--media", str(tmp_path / "nothing"), f"--embeddings_dir={tmp_path / 's'}", *towers]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: there is neither a file nor a folder") and error.count("\n") == 1


def test_files_of_one_name_are_refused(tmp_path):
    for folder in "ab":
        write_clips(tmp_path / folder, [0.2])
    with pytest.raises(ValueError, match="would both be clip '0.mp4'"):
        media_clips([tmp_path / "a", tmp_path / "b"])
    assert [row["id"] for row in media_clips([tmp_path])] == ["a/0.mp4", "b/0.mp4"]


def test_help_says_what_each_argument_is():
    from dataclasses import fields

    assert all(field.metadata["help"] for field in fields(ExtractionArguments))
