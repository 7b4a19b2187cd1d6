"""The space of a hyperparameter search: the values that a trial may take for each argument, from a YAML file.

hidden_size: [128, 256]                               # one of these
learning_rate: {low: 1.0e-5, high: 1.0e-3, log: true} # between the two, uniform in the logarithm
dropout: {low: 0.0, high: 0.5, step: 0.1}             # 0.0, 0.1, ... 0.5
num_neighbors: {low: 3, high: 50}                     # a whole number, as the argument is
"""

import argparse
import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from ..files.strict_yaml import read_yaml
from ..runs.record import INCIDENTAL
from ..training.run_arguments import ModelArguments, argument_readers, find_shipped, shipped_names, unknown_name
from ..training.training_args import SemanticMACTrainingArguments

SPACES = Path(__file__).parent / "spaces"
# Training arguments that every trial shares: how it is scored, and what does not concern learning.
SHARED = INCIDENTAL | {
    "data_seed", "do_train", "do_eval", "do_predict", "eval_delay", "eval_on_start", "eval_steps", "eval_strategy",
    "greater_is_better", "load_best_model_at_end", "metric_for_best_model", "push_to_hub", "save_strategy",
}  # fmt: skip


@dataclass(frozen=True)
class Values:
    """A choice among several values."""

    values: tuple

    def __post_init__(self):
        if len(self.values) < 2 or len(set(self.values)) < len(self.values):
            raise ValueError("expected two or more different values (a single one belongs in the recipe)")

    def suggest(self, name: str, trial):
        """Return the value of an Optuna trial."""
        return trial.suggest_categorical(name, list(self.values))

    def ray_domain(self):
        from ray import tune

        return tune.choice(list(self.values))


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; an integer where both are `int`.

    Args:
        low, high: the bounds.
        log: whether values are uniform in the logarithm.
        step: distance between the values `low`, `low + step`, ...; None: any number.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    def __post_init__(self):
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; expected low < high")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low > 0, and no step")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step is {self.step}; expected more than 0")

    @property
    def is_integer(self) -> bool:
        """Return whether the values are integers."""
        return isinstance(self.low, int)

    def suggest(self, name: str, trial):
        if self.is_integer:
            return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step or 1)
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def ray_domain(self):
        """Return the range as Ray Tune defines it."""
        from ray import tune

        if self.is_integer:  # Ray excludes the upper bound of integers, except where they are rounded to a step
            if self.step:
                return tune.qrandint(self.low, self.high, self.step)
            return (tune.lograndint if self.log else tune.randint)(self.low, self.high + 1)
        if self.step:
            return tune.quniform(self.low, self.high, self.step)
        return (tune.loguniform if self.log else tune.uniform)(self.low, self.high)


SearchSpace = dict[str, Values | Range]


def searchable_names() -> set[str]:
    """Return the training arguments and model fields that may differ between trials.

    All trials share one embedding store, so sampling is not among them.
    """
    training = {field.name for field in fields(SemanticMACTrainingArguments) if field.init}
    return (training - SHARED) | (ModelArguments.config_names() - {"num_crops"})


def space_names() -> list[str]:
    """Return the names of the search spaces that ship with the package, sorted."""
    return shipped_names(SPACES)


def load_space(name: str | Path) -> SearchSpace:
    """Read a search space from a YAML file, or by the name of one that ships with the package (`paper`).

    Raises:
        FileNotFoundError: neither a file nor a name of the package.
        ValueError: an unknown name (with the nearest known one), one that all trials share, or a malformed entry.
    """
    path = find_shipped(str(name), SPACES, "examples/search", "search space")
    entries = read_yaml(path)
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{path} holds {entries!r}; expected a mapping of argument names to values.")
    names, readers = searchable_names(), argument_readers()
    space = {}
    for name, entry in entries.items():
        if name not in readers:
            raise ValueError(unknown_name(str(name), f"in {path}", names))
        if name not in names:
            raise ValueError(f"{name!r} in {path} cannot be searched: all trials share it. Put it in the recipe.")
        try:
            space[name] = _read_entry(entry, readers[name])
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise ValueError(f"{name} in {path} is {entry!r}: {error}.") from error
    return space


def suggest_values(space: SearchSpace, trial) -> dict:
    """Return the values of an Optuna trial by argument; values that it does not have yet are drawn."""
    return {name: entry.suggest(name, trial) for name, entry in space.items()}


def _read_entry(entry, read: Callable[[str], object]) -> Values | Range:
    if isinstance(entry, list):
        if None in entry:
            raise ValueError("a value is missing (null)")
        return Values(tuple(read(str(value)) for value in entry))
    if not isinstance(entry, dict):
        raise ValueError("expected a list of values, or {low, high} with log: true or a step")
    known = [field.name for field in fields(Range)]
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0)
            raise ValueError(f"unknown key {key!r}, did you mean {near[0]!r}")
    if read not in (int, float):
        raise ValueError("the argument is not a number; expected a list of values")
    if missing := {"low", "high"} - entry.keys():
        raise ValueError(f"{' and '.join(sorted(missing))} missing")
    if not isinstance(entry.get("log", False), bool):
        raise ValueError("log is true or false")
    # YAML reads 1e-5 as text; the reader of the argument reads it as a number.
    numbers = {key: read(str(entry[key])) for key in ("low", "high", "step") if entry.get(key) is not None}
    return Range(log=entry.get("log", False), **numbers)


__all__ = [
    "SPACES",
    "Range",
    "SearchSpace",
    "Values",
    "load_space",
    "searchable_names",
    "space_names",
    "suggest_values",
]
