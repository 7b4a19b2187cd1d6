"""Folders as runs leave them, without training."""

from pathlib import Path

import datasets
import numpy as np

from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from modeling_semanticmac.files.atomic_files import write_json
from modeling_semanticmac.runs.record import save_run_record, write_predictions
from modeling_semanticmac.training.run_arguments import parse_arguments


def write_run(
    folder: Path,
    task: TaskSpecification,
    labels,
    logits,
    ids=None,
    results: dict | None = None,
    arguments: tuple[str, ...] = (),
) -> Path:
    """Write the folder of a run with test predictions, and return it.

    Args:
        labels: (n,) scores or class ids, (n, C) multi-hot.
        logits: (n, C).
        ids: of the clips; None: c0, c1, ...
        results: content of `all_results.json`.
        arguments: of the run.
    """
    folder.mkdir(parents=True)
    parsed = parse_arguments(["--corpus", "own", "--output_dir", str(folder), "--use_cpu", *arguments])
    save_run_record(str(folder), *parsed, task)
    write_json(folder / "all_results.json", {"test_opened": "nothing was chosen", **(results or {})})
    logits = np.asarray(logits, dtype=np.float32)
    ids = ids if ids is not None else [f"c{index}" for index in range(len(logits))]
    clips = datasets.Dataset.from_dict({"id": list(ids), "label": np.asarray(labels).tolist()})
    write_predictions(folder / "predictions_test.csv", task, clips, logits, dict.fromkeys("STAV", logits))
    return folder


def one_hot(ids, num_classes: int) -> np.ndarray:
    """Return logits (n, C) whose largest value is at the given class."""
    return np.eye(num_classes)[np.asarray(ids)]
