"""Growth: towers by number format, extraction by clips, length and processes, Ray against local, large corpora and
stores.

    python -m pytest tests/benchmarks/bench_scale.py -o python_files='bench_*.py'

Some minutes on two cores. Towers have random weights; those of growth are tiny, so that what is around them is seen.
"""

import csv
import gc
import os
import time

import pytest
import torch

from datasets_scripts.loading import load_corpus
from modeling_semanticmac.configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from modeling_semanticmac.embedding_extraction import ClipEncoder, extract_embeddings, store_clips
from modeling_semanticmac.embedding_extraction.engines import make_engine
from modeling_semanticmac.embedding_store import ClipRecord, EmbeddingStore
from modeling_semanticmac.embedding_store.writer import StoreWriter
from modeling_semanticmac.encoder_outputs import embed_batch
from modeling_semanticmac.modeling_imagebind import ImageBindAudioModel, ImageBindVisionModel
from modeling_semanticmac.tower_precision import bfloat16_instructions, prepare_encoder
from tests.helpers.extraction_cases import clip, tiny_processor, tiny_towers
from tests.helpers.media_files import tone, write_media

CORES = len(os.sched_getaffinity(0))
CPU = torch.device("cpu")
# Full size: ViT-H/14 and the audio tower of ImageBind-Huge.
TOWERS = {"vision": (ImageBindVisionConfig, ImageBindVisionModel, (1, 3, 224, 224)),
          "audio": (ImageBindAudioConfig, ImageBindAudioModel, (8, 1, 128, 204))}  # fmt: skip


@pytest.fixture
def all_cores(one_thread):
    """The towers may use every core, as they do outside tests."""
    torch.set_num_threads(CORES)
    yield
    torch.set_num_threads(1)


def seconds(work, *args, **options) -> float:
    start = time.perf_counter()
    work(*args, **options)
    return time.perf_counter() - start


def matrix_rate(dtype: torch.dtype) -> float:
    """Return the rate of a matrix product of 2048 x 2048 in GFLOP/s."""
    one, two = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    one @ two
    return 2 * 2048**3 / min(seconds(lambda: one @ two) for _ in range(3)) / 1e9


@pytest.mark.parametrize("modality", TOWERS)
def test_full_size_towers_by_number_format(record, all_cores, modality):
    """Rates of a tower with all its layers, and the share of the machine's rate of matrix products that it reaches."""
    config_class, model_class, shape = TOWERS[modality]
    config = config_class()
    with torch.device("meta"):
        model = model_class(config)
        flops = flops_of(model.eval(), torch.empty(1, *shape[1:]))
    model = model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    noise = 0.02 * torch.randn(1_000_003, generator=generator)  # repeated: drawing every weight takes long
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = "norm" in name and name.endswith("weight")
            values = noise.repeat(-(-parameter.numel() // len(noise)))[: parameter.numel()].view_as(parameter)
            parameter.copy_(torch.ones_like(parameter) if is_norm else values)
        for buffer in model.buffers():
            buffer.zero_()
    inputs, rates, found = torch.randn(shape, generator=generator), {}, {}
    for dtype in (torch.float32, torch.bfloat16):
        tower = prepare_encoder(model, CPU, dtype)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            found[dtype] = embed_batch(tower, inputs)  # also warms up
            taken = seconds(embed_batch, tower, inputs)
        rates[dtype] = len(inputs) / taken
        share = flops * rates[dtype] / 1e9 / matrix_rate(dtype)
        record.row(
            "towers", tower=f"{modality}, {sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters",
            format=str(dtype).removeprefix("torch."), a_second=f"{rates[dtype]:.2f}",
            share_of_the_rate_of_matrix_products=f"{share:.0%}",
            time=f"{rates[torch.float32] / rates[dtype]:.2f} of float32's",
        )  # fmt: skip
        gc.collect()
    own, other = (f"{rates[dtype]:.2f}/s" for dtype in (torch.bfloat16, torch.float32))
    record.ratio(
        f"full-size {modality} tower, bfloat16 against float32",
        own,
        other,
        rates[torch.bfloat16] / rates[torch.float32],
    )
    cosine = torch.nn.functional.cosine_similarity(*found.values(), dim=-1)
    assert cosine.min() > 0.99
    if bfloat16_instructions():
        assert rates[torch.bfloat16] > rates[torch.float32]


def flops_of(model, inputs) -> float:
    """Return the floating-point operations of one frame or window, those of matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(inputs)
    return counter.get_total_flops() / len(inputs)


@pytest.fixture(scope="module")
def short_clips(tmp_path_factory) -> list[dict]:
    """1,000 clips of half a second: 20 files and hard links to them."""
    folder = tmp_path_factory.mktemp("short")
    for number in range(20):
        write_media(folder / f"{number:04d}.mp4", 0.5, sound=tone(200.0 + 10 * number))
    for number in range(20, 1000):
        os.link(folder / f"{number % 20:04d}.mp4", folder / f"{number:04d}.mp4")
    return [clip(path.stem, path) for path in sorted(folder.glob("*.mp4"))]


def resident() -> float:
    """Return the resident memory of this process in MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_growth_by_clips(record, short_clips, tmp_path):
    """Clips a second and memory from 20 to 1,000 clips: neither grows with the number."""
    processor, towers = tiny_processor(), tiny_towers()
    extract_embeddings(short_clips[:8], processor, towers, tmp_path / "warm", device="cpu", num_workers=0)
    line = {}
    for count in (20, 200, 1000):
        before = resident()
        taken = seconds(
            extract_embeddings,
            short_clips[:count],
            processor,
            towers,
            tmp_path / str(count),
            device="cpu",
            num_workers=0,
        )
        line[count] = taken
        record.row(
            "growth_clips", clips=f"{count:,}", seconds=f"{taken:.2f}", clips_a_second=f"{count / taken:.0f}",
            resident_memory=f"+{resident() - before:.0f} MiB",
        )  # fmt: skip
    again = seconds(extract_embeddings, short_clips, processor, towers, tmp_path / "1000", device="cpu")
    record.row("growth_clips", clips="1,000 again, unchanged", seconds=f"{again:.2f}",
               clips_a_second=f"{1000 / again:.0f}", resident_memory="")  # fmt: skip
    record.curve("growth_clips", "extraction of short clips", "clips", "seconds", {"one process": line})


def test_growth_by_length_and_processes(record, tmp_path):
    """Seconds a second of media by the length of a clip, and by the number of decoding processes."""
    processor, towers, line = tiny_processor(), tiny_towers(), {}
    for length in (5, 50, 500):
        path = write_media(tmp_path / f"{length}.mp4", float(length), rate=10, sound=tone(), sampling_rate=16000)
        taken = seconds(
            extract_embeddings,
            [clip("a", path)],
            processor,
            towers,
            tmp_path / f"s{length}",
            device="cpu",
            num_workers=0,
        )
        line[length] = taken
        record.row(
            "growth_length", clip=f"{length} s", seconds=f"{taken:.2f}", media_a_second=f"{length / taken:.0f} s"
        )
    record.curve("growth_length", "extraction of one clip", "seconds of media", "seconds", {"one process": line})
    paths = [tmp_path / f"{number}_part.mp4" for number in range(16)]
    for path in paths:
        os.link(tmp_path / "50.mp4", path)
    rows = [clip(path.stem, path, 0.0, 10.0) for path in paths]
    for workers in (0, 1, 2):
        folder = tmp_path / f"w{workers}"
        taken = seconds(extract_embeddings, rows, processor, towers, folder, device="cpu", num_workers=workers)
        record.row("growth_processes", decoding_processes=workers or "in this one", seconds=f"{taken:.2f}")


def test_ray_against_this_process(record, short_clips, tmp_path, ray_cluster):
    """The same 200 clips with two actors and with one process, each with what it takes to begin."""
    encoder = ClipEncoder(processor=tiny_processor(), encoders=tiny_towers(), device="cpu")
    rows = short_clips[:200]
    local = seconds(lambda: store_clips(rows, encoder, tmp_path / "local"))
    engine = make_engine("ray", num_actors=2)
    first = seconds(lambda: store_clips(rows, encoder, tmp_path / "first", engine=engine))
    second = seconds(lambda: store_clips(rows, encoder, tmp_path / "second", engine=engine))
    record.row("ray", engine="local, one process", seconds=f"{local:.2f}", clips_a_second=f"{200 / local:.0f}")
    for name, taken in (("ray, two actors, first time", first), ("ray, two actors, again", second)):
        record.row("ray", engine=name, seconds=f"{taken:.2f}", clips_a_second=f"{200 / taken:.0f}")
    record.ratio(
        "200 short clips, two actors of Ray against one process", f"{second:.2f} s", f"{local:.2f} s", local / second
    )


def test_a_corpus_of_100_000_rows(record, tmp_path):
    """From a table to clips; again from the cache."""
    media = tmp_path / "corpus/media"
    media.mkdir(parents=True)
    for number in range(5000):
        (media / f"{number:05d}.mp4").write_bytes(b"")
    with open(tmp_path / "corpus/clips.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "start", "end", "text", "label", "split"])
        for number in range(100_000):
            start, split = 3.0 * (number % 20), ("train", "validation", "test")[max(0, number % 10 - 7)]
            cells = [f"media/{number // 20:05d}.mp4", start, start + 3, f"some words {number}", number % 7 - 3, split]
            table.writerow(cells)
    options = {"cache_dir": tmp_path / "cache"}
    first = seconds(lambda: load_corpus("video_folder", tmp_path / "corpus", **options))
    again = seconds(lambda: load_corpus("video_folder", tmp_path / "corpus", **options))
    record.row("large", what="corpus of 100,000 rows, from its table", seconds=f"{first:.2f}", before="11.7")
    record.row("large", what="the same from the cache", seconds=f"{again:.2f}", before="")


def test_a_store_of_200_000_clips(record, tmp_path, monkeypatch):
    """Opened, and each record looked at."""
    monkeypatch.setattr(os, "fsync", lambda *_: None)  # of writing, which is not measured
    fingerprint = {"dtype": "float32", "audio": {"width": 4}, "vision": {"width": 4}}
    embeds = torch.ones(1, 4)
    with StoreWriter(tmp_path, fingerprint, shard_seconds=1e9) as writer:
        for number in range(200_000):
            record_of_clip = ClipRecord(f"video_{number // 20}/clip_{number}", f"{number:040x}:-:", number, number)
            writer.add(record_of_clip, embeds, embeds)
    gc.collect()
    before = resident()
    store = EmbeddingStore(tmp_path)
    added = resident() - before
    opening = min(seconds(lambda: EmbeddingStore(tmp_path)) for _ in range(2))
    looking = seconds(lambda: [store.status(name) for name in store])
    record.row("large", what="store of 200,000 clips, opened", seconds=f"{opening:.2f}", before="5.1")
    record.row("large", what="the record of each looked at", seconds=f"{looking:.2f}", before="")
    record.row("memory", what="store of 200,000 clips, opened", resident_memory=f"+{added:.0f} MiB")
