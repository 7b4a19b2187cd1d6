"""Ray actors give the store that this process gives. `test_engines.py` runs this file in a process of its own."""

import os
import shutil

import numpy as np
import torch

from modeling_semanticmac.embedding_extraction import ClipEncoder
from modeling_semanticmac.embedding_extraction.command import main
from modeling_semanticmac.embedding_store import EmbeddingStore
from tests.embedding_extraction.test_command import save_towers
from tests.helpers.extraction_cases import extract, tiny_processor, tiny_towers

HALF = {"rtol": 2e-3, "atol": 2e-3}


def test_two_actors_of_ray_equal_this_process(ray_cluster, clips, odd, tmp_path, capsys):
    """The command, with towers by name that each actor loads: the same clips, outcomes and embeddings. A clip that the
    store holds and whose file has another time is hashed by an actor and not encoded again.
    """
    copies = tmp_path / "media"
    copies.mkdir()
    sources = [*(row["media"]["path"] for row in clips), odd["zero bytes"], odd["no audio"]]
    for number, source in enumerate(sources):
        shutil.copy(source, copies / f"{number}.mp4")
    words = ["--device=cpu", "--num_workers=0", *save_towers(tmp_path)]
    local, ray_folder = (["--embeddings_dir", str(tmp_path / name)] for name in ("local", "ray"))
    assert main(["--media", str(copies), *words, *local, "--engine=local"]) == 0
    assert main(["--media", str(copies / "1.mp4"), *words, *ray_folder]) == 0
    os.utime(copies / "1.mp4", (1000, 1000))
    capsys.readouterr()
    assert main(["--media", str(copies), *words, *ray_folder, "--engine=ray", "--num_actors=2"]) == 0
    printed = capsys.readouterr().out.split()
    counts = {name: int(printed[printed.index(name) + 1]) for name in ("clips", "encoded", "reused")}
    assert counts == {"clips": 8, "encoded": 6, "reused": 1}  # one file is empty
    one, two = EmbeddingStore(tmp_path / "ray"), EmbeddingStore(tmp_path / "local")
    assert set(one) == set(two) and one.fingerprint == two.fingerprint
    assert one.status("1.mp4").file_mtime_ns == 1000 * 10**9
    for name in two:
        found, expected = one.status(name), two.status(name)
        for field in ("status", "reason", "content_hash", "note", "duration", "audio", "vision"):
            assert getattr(found, field) == getattr(expected, field), (name, field)
        for stream, other in zip(one[name], two[name]):
            torch.testing.assert_close(stream, other, **HALF)


def test_map_batches_of_ray(ray_cluster, clips, processor, towers, tmp_path):
    """The class by itself, with two actors on rows of Ray."""
    extract(clips, processor, towers, tmp_path)
    local = EmbeddingStore(tmp_path)
    dataset = ray_cluster.data.from_items([{"id": row["id"], "media": row["media"]["path"]} for row in clips])
    actors = ray_cluster.data.ActorPoolStrategy(size=2)
    options = {"processor": tiny_processor(), "encoders": tiny_towers(), "device": "cpu"}
    found = dataset.map_batches(ClipEncoder, fn_constructor_kwargs=options, batch_size=2, compute=actors).take_all()
    assert sorted(row["id"] for row in found) == sorted(row["id"] for row in clips)
    for row in found:
        torch.testing.assert_close(torch.tensor(np.array(row["vision"])), local[row["id"]][1], **HALF)
