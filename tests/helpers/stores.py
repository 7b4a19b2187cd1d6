"""Small embedding stores."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from modeling_semanticmac.embedding_store import ClipRecord, EmbeddingStore
from modeling_semanticmac.embedding_store.writer import StoreWriter

AUDIO, VISION = 6, 4


def embeds(seed: int, audio: int, vision: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(audio, AUDIO, generator=generator), torch.randn(vision, VISION, generator=generator)


CLIPS = {
    f"clip_{i}": embeds(i, audio, vision)
    for i, (audio, vision) in enumerate([(3, 5), (0, 2), (4, 0), (0, 0), (1, 1), (200, 7), (2, 2)])
}


def fingerprint(**changes) -> dict:
    audio = {"name_or_path": "org/a", "revision": None, "weights_hash": "aa", "width": AUDIO, "window": 2.0}
    vision = {"name_or_path": "org/v", "revision": None, "weights_hash": "vv", "width": VISION, "window": "image"}
    sampling = {"frames_per_second": 2.0, "num_frames": None}
    return {"extraction": 1, "dtype": "float32", "sampling": sampling, "audio": audio, "vision": vision, **changes}


def fill(folder, clips: dict[str, tuple], shard_clips: int = 3, **changes) -> None:
    with StoreWriter(folder, fingerprint(**changes), shard_clips) as writer:
        for name, streams in clips.items():
            writer.add(ClipRecord(name), *streams)


def assert_holds(store: EmbeddingStore, clips: dict[str, tuple]) -> None:
    assert sorted(store) == sorted(clips) and len(store) == len(clips)
    for name, streams in clips.items():
        for found, written in zip(store[name], streams):
            assert found.dtype == torch.float16 and found.shape == written.shape
            assert torch.equal(found, written.half())


def flip_bit(path: Path, bit: int) -> None:
    """Flip one bit of a file, counted from its beginning."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def write_old_store(folder: Path, clips: dict[str, tuple], times: Sequence[int] = (1764300000000000000,)) -> None:
    """Write a store as it was before checksums: names begin with a time, the index has no checksums, neither of clips
    nor of files.

    Args:
        times: one shard each, with all clips.
    """
    for part in ("shards", "index"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "fingerprint.json").write_text(json.dumps(fingerprint()))
    for number, time_ns in enumerate(times):
        name = f"{time_ns:020d}-{number:012x}"
        tensors, rows = {}, []
        for modality, streams in zip(("audio", "vision"), zip(*clips.values())):
            tensors[modality] = torch.cat(streams).half()
            tensors[f"{modality}_offsets"] = torch.tensor([0, *map(len, streams)]).cumsum(0)
        for row, (clip, (audio, vision)) in enumerate(clips.items()):
            rows.append(
                {**asdict(ClipRecord(clip)), "audio": len(audio), "vision": len(vision), "shard": name, "row": row}
            )
            del rows[-1]["checksum"]
        save_file(tensors, folder / "shards" / f"{name}.safetensors")
        size = (folder / "shards" / f"{name}.safetensors").stat().st_size
        table = pa.Table.from_pylist(rows).replace_schema_metadata({"shard_bytes": str(size)})
        pq.write_table(table, folder / "index" / f"{name}.parquet")
