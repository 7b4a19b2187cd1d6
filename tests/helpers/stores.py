"""Small embedding stores."""

import torch

from modeling_semanticmac.embedding_store import ClipRecord, EmbeddingStore
from modeling_semanticmac.embedding_store.writer import StoreWriter

AUDIO, VISION = 6, 4


def embeds(seed: int, audio: int, vision: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(audio, AUDIO, generator=generator), torch.randn(vision, VISION, generator=generator)


CLIPS = {f"clip_{i}": embeds(i, audio, vision) for i, (audio, vision) in enumerate([(3, 5), (0, 2), (4, 0), (0, 0), (1, 1), (200, 7), (2, 2)])}  # fmt: skip


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
