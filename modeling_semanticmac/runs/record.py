"""The record of a run: resolved arguments, versions, git revision, size and memory, predictions."""

import csv
import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from ..affect_results import affect_values, result_cell, value_result
from ..configuration_semanticmac import TaskSpecification
from ..files.atomic_files import write_csv, write_json
from ..files.secrets import hide_secrets
from ..metrics import class_scores

try:
    import resource
except ImportError:  # Windows
    resource = None

PACKAGES = (
    "semanticmac", "torch", "transformers", "datasets", "accelerate", "huggingface-hub", "safetensors", "torchcodec",
    "av",
    "numpy",
)  # fmt: skip


def git_revision() -> str | None:
    """Return the commit of the checkout of this code, with `-dirty` where it has changes; None outside one."""
    folder = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"],
            cwd=folder, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


# States of an output folder, as `run.json` says.
RUNNING, FINISHED, SEARCH = "running", "finished", "search"


def argument_values(model_args, data_args, training_args) -> dict:
    """Return the resolved arguments by name, as values of JSON and without secrets.

    Whatever is written about arguments comes from here or from `command_line`.
    """
    values = {**asdict(model_args), **asdict(data_args), **training_args.to_sanitized_dict()}
    return hide_secrets({name: values[name] for name in sorted(values)})


def command_line() -> list[str]:
    """Return the command of this process without secrets; `semanticmac` by its name, wherever it is."""
    program = Path(sys.argv[0])
    is_command = program.stem == "semanticmac" or program.parts[-2:] == ("modeling_semanticmac", "__main__.py")
    return hide_secrets(["semanticmac" if is_command else sys.argv[0], *sys.argv[1:]])


def save_run_record(
    output_dir: str | Path, model_args, data_args, training_args, task: TaskSpecification, state: str = RUNNING, **facts
) -> None:
    """Write `run.json`: the resolved arguments, the task, the command, the seed, the versions and the git revision.

    Args:
        state: `running` until the run has ended, then `finished`; `search` for a hyperparameter search.
        facts: what else a model card or a report needs, by name.
    """
    record = {
        "state": state,
        "task": asdict(task),
        "model": asdict(model_args),
        "data": asdict(data_args),
        "training": training_args.to_sanitized_dict(),
        "command": command_line(),
        "seed": training_args.seed,
        "versions": versions(),
        "git_revision": git_revision(),
        **facts,
    }
    write_json(Path(output_dir) / "run.json", hide_secrets(record))


def finish_run_record(output_dir: str | Path) -> None:
    """Mark the run in a folder as finished."""
    path = Path(output_dir) / "run.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "state": FINISHED})


def save_costs(output_dir: str | Path, model, encoders: dict) -> None:
    """Write `costs.json`: parameters by part, and the peak memory of this process so far.

    Args:
        model: a model with its head.
        encoders: modality -> frozen tower, of those in use; they are not part of the model.
    """
    language_model = sum(p.numel() for p in model.base_model.language_model.parameters())
    towers = getattr(model.base_model, "adapted_encoders", {})
    adapted = {name: sum(p.numel() for p in tower.parameters()) for name, tower in towers.items()}
    parameters = list(model.parameters())
    total, trained = (sum(p.numel() for p in parameters if p.requires_grad or everyone) for everyone in (True, False))
    costs = {
        "parameters": {
            "language_model": language_model,
            "new_modules": total - language_model - sum(adapted.values()),
            "trained": trained,
            "frozen_in_model": total - trained,
            **{f"{name}_tower": sum(p.numel() for p in tower.parameters()) for name, tower in encoders.items()},
            **{f"{name}_tower": count for name, count in adapted.items()},
        },
        "peak_memory_bytes": peak_memory(),
        "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    write_json(Path(output_dir) / "costs.json", costs)


def peak_memory() -> int | None:
    """Return the largest resident set of this process so far, in bytes; None where the system does not say."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


# What may differ between two runs that are the same but for their seed.
INCIDENTAL = {
    "seed", "seeds", "output_dir", "logging_dir", "run_name", "embeddings_dir", "resume_from_checkpoint",
    "disable_tqdm",
    "local_rank", "push_to_hub", "hub_model_id", "hub_private_repo", "hub_revision", "hub_token", "hub_strategy",
    "overwrite_output_dir", "allow_changed_settings",
}  # fmt: skip


def recorded_arguments(model_args, data_args, training_args) -> tuple[str, ...]:
    """Return the resolved arguments as `name=value`, sorted, without seed, folders and what is only shown."""
    values = argument_values(model_args, data_args, training_args)
    return tuple(sorted(f"{name}={value}" for name, value in values.items() if name not in INCIDENTAL))


def predictions_in_words(
    task: TaskSpecification, logits: np.ndarray, thresholds: Sequence[float] | None = None
) -> list[float | str]:
    """Return what a user reads for each clip: the score, the class, or the present labels joined by "|".

    Args:
        logits: (n, C).
        thresholds: of several labels, see `value_result`.
    """
    return [result_cell(value_result(task, row, thresholds)) for row in _values(task, logits).tolist()]


def _values(task: TaskSpecification, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the scores or probabilities (n, C); those of several labels exactly as the metrics see them."""
    if task.is_multi_label:
        return class_scores(logits)
    return affect_values(task, torch.from_numpy(logits), temperature).numpy()


def _label_text(task: TaskSpecification, label):
    if task.is_multi_label:
        return "|".join(name for name, value in zip(task.label_names, label) if value)
    return label if task.is_regression else task.label_names[label]


def write_predictions(
    path: str | Path,
    task: TaskSpecification,
    clips,
    logits: np.ndarray,
    subtask_logits: Mapping[str, np.ndarray] | None = None,
    thresholds: Sequence[float] | None = None,
    temperature: float = 1.0,
) -> None:
    """Write a CSV with one row a clip: id, label, prediction, predictions of the sub-tasks, one probability a class.

    Args:
        clips: the dataset's split, with `id` and `label`.
        logits: (n, C) of the multimodal head M.
        subtask_logits: those of the sub-tasks that the model has, (n, C), by their letters S, T, A, V; others have no
            column.
        thresholds: of several labels, those that were tuned for M, (C,); None: 0.5. The sub-tasks use 0.5.
        temperature: of the probabilities of classes, from the calibration.

    Raises:
        ValueError: the number of predictions is not the number of clips.
    """
    if len(clips) != len(logits):
        raise ValueError(f"{len(logits)} predictions for {len(clips)} clips: every clip must have exactly one.")
    columns: dict = {
        "id": clips["id"],
        "label": [_label_text(task, label) for label in clips["label"]],
        "prediction": predictions_in_words(task, logits, thresholds),
    }
    for subtask, found in (subtask_logits or {}).items():
        columns[f"prediction_{subtask}"] = predictions_in_words(task, found)
    if not task.is_regression:
        probabilities = _values(task, logits, temperature)  # (n, C)
        columns.update({f"probability_{name}": probabilities[:, index] for index, name in enumerate(task.label_names)})

    write_csv(path, list(columns), zip(*columns.values()))


def read_predictions(path: str | Path) -> list[dict[str, str]]:
    """Read the rows that `write_predictions` wrote, in the order of the clips.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no predictions at {path}; run it with --do_predict.")
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def prediction_arrays(task: TaskSpecification, rows: list[dict[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions and labels of the rows of `read_predictions`, as `prediction_metrics` takes them.

    Returns:
        (n,) scores or class ids, both; several labels: sigmoid scores (n, C) and multi-hot labels (n, C).

    Raises:
        ValueError: a label names a class that the task does not have.
    """
    if task.is_regression:
        return tuple(np.array([float(row[name]) for row in rows]) for name in ("prediction", "label"))
    ids = {name: index for index, name in enumerate(task.label_names)}
    unknown = (
        {row["label"] for row in rows}
        if not task.is_multi_label
        else {n for row in rows for n in row["label"].split("|")}
    )
    if unknown := sorted(unknown - ids.keys() - {""}):
        raise ValueError(f"labels {', '.join(unknown)} are not classes of task {task.name!r}: {', '.join(ids)}.")
    if not task.is_multi_label:
        return tuple(np.array([ids[row[name]] for row in rows]) for name in ("prediction", "label"))
    return class_probabilities(task, rows), np.array(
        [[int(name in row["label"].split("|")) for name in ids] for row in rows]
    )


def class_probabilities(task: TaskSpecification, rows: list[dict[str, str]]) -> np.ndarray:
    """Return the probabilities (n, C) of the classes in the rows of `read_predictions`."""
    return np.array([[float(row[f"probability_{name}"]) for name in task.label_names] for row in rows])
