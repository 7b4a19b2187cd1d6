"""A store as a dataset repository, on a Hub that is a folder."""

import huggingface_hub
import pytest

from modeling_semanticmac.embedding_store import EmbeddingStore
from tests.helpers.stores import CLIPS, assert_holds, fill, fingerprint


@pytest.fixture
def store(tmp_path) -> EmbeddingStore:
    fill(tmp_path, CLIPS)
    return EmbeddingStore.open(tmp_path)


def test_push_and_load_from_the_hub(store, tmp_path, monkeypatch):
    """What a fake Hub is given is a store again, without what belongs to this machine."""
    hub = tmp_path.parent / "hub"
    hub.mkdir()
    calls = []

    class FakeApi:
        def __init__(self, token=None):
            calls.append(("token", token))

        def create_repo(self, repo_id, repo_type, private, exist_ok):
            calls.append((repo_id, repo_type, private, exist_ok))
            return f"https://hub/{repo_id}"

        def upload_folder(self, repo_id, folder_path, repo_type, ignore_patterns):
            files = [path for path in sorted(tmp_path.glob("**/*")) if path.is_file()]
            kept = huggingface_hub.utils.filter_repo_objects([str(p.relative_to(folder_path)) for p in files], ignore_patterns=ignore_patterns)  # fmt: skip
            for name in kept:
                (hub / name).parent.mkdir(exist_ok=True)
                (hub / name).write_bytes((tmp_path / name).read_bytes())

        def upload_file(self, repo_id, path_or_fileobj, path_in_repo, repo_type):
            (hub / path_in_repo).write_bytes(path_or_fileobj)

    def fake_download(repo_id, repo_type, revision, allow_patterns):
        assert (repo_id, repo_type, revision) == ("org/store", "dataset", "v1")
        names = [str(path.relative_to(hub)) for path in hub.glob("**/*") if path.is_file()]
        assert sorted(huggingface_hub.utils.filter_repo_objects(names, allow_patterns=allow_patterns)) == sorted(names)
        return str(hub)

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake_download)
    (tmp_path / "report_train.json").write_text("{}")
    (tmp_path / "shards" / ".x.tmp").write_text("half")
    assert store.push_to_hub("org/store", token="secret") == "https://hub/org/store"
    assert calls == [("token", "secret"), ("org/store", "dataset", True, True)]
    assert not list(hub.glob("**/*.tmp")) and not list(hub.glob("report*")) and not list(hub.glob("**/*.lock"))
    card = (hub / "README.md").read_text()
    assert "| vision | org/v | None | 4 |" in card and 'from_pretrained("org/store")' in card
    assert_holds(EmbeddingStore.from_pretrained("org/store", "v1", fingerprint()), CLIPS)
    assert_holds(EmbeddingStore.from_pretrained(tmp_path), CLIPS)
