"""A store as a dataset repository, on a Hub that is a folder: what is uploaded is a store again, and nothing else
leaves the machine.
"""

import json
import os

import huggingface_hub
import pytest

from modeling_semanticmac.embedding_store import ClipRecord, DamagedClipError, EmbeddingStore, StoreWriter
from tests.helpers.stores import CLIPS, assert_holds, embeds, fill, fingerprint, flip_bit


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / "store", CLIPS)
    return tmp_path / "store"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that takes the place of the Hub; `calls` beside it would be over the network."""
    hub = tmp_path / "hub"

    class FakeApi:
        def __init__(self, token=None):
            assert token == "secret"

        def create_repo(self, repo_id, repo_type, private, exist_ok):
            assert (repo_type, private, exist_ok) == ("dataset", True, True)
            return f"https://hub/{repo_id}"

        def create_commit(self, repo_id, operations, commit_message, repo_type):
            assert repo_type == "dataset"
            for operation in operations:
                path = hub / operation.path_in_repo
                path.parent.mkdir(parents=True, exist_ok=True)
                with operation.as_file() as file:
                    path.write_bytes(file.read())

    def fake_download(repo_id, repo_type, revision, allow_patterns):
        assert (repo_id, repo_type, revision) == ("org/store", "dataset", "v1")
        names = uploaded(hub)
        assert sorted(huggingface_hub.utils.filter_repo_objects(names, allow_patterns=allow_patterns)) == names
        return str(hub)

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake_download)
    return hub


def uploaded(hub) -> list[str]:
    return sorted(str(path.relative_to(hub)) for path in hub.glob("**/*") if path.is_file())


def test_push_and_load_from_the_hub(folder, hub):
    store = EmbeddingStore.open(folder)
    assert store.push_to_hub("org/store", token="secret") == "https://hub/org/store"
    card = (hub / "README.md").read_text()
    assert "| vision | org/v | None | 4 |" in card and 'from_pretrained("org/store")' in card
    assert_holds(EmbeddingStore.from_pretrained("org/store", "v1", fingerprint()), CLIPS)
    assert_holds(EmbeddingStore.from_pretrained(folder), CLIPS)


def test_nothing_else_is_uploaded(folder, hub, tmp_path):
    """Whatever lies in the folder, under whatever name, by whatever link."""
    secret = "MARKED-SECRET"
    (tmp_path / "outside").mkdir()
    for name in ("key.parquet", "key.safetensors", "key"):
        (tmp_path / "outside" / name).write_text(secret)
    strays = [
        ".env",
        "notes.txt",
        "report_train.json",
        "shards/.x.tmp",
        "shards/mine.safetensors",
        "index/mine.parquet",
        "shards/.env",
    ]
    for name in strays:
        (folder / name).write_text(secret)
    (folder / "shards" / f"{9:020d}-0123456789ab.safetensors").write_text(secret)  # a shard without an index
    os.symlink(tmp_path / "outside" / "key.parquet", folder / "index" / "link.parquet")
    os.symlink(tmp_path / "outside" / "key.safetensors", folder / "shards" / "link.safetensors")
    os.symlink(tmp_path / "outside", folder / "linked")
    EmbeddingStore(folder).push_to_hub("org/store", token="secret")
    names = uploaded(hub)
    shards = {record.shard for record in map(EmbeddingStore(folder).status, CLIPS)}
    assert {name for name in names if name.startswith("shards/")} == {f"shards/{shard}.safetensors" for shard in shards}
    assert [name.partition("/")[0] for name in names] == ["README.md", "fingerprint.json"] + ["index"] * 3 + [
        "shards"
    ] * 3
    assert not any(secret.encode() in (hub / name).read_bytes() for name in names)


def test_paths_of_this_machine_stay_here(tmp_path, hub):
    towers = {**fingerprint()["vision"], "name_or_path": "/home/anna/towers/vision"}
    with StoreWriter(tmp_path / "store", fingerprint(vision=towers)) as writer:
        record = ClipRecord("clip_0", note="OSError: cannot open /home/anna/clips/0.mp4")
        writer.add(record, *CLIPS["clip_0"])
    EmbeddingStore(tmp_path / "store").push_to_hub("org/store", token="secret")
    assert not any(b"anna" in (hub / name).read_bytes() for name in uploaded(hub))
    store = EmbeddingStore.from_pretrained("org/store", "v1", fingerprint(vision=towers))
    assert store.status("clip_0").note == "OSError: cannot open 0.mp4"
    assert_holds(store, {"clip_0": CLIPS["clip_0"]})


def test_a_record_that_was_replaced_is_not_uploaded(folder, hub):
    new = embeds(99, 2, 9)
    fill(folder, {"clip_0": new})
    EmbeddingStore(folder).push_to_hub("org/store", token="secret")
    assert_holds(EmbeddingStore.from_pretrained("org/store", "v1"), CLIPS | {"clip_0": new})


@pytest.mark.parametrize("part", ["shard", "shards"])
def test_a_link_in_place_of_a_shard_is_refused(folder, hub, tmp_path, part):
    path = folder / "shards" if part == "shards" else next((folder / "shards").iterdir())
    path.rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(ValueError, match="symbolic link; nothing was uploaded.*push the copy"):
        EmbeddingStore(folder).push_to_hub("org/store", token="secret")
    assert not hub.exists()


def test_a_damaged_store_is_not_uploaded(folder, hub):
    shard = folder / "shards" / f"{EmbeddingStore(folder).status('clip_5').shard}.safetensors"
    flip_bit(shard, 8 * (shard.stat().st_size - 1))
    with pytest.raises(DamagedClipError, match="clip 'clip_5'"):
        EmbeddingStore(folder).push_to_hub("org/store", token="secret")
    assert not hub.exists()


def test_the_fingerprint_that_is_uploaded_is_the_one_in_the_store(folder, hub):
    EmbeddingStore(folder).push_to_hub("org/store", token="secret")
    assert json.loads((hub / "fingerprint.json").read_text()) == json.loads((folder / "fingerprint.json").read_text())
