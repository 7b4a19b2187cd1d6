"""`semanticmac store verify`: everything is compared, what is damaged is named and can be set aside."""

import pytest

from modeling_semanticmac.embedding_store import EmbeddingStore, verify
from semanticmac import main
from tests.helpers.stores import CLIPS, assert_holds, fill, flip_bit, write_old_store


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "store", CLIPS)
    return tmp_path / "store"


def test_a_store_as_it_was_written(folder, capsys):
    found = verify(folder)
    assert found.ok and found.verified == 7 and not found.unverifiable
    assert main(["store", "verify", str(folder)]) == 0
    assert "7 clips have the embeddings that were written" in capsys.readouterr().out


def test_damage_is_named_and_set_aside(folder, capsys):
    shard = EmbeddingStore(folder).status("clip_5").shard
    path = folder / "shards" / f"{shard}.safetensors"
    flip_bit(path, 8 * (path.stat().st_size - 1))  # the last clip's
    found = verify(folder)
    assert list(found.damaged) == ["clip_5"] and found.verified == 6 and found.shards == {shard}
    assert main(["store", "verify", str(folder)]) == 1
    assert "clip 'clip_5'" in capsys.readouterr().out and path.exists()
    assert main(["store", "verify", str(folder), "--set_aside"]) == 1
    left = {clip: streams for clip, streams in CLIPS.items() if clip not in ("clip_3", "clip_4", "clip_5")}
    assert_holds(EmbeddingStore(folder), left)
    assert main(["store", "verify", str(folder)]) == 0
    fill(folder, {clip: CLIPS[clip] for clip in CLIPS.keys() - left.keys()})
    assert_holds(EmbeddingStore(folder), CLIPS)


def test_lost_shards_and_damaged_index_files_are_named(folder, capsys):
    store = EmbeddingStore(folder)
    (folder / "shards" / f"{store.status('clip_0').shard}.safetensors").unlink()
    (index,) = (folder / "index").glob(f"{store.status('clip_6').shard}*")
    flip_bit(index, 0)
    assert main(["store", "verify", str(folder), "--set_aside"]) == 1
    out = capsys.readouterr().out
    assert "missing or incomplete, with 3 clips" in out and f"index/{index.name}: its bytes" in out
    assert "0 clips and 2 files are damaged" in out
    assert main(["store", "verify", str(folder)]) == 0
    assert sorted(EmbeddingStore(folder)) == ["clip_3", "clip_4", "clip_5"]


def test_checksums_are_added_to_an_older_store(tmp_path, capsys):
    write_old_store(tmp_path, CLIPS)
    assert main(["store", "verify", str(tmp_path)]) == 0
    assert "7 clips have no checksum (--add_checksums)" in capsys.readouterr().out
    assert main(["store", "verify", str(tmp_path), "--add_checksums"]) == 0
    found = verify(tmp_path)
    assert (found.verified, found.unverifiable) == (7, 0)
    assert_holds(EmbeddingStore(tmp_path), CLIPS)
    shard = next((tmp_path / "shards").iterdir())
    flip_bit(shard, 8 * (shard.stat().st_size - 1))
    assert list(verify(tmp_path).damaged) == ["clip_6"]


def test_no_store_is_one_line(tmp_path, capsys):
    assert main(["store", "verify", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("semanticmac: no embedding store at") and error.count("\n") == 1
