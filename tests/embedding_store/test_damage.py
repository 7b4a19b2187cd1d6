"""Damage on disk: no changed bit, foreign file or clock that is set back gives other embeddings than those that were
written.
"""

import json
import os
import random
import shutil
import time
from dataclasses import replace

import pytest
import torch

from modeling_semanticmac.embedding_store import ClipRecord, DamagedClipError, EmbeddingStore, StoreWriter, verify
from modeling_semanticmac.embedding_store.index_files import clip_checksum
from tests.helpers.stores import CLIPS, assert_holds, embeds, fill, fingerprint, flip_bit, write_old_store

FLIPS = 400


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "store", CLIPS)
    return tmp_path / "store"


@pytest.fixture
def warnings(monkeypatch):
    """The warnings of the store, in order."""
    found = []
    for name in ("warning", "warning_once"):
        monkeypatch.setattr(f"modeling_semanticmac.embedding_store.store.logger.{name}", found.append)
    return found


def what_is_wrong(folder, warnings) -> list[str]:
    """Read every clip; return the refusals. Whatever is answered must be what was written."""
    try:
        store = EmbeddingStore(folder, fingerprint())
    except (OSError, ValueError) as error:
        return [str(error)]
    refusals = list(warnings)
    for clip, written in CLIPS.items():
        try:
            found = store[clip]
        except (KeyError, DamagedClipError) as error:
            assert clip in str(error)
            refusals.append(str(error))
            continue
        assert all(torch.equal(one, two.half()) for one, two in zip(found, written)), f"{clip} has other embeddings"
        record = store.status(clip)
        assert (record.status, record.reason, record.note) == ("ok", "", "")
    return refusals


@pytest.mark.parametrize("part", ["shards", "index", "fingerprint"])
def test_no_flipped_bit_goes_unnoticed(folder, tmp_path, warnings, part):
    """Random single bits; each is refused by name, or changes nothing that is read."""
    generator = random.Random(part)
    files = [folder / "fingerprint.json"] if part == "fingerprint" else sorted((folder / part).iterdir())
    refused = 0
    for _ in range(FLIPS):
        path = generator.choice(files)
        whole = path.read_bytes()
        flip_bit(path, generator.randrange(8 * len(whole)))
        warnings.clear()
        refused += bool(what_is_wrong(folder, warnings))
        path.write_bytes(whole)
    warnings.clear()
    assert what_is_wrong(folder, warnings) == []
    # Of the fingerprint, the blanks and the names of where the towers came from decide nothing.
    assert refused == FLIPS if part == "index" else refused > FLIPS / 2


def test_every_bit_of_a_clip_is_checked(folder):
    """All bits of the embeddings of one clip, not a sample."""
    name = EmbeddingStore(folder).status("clip_6").shard
    shard = folder / "shards" / f"{name}.safetensors"
    size, whole = shard.stat().st_size, shard.read_bytes()
    begin = whole.index(CLIPS["clip_6"][1].half().numpy().tobytes())
    for bit in range(8 * begin, 8 * (begin + CLIPS["clip_6"][1].numel() * 2)):
        flip_bit(shard, bit)
        with pytest.raises(DamagedClipError, match="clip 'clip_6'.*do not have the checksum in the index"):
            EmbeddingStore(folder)["clip_6"]
        shard.write_bytes(whole)
    assert shard.stat().st_size == size


def test_rows_of_another_clip_are_refused(folder):
    """An index that gives one clip the rows of another: the checksum is of the id too."""
    store = EmbeddingStore(folder)
    wrong = replace(store.status("clip_4"), row=store.status("clip_5").row)
    store.status = lambda clip: wrong
    with pytest.raises(DamagedClipError, match="clip 'clip_4'"):
        store["clip_4"]
    audio, vision = (stream.half() for stream in CLIPS["clip_0"])
    assert clip_checksum("a", audio, vision) != clip_checksum("b", audio, vision)
    assert clip_checksum("a", audio[:0], vision) != clip_checksum("a", vision, audio[:0])
    assert clip_checksum("a", audio[:1], audio[1:]) != clip_checksum("a", audio[:2], audio[2:])


def test_a_clip_is_checked_once(folder, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "modeling_semanticmac.embedding_store.store.clip_checksum", lambda *a: calls.append(a[0]) or clip_checksum(*a)
    )
    store = EmbeddingStore(folder)
    for _ in range(3):
        store["clip_0"], store["clip_5"]
    assert calls == ["clip_0", "clip_5"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e5, 65520.0])
@pytest.mark.parametrize("modality", [0, 1])
def test_values_that_are_not_finite_are_refused_at_writing(tmp_path, value, modality):
    """65519 rounds to the largest half-precision number, 65504; 65520 rounds to infinity."""
    streams = [stream.clone() for stream in CLIPS["clip_0"]]
    with StoreWriter(tmp_path, fingerprint()) as writer:
        streams[modality][1, 2] = value
        name = ("audio", "vision")[modality]
        with pytest.raises(
            ValueError, match=f"clip 'loud': {name} embeddings hold NaN, infinity or values beyond 65504"
        ):
            writer.add(ClipRecord("loud"), *streams)
        streams[modality][1, 2] = 65519.0
        writer.add(ClipRecord("quiet"), *streams)
    store = EmbeddingStore(tmp_path)
    assert list(store) == ["quiet"] and store["quiet"][modality].max() == 65504


def test_an_older_store_opens_and_says_once_that_it_has_no_checksums(tmp_path, warnings, capsys):
    write_old_store(tmp_path, CLIPS)
    store = EmbeddingStore(tmp_path, fingerprint())
    assert_holds(store, CLIPS)
    assert len(warnings) == 1 and "7 of 7 clips were written without checksums" in warnings[0]
    assert "--add_checksums" in warnings[0]
    fill(tmp_path, {"new": embeds(1, 2, 2)})
    warnings.clear()
    assert_holds(EmbeddingStore(tmp_path), CLIPS | {"new": embeds(1, 2, 2)})
    assert "7 of 8 clips" in warnings[0]


def test_without_checksums_a_value_that_is_not_finite_is_refused(tmp_path, warnings):
    write_old_store(tmp_path, CLIPS | {"broken": (embeds(1, 1, 1)[0] * torch.nan, embeds(1, 1, 1)[1])})
    store = EmbeddingStore(tmp_path)
    with pytest.raises(DamagedClipError, match="clip 'broken'.*not finite"):
        store["broken"]
    assert torch.equal(store["clip_0"][0], CLIPS["clip_0"][0].half())


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_damaged_index_file_is_set_aside_and_its_clips_written_again(folder, warnings, damage):
    """Named; the other clips stay readable; the next writer moves it away, and then the store is as good as new."""
    name = EmbeddingStore(folder).status("clip_3").shard
    (path,) = (folder / "index").glob(f"{name}*")
    if damage == "flipped":
        flip_bit(path, 4000)
    else:
        path.write_bytes(path.read_bytes()[: 100 if damage == "cut" else 0])
    left = {clip: streams for clip, streams in CLIPS.items() if clip not in ("clip_3", "clip_4", "clip_5")}
    assert_holds(EmbeddingStore(folder), left)
    assert len(warnings) == 1 and path.name in warnings[0] and "checksum in its name" in warnings[0]
    fill(folder, {clip: CLIPS[clip] for clip in CLIPS.keys() - left.keys()})
    warnings.clear()
    assert_holds(EmbeddingStore(folder), CLIPS)
    assert warnings == []
    assert sorted(os.listdir(folder / "set_aside")) == sorted([path.name, f"{name}.safetensors"])


def test_a_damaged_index_file_of_an_older_store(tmp_path, warnings):
    write_old_store(tmp_path, CLIPS, times=(1, 2))
    second = next((tmp_path / "index").glob(f"{2:020d}*"))
    second.write_bytes(b"PAR1 but no more PAR1")
    assert_holds(EmbeddingStore(tmp_path), CLIPS)
    assert second.name in warnings[0] and "not an index of embeddings" in warnings[0]


def test_foreign_files_are_named_and_left_alone(folder, warnings):
    """macOS puts a `._` file beside every file on some disks; others put their own tables into the folder."""
    strays = {f"._{path.name}": b"\0\5\26\7" for path in (folder / "index").iterdir()} | {"notes.parquet": b"no table"}
    for name, content in strays.items():
        (folder / "index" / name).write_bytes(content)
    assert_holds(EmbeddingStore(folder), CLIPS)
    assert len(warnings) == 1 and all(name in warnings[0] for name in strays) and "macOS" in warnings[0]
    fill(folder, {"new": embeds(1, 2, 2)})
    assert all((folder / "index" / name).read_bytes() == content for name, content in strays.items())
    assert verify(folder).ok


def test_shards_of_other_settings_are_not_mixed_in(folder, tmp_path, warnings):
    """Copied into one folder: `fingerprint.json` is true of one of the two only."""
    fill(tmp_path / "other", {"clip_0": embeds(50, 2, 2), "other": embeds(51, 2, 2)}, dtype="bfloat16")
    for part in ("shards", "index"):
        shutil.copytree(tmp_path / "other" / part, folder / part, dirs_exist_ok=True)
    assert_holds(EmbeddingStore(folder), CLIPS)
    assert "made with other settings" in warnings[0]


def test_a_damaged_fingerprint_is_named(folder):
    (folder / "fingerprint.json").write_bytes(b'{"extraction": \xff')
    for use in (EmbeddingStore, lambda path: fill(path, {})):
        with pytest.raises(OSError, match="fingerprint.json is damaged"):
            use(folder)


@pytest.mark.parametrize("old", [False, True])
def test_the_newest_record_counts_although_the_clock_was_set_back(tmp_path, monkeypatch, old):
    if old:
        write_old_store(tmp_path, {"clip_0": CLIPS["clip_0"]}, times=(time.time_ns() + 10**15,))
    else:
        fill(tmp_path, {"clip_0": CLIPS["clip_0"]})
    for number, year in enumerate((2000, 1970)):
        now = (year - 1970) * 365 * 86400
        monkeypatch.setattr(time, "time", lambda now=now: float(now))
        monkeypatch.setattr(time, "time_ns", lambda now=now: now * 10**9)
        newest = embeds(200 + number, 3, 3)
        fill(tmp_path, {"clip_0": newest})
        assert_holds(EmbeddingStore(tmp_path), {"clip_0": newest})


def test_the_index_is_what_its_name_says(folder):
    """A file whose name was changed is not trusted; the rest is."""
    path = sorted((folder / "index").iterdir())[0]
    path.rename(path.with_name(path.name.replace(path.name.split(".")[1], "0" * 16)))
    assert sorted(EmbeddingStore(folder)) == ["clip_3", "clip_4", "clip_5", "clip_6"]


def test_what_a_newer_version_adds_to_the_index_is_ignored(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq
    import xxhash

    for path in sorted((folder / "index").iterdir()):
        table = pq.read_table(path)
        metadata, count = table.schema.metadata, table.num_rows
        table = table.append_column("novelty", pa.array([1.5] * count)).replace_schema_metadata(metadata)
        path.unlink()
        pq.write_table(table, path)
        digest = xxhash.xxh3_64_hexdigest(path.read_bytes())
        path.rename(path.with_name(f"{path.name.split('.')[0]}.{digest}.parquet"))
    assert_holds(EmbeddingStore(folder), CLIPS)
    assert json.loads((folder / "fingerprint.json").read_text()) == fingerprint()
