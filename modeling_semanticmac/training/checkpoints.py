"""Training checkpoints on disk: which of them are whole, which is the newest, and which are deleted.

A checkpoint is written into `RUN/.unfinished/` and renamed to `RUN/checkpoint-<step>` when all of its files are there.
A process that is killed while it saves therefore leaves no half checkpoint. Folders that were copied in part, or
written by older versions, are recognised by their content.
"""

import json
import logging
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..encoder_adapter import ENCODER_ADAPTERS
from ..language_model_adapter import ADAPTER_FILES, ADAPTER_FOLDER

logger = logging.getLogger(__name__)

UNFINISHED = ".unfinished"
LABEL_STATE = "label_state.safetensors"
# Everything but the weights and the random states, whose names depend on the model and on the number of processes.
REQUIRED = ("trainer_state.json", "scheduler.pt", LABEL_STATE)
# Of the optimizer: by itself, of FSDP in one file, of DeepSpeed (a folder, named in `latest`).
OPTIMIZERS = ("optimizer.pt", "optimizer.bin", "latest")
FSDP_WEIGHTS = "pytorch_model_fsdp.bin"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
_NAME = re.compile(r"checkpoint-(\d+)")
_RANDOM_STATE = re.compile(r"rng_state(?:_(\d+))?\.pth")


def checkpoint_step(folder: Path) -> int | None:
    """Return the step in the name of a checkpoint's folder; None for other folders."""
    found = _NAME.fullmatch(folder.name)
    return int(found[1]) if found else None


def list_checkpoints(run_folder: str | Path) -> list[Path]:
    """Return the checkpoints of a run, whole or not, sorted by step. An absent folder has none."""
    folder = Path(run_folder)
    found = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted(
        (path for path in found if checkpoint_step(path) is not None), key=lambda path: checkpoint_step(path) or 0
    )


def checkpoint_faults(checkpoint: Path) -> list[str]:
    """Return what keeps a checkpoint from being resumed: absent files first ("no optimizer.pt"), then damaged ones.

    Empty: it is whole.
    """
    absent = [f"no {name}" for name in REQUIRED if not (checkpoint / name).is_file()]
    if not any((checkpoint / name).is_file() for name in OPTIMIZERS):
        absent.insert(min(1, len(absent)), f"no {OPTIMIZERS[0]}")
    if (checkpoint / "optimizer.bin").is_file() and not (checkpoint / FSDP_WEIGHTS).is_file():
        absent.append(f"no {FSDP_WEIGHTS}")
    if not any((checkpoint / name).is_file() for name in WEIGHTS):
        absent.insert(0, f"no {WEIGHTS[0]}")
    if not saved_processes(checkpoint):
        absent.append("no rng_state.pth")
    config = checkpoint / "config.json"
    adapters = _adapter_folders(_read_json(config)) if config.is_file() and _can_read(_read_json, config) else []
    parts = [f"{folder}/{name}" for folder in adapters for name in ADAPTER_FILES]
    absent += [f"no {name}" for name in parts if not (checkpoint / name).is_file()]
    index = checkpoint / "model.safetensors.index.json"
    if index.is_file() and _can_read(_read_json, index):
        shards = sorted(set(_read_json(index)["weight_map"].values()))
        absent += [f"no {name}" for name in shards if not (checkpoint / name).is_file()]
    readers = {".safetensors": _open_safetensors, ".pt": _open_archive, ".json": _read_json}
    readers |= {".pth": _open_archive, ".bin": _open_archive}
    inside = [*checkpoint.iterdir(), *(path for folder in adapters for path in (checkpoint / folder).glob("*"))]
    files = sorted(path for path in inside if path.is_file() and path.suffix in readers)
    return absent + [f"{path.name} is damaged" for path in files if not _can_read(readers[path.suffix], path)]


def _adapter_folders(config: dict) -> list[str]:
    """Return the folders of the adapters that a checkpoint holds, by its configuration."""
    found = [ADAPTER_FOLDER] if config.get("language_model_reference") else []
    named = {folder: config.get(f"{modality}_encoder") or {} for modality, folder in ENCODER_ADAPTERS.items()}
    return found + [folder for folder, reference in named.items() if reference.get("adapter")]


def saved_processes(checkpoint: Path) -> int:
    """Return the number of processes that saved a checkpoint, from its random states; 0 where it holds none."""
    found = [match for path in checkpoint.iterdir() if (match := _RANDOM_STATE.fullmatch(path.name))]
    numbered = {int(match[1]) for match in found if match[1] is not None}
    if numbered:
        return len(numbered) if numbered == set(range(len(numbered))) else 0
    return len(found)


def newest_whole_checkpoint(run_folder: str | Path) -> Path | None:
    """Return the whole checkpoint with the highest step; None where there is none.

    The log names the checkpoints that are passed over.
    """
    for checkpoint in reversed(list_checkpoints(run_folder)):
        faults = checkpoint_faults(checkpoint)
        if not faults:
            return checkpoint
        logger.warning("%s is passed over, it is not whole: %s.", checkpoint, ", ".join(faults))
    return None


def requested_checkpoint(requested: str | bool | None, run_folder: str | Path) -> str | None:
    """Return the folder of the requested checkpoint, that of the newest whole one for "last" or True, or None.

    Raises:
        FileNotFoundError: "last" is requested and the run folder holds no whole checkpoint.
    """
    if requested in (None, False, "false", "False"):
        return None
    if requested not in (True, "last", "true", "True"):
        return str(requested)
    newest = newest_whole_checkpoint(run_folder)
    if newest is None:
        raise FileNotFoundError(
            f"no whole checkpoint in {run_folder} to resume from; leave out --resume_from_checkpoint to start from the "
            "beginning."
        )
    logger.info("Resuming from %s.", newest)
    return str(newest)


def check_checkpoint(checkpoint: str | Path, processes: int) -> None:
    """Refuse a checkpoint from which a run cannot continue exactly.

    Args:
        checkpoint: its folder.
        processes: number of processes of the run that resumes.

    Raises:
        FileNotFoundError: the folder or a part of the checkpoint is absent.
        ValueError: a file is damaged, or the checkpoint was saved by another number of processes.
    """
    checkpoint = Path(checkpoint)
    if not checkpoint.is_dir():
        beside = [path.name for path in list_checkpoints(checkpoint.parent)]
        known = f"{checkpoint.parent} holds {', '.join(beside)}" if beside else f"{checkpoint.parent} holds none"
        raise FileNotFoundError(f"no checkpoint at {checkpoint}; {known}.")
    faults = checkpoint_faults(checkpoint)
    if faults:
        error = FileNotFoundError if faults[0].startswith("no ") else ValueError
        raise error(
            f"{checkpoint} cannot be resumed exactly: {', '.join(faults)}. Resume from another checkpoint, or start a "
            "new run from its weights with "
            "--model_name_or_path."
        )
    saved = saved_processes(checkpoint)
    if saved != processes:
        raise ValueError(
            f"{checkpoint} was saved by {_processes(saved)}, this run has {processes}: random states and the order of "
            "batches belong to a process. "
            f"Resume with {_processes(saved)}, or start a new run from its weights with --model_name_or_path."
        )


def check_parallelism(checkpoint: str | Path, is_fsdp: bool) -> None:
    """Refuse a checkpoint whose weights and optimizer are divided among the processes in another way than the run's.

    Raises:
        ValueError: FSDP saved it and this run has none, or the other way round.
    """
    saved = (Path(checkpoint) / FSDP_WEIGHTS).is_file()
    if saved != is_fsdp:
        ways = {True: "with FSDP", False: "without FSDP"}
        raise ValueError(
            f"{checkpoint} was saved {ways[saved]}, this run is {ways[is_fsdp]}. Resume {ways[saved]}, or start a new "
            "run from its weights with --model_name_or_path."
        )


def rotate_checkpoints(run_folder: Path, step: int, best: str | None, limit: int | None) -> None:
    """Delete checkpoints beyond the limit, by step and not by modification time, which follows a clock that may be set
    back.

    Checkpoints with a higher step were left by another run, or by a run that continued from an earlier step; they are
    deleted first. The checkpoint of this step and the best one are never deleted.

    Args:
        run_folder: output folder of the run.
        step: of the checkpoint that was saved last.
        best: folder of the best checkpoint.
        limit: number of checkpoints to keep; None or 0 keeps all.
    """
    if not limit or limit < 0:
        return
    found = sorted(
        list_checkpoints(run_folder), key=lambda path: ((checkpoint_step(path) or 0) <= step, checkpoint_step(path))
    )
    protected = {f"checkpoint-{step}", Path(best).name if best else ""}
    deletable = [path for path in found if path.name not in protected]
    excess = len(found) - max(limit, len(found) - len(deletable))
    for path in deletable[: max(excess, 0)]:
        shutil.rmtree(path, ignore_errors=True)


def move_into_place(unfinished: Path, checkpoint: Path) -> None:
    """Rename a finished folder to its place; a folder of that name is replaced."""
    if checkpoint.exists():
        replaced = unfinished.with_name(f"replaced-{checkpoint.name}")
        checkpoint.rename(replaced)
        unfinished.rename(checkpoint)
        shutil.rmtree(replaced, ignore_errors=True)
    else:
        unfinished.rename(checkpoint)


def _processes(count: int) -> str:
    return f"{count} process" if count == 1 else f"{count} processes"


def _can_read(read: Callable[[Path], object], path: Path) -> bool:
    try:
        read(path)
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile):
        return False
    return True


def _read_json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def _open_safetensors(path: Path) -> None:
    with safe_open(path, framework="np"):  # compares the length of the file with its header
        pass


def _open_archive(path: Path) -> None:
    with zipfile.ZipFile(path):  # torch writes archives whose directory comes last
        pass


__all__ = [
    "LABEL_STATE", "UNFINISHED", "check_checkpoint", "check_parallelism", "checkpoint_faults", "checkpoint_step",
    "list_checkpoints", "move_into_place", "newest_whole_checkpoint", "rotate_checkpoints", "saved_processes",
]  # fmt: skip
