"""What extraction costs beside the towers themselves, and what it saves in training.

    python -m pytest tests/benchmarks/bench_extraction.py -o python_files='bench_*.py'

Some minutes on two cores. Towers of ViT-S size (width 384, 12 layers, 6 heads, patches of 16) with random weights; 64
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
CLIPS, BATCH_SIZE, ROUNDS = 64, 32, 2


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
    report = extract_embeddings(clips, processor, towers, folder, batch_size=BATCH_SIZE, device="cpu")
    return time.perf_counter() - start, report


def test_extraction_against_the_bare_towers(clips, processor, towers, inputs, tmp_path, capsys):
    """Decoding, front ends, packing, hashing and writing add at most 15 % to the towers' own time."""
    forward_alone(towers, {modality: rows[:BATCH_SIZE] for modality, rows in inputs.items()})  # warm
    alone, whole = [], []
    for number in range(ROUNDS):
        seconds, report = extraction(clips, processor, towers, tmp_path / str(number))
        whole.append(seconds)
        alone.append(forward_alone(towers, inputs))
        assert (report.done, report.rows["vision"]) == (CLIPS, len(inputs["vision"]))
    ratio = statistics.median(one / two for one, two in zip(whole, alone))
    with capsys.disabled():
        print(
            f"\n  {CLIPS} clips, {report.seconds:.0f} s of video, {report.rows['vision']} frames, "
            f"{report.rows['audio']} windows"
        )
        print(f"  bare towers on decoded inputs{min(alone):>10.1f} s")
        print(
            f"  extraction from files        {min(whole):>10.1f} s, "
            f"{report.decode_wait_seconds / report.wall_seconds:.0%} of it waiting for decoding"
        )
        print(f"  ratio                        {ratio:>10.2f}")
    assert ratio <= 1.15


def test_training_from_the_store_against_encoding_in_the_loop(clips, processor, towers, tmp_path, capsys):
    """Training steps a second: batches of 8 clips, a language model of 6 layers, SemanticMAC of width 256."""
    rows = clips[:8]
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
    for label, read, count in (("from the store", from_store, 10), ("encoding in the loop", from_files, 2)):
        step(read())
        start = time.perf_counter()
        for _ in range(count):
            step(read())
        times[label] = (time.perf_counter() - start) / count
    with capsys.disabled():
        print()
        for label, seconds in times.items():
            print(f"  {label:<24}{1 / seconds:>8.2f} steps/s{times['encoding in the loop'] / seconds:>8.1f} x")
    assert times["from the store"] < times["encoding in the loop"]
