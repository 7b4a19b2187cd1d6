"""The store: what is written is read, nothing half written is, several writers make one store, other settings are
refused by name.
"""

import errno
import json
import multiprocessing
import os
import pickle
import stat
import time

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader

from modeling_semanticmac.embedding_store import ClipRecord, DamagedClipError, EmbeddingStore, index_files
from modeling_semanticmac.embedding_store import writer as store_writer
from modeling_semanticmac.embedding_store.fingerprint import FingerprintError, check_fingerprint
from modeling_semanticmac.embedding_store.writer import StoreWriter
from tests.helpers.stores import AUDIO, CLIPS, assert_holds, embeds, fill, fingerprint


@pytest.fixture
def store(tmp_path) -> EmbeddingStore:
    fill(tmp_path, CLIPS)
    return EmbeddingStore.open(tmp_path)


def test_what_is_written_is_read(store, tmp_path):
    assert_holds(store, CLIPS)
    assert store.fingerprint == fingerprint()
    assert [path.suffix for path in sorted((tmp_path / "shards").iterdir())] == [".safetensors"] * 3
    record = store.status("clip_5")
    assert (record.audio, record.vision, record.status, record.row) == (200, 7, "ok", 2)
    assert f"{record.shard}.safetensors" in os.listdir(tmp_path / "shards")


def test_files_are_what_the_page_says(store, tmp_path):
    """Any tool that reads safetensors and Parquet can use a store."""
    rows = [row for path in sorted((tmp_path / "index").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert [row["id"] for row in rows] == list(CLIPS)
    row = rows[5]
    shard = load_file(tmp_path / "shards" / f"{row['shard']}.safetensors")
    begin, end = shard["vision_offsets"][row["row"] : row["row"] + 2]
    assert shard["vision_offsets"].dtype == torch.int64 and shard["vision"].dtype == torch.float16
    assert torch.equal(shard["vision"][begin:end], CLIPS["clip_5"][1].half())


def test_reading_copies_nothing(store):
    first, again = store["clip_5"][0], store["clip_5"][0]
    assert first.data_ptr() == again.data_ptr()
    other = store["clip_4"][0]  # of the same shard: the same memory, elsewhere
    assert other.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()


def test_an_unknown_clip_is_named(store):
    assert "clip_9" not in store
    with pytest.raises(KeyError, match=r"clip .*clip_9.* is not in the embedding store at .*\(7 clips\)"):
        store["clip_9"]
    with pytest.raises(KeyError, match="clip_9"):
        store.status("clip_9")


def test_a_pickled_store_carries_no_embeddings(store):
    before = len(pickle.dumps(store))
    store["clip_5"]
    data = pickle.dumps(store)
    assert len(data) == before
    assert_holds(pickle.loads(data), CLIPS)


class Rows(torch.utils.data.Dataset):
    def __init__(self, store):
        self.store, self.names = store, list(CLIPS)

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        return [stream.clone() for stream in self.store[self.names[index]]]


def test_workers_of_a_data_loader_read_it(store):
    loader = DataLoader(Rows(store), batch_size=None, num_workers=2)
    for written, found in zip(CLIPS.values(), loader):
        assert all(torch.equal(a, b.half()) for a, b in zip(found, written))


def test_the_later_of_two_writings_counts(store, tmp_path):
    new = embeds(99, 2, 9)
    fill(tmp_path, {"clip_0": new})
    assert_holds(EmbeddingStore(tmp_path), CLIPS | {"clip_0": new})
    newest = embeds(100, 1, 1)
    with StoreWriter(tmp_path, fingerprint()) as writer:  # twice in one shard
        writer.add(ClipRecord("clip_0"), *new)
        writer.add(ClipRecord("clip_0", note="the last"), *newest)
    found = EmbeddingStore(tmp_path)
    assert_holds(found, CLIPS | {"clip_0": newest})
    assert found.status("clip_0").note == "the last"
    assert_holds(store, CLIPS)  # an open store stays what it was


@pytest.mark.parametrize("last", ["shards", "index"])
def test_a_writer_that_dies_leaves_nothing_half_done(tmp_path, monkeypatch, last):
    """Killed while the shard, or while its index is written: before the rename of one of them."""
    fill(tmp_path, dict(list(CLIPS.items())[:3]))

    def die_at_rename(path, write, durable):
        temporary = path.with_name(f".{path.name}.1.tmp")
        write(temporary)
        if path.parent.name == last:
            raise KeyboardInterrupt
        os.replace(temporary, path)

    writer = StoreWriter(tmp_path, fingerprint())
    for module in (store_writer, index_files):
        monkeypatch.setattr(module, "write_whole", die_at_rename)
    writer.add(ClipRecord("clip_3"), *CLIPS["clip_3"])
    with pytest.raises(KeyboardInterrupt):
        writer.flush()
    monkeypatch.undo()
    assert_holds(EmbeddingStore(tmp_path), dict(list(CLIPS.items())[:3]))
    assert list(tmp_path.glob("*/.*.tmp"))
    # Later the rest is thrown away, but not what another process may be writing at this moment.
    orphans = [path for path in tmp_path.glob("shards/*") if not list(tmp_path.glob(f"index/{path.stem}.*.parquet"))]
    StoreWriter(tmp_path, fingerprint())
    assert all(path.exists() for path in orphans)
    old = time.time() - store_writer.STALE_SECONDS - 60
    for path in tmp_path.glob("*/*"):
        os.utime(path, (old, old))
    StoreWriter(tmp_path, fingerprint())
    assert orphans and not any(path.exists() for path in orphans)
    assert_holds(EmbeddingStore(tmp_path), dict(list(CLIPS.items())[:3]))


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_lost_shard_is_left_out_and_said(store, tmp_path, caplog, damage, monkeypatch):
    shard = tmp_path / "shards" / f"{store.status('clip_4').shard}.safetensors"
    if damage == "gone":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-1])
    warnings = []
    monkeypatch.setattr("modeling_semanticmac.embedding_store.store.logger.warning", warnings.append)
    assert_holds(
        EmbeddingStore(tmp_path), {name: CLIPS[name] for name in CLIPS if name not in ("clip_3", "clip_4", "clip_5")}
    )
    assert "1 shard(s) with 3 clips are missing or incomplete" in warnings[0]


def test_a_shard_that_cannot_be_read_is_named(store, tmp_path):
    name = store.status("clip_0").shard
    shard = tmp_path / "shards" / f"{name}.safetensors"
    shard.write_bytes(b"\xff" * shard.stat().st_size)
    with pytest.raises(DamagedClipError, match=f"clip 'clip_0'.*{name}.safetensors cannot be trusted.*store verify"):
        EmbeddingStore(tmp_path)["clip_0"]


def write_many(folder, first: int, barrier) -> None:
    torch.set_num_threads(1)
    barrier.wait()
    for round_number in range(5):
        clips = {f"{first}_{round_number}_{i}": embeds(first * 1000 + round_number * 10 + i, i, 2) for i in range(6)}
        fill(folder, clips | {"both": embeds(7, 2, 2)}, shard_clips=2)


def test_two_processes_write_one_store(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [context.Process(target=write_many, args=(tmp_path, first, barrier)) for first in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    names = [(first, r, i) for first in (1, 2) for r in range(5) for i in range(6)]
    expected = {f"{f}_{r}_{i}": embeds(f * 1000 + r * 10 + i, i, 2) for f, r, i in names}
    assert_holds(EmbeddingStore(tmp_path), expected | {"both": embeds(7, 2, 2)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "bfloat16"}, "dtype: it has 'float32', requested is 'bfloat16'"),
        ({"extraction": 2}, "extraction: it has 1, requested is 2"),
        (
            {"sampling": {"frames_per_second": 4.0, "num_frames": None}},
            "sampling.frames_per_second: it has 2.0, requested is 4.0",
        ),
        (
            {"vision": {**fingerprint()["vision"], "weights_hash": "ww"}},
            "vision.weights_hash: it has 'vv', requested is 'ww'",
        ),
        ({"audio": {**fingerprint()["audio"], "window": 1.0}}, "audio.window: it has 2.0, requested is 1.0"),
        ({"audio": {**fingerprint()["audio"], "new": 1}}, "audio.new: it has None, requested is 1"),
    ],
)
def test_another_fingerprint_is_refused_by_name(store, tmp_path, changes, message):
    for use in (lambda: EmbeddingStore(tmp_path, fingerprint(**changes)), lambda: fill(tmp_path, {}, **changes)):
        with pytest.raises(
            FingerprintError,
            match=f"{tmp_path} was created with other encoders or settings than requested: {message}.*another folder",
        ):
            use()
    assert json.loads((tmp_path / "fingerprint.json").read_text()) == fingerprint()


def test_a_tower_that_was_moved_is_the_same_tower(store, tmp_path):
    moved = {**fingerprint()["vision"], "name_or_path": "/elsewhere/v", "revision": "main"}
    assert_holds(EmbeddingStore(tmp_path, fingerprint(vision=moved)), CLIPS)
    changed = {**moved, "weights_hash": "ww"}
    with pytest.raises(
        FingerprintError, match="name_or_path: it has 'org/v', requested is '/elsewhere/v'.*weights_hash"
    ):
        check_fingerprint(tmp_path, fingerprint(), fingerprint(vision=changed))


def test_less_may_be_read_but_not_written(store, tmp_path):
    """A store of both modalities serves a model of one; clips added without the other would be incomplete."""
    assert_holds(EmbeddingStore(tmp_path, fingerprint(vision=None, dtype=None)), CLIPS)
    fill(tmp_path, {}, vision=None)  # nothing to encode
    with pytest.raises(
        FingerprintError, match=r"holds vision embeddings too, so new clips \(new\) need the vision encoder"
    ):
        fill(tmp_path, {"new": embeds(0, 1, 0)}, vision=None)
    assert_holds(EmbeddingStore(tmp_path), CLIPS)


def test_more_than_the_store_holds_is_refused(tmp_path):
    fill(tmp_path, {"a": (embeds(0, 3, 0)[0], None)}, vision=None)
    audio, vision = EmbeddingStore(tmp_path, fingerprint(vision=None))["a"]
    assert audio.shape == (3, AUDIO) and vision.shape == (0, 0)
    with pytest.raises(FingerprintError, match="it has no vision embeddings, which are requested"):
        EmbeddingStore(tmp_path, fingerprint())


def test_embeddings_of_another_width_are_refused(tmp_path):
    with StoreWriter(tmp_path, fingerprint()) as writer:
        with pytest.raises(ValueError, match=r"clip 'a': audio embeddings of shape \(2, 5\); expected \(T, 6\)"):
            writer.add(ClipRecord("a"), torch.zeros(2, 5))
    assert len(EmbeddingStore(tmp_path)) == 0


def test_an_empty_folder_is_no_store(tmp_path):
    with pytest.raises(FileNotFoundError, match="no embedding store at .*extract the embeddings first"):
        EmbeddingStore.open(tmp_path)


@pytest.mark.parametrize(
    ("limit", "shards"), [({"shard_clips": 2}, 4), ({"shard_bytes": 200}, 2), ({"shard_seconds": 0.0}, 7), ({}, 1)]
)
def test_a_shard_ends_by_clips_bytes_or_age(tmp_path, limit, shards):
    with StoreWriter(tmp_path, fingerprint(), **limit) as writer:
        for name, streams in CLIPS.items():
            writer.add(ClipRecord(name), *streams)
    assert writer.shards == shards == len(list((tmp_path / "index").iterdir()))
    assert_holds(EmbeddingStore(tmp_path), CLIPS)


def test_an_error_loses_nothing_that_was_added(tmp_path):
    with pytest.raises(RuntimeError), StoreWriter(tmp_path, fingerprint()) as writer:
        writer.add(ClipRecord("clip_0"), *CLIPS["clip_0"])
        raise RuntimeError
    assert_holds(EmbeddingStore(tmp_path), {"clip_0": CLIPS["clip_0"]})


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, code):
    """Some answer that another process holds the lock, for ever; some that there are none."""

    def flock(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr(store_writer, "LOCK_SECONDS", 0.2)
    start = time.monotonic()
    with pytest.raises(OSError, match=f"embedding store at {tmp_path} cannot be locked for writing: .*flock"):
        StoreWriter(tmp_path, fingerprint())
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_a_group_can_read_a_store_where_the_umask_allows_it(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        fill(tmp_path, CLIPS)
    finally:
        os.umask(before)
    files = [tmp_path / "fingerprint.json", *(tmp_path / "shards").iterdir(), *(tmp_path / "index").iterdir()]
    assert len(files) == 7 and {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}


def test_a_store_may_hold_vectors_of_text(tmp_path):
    """A third stream beside the two of media; its values are under the checksum, and a writer without it is refused."""
    text = {"width": 3, "weights_hash": "tt"}
    clips = {"a": (*embeds(0, 2, 1), torch.eye(3)), "b": (*embeds(1, 0, 2), torch.zeros(0, 3))}
    fill(tmp_path / "s", clips, text=text)
    store = EmbeddingStore.open(tmp_path / "s", fingerprint(text=text))
    assert store.stream("a", "text").tolist() == torch.eye(3).tolist() and store.stream("b", "text").shape == (0, 3)
    assert torch.equal(store.stream("a", "vision"), store["a"][1]) and len(store["a"]) == 2
    assert [store.status(clip).text for clip in clips] == [3, 0]
    with pytest.raises(FingerprintError, match="holds text embeddings too"):
        fill(tmp_path / "s", {"c": embeds(2, 1, 1)})
    with pytest.raises(FingerprintError, match="it has no text embeddings, which are requested"):
        fill(tmp_path / "t", {"a": embeds(0, 1, 1)})
        EmbeddingStore.open(tmp_path / "t", fingerprint(text=text))
    with pytest.raises(KeyError, match="has no text embeddings"):
        EmbeddingStore.open(tmp_path / "t").stream("a", "text")
    shard = next((tmp_path / "s" / "shards").iterdir())
    changed = load_file(shard)
    changed["text"][0, 0] = 2
    save_file(changed, shard)
    with pytest.raises(DamagedClipError, match="clip 'a'.*do not have the checksum"):
        EmbeddingStore.open(tmp_path / "s").stream("a", "text")
