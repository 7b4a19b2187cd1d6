"""An embedding store as a dataset repository on the Hugging Face Hub."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from ..files.local_paths import without_local_names, without_local_paths
from .fingerprint import FINGERPRINT, fingerprint_digest
from .index_files import index_file

CARD = """---
pretty_name: SemanticMAC embeddings
tags:
- semanticmac
- embeddings
configs:
- config_name: index
  data_files: index/*.parquet
---

# Embeddings for SemanticMAC

{clips} clips, one row of the index each; the embeddings are in `shards/`, what made them is in `fingerprint.json`.

| modality | encoder | revision | width |
| --- | --- | --- | --- |
{encoders}

```python
from modeling_semanticmac.embedding_store import EmbeddingStore

store = EmbeddingStore.from_pretrained("{repo_id}")
audio, vision = store[clip_id]
```

Embeddings fall under the licences of the encoder and of the corpus that they were made from. ImageBind's weights are
CC BY-NC-SA 4.0.
"""
PARTS = [FINGERPRINT, "README.md", "index/*.parquet", "shards/*.safetensors"]


def upload_store(store, repo_id: str, private: bool = True, token: str | None = None) -> str:
    """Upload a store with a card, in one commit, and return the repository's address.

    Nothing but the files of `files_to_upload` leaves this machine.

    Raises:
        ValueError: a file of the store is a symbolic link.
        DamagedClipError: embeddings are not those that were written.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    files = files_to_upload(store, repo_id)
    api = HfApi(token=token)
    url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    api.create_commit(repo_id, operations, commit_message="Upload an embedding store", repo_type="dataset")
    return str(url)


def files_to_upload(store, repo_id: str) -> dict[str, str | bytes]:
    """Return what of a store others can use: name in the repository -> path, or bytes.

    These are the shards that the index names, and an index, a fingerprint and a card without paths of this machine.
    Every clip is compared with its checksum first. Whatever else is in the folder stays here: reports, notes, symbolic
    links.

    Raises:
        ValueError: a shard is, or is in, a symbolic link.
        DamagedClipError: embeddings are not those that were written.
    """
    by_shard = defaultdict(list)
    for clip in store:
        store[clip]
        record = store.status(clip)
        by_shard[record.shard].append(replace(record, note=without_local_paths(record.note)))
    fingerprint = without_local_names(store.fingerprint)
    digest = fingerprint_digest(fingerprint)
    files: dict[str, str | bytes] = {FINGERPRINT: (json.dumps(fingerprint, indent=2, sort_keys=True) + "\n").encode()}
    for shard, records in by_shard.items():
        path = _own_file(store.folder, f"shards/{shard}.safetensors")
        files[f"shards/{shard}.safetensors"] = str(path)
        name, content = index_file(shard, records, digest, path.stat().st_size)
        files[f"index/{name}"] = content
    files["README.md"] = _card(fingerprint, len(store), repo_id).encode()
    return files


def _own_file(folder: Path, name: str) -> Path:
    """Return the path of a file of a store, which must not lead out of the store."""
    path = folder / name
    if path.is_symlink() or path.parent.is_symlink():
        raise ValueError(
            f"{path} is, or is in, a symbolic link; nothing was uploaded. Only files of the store itself are: copy the "
            "store (`cp -rL`) and push the copy."
        )
    return path


def _card(fingerprint: dict, clips: int, repo_id: str) -> str:
    rows = [
        f"| {name} | {found.get('name_or_path')} | {found.get('revision')} | {found['width']} |"
        for name, found in fingerprint.items()
        if isinstance(found, dict) and "weights_hash" in found
    ]
    return CARD.format(clips=clips, encoders="\n".join(rows), repo_id=repo_id)


def download_store(repo_id: str, revision: str | None = None) -> str:
    """Download a store and return its folder in the local cache."""
    from huggingface_hub import snapshot_download

    return snapshot_download(repo_id, repo_type="dataset", revision=revision, allow_patterns=PARTS)


__all__ = ["download_store", "files_to_upload", "upload_store"]
