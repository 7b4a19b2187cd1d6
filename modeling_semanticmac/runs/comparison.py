"""Is one run better than another? Differences of metrics with bootstrap intervals, paired over clips, seeds pooled."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm.auto import trange

from ..configuration_semanticmac import TaskSpecification
from ..files.markdown_tables import format_number, markdown_table
from ..metrics import LOWER_IS_BETTER, prediction_metrics
from .folder import RunFolder
from .record import prediction_arrays, read_predictions

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class RunPredictions:
    """The test predictions of a run, of all its seeds.

    Attributes:
        ids: of the clips (n,), sorted.
        labels: (n,) scores or class ids; (n, C) multi-hot.
        predictions: (s, n) scores or class ids, a row a seed; (s, n, C) sigmoid scores of several labels.
        thresholds: of each seed (C,), tuned on validation; None where there are none.
    """

    name: str
    task: TaskSpecification
    ids: list[str]
    labels: np.ndarray
    predictions: np.ndarray
    thresholds: list[np.ndarray | None]

    @classmethod
    def read(cls, folder: Path) -> "RunPredictions":
        """From a run folder, or from one that holds the folders `seed_<n>`.

        Raises:
            FileNotFoundError: no run, or no predictions.
            ValueError: seeds that predicted other clips.
        """
        folder = Path(folder)
        runs = [RunFolder(path) for path in sorted(folder.glob("seed_*/")) or [folder]]
        found = [_by_clip(run) for run in runs]
        for run, clips in zip(runs, found):
            if clips.keys() != found[0].keys() or run.task != runs[0].task:
                raise ValueError(
                    f"{run.path} has other clips or another task than {runs[0].path}; seeds of one run predict the same clips."
                )
        ids = sorted(found[0])
        labels = np.array([found[0][clip][1] for clip in ids])
        predictions = np.array([[clips[clip][0] for clip in ids] for clips in found])
        return cls(folder.resolve().name, runs[0].task, ids, labels, predictions, [run.thresholds for run in runs])

    def seed_metrics(self, rows: np.ndarray) -> dict[str, list[float]]:
        """Metric -> its value in each seed, on some clips; of several labels the means over them."""
        seeds = [
            prediction_metrics(self.task, predictions[rows], self.labels[rows], thresholds)
            for predictions, thresholds in zip(self.predictions, self.thresholds)
        ]
        names = [name for name in seeds[0] if all(name in seed for seed in seeds)]
        if self.task.is_multi_label:
            names = [name for name in names if not name.endswith(tuple(f"_{label}" for label in self.task.label_names))]
        return {name: [seed[name] for seed in seeds] for name in names}

    def metrics(self, rows: np.ndarray) -> dict[str, float]:
        """Metric -> the mean over the seeds, on some clips."""
        return {name: float(np.mean(values)) for name, values in self.seed_metrics(rows).items()}


def _by_clip(run: RunFolder) -> dict[str, tuple]:
    rows = read_predictions(run.path / "predictions_test.csv")
    predictions, labels = prediction_arrays(run.task, rows)
    return {row["id"]: pair for row, *pair in zip(rows, predictions, labels)}


def compare_runs(
    one: RunPredictions, two: RunPredictions, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, dict]:
    """Metric -> values of both, difference (second minus first), its 95 % percentile interval, and whether 0 lies outside of it.

    Clips are drawn with replacement, the same ones for both runs and all their seeds; a draw's value is the mean over the seeds. The interval says what
    other test clips might have given, not what other seeds might. Draws on which a metric is undefined are left out of its interval.

    Raises:
        ValueError: runs on other clips or labels.
    """
    if one.task != two.task or one.ids != two.ids or not np.array_equal(one.labels, two.labels):
        shared = len(set(one.ids) & set(two.ids))
        raise ValueError(
            f"{one.name} and {two.name} share {shared} of {len(one.ids)} and {len(two.ids)} clips, or their labels or tasks differ; only runs on the "
            "same test clips can be compared clip by clip."
        )
    count = len(one.ids)
    first, second = (run.metrics(np.arange(count)) for run in (one, two))
    names = [name for name in first if name in second]
    generator = np.random.default_rng(seed)
    differences = np.empty((resamples, len(names)))
    for draw in trange(resamples, unit="draw", desc=f"{two.name} against {one.name}", disable=None):
        rows = generator.integers(0, count, count)
        left, right = one.metrics(rows), two.metrics(rows)
        differences[draw] = [right[name] - left[name] for name in names]
    found = {}
    for name, column in zip(names, differences.T):
        low, high = _interval(column)
        found[name] = {
            "first": first[name], "second": second[name], "difference": second[name] - first[name], "low": low, "high": high,
            "significant": bool(low > 0 or high < 0),
        }  # fmt: skip
    return found


def _interval(values: np.ndarray) -> tuple[float, float]:
    """The percentile interval of the defined values; NaN where there are none."""
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def comparison_table(folders: list[Path], seed: int = 0, resamples: int = RESAMPLES) -> tuple[str, dict]:
    """Markdown and numbers (run -> `compare_runs`): every run against the first one."""
    runs = [RunPredictions.read(folder) for folder in folders]
    if len({run.name for run in runs}) < len(runs):  # e.g. the same recipe in two places
        runs = [replace(run, name=str(folder)) for run, folder in zip(runs, folders)]
    first, *others = runs
    rows, numbers = [], {}
    for run in others:
        numbers[run.name] = compare_runs(first, run, seed, resamples)
        for metric, found in numbers[run.name].items():
            low, high = (_signed(found[name]) for name in ("low", "high"))
            difference = _signed(found["difference"]) + (" *" if found["significant"] else "")
            label = metric + (" (lower is better)" if metric.endswith(LOWER_IS_BETTER) else "")
            values = [format_number(found[name]) for name in ("first", "second")]
            rows.append([run.name, len(run.predictions), label, *values, difference, f"{low} to {high}"])
    header = ["run", "seeds", "metric", f"`{first.name}`", "this run", "difference", f"{LEVEL:.0%} interval"]
    note = (
        f"Against `{first.name}` ({len(first.predictions)} {'seed' if len(first.predictions) == 1 else 'seeds'}) on {len(first.ids)} test clips. "
        f"Intervals of the difference: paired bootstrap over clips, {resamples} draws, percentiles, seeds pooled (the mean over a run's seeds on the "
        "drawn clips). `*`: 0 lies outside. They say what other test clips might have given, not what other seeds might.\n"
    )
    return note + "\n" + markdown_table(header, rows), numbers


def _signed(value: float) -> str:
    return format_number(value) if np.isnan(value) else f"{value:+.4f}"


__all__ = ["RunPredictions", "compare_runs", "comparison_table"]
