"""What extraction costs beside the towers themselves, and what it saves in training.

    python -m pytest tests/benchmarks/bench_extraction.py -o python_files='bench_*.py'

A minute on two cores. Towers of ViT-S size (width 384, 12 layers, 6 heads, patches of 16) with random weights; eight
clips of the synthetic corpus.
"""

import os
import statistics
import time

import pytest
import torch
from transformers import BertConfig

from datasets_scripts.synthetic import render
from modeling_semanticmac import SemanticMACConfig, SemanticMACForAffect
from modeling_semanticmac.configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from modeling_semanticmac.embedding_extraction import extract_embeddings
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.encoders import embed_batch
from modeling_semanticmac.feature_extraction_imagebind import ImageBindFeatureExtractor
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor
from modeling_semanticmac.modeling_imagebind import ImageBindAudioModel, ImageBindVisionModel
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor
from tests.helpers.extraction_cases import clip
from tests.helpers.tiny import SENTIMENT, word_tokenizer

VIT_S = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "initializer_range": 0.05}
CLIPS, BATCH_SIZE, ROUNDS = 8, 32, 1  # starting the decoding processes takes a second, whatever the clips


@pytest.fixture(scope="module", autouse=True)
def all_cores(one_thread):
    """The encoders may use every core, as they do outside tests."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[dict]:
    folder = render(tmp_path_factory.mktemp("corpus"), train=CLIPS, validation=1, test=1)
    return [clip(path.stem, path) for path in sorted((folder / "clips").glob("train_*.mp4"))]


@pytest.fixture(scope="module")
def towers() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    vision = ImageBindVisionModel(ImageBindVisionConfig(**VIT_S, patch_size=16))
    return {"vision": vision.eval(), "audio": ImageBindAudioModel(ImageBindAudioConfig(**VIT_S)).eval()}


@pytest.fixture(scope="module")
def processor() -> SemanticMACProcessor:
    return SemanticMACProcessor(ImageBindImageProcessor(), ImageBindFeatureExtractor(), word_tokenizer())


@pytest.fixture(scope="module")
def inputs(clips, processor) -> dict[str, torch.Tensor]:
    """All frames and windows, already decoded."""
    encoded = [processor.encode_media(row["media"]) for row in clips]
    names = {"vision": "pixel_values", "audio": "input_features"}
    return {modality: torch.cat([found[name] for found in encoded]) for modality, name in names.items()}


def forward_alone(towers, inputs) -> float:
    """Seconds of the bare towers on all inputs, in full batches."""
    start = time.perf_counter()
    for modality, tower in towers.items():
        for batch in inputs[modality].split(BATCH_SIZE):
            embed_batch(tower, batch)
    return time.perf_counter() - start


def extraction(clips, processor, towers, folder) -> tuple[float, object]:
    """Seconds of the whole way, from files to a store."""
    start = time.perf_counter()
    options = {"batch_size": BATCH_SIZE, "device": "cpu", "dtype": torch.float32}
    report = extract_embeddings(clips, processor, towers, folder, **options)
    return time.perf_counter() - start, report


def test_extraction_against_the_bare_towers(clips, processor, towers, inputs, tmp_path, record):
    """Decoding, front ends, packing, hashing and writing add at most 30 % to the towers' own time."""
    forward_alone(towers, {modality: rows[:2] for modality, rows in inputs.items()})  # warm
    alone, whole = [], []
    for number in range(ROUNDS):
        seconds, report = extraction(clips, processor, towers, tmp_path / str(number))
        whole.append(seconds)
        alone.append(forward_alone(towers, inputs))
        assert (report.done, report.rows["vision"]) == (CLIPS, len(inputs["vision"]))
    ratio = statistics.median(one / two for one, two in zip(whole, alone))
    media = f"{CLIPS} clips, {report.rows['vision']} frames, {report.rows['audio']} windows"
    record.row("extraction", what=f"towers only, inputs already decoded ({media})", seconds=f"{min(alone):.1f}")
    record.row("extraction", what="whole extraction from files", seconds=f"{min(whole):.1f}")
    record.ratio("extraction against its towers alone", f"{min(whole):.1f} s", f"{min(alone):.1f} s", ratio)
    assert ratio <= 1.3  # one round, on a machine that others use too


def test_training_from_the_store_against_encoding_in_the_loop(clips, processor, towers, tmp_path, record):
    """Training steps a second: batches of 2 clips, a language model of 6 layers, SemanticMAC of width 256."""
    rows = clips[:2]
    extract_embeddings(rows, processor, towers, tmp_path, device="cpu")
    store = EmbeddingStore(tmp_path)
    language_model = BertConfig(
        vocab_size=30, hidden_size=384, num_hidden_layers=6, num_attention_heads=6, intermediate_size=1536
    )
    config = SemanticMACConfig(text_config=language_model.to_dict(), **SENTIMENT.config_fields())
    model = SemanticMACForAffect(config)
    model.semanticmac.set_encoders(**towers)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    text = processor.encode_text(["good film and great talk"] * len(rows))

    def from_store() -> dict:
        audio, vision = zip(*(store[row["id"]] for row in rows))
        batch = {}
        for modality, streams in (("audio", audio), ("vision", vision)):
            padded = torch.nn.utils.rnn.pad_sequence([stream.float() for stream in streams], batch_first=True)
            mask = torch.arange(padded.shape[1]) < torch.tensor([[len(stream)] for stream in streams])
            batch |= {f"{modality}_embeds": padded, f"{modality}_mask": mask.long()}
        return batch

    def from_files() -> dict:
        batch = processor(text=["good"] * len(rows), media=[row["media"] for row in rows])
        return {name: batch[name] for name in ("pixel_values", "vision_mask", "input_features", "audio_mask")}

    def step(media: dict) -> None:
        loss = model(**text, **media, labels=torch.zeros(len(rows))).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    times = {}
    for label, read, count in (("from the store", from_store, 4), ("encoding in the loop", from_files, 1)):
        if count > 1:
            step(read())  # warms up; encoding takes too long for it to matter
        start = time.perf_counter()
        for _ in range(count):
            step(read())
        times[label] = (time.perf_counter() - start) / count
    for label, seconds in times.items():
        record.row("training", embeddings=label, steps_a_second=f"{1 / seconds:.2f}")
    own, other = times.values()
    record.ratio("training step from the store against encoding in it", f"{own:.2f} s", f"{other:.2f} s", other / own)
    assert times["from the store"] < times["encoding in the loop"]
