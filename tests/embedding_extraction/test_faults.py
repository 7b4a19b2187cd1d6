"""Extraction: faults of decoders and encoders, precision, memory, progress, reports."""

import json
import os

import datasets
import pytest
import torch

from modeling_semanticmac.embedding_extraction.clip_decoding import ClipReader, ClipTask
from modeling_semanticmac.embedding_extraction.frame_packing import Clip, FramePacker
from modeling_semanticmac.embedding_extraction.report import usable_clips
from modeling_semanticmac.embedding_extraction.worker_processes import read_pieces
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.embedding_store.fingerprint import FingerprintError
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor
from modeling_semanticmac.tower_precision import prepare_encoder
from tests.helpers.extraction_cases import (
    VISION_WIDTH,
    Untouched,
    assert_adds_up,
    clip,
    extract,
    tiny_processor,
    untouched,
)
from tests.helpers.media_files import tone, write_media

HALF = {"rtol": 2e-3, "atol": 2e-3}  # two units in the last place of half precision
SECONDS = [0.2, 1.0, 2.6, 5.2, 0.6, 3.1]


def test_pairs_of_frames(clips, towers, tmp_path):
    extract(clips[1:2], tiny_processor(vision_window="clip"), towers, tmp_path)
    encoded = tiny_processor(vision_window="clip").encode_media(clips[1]["media"])
    assert encoded["pixel_values"].ndim == 5
    expected = towers["vision"](encoded["pixel_values"]).embeds
    torch.testing.assert_close(EmbeddingStore(tmp_path)["clip_1"][1].float(), expected, **HALF)


class Faulty(SemanticMACProcessor):
    """A processor whose decoding of some files goes wrong in a way that nobody foresaw."""

    fault = None

    def iter_vision(self, clip, chunk=32):
        yield next(super().iter_vision(clip, 1))  # the fault comes in the middle
        if clip.media.info.path.endswith(("2.mp4", "4.mp4")):
            if self.fault == "error":
                raise RuntimeError("the decoder is confused")
            os.kill(os.getpid(), 9)
        yield from super().iter_vision(clip, chunk)


def faulty(fault: str) -> Faulty:
    plain = tiny_processor()
    broken = Faulty(plain.image_processor, plain.feature_extractor, plain.tokenizer)
    broken.fault = fault
    return broken


@pytest.mark.parametrize(
    ("fault", "note"), [("error", "RuntimeError: the decoder is confused"), ("death", "the decoding process died")]
)
@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_decoder_that_fails_or_dies_takes_only_its_clip(clips, towers, tmp_path, fault, note, num_workers):
    report = extract(clips, faulty(fault), towers, tmp_path, num_workers=num_workers)
    assert_adds_up(report, len(clips))
    assert report.failed == {"cannot decode": 2} and report.done == len(clips) - 2
    store = EmbeddingStore(tmp_path)
    for row in report.clips:
        assert row["id"] in ("clip_2", "clip_4") and row["note"].startswith(note)
        assert [len(stream) for stream in store[row["id"]]] == [0, 0]
    assert len(store["clip_5"][0]) == 7
    # Mended, the two are tried again; what had been encoded stays.
    again = extract(clips, tiny_processor(), towers, tmp_path)
    assert (again.done, again.reused) == (2, 4)


def test_an_encoder_that_fails_loses_nothing(clips, processor, towers, tmp_path):
    class Tired(Untouched):
        calls = 0

        def forward(self, inputs):
            self.calls += 1
            if self.calls > 2:
                raise RuntimeError("out of memory")
            return self.tower(inputs)

    with pytest.raises(RuntimeError, match="out of memory"):
        extract(clips, processor, {"vision": Tired(towers["vision"])}, tmp_path, batch_size=4)
    assert {"clip_0", "clip_1"} <= set(EmbeddingStore(tmp_path)) and len(EmbeddingStore(tmp_path)) < len(clips)


def test_values_that_half_precision_cannot_hold_are_named(clips, processor, towers, tmp_path):
    class Loud(Untouched):
        def forward(self, inputs):
            output = self.tower(inputs)
            output.embeds = output.embeds * 1e6
            return output

    report = extract(clips[:2], processor, {"vision": Loud(towers["vision"]), "audio": towers["audio"]}, tmp_path)
    assert report.failed == {"not finite": 2} and "vision encoder" in report.clips[0]["note"]
    assert [len(stream) for stream in EmbeddingStore(tmp_path)["clip_0"]] == [0, 0]


def test_two_clips_of_one_id_are_refused(clips, processor, towers, tmp_path):
    with pytest.raises(ValueError, match="two clips have the id 'clip_0'"):
        extract([clips[0], clips[0]], processor, towers, tmp_path)
    assert not list(tmp_path.iterdir())


def test_lower_precision(clips, processor, towers, tmp_path):
    """bfloat16 is that of autocast, its name is in the fingerprint, and a store keeps its own."""
    extract(clips, processor, towers, tmp_path, dtype=torch.bfloat16)
    store = EmbeddingStore(tmp_path)
    assert store.fingerprint["dtype"] == "bfloat16"
    assert all(p.dtype == torch.float32 for tower in towers.values() for p in tower.parameters())
    inputs = processor.encode_media(clips[3]["media"])["pixel_values"]
    exact = towers["vision"](inputs).embeds
    with torch.autocast("cpu", torch.bfloat16):
        cast = towers["vision"](inputs).embeds.float()
    found = store["clip_3"][1].float()
    torch.testing.assert_close(found, cast, rtol=2e-2, atol=2e-2)
    assert 1e-4 < (found - exact).abs().max() / exact.abs().max() < 3e-2
    assert extract(clips, processor, untouched(towers), tmp_path).reused == len(clips)
    with pytest.raises(FingerprintError, match="dtype: it has 'bfloat16', requested is 'float32'"):
        extract(clips, processor, towers, tmp_path, dtype=torch.float32)


@pytest.mark.parametrize("modality", ["vision", "audio"])
def test_matrices_cast_once_are_those_that_autocast_casts(towers, modality):
    torch.manual_seed(0)
    inputs = torch.randn((5, 3, 28, 28) if modality == "vision" else (5, 1, 32, 204))
    with torch.autocast("cpu", torch.bfloat16):
        expected = towers[modality](inputs).embeds
        found = prepare_encoder(towers[modality], torch.device("cpu"), torch.bfloat16)(inputs.bfloat16()).embeds
    assert torch.equal(found, expected)


def test_memory_is_bounded_on_a_long_clip(tmp_path, towers):
    """More than five minutes, 640 steps: no piece and no queue grows with the length."""
    path = write_media(tmp_path / "long.mp4", 320.0, rate=1, sound=tone(), sampling_rate=8000)
    processor, steps = tiny_processor(), 16
    packer = FramePacker("vision", towers["vision"], 32, torch.float32)
    reader = ClipReader([ClipTask(0, "long", clip("long", path)["media"])], processor, ("vision", "audio"), steps=steps)
    long, most, audio = Clip(0), 0, 0
    for piece in reader:
        if piece.modality == "vision":
            assert len(piece.inputs) <= steps
            packer.put(long, piece.inputs)
            most = max(most, long.waiting)
        elif piece.modality == "audio":
            assert len(piece.inputs) <= steps
            audio += len(piece.inputs)
    packer.finish()
    long.end = piece
    assert most < 32 + steps and audio == 640 and long.take("vision").shape == (640, VISION_WIDTH)


@pytest.mark.slow
def test_spawned_workers(clips, processor):
    """Workers may be started in any way: what they need pickles."""
    tasks = [ClipTask(i, row["id"], row["media"]) for i, row in enumerate(clips[:2])]
    reader = ClipReader(tasks, processor, ("vision", "audio"))
    here = list(read_pieces(reader, 0))
    there = list(read_pieces(reader, 1, start_method="spawn"))
    assert [(piece.position, piece.modality) for piece in here] == [(piece.position, piece.modality) for piece in there]
    for one, two in zip(here, there):
        assert one.record == two.record
        assert one.inputs is None or torch.equal(one.inputs, two.inputs)


def test_progress_is_told(clips, processor, towers, tmp_path):
    calls = []
    extract(clips, processor, towers, tmp_path, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i + 1, len(clips)) for i in range(len(clips))]


def test_a_dataset_has_a_report_for_each_split(clips, processor, towers, tmp_path):
    for split in ("train", "test"):
        extract(datasets.Dataset.from_list(clips[:2], split=split), processor, towers, tmp_path)
    assert json.loads((tmp_path / "report_train.json").read_text())["done"] == 2
    assert json.loads((tmp_path / "report_test.json").read_text())["reused"] == 2


def test_what_training_does_with_clips_that_failed(clips, odd, processor, towers, tmp_path):
    rows = [clips[0], clip("broken", odd["zero bytes"]), clip("silent", odd["no audio"])]
    dataset = datasets.Dataset.from_list(rows)
    extract(dataset, processor, towers, tmp_path)
    store = EmbeddingStore(tmp_path)
    assert usable_clips(dataset, store, "mask")["id"] == ["clip_0", "broken", "silent"]
    assert usable_clips(dataset, store, "skip")["id"] == ["clip_0", "silent"]
    with pytest.raises(ValueError, match=r"1 of 3 clips could not be encoded: broken \(not media\)\. Repair"):
        usable_clips(dataset, store, "raise")
    assert usable_clips(dataset.select([0, 2]), store, "raise")["id"] == ["clip_0", "silent"]
    with pytest.raises(ValueError, match="on_error is 'ignore'; expected raise, mask, skip"):
        usable_clips(dataset, store, "ignore")
    with pytest.raises(KeyError, match="other"):
        usable_clips(datasets.Dataset.from_list([clip("other", "x")]), store, "mask")
