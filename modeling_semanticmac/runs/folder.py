"""A run, read from the files in its folder."""

import json
import math
from functools import cached_property
from pathlib import Path

import numpy as np

from ..configuration_semanticmac import SEMANTICMAC, TaskSpecification
from ..files.local_paths import without_local_paths
from .record import read_predictions

TIMINGS = ("_runtime", "_time", "_per_second", "_flos")  # ends of the names of results that are not metrics


ENOUGH = 0.9  # share of the clips that have a modality, below which log and report name it


def _percent(share: float) -> str:
    """Return a share below `ENOUGH` in whole percent, never rounded up to it."""
    return f"{math.floor(100 * share)} %"


def split_results(results: dict, split: str) -> dict[str, float]:
    """Return the figures of one split by their own names, without times and rates.

    Args:
        results: content of `all_results.json`.
        split: as the Trainer calls it: "train", "eval" (validation) or "test".
    """
    return {
        name.removeprefix(f"{split}_"): math.nan
        if value is None
        else value  # JSON has null where a figure is undefined
        for name, value in results.items()
        if name.startswith(f"{split}_") and not name.endswith(TIMINGS) and isinstance(value, int | float | None)
    }


class RunFolder:
    """The files of a run, each read when it is first needed; what a run did not write is empty.

    Args:
        folder: the output folder of `run_mac.py`.

    Raises:
        FileNotFoundError: the folder holds no run.
    """

    def __init__(self, folder: Path | str):
        self.path = Path(folder)
        self.name = self.path.resolve().name
        if not (self.path / "run.json").is_file():
            raise FileNotFoundError(f"no run.json in {folder}: it is not the folder of a run.")

    def json(self, name: str) -> dict:
        """Return the content of a JSON file of the folder; empty where it is absent."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def record(self) -> dict:
        """Return arguments, command, seed, versions, revision."""
        return self.json("run.json")

    @cached_property
    def task(self) -> TaskSpecification:
        """Return the task.

        Raises:
            ValueError: an older version wrote the record, without the task.
        """
        if "task" not in self.record:
            raise ValueError(
                f"{self.path / 'run.json'} does not name the task: an older version wrote it; run it again."
            )
        return TaskSpecification(**self.record["task"])

    @property
    def architecture(self) -> str:
        """Return the name of the architecture; older records have none."""
        return self.record["model"].get("architecture") or SEMANTICMAC

    @property
    def language_model(self) -> str | None:
        """Return the language model, or the checkpoint that the run started from; of a path the last part. Vectors of
        text from a feature file have none.
        """
        if self.record["data"].get("text") == "features":
            return "none (vectors of text)"
        return without_local_paths(self.record["model"]["language_model"] or self.record["model"]["model_name_or_path"])

    @property
    def uses_media(self) -> bool:
        """Return whether the run used more than text."""
        return set(self.record["data"]["modalities"]) != {"text"}

    @property
    def modality_text(self) -> str:
        """Return the modalities, e.g. "text, audio (62 % of test)": with the share of clips where few have one."""
        texts = []
        for modality in self.record["data"]["modalities"]:
            counts = self.json("modalities.json")
            found = [(split, counts[split]) for split in ("train", "validation", "test") if split in counts]
            shares = {split: row[modality] / row["clips"] for split, row in found if modality in row}
            few = [f"{_percent(share)} of {split}" for split, share in shares.items() if share < ENOUGH]
            texts.append(f"{modality} ({', '.join(few)})" if few else modality)
        return ", ".join(texts)

    @property
    def changed_settings(self) -> list[str]:
        """Return what differed between the resumed checkpoints and the settings of the run."""
        return self.record.get("changed_settings") or []

    @cached_property
    def results(self) -> dict:
        """Return all figures, of all splits."""
        return self.json("all_results.json")

    @property
    def thresholds(self) -> np.ndarray | None:
        """Return, of several labels, the tuned score above which each is present (C,); None: not tuned."""
        names = [f"test_threshold_{label}" for label in self.task.label_names]
        return np.array([self.results[name] for name in names]) if self.results.keys() >= set(names) else None

    @cached_property
    def state(self) -> dict:
        """Return the state of the Trainer, with the best step and the log."""
        return self.json("trainer_state.json")

    @cached_property
    def history(self) -> list[dict]:
        """Return the rows of the log; of a step that a resumed run logged again, the last."""
        rows = {}
        for logged in self.state.get("log_history", []):
            row = {name: math.nan if value is None else value for name, value in logged.items()}
            rows[row["step"], tuple(sorted(row.keys() - {"epoch", "step"}))] = row
        return sorted(rows.values(), key=lambda row: row["step"])

    @cached_property
    def predictions(self) -> list[dict[str, str]]:
        """Return a row for each test clip; none where the test split was not opened."""
        path = self.path / "predictions_test.csv"
        return read_predictions(path) if path.is_file() else []


__all__ = ["ENOUGH", "SEMANTICMAC", "TIMINGS", "RunFolder", "split_results"]
