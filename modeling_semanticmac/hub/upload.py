"""A run on the Hub: checkpoint, processor, code, card, record and report, in one commit.

semanticmac push RUN org/name [--private]      push a finished run; `semanticmac train ... --push_to_hub` does it at the end
"""

import argparse
import json
import os
import sys
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi

from ..files.local_paths import hide_paths, local_paths, without_local_names, without_local_paths
from ..files.secrets import hide_secrets
from .model_card import write_model_card

# Nothing else goes up: no optimizer state, no embeddings (they may be somebody's face and voice), no ids, labels and predictions of single clips.
CHECKPOINT = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "processor_config.json",
    "preprocessor_config.json",
)
TOKENIZER = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "spiece.*",
    "chat_template.*",
)
TOWERS = tuple(
    f"{tower}/*{ending}" for tower in ("vision_encoder", "audio_encoder") for ending in (".json", ".safetensors")
)
RECORD = ("run.json", "all_results.json", "report.md", "report.json", "report/*.png", "report/*.svg")
UPLOADED = (*CHECKPOINT, *TOKENIZER, *TOWERS, "*.py", "README.md", *RECORD)
# Parts of a checkpoint that must go where the new one has no such file, or they would be loaded.
REPLACED = ("model*.safetensors", "model.safetensors.index.json", "vision_encoder/*", "audio_encoder/*")


def push_run(
    folder: str | os.PathLike, repo_id: str, *, private: bool | None = None, token: str | None = None, revision: str | None = None,
    commit_message: str = "Upload a run of SemanticMAC",
) -> CommitInfo:  # fmt: skip
    """Write the card of a run, and upload what of the run others can use; a second push replaces the first.

    Absolute paths in text and JSON files are cut down to their last part on the way; the files in the folder stay as they are.

    Args:
        folder: output folder of a run, or of `save_pretrained`.
        repo_id: org/name.
        private: whether only you see a repository that is made now.
        revision: branch, made where it is not there; None: main.

    Raises:
        FileNotFoundError: no model in the folder.
        ValueError: a tower lies in another folder of this machine, where nobody else can load it.
    """
    folder = Path(folder)
    write_model_card(folder, repo_id)
    _require_towers(folder)
    files = files_to_upload(folder)
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    if revision is not None:
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    there = api.list_repo_files(repo_id, revision=revision)
    old = [name for name in there if name not in files and any(fnmatch(name, pattern) for pattern in REPLACED)]
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    operations += [CommitOperationDelete(name) for name in old]
    return api.create_commit(repo_id, operations, commit_message=commit_message, revision=revision)


def files_to_upload(folder: Path) -> dict[str, str | bytes]:
    """Name in the repository -> path, or the bytes of a text file without the folders of this machine."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files: dict[str, str | bytes] = {}
    paths = _local_paths(folder)
    for name in names:
        # Patterns without a folder are of the top alone: a checkpoint's own files lie one below.
        if any(fnmatch(name, pattern) and name.count("/") == pattern.count("/") for pattern in UPLOADED):
            path = folder / name
            if name in RECORD and name.endswith(".json"):
                files[name] = _json_bytes(without_local_paths(hide_secrets(_json(path))))
            elif name.endswith("config.json"):
                files[name] = _json_bytes(without_local_names(_json(path)))
            elif name.endswith(".md"):
                files[name] = hide_paths(hide_secrets(path.read_text(encoding="utf-8")), paths).encode()
            else:
                files[name] = str(path)
    return files


def _local_paths(folder: Path) -> set[str]:
    """The absolute paths that the run was given, as they may stand in its report."""
    path = folder / "run.json"
    return local_paths(_json(path)) if path.is_file() else set()


def _json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def _json_bytes(value) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _require_towers(folder: Path) -> None:
    config = _json(folder / "config.json")
    for tower in ("vision_encoder", "audio_encoder"):
        name = (config.get(tower) or {}).get("name_or_path")
        if name and (os.path.isabs(name) or os.path.isdir(name)):
            raise ValueError(
                f"the {tower.replace('_', ' ')} of the model in {folder} lies in the folder {name}, where nobody else can load it; nothing was uploaded. Save "
                "the model with include_encoders=True (semanticmac train ... --include_encoders true), or name an encoder on the Hub."
            )


def main(argv: list[str] | None = None) -> int:
    """Push a run."""
    parser = argparse.ArgumentParser(prog="semanticmac push", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("run", type=Path, help="the output folder of a run")
    parser.add_argument("repo_id", help="org/name on the Hub")
    parser.add_argument("--private", action="store_true", default=None, help="only you see a repository made now")
    parser.add_argument("--revision", help="branch (default: main)")
    args = parser.parse_args(argv)
    try:
        print(push_run(args.run, args.repo_id, private=args.private, revision=args.revision).commit_url)
    except (OSError, ValueError) as error:  # the Hub's own errors are OSErrors
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
