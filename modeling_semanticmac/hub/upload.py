"""A run on the Hub: checkpoint, processor, code, card, record and report, in one commit.

semanticmac push RUN org/name [--private]      push a finished run
semanticmac train ... --push_to_hub            push at the end of a run
"""

import argparse
import json
import os
import sys
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperation, CommitOperationAdd, CommitOperationDelete, HfApi
from transformers.dynamic_module_utils import get_relative_import_files

from ..files.local_paths import hide_paths, local_paths, without_local_names, without_local_paths
from ..files.secrets import hide_secrets
from ..neighbor_bank import BANK
from .model_card import write_model_card

# Nothing else is uploaded: no optimizer state, no embeddings (they may be somebody's face and voice), no ids, labels
# and predictions of single clips. The bank of training clips is uploaded on request.
CHECKPOINT = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "processor_config.json",
    "preprocessor_config.json",
    "face_detector.onnx",
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
# Parts that a model names and that may lie beside it, and their adapters.
PARTS = (
    "vision_encoder", "audio_encoder", "language_model", "language_model_adapter", "vision_encoder_adapter",
    "audio_encoder_adapter",
)  # fmt: skip
TOWERS = tuple(f"{part}/*{ending}" for part in PARTS for ending in (".json", ".safetensors"))
RECORD = ("run.json", "all_results.json", "report.md", "report.json", "report/*.png", "report/*.svg")
UPLOADED = (*CHECKPOINT, *TOKENIZER, *TOWERS, "README.md", *RECORD)
# Parts of an earlier checkpoint that are deleted where the new one has no such file; they would be loaded otherwise.
REPLACED = ("model*.safetensors", "model.safetensors.index.json", BANK, *(f"{part}/*" for part in PARTS))


def push_run(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Upload a run of SemanticMAC",
    include_bank: bool = False,
) -> CommitInfo:
    """Write the card of a run and upload the files that others can use; a second push replaces the first.

    Absolute paths in text and JSON files are shortened to their last part in the upload; the files in the folder stay
    as they are.

    Args:
        folder: output folder of a run, or of `save_pretrained`.
        repo_id: org/name.
        private: whether a new repository is visible to you only.
        token: access token of the Hub; None: the one of `hf auth login`.
        revision: branch, created where it is absent; None: main.
        commit_message: subject line of the commit.
        include_bank: upload ids, labels and representations of the training clips (`keep_bank`) too.

    Raises:
        FileNotFoundError: the folder holds no model, or no bank that is to be uploaded.
        ValueError: a file to upload is a symbolic link, or a tower lies in another folder of this machine, where nobody
            else can load it.
    """
    folder = Path(folder)
    write_model_card(folder, repo_id)
    require_parts(folder)
    files = files_to_upload(folder, include_bank)
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    if revision is not None:
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    there = api.list_repo_files(repo_id, revision=revision)
    old = [name for name in there if name not in files and any(fnmatch(name, pattern) for pattern in REPLACED)]
    operations: list[CommitOperation] = [CommitOperationAdd(name, content) for name, content in files.items()]
    operations += [CommitOperationDelete(name) for name in old]
    return api.create_commit(repo_id, operations, commit_message=commit_message, revision=revision)


def files_to_upload(folder: Path, include_bank: bool = False) -> dict[str, str | bytes]:
    """Return the files of a run that are uploaded: those on the list, and the code that the checkpoint names.

    Returns:
        Name in the repository -> path, or the bytes of a text file without the folders of this machine.

    Raises:
        FileNotFoundError: there is no bank, and it is to be uploaded.
        ValueError: one of the files is a symbolic link, or lies in a linked folder: its target may be anything.
    """
    below, code = _names_below(folder), checkpoint_code(folder)
    if include_bank and BANK not in below:
        raise FileNotFoundError(f"no {BANK} in {folder}; train with --keep_bank, or leave out the bank.")
    uploaded = (*UPLOADED, BANK) if include_bank else UPLOADED
    # Patterns without a folder match at the top only: a training checkpoint has the same files one level below.
    names = [name for name in below if name in code or any(_matches(name, pattern) for pattern in uploaded)]
    folders = {pattern.partition("/")[0] for pattern in uploaded if "/" in pattern}
    links = [name for name in below if (name in names or name in folders) and (folder / name).is_symlink()]
    if links:
        raise ValueError(
            f"{', '.join(links)} in {folder}: symbolic links are not uploaded, since a target may be any file of this "
            "machine; nothing was uploaded. Put "
            "copies of the files in their place."
        )
    paths = run_paths(folder)
    return {name: _content(folder / name, name, paths) for name in names}


def checkpoint_code(folder: Path) -> set[str]:
    """Return the Python files of a checkpoint that its `auto_map` names, and the siblings that they import."""
    found: set[str] = set()
    for name in ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        config = _json(path)
        pipelines = config.get("custom_pipelines") or {}
        references = [*(config.get("auto_map") or {}).values(), *(entry.get("impl") for entry in pipelines.values())]
        for reference in references:
            for target in reference if isinstance(reference, list | tuple) else [reference]:
                found |= _with_siblings(folder, f"{target}".partition(".")[0])
    return found


def _with_siblings(folder: Path, module: str) -> set[str]:
    path = folder / f"{module}.py"
    if not path.is_file():
        return set()
    return {path.name, *(Path(name).name for name in get_relative_import_files(path))}


def _names_below(folder: Path) -> list[str]:
    """Return the files below a folder and the linked folders, which are not entered, relative to it and sorted."""
    found = []
    for root, folders, files in os.walk(folder):
        linked = [name for name in folders if os.path.islink(os.path.join(root, name))]
        found += [Path(root, name).relative_to(folder).as_posix() for name in (*files, *linked)]
    return sorted(found)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) and name.count("/") == pattern.count("/")


def _content(path: Path, name: str, paths: set[str]) -> str | bytes:
    """Return what is uploaded of a file: its path, or the bytes of a text without secrets and without the folders of
    this machine.
    """
    if name in RECORD and name.endswith(".json"):
        return _json_bytes(without_local_paths(hide_secrets(_json(path))))
    if name.endswith("config.json"):
        return _json_bytes(without_local_names(_json(path)))
    if name.endswith(".md"):
        return public_text(path.read_text(encoding="utf-8"), paths).encode()
    return str(path)


def public_text(text: str, paths: set[str]) -> str:
    """Return a text without secrets and without the folders of this machine among `paths`."""
    return hide_paths(hide_secrets(text), paths)


def run_paths(folder: Path) -> set[str]:
    """Return the absolute paths among the arguments of a run, which its report may show."""
    path = folder / "run.json"
    return local_paths(_json(path)) if path.is_file() else set()


def _json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def _json_bytes(value) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def require_parts(folder: Path) -> None:
    """Refuse a model with a tower or a language model in another folder of this machine.

    Raises:
        ValueError: names the part and where it lies.
    """
    config = _json(folder / "config.json")
    for tower in ("vision_encoder", "audio_encoder", "language_model_reference"):
        name = (config.get(tower) or {}).get("name_or_path")
        if name and (os.path.isabs(name) or os.path.isdir(name)):
            part = tower.removesuffix("_reference").replace("_", " ")
            raise ValueError(
                f"the {part} of the model in {folder} lies in the folder {name}, where nobody else can load it; "
                "nothing was uploaded. Save the model with include_encoders=True (semanticmac train ... "
                "--include_encoders true), or name an encoder or language model on the Hub."
            )


def main(argv: list[str] | None = None) -> int:
    """Push a run."""
    parser = argparse.ArgumentParser(
        prog="semanticmac push", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the output folder of a run")
    parser.add_argument("repo_id", help="org/name on the Hub")
    parser.add_argument("--private", action="store_true", default=None, help="only you see a repository made now")
    parser.add_argument("--revision", help="branch (default: main)")
    parser.add_argument("--bank", action="store_true", help="also ids, labels and representations of training clips")
    args = parser.parse_args(argv)
    try:
        options = {"private": args.private, "revision": args.revision, "include_bank": args.bank}
        print(push_run(args.run, args.repo_id, **options).commit_url)
    except (OSError, ValueError) as error:  # the Hub's own errors are OSErrors
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
