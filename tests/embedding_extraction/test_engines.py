"""Engines: Ray actors give the store that this process gives; accelerate's processes are those that were started."""

import numpy as np
import pytest
import torch

from modeling_semanticmac.embedding_extraction import ClipEncoder
from modeling_semanticmac.embedding_extraction.command import main
from modeling_semanticmac.embedding_extraction.engines import make_engine
from modeling_semanticmac.embedding_extraction.extraction import store_clips
from modeling_semanticmac.embedding_store import EmbeddingStore
from tests.embedding_extraction.test_command import save_towers
from tests.helpers.extraction_cases import clip, extract, tiny_processor, tiny_towers

HALF = {"rtol": 2e-3, "atol": 2e-3}


def test_two_actors_of_ray_equal_this_process(ray_cluster, clips, odd, processor, towers, tmp_path):
    """The same clips, outcomes and embeddings; the command, its resume, and `map_batches` with the class itself."""
    rows = [
        *clips,
        clip("broken", odd["zero bytes"]),
        clip("silent", odd["no audio"]),
        clip("cut", odd["no audio"], 0.2),
    ]
    extract(rows, processor, towers, tmp_path / "local")
    local = EmbeddingStore(tmp_path / "local")
    encoder = ClipEncoder(processor=tiny_processor(), encoders=tiny_towers(), device="cpu")
    report = store_clips(rows, encoder, tmp_path / "ray", engine=make_engine("ray", num_actors=2))
    assert (report.done, dict(report.failed), dict(report.partial)) == (8, {"not media": 1}, {"no audio stream": 2})
    assert report.rows == {m: sum(len(local[name][k]) for name in local) for k, m in enumerate(("audio", "vision"))}
    store = EmbeddingStore(tmp_path / "ray")
    assert set(store) == set(local) and store.fingerprint == local.fingerprint
    for name in local:
        one, two = store.status(name), local.status(name)
        assert (one.status, one.reason, one.content_hash, one.note) == (
            two.status, two.reason, two.content_hash, two.note,
        )  # fmt: skip
        for found, expected in zip(store[name], local[name]):
            torch.testing.assert_close(found, expected, **HALF)
    # Again: nothing but the clip that failed is read, whose file is still broken.
    again = store_clips(rows, encoder, tmp_path / "ray", engine=make_engine("ray", num_actors=2))
    assert (again.done, again.reused, again.num_failed) == (0, 8, 1)
    # The class by itself, on rows of Ray.
    dataset = ray_cluster.data.from_items([{"id": row["id"], "media": row["media"]["path"]} for row in clips])
    actors = ray_cluster.data.ActorPoolStrategy(size=2)
    options = {"processor": tiny_processor(), "encoders": tiny_towers(), "device": "cpu"}
    found = dataset.map_batches(ClipEncoder, fn_constructor_kwargs=options, batch_size=2, compute=actors).take_all()
    assert sorted(row["id"] for row in found) == sorted(row["id"] for row in clips)
    for row in found:
        torch.testing.assert_close(torch.as_tensor(np.asarray(row["vision"])), local[row["id"]][1], **HALF)


def test_the_command_with_ray(ray_cluster, clips, tmp_path, capsys):
    """Towers by name, loaded by each actor; files whose time changed are hashed by an actor and not encoded again."""
    import os
    import shutil

    for number, row in enumerate(clips[:3]):
        shutil.copy(row["media"]["path"], tmp_path / f"{number}.mp4")
    words = ["--media", *(str(tmp_path / f"{n}.mp4") for n in range(3)), "--device=cpu", *save_towers(tmp_path)]
    assert main([*words, "--embeddings_dir", str(tmp_path / "ray"), "--engine=ray", "--num_actors=1"]) == 0
    assert main([*words, "--embeddings_dir", str(tmp_path / "local"), "--engine=local", "--num_workers=0"]) == 0
    one, two = EmbeddingStore(tmp_path / "ray"), EmbeddingStore(tmp_path / "local")
    for name in two:
        for found, expected in zip(one[name], two[name]):
            torch.testing.assert_close(found, expected, **HALF)
    os.utime(tmp_path / "1.mp4", (1000, 1000))
    capsys.readouterr()
    assert main([*words, "--embeddings_dir", str(tmp_path / "ray"), "--engine=ray", "--num_actors=1"]) == 0
    assert "reused" in (printed := capsys.readouterr().out) and printed.split("reused")[1].split()[0] == "3"
    assert EmbeddingStore(tmp_path / "ray").status("1.mp4").file_mtime_ns == 1000 * 10**9


def test_engines_that_cannot_be(monkeypatch, tmp_path, capsys):
    with pytest.raises(ValueError, match="engine is 'spark'; expected local, accelerate, ray"):
        make_engine("spark")
    assert main([f"--embeddings_dir={tmp_path}", "--media=x", "--vision_encoder=v", "--num_actors=2"]) == 1
    assert "--num_actors and --ray_address belong to --engine ray" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    monkeypatch.setitem(__import__("sys").modules, "ray.data", None)
    with pytest.raises(ImportError, match=r"--engine ray needs Ray: pip install 'semanticmac\[scale\]'"):
        make_engine("ray")
