"""An embedding store as a dataset repository on the Hugging Face Hub."""

import os

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

{clips} clips, one row of the index each; the embeddings lie in `shards/`, what made them in `fingerprint.json`.

| modality | encoder | revision | width |
| --- | --- | --- | --- |
{encoders}

```python
from modeling_semanticmac.embedding_store import EmbeddingStore

store = EmbeddingStore.from_pretrained("{repo_id}")
audio, vision = store[clip_id]
```

Embeddings fall under the licences of the encoder and of the corpus that they were made from. ImageBind's weights are CC BY-NC-SA 4.0.
"""
# Reports hold paths of the machine that made them.
LEFT_HERE = ["*.tmp", "*.lock", "report*.json"]
PARTS = ["fingerprint.json", "README.md", "index/*.parquet", "shards/*.safetensors"]


def upload_store(store, repo_id: str, private: bool = True, token: str | None = None) -> str:
    """Upload a store with a card; returns the repository's address."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    rows = [f"| {name} | {found['name_or_path']} | {found['revision']} | {found['width']} |"
            for name, found in store.fingerprint.items() if isinstance(found, dict) and "weights_hash" in found]  # fmt: skip
    card = CARD.format(clips=len(store), encoders="\n".join(rows), repo_id=repo_id)
    api.upload_folder(
        repo_id=repo_id, folder_path=os.fspath(store.folder), repo_type="dataset", ignore_patterns=LEFT_HERE
    )
    api.upload_file(repo_id=repo_id, path_or_fileobj=card.encode(), path_in_repo="README.md", repo_type="dataset")
    return str(url)


def download_store(repo_id: str, revision: str | None = None) -> str:
    """Download a store; returns its folder in the local cache."""
    from huggingface_hub import snapshot_download

    return snapshot_download(repo_id, repo_type="dataset", revision=revision, allow_patterns=PARTS)


__all__ = ["download_store", "upload_store"]
