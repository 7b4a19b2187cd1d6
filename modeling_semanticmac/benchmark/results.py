"""The results of a benchmark: figures of every row and setting over folds and seeds, and differences to the first."""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..configuration_semanticmac import TaskSpecification
from ..runs.comparison import RunPredictions, metric_difference, metric_draws
from ..runs.folder import RunFolder, split_results
from .plan import Plan, PlannedRun, Row
from .run_state import Purpose, finished_run

SPLITS = {"test": "test", "validation": "eval"}  # name -> prefix of its figures
FAMILY_METRICS = {
    "mosi": ("mae", "pearson", "acc2_neg_pos", "f1_neg_pos", "acc7"),
    "sims": ("sims_mae", "sims_pearson", "sims_acc2", "sims_f1", "sims_acc3", "sims_acc5"),
    "scores": ("mae", "pearson", "polarity_f1"),
    "multi_label": ("n_acc_tuned", "b_f1_tuned", "w_f1", "macro_f1"),
    "conversation": ("w_acc", "w_f1", "macro_f1"),
    "weighted": ("w_acc", "w_f1", "macro_f1"),
}


@dataclass(frozen=True)
class Figure:
    """A metric over the runs of a cell.

    Attributes:
        mean: over folds and seeds.
        over_folds: standard deviation (n - 1) of the folds' means over seeds; None for one fold.
        over_seeds: standard deviation (n - 1) of the seeds' means over folds; None for one seed, or where a seed lacks
            a fold.
        values: fold -> seed -> value.
    """

    mean: float
    over_folds: float | None
    over_seeds: float | None
    values: dict[str, dict[int, float]]


class Cell:
    """The runs of one row with one setting.

    Args:
        row: the system.
        setting: its name; "" where the plan has none.
        planned: the runs of all folds and seeds.
        failures: name of a run -> what went wrong.
    """

    def __init__(self, row: Row, setting: str, planned: Sequence[PlannedRun], failures: Mapping[str, str]):
        self.row, self.setting, self.planned = row, setting, planned
        self.failures = {run.name: failures[run.name] for run in planned if run.name in failures}
        self.runs: dict[tuple[str, int], RunFolder] = {}
        for run in planned:
            found = finished_run(run) if run.name not in failures else None
            if found is not None:
                self.runs[run.fold, run.seed] = found

    @property
    def is_complete(self) -> bool:
        """Return whether every planned run is finished."""
        return len(self.runs) == len(self.planned)

    def figures(self, split: str) -> dict[str, Figure]:
        """Return each metric that every finished run has, of a split of `SPLITS`."""
        found = {key: split_results(run.results, SPLITS[split]) for key, run in self.runs.items()}
        names = [name for name in next(iter(found.values()), {}) if all(name in values for values in found.values())]
        return {name: _figure({key: values[name] for key, values in found.items()}) for name in names}

    @cached_property
    def predictions(self) -> RunPredictions | None:
        """Return the test predictions, folds put together; None unless all runs are finished and predicted."""
        if not self.is_complete or not self.runs or not all(
            (run.path / "predictions_test.csv").is_file() for run in self.runs.values()
        ):  # fmt: skip
            return None
        folds = dict.fromkeys(fold for fold, _ in self.runs)
        of_folds = [RunPredictions.read_runs([run for (f, _), run in self.runs.items() if f == fold]) for fold in folds]
        return replace(pool_folds(of_folds), name=" ".join(filter(None, (self.row.name, self.setting))))

    @cached_property
    def costs(self) -> dict[str, float | None]:
        """Return the mean seconds of a run, all of it and the training alone, and its trained parameters."""
        purposes = [Purpose.read(run.path) for run in self.runs.values()]
        wall = [purpose.seconds for purpose in purposes if purpose]
        training = [run.results["train_runtime"] for run in self.runs.values() if "train_runtime" in run.results]
        parameters = {run.json("costs.json").get("parameters", {}).get("trained") for run in self.runs.values()}
        return {
            "seconds": statistics.fmean(wall) if wall else None,
            "training_seconds": statistics.fmean(training) if training else None,
            "trained_parameters": parameters.pop() if len(parameters) == 1 else None,
        }

    @property
    def processes(self) -> set[int]:
        """Return how many runs ran at once."""
        return {purpose.processes for run in self.runs.values() if (purpose := Purpose.read(run.path))}


def _figure(values: Mapping[tuple[str, int], float]) -> Figure:
    """Return the figure of the values by fold and seed."""
    table: dict[str, dict[int, float]] = {}
    for (fold, seed), value in values.items():
        table.setdefault(fold, {})[seed] = value
    of_folds = [statistics.fmean(row.values()) for row in table.values()]
    seeds = sorted({seed for row in table.values() for seed in row})
    is_full = all(seed in row for row in table.values() for seed in seeds)
    of_seeds = [statistics.fmean(row[seed] for row in table.values()) for seed in seeds] if is_full else []
    return Figure(
        statistics.fmean(of_folds),
        statistics.stdev(of_folds) if len(of_folds) > 1 else None,
        statistics.stdev(of_seeds) if len(of_seeds) > 1 else None,
        table,
    )


def pool_folds(folds: Sequence[RunPredictions]) -> RunPredictions:
    """Return the predictions of several folds as those of one run on all of their clips.

    The i-th seed of the result is the i-th seed of every fold. Thresholds that were tuned in each fold cannot be
    applied to all clips at once and are left out where the folds differ.

    Raises:
        ValueError: folds share clips, or differ in task or number of seeds.
    """
    first, *others = folds
    if not others:
        return first
    ids = [clip for fold in folds for clip in fold.ids]
    if len(set(ids)) < len(ids):
        raise ValueError(f"the folds of {first.name} share test clips; folds have clips of their own.")
    if any(fold.task != first.task or len(fold.predictions) != len(first.predictions) for fold in others):
        raise ValueError(f"the folds of {first.name} differ in their task or number of seeds.")
    return replace(
        first,
        ids=ids,
        labels=np.concatenate([fold.labels for fold in folds]),
        predictions=np.concatenate([fold.predictions for fold in folds], axis=1),
        thresholds=[None] * len(first.predictions),
    )


class Results:
    """All cells of a benchmark.

    Args:
        plan: its metrics are the columns.
        runs: all planned runs.
        failures: name of a run -> what went wrong.
    """

    def __init__(self, plan: Plan, runs: Iterable[PlannedRun], failures: Mapping[str, str]):
        self.plan = plan
        groups: dict[tuple[str, str], list[PlannedRun]] = {}
        for run in runs:
            groups.setdefault((run.setting, run.row.name), []).append(run)
        self.settings = list(dict.fromkeys(setting for setting, _ in groups))
        self.cells = {key: Cell(runs[0].row, key[0], runs, failures) for key, runs in groups.items()}
        finished = [run for cell in self.cells.values() for run in cell.runs.values()]
        self.record = finished[0].record if finished else None
        self.task: TaskSpecification | None = finished[0].task if finished else None
        self.revisions = sorted({str(run.record.get("git_revision")) for run in finished})

    @property
    def metrics(self) -> list[str]:
        """Return the metrics of the table."""
        return list(self.plan.metrics or FAMILY_METRICS[self.task.metrics]) if self.task else []

    def of_setting(self, setting: str) -> list[Cell]:
        """Return the cells of a setting in the order of the plan's rows."""
        order = {row.name: place for place, row in enumerate(self.plan.rows)}
        cells = [cell for (name, _), cell in self.cells.items() if name == setting]
        return sorted(cells, key=lambda cell: order[cell.row.name])

    def differences(self, setting: str, resamples: int, seed: int = 0) -> dict[str, dict]:
        """Return row -> metric -> `metric_difference` to the first row of the setting, on test; see the note of
        `tables`. A row whose runs are not all finished has none.
        """
        first, *others = self.of_setting(setting)
        others = [cell for cell in others if cell.predictions is not None]
        if first.predictions is None or not others:
            return {}
        reference = _measured(first.predictions, seed, resamples, self.metrics)
        found = {}
        for cell in others:
            assert cell.predictions is not None
            if cell.predictions.ids != first.predictions.ids:
                raise ValueError(
                    f"{cell.row.name} predicted other test clips than {first.row.name}; rows of a benchmark share "
                    "their clips (on_error, folds and max_predict_samples must be equal)."
                )
            values, draws = _measured(cell.predictions, seed, resamples, self.metrics)
            found[cell.row.name] = {
                name: metric_difference(reference[0][name], values[name], reference[1][name], draws[name])
                for name in self.metrics
                if name in values and name in reference[0]
            }
        return found


def _measured(predictions: RunPredictions, seed: int, resamples: int, names: Collection[str]) -> tuple[dict, dict]:
    """Return value and bootstrap draws of each metric, over all folds together."""
    return predictions.metrics(np.arange(len(predictions.ids))), metric_draws(predictions, seed, resamples, names)


__all__ = ["Cell", "Figure", "Results", "pool_folds"]
