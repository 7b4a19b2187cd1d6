"""Differences of metrics between runs with bootstrap intervals, paired over clips, seeds pooled."""

from collections.abc import Collection, Sequence
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
    """The test predictions of a run, for all of its seeds.

    Attributes:
        ids: of the clips (n,), sorted.
        labels: (n,) scores or class ids; (n, C) multi-hot.
        predictions: (s, n) scores or class ids, one row per seed; (s, n, C) sigmoid scores of several labels.
        thresholds: (C,) for each seed, tuned on validation; None where there are none.
    """

    name: str
    task: TaskSpecification
    ids: list[str]
    labels: np.ndarray
    predictions: np.ndarray
    thresholds: list[np.ndarray | None]

    @classmethod
    def read(cls, folder: Path) -> "RunPredictions":
        """Read the predictions in a run folder, or in the folders `seed_<n>` within it.

        Raises:
            FileNotFoundError: the folder holds no run, or the run no predictions.
            ValueError: the seeds predicted different clips.
        """
        folder = Path(folder)
        runs = [RunFolder(path) for path in sorted(folder.glob("seed_*/")) or [folder]]
        return replace(cls.read_runs(runs), name=folder.resolve().name)

    @classmethod
    def read_runs(cls, runs: Sequence[RunFolder]) -> "RunPredictions":
        """Read the predictions of several seeds of a run; errors are those of `read`."""
        found = [_by_clip(run) for run in runs]
        for run, clips in zip(runs, found):
            if clips.keys() != found[0].keys() or run.task != runs[0].task:
                raise ValueError(
                    f"{run.path} has other clips or another task than {runs[0].path}; the seeds of a run predict the "
                    "same clips."
                )
        ids = sorted(found[0])
        labels = np.array([found[0][clip][1] for clip in ids])
        predictions = np.array([[clips[clip][0] for clip in ids] for clips in found])
        return cls(runs[0].name, runs[0].task, ids, labels, predictions, [run.thresholds for run in runs])

    def seed_metrics(self, rows: np.ndarray) -> dict[str, list[float]]:
        """Return the value of each metric in each seed, on some clips; for several labels the means over them."""
        seeds = [
            prediction_metrics(self.task, predictions[rows], self.labels[rows], thresholds)
            for predictions, thresholds in zip(self.predictions, self.thresholds)
        ]
        names = [name for name in seeds[0] if all(name in seed for seed in seeds)]
        if self.task.is_multi_label:
            names = [name for name in names if not name.endswith(tuple(f"_{label}" for label in self.task.label_names))]
        return {name: [seed[name] for seed in seeds] for name in names}

    def metrics(self, rows: np.ndarray) -> dict[str, float]:
        """Return the mean of each metric over the seeds, on some clips."""
        return {name: float(np.mean(values)) for name, values in self.seed_metrics(rows).items()}


def _by_clip(run: RunFolder) -> dict[str, tuple]:
    """Return id -> (prediction, label) of the test clips of a run."""
    rows = read_predictions(run.path / "predictions_test.csv")
    predictions, labels = prediction_arrays(run.task, rows)
    return {row["id"]: pair for row, *pair in zip(rows, predictions, labels)}


def compare_runs(
    one: RunPredictions, two: RunPredictions, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, dict]:
    """Return, for each metric, both values, their difference (second minus first) and its 95 % interval.

    Clips are drawn with replacement, the same ones for both runs and all their seeds; the value of a draw is the mean
    over the seeds. The percentile interval covers the choice of test clips, not that of seeds. Draws on which a
    metric is undefined are left out of its interval.

    Raises:
        ValueError: the runs differ in clips, labels or task.
    """
    if one.task != two.task or one.ids != two.ids or not np.array_equal(one.labels, two.labels):
        shared = len(set(one.ids) & set(two.ids))
        raise ValueError(
            f"{one.name} and {two.name} share {shared} of {len(one.ids)} and {len(two.ids)} clips, or their labels or "
            "tasks differ; only runs on the same test clips can be compared clip by clip."
        )
    rows = np.arange(len(one.ids))
    first, second = one.metrics(rows), two.metrics(rows)
    draws = [metric_draws(run, seed, resamples) for run in (one, two)]
    return {
        name: metric_difference(first[name], second[name], draws[0][name], draws[1][name])
        for name in first
        if name in second
    }


def metric_draws(
    run: RunPredictions, seed: int = 0, resamples: int = RESAMPLES, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Return the value of each metric, the mean over the seeds, in each bootstrap draw of the clips.

    The drawn clips depend on `seed` and the number of clips alone: those of two runs on the same clips are paired.

    Args:
        names: metrics to return; None: all.

    Returns:
        Metric -> values (resamples,); NaN where a draw leaves the metric undefined.
    """
    generator = np.random.default_rng(seed)
    num_clips = len(run.ids)
    found: dict[str, np.ndarray] = {}
    for draw in trange(resamples, unit="draw", desc=f"bootstrap of {run.name}", disable=None, leave=False):
        for name, value in run.metrics(generator.integers(0, num_clips, num_clips)).items():
            if names is None or name in names:
                found.setdefault(name, np.full(resamples, np.nan))[draw] = value
    return found


def metric_difference(first: float, second: float, first_draws: np.ndarray, second_draws: np.ndarray) -> dict:
    """Return two values of a metric, their difference (second minus first) and its 95 % interval from paired draws."""
    low, high = interval(second_draws - first_draws)
    return {
        "first": first, "second": second, "difference": second - first, "low": low, "high": high,
        "significant": bool(low > 0 or high < 0),
    }  # fmt: skip


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the percentile interval of the defined values; NaN where there are none."""
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def comparison_table(folders: list[Path], seed: int = 0, resamples: int = RESAMPLES) -> tuple[str, dict]:
    """Return a table in Markdown and its numbers (run -> `compare_runs`): every run against the first one."""
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
        f"Against `{first.name}` ({len(first.predictions)} {'seed' if len(first.predictions) == 1 else 'seeds'}) on "
        f"{len(first.ids)} test clips. Intervals of the difference: paired bootstrap over clips, {resamples} draws, "
        "percentiles, seeds pooled (the mean over a run's seeds on the drawn clips). `*`: 0 lies outside. They cover "
        "the choice of test clips, not that of seeds.\n"
    )
    return note + "\n" + markdown_table(header, rows), numbers


def _signed(value: float) -> str:
    return format_number(value) if np.isnan(value) else f"{value:+.4f}"


__all__ = ["RunPredictions", "compare_runs", "comparison_table", "interval", "metric_difference", "metric_draws"]
