"""Is one run better than another? Differences of metrics with bootstrap intervals, paired over clips, seeds pooled."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from .metrics_sentiment import acc2_neg_pos, mae, pearson

RESAMPLES = 2000
LEVEL = 0.95
# Metrics on what `predictions_test.csv` holds: scores, or names of classes. Of these only mae is better when it is lower.
SCORES: dict[str, Callable] = {"mae": mae, "pearson": pearson, "acc2_neg_pos": acc2_neg_pos}
CLASSES: dict[str, Callable] = {
    "accuracy": lambda predictions, labels: accuracy_score(labels, predictions),
    "w_f1": lambda predictions, labels: f1_score(labels, predictions, average="weighted", zero_division=0),
}


@dataclass(frozen=True)
class RunPredictions:
    """The test predictions of a run, of all its seeds.

    Attributes:
        ids: of the clips (n,), sorted.
        labels: (n,) scores, or names of classes.
        predictions: (s, n), a row a seed.
    """

    name: str
    ids: list[str]
    labels: np.ndarray
    predictions: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> "RunPredictions":
        """From a run folder, or from one that holds the folders `seed_<n>`.

        Raises:
            FileNotFoundError: no predictions.
            ValueError: seeds that predicted other clips.
        """
        paths = sorted(folder.glob("seed_*/predictions_test.csv")) or [folder / "predictions_test.csv"]
        if not paths[0].is_file():
            raise FileNotFoundError(
                f"no predictions_test.csv in {folder} or its seed_* folders; run it with --do_predict."
            )
        columns = [_read_column(path) for path in paths]
        first = columns[0]
        for path, found in zip(paths, columns):
            if found.keys() != first.keys():
                raise ValueError(f"{path} has other clips than {paths[0]}; seeds of one run predict the same clips.")
        ids = sorted(first)
        return cls(
            folder.name,
            ids,
            _as_array([first[id][0] for id in ids]),
            np.stack([_as_array([found[id][1] for id in ids]) for found in columns]),
        )

    def metric(self, function: Callable, rows: np.ndarray) -> float:
        """The mean over seeds of a metric on some clips."""
        return float(np.mean([function(seed[rows], self.labels[rows]) for seed in self.predictions]))


def _read_column(path: Path) -> dict[str, tuple[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return {row["id"]: (row["label"], row["prediction"]) for row in csv.DictReader(file)}


def _as_array(values: list[str]) -> np.ndarray:
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return np.array(values)


def compare_runs(
    one: RunPredictions, two: RunPredictions, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, dict]:
    """Metric -> values of both, difference (second minus first), its 95 % percentile interval, and whether 0 lies outside of it.

    Clips are drawn with replacement, the same ones for both runs and all their seeds: the interval says what other clips might have given, not what
    other seeds might.

    Raises:
        ValueError: runs on other clips or labels.
    """
    if one.ids != two.ids or not np.array_equal(one.labels, two.labels):
        shared = len(set(one.ids) & set(two.ids))
        raise ValueError(
            f"{one.name} and {two.name} share {shared} of {len(one.ids)} and {len(two.ids)} clips, or their labels differ; only runs on the same test "
            "clips can be compared clip by clip."
        )
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(one.ids), (resamples, len(one.ids)))
    everything = np.arange(len(one.ids))
    found = {}
    for name, function in (SCORES if one.labels.dtype.kind == "f" else CLASSES).items():
        values = [run.metric(function, everything) for run in (one, two)]
        differences = np.array([two.metric(function, rows) - one.metric(function, rows) for rows in draws])
        low, high = np.nanpercentile(differences, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
        found[name] = {
            "first": values[0], "second": values[1], "difference": values[1] - values[0], "low": float(low), "high": float(high),
            "significant": bool(low > 0 or high < 0),
        }  # fmt: skip
    return found


def comparison_table(folders: list[Path], seed: int = 0) -> tuple[str, dict]:
    """Markdown and numbers: every run against the first one."""
    runs = [RunPredictions.read(folder) for folder in folders]
    first = runs[0]
    lines = [
        f"{len(first.ids)} test clips; difference to `{first.name}` with its {LEVEL:.0%} interval ({RESAMPLES} paired bootstrap samples over clips, "
        f"seeds pooled; `*`: 0 lies outside).",
        "",
        "| run | seeds | metric | value | difference | interval |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    numbers = {}
    for run in runs[1:]:
        numbers[run.name] = compare_runs(first, run, seed)
        for metric, found in numbers[run.name].items():
            if run is runs[1]:
                lines.append(f"| {first.name} | {len(first.predictions)} | {metric} | {found['first']:.4f} | | |")
            mark = " *" if found["significant"] else ""
            lines.append(
                f"| {run.name} | {len(run.predictions)} | {metric} | {found['second']:.4f} | {found['difference']:+.4f}{mark} "
                f"| {found['low']:+.4f} to {found['high']:+.4f} |"
            )
    return "\n".join(lines) + "\n", json.loads(json.dumps(numbers))


__all__ = ["RunPredictions", "compare_runs", "comparison_table"]
