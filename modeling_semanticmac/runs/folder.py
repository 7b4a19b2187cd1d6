"""A finished run, read from the files that it left in its folder."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np

from ..configuration_semanticmac import TaskSpecification
from ..files.local_paths import without_local_paths
from .record import read_predictions

TIMINGS = ("_runtime", "_time", "_per_second", "_flos")  # ends of the names of results that are no metrics


def split_results(results: dict, split: str) -> dict[str, float]:
    """The figures of one split by their own names, without times and rates.

    Args:
        results: content of `all_results.json`.
        split: as the Trainer calls it: "train", "eval" (validation) or "test".
    """
    return {
        name.removeprefix(f"{split}_"): value
        for name, value in results.items()
        if name.startswith(f"{split}_") and not name.endswith(TIMINGS) and isinstance(value, int | float)
    }


class RunFolder:
    """The files of a run, each read when it is first asked for; what a run did not write is empty.

    Args:
        folder: the output folder of `run_mac.py`.

    Raises:
        FileNotFoundError: no run lies there.
    """

    def __init__(self, folder: Path | str):
        self.path = Path(folder)
        self.name = self.path.resolve().name
        if not (self.path / "run.json").is_file():
            raise FileNotFoundError(f"no run.json in {folder}: it is no folder of a run.")

    def json(self, name: str) -> dict:
        """A JSON file of the folder; empty where it is absent."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def record(self) -> dict:
        """Arguments, command, seed, versions, revision."""
        return self.json("run.json")

    @cached_property
    def task(self) -> TaskSpecification:
        if "task" not in self.record:
            raise ValueError(
                f"{self.path / 'run.json'} does not name the task: an older version wrote it; run it again."
            )
        return TaskSpecification(**self.record["task"])

    @property
    def language_model(self) -> str | None:
        """Name of the language model, or of the checkpoint that was gone on from; of an absolute path the last part."""
        return without_local_paths(self.record["model"]["language_model"] or self.record["model"]["model_name_or_path"])

    @property
    def uses_media(self) -> bool:
        return set(self.record["data"]["modalities"]) != {"text"}

    @cached_property
    def results(self) -> dict:
        """Everything that was measured, of all splits."""
        return self.json("all_results.json")

    @property
    def thresholds(self) -> np.ndarray | None:
        """Of several labels: the score above which each is present, tuned on validation (C,); None where none were tuned."""
        names = [f"test_threshold_{label}" for label in self.task.label_names]
        return np.array([self.results[name] for name in names]) if self.results.keys() >= set(names) else None

    @cached_property
    def state(self) -> dict:
        """The state of the Trainer, with the best step and the log."""
        return self.json("trainer_state.json")

    @cached_property
    def history(self) -> list[dict]:
        """The rows of the log; of a step that was logged again by a resumed run, the last."""
        rows = {}
        for row in self.state.get("log_history", []):
            rows[row["step"], tuple(sorted(row.keys() - {"epoch", "step"}))] = row
        return sorted(rows.values(), key=lambda row: row["step"])

    @cached_property
    def predictions(self) -> list[dict[str, str]]:
        """A row for each test clip; none where the test split was not opened."""
        path = self.path / "predictions_test.csv"
        return read_predictions(path) if path.is_file() else []


__all__ = ["TIMINGS", "RunFolder", "split_results"]
