"""The plan of a benchmark: rows (systems), settings, seeds and folds, read from a YAML file."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path

from ..files.near_names import did_you_mean
from ..files.strict_yaml import read_yaml
from ..runs.folder import SEMANTICMAC
from ..training.argument_checks import SEMANTICMAC_ONLY
from ..training.run_arguments import ModelArguments, as_arguments, find_recipe, given_arguments

SIMPLE_SYSTEMS = ("majority", "linear_probe", "svm")
OWN = ("seed", "seeds", "output_dir", "overwrite_output_dir", "resume_from_checkpoint")  # set by the benchmark
RUNS = "runs"  # folder of the runs, in the benchmark's output folder


@dataclass(frozen=True)
class Row:
    """A row of the table: a recipe with arguments, or a simple system.

    Args:
        name: shown in the table.
        recipe: file, or name of a recipe of the package; None: the plan's.
        arguments: of `semanticmac train`, by name; they win over those of the setting, the plan and the recipe. `null`
            takes an argument back.
        simple: `majority`, `linear_probe` or `svm`, fitted with scikit-learn; None: the recipe is trained.
        options: of the simple system (`ProbeOptions`, `SupportVectorOptions`).
        settings: names of the plan's settings that the row has; None: all.
        seeds: of the row; None: those of the plan. A simple system has one.
        published: name of a model in the paper's tables, or a mapping with `metrics`, `source` and `note`.
        note: shown below the table.
    """

    name: str
    recipe: str | None = None
    arguments: Mapping = field(default_factory=dict)
    simple: str | None = None
    options: Mapping = field(default_factory=dict)
    settings: list[str] | None = None
    seeds: list[int] | None = None
    published: str | Mapping | None = None
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """What a benchmark runs: every row with every setting, fold and seed.

    Args:
        rows: the systems; the others are compared with the first.
        recipe: of the rows that name none.
        arguments: of all runs, by name.
        settings: name -> arguments, e.g. which modalities; empty: one setting without a name.
        folds: name -> arguments, e.g. `corpus_options: {fold: 0}`; a number n: `fold` from 0 to n - 1; empty: one.
        seeds: of the rows.
        metrics: columns of the table; None: those of the task's family.
        published: rows of other publications, mappings with `name`, `metrics`, `source` and `note`.
        title: of the table; None: the name of the file.
        note: shown below the table.
    """

    rows: list[Row]
    recipe: str | None = None
    arguments: Mapping = field(default_factory=dict)
    settings: Mapping[str, Mapping] = field(default_factory=dict)
    folds: Mapping[str, Mapping] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [1111])
    metrics: list[str] | None = None
    published: list[Mapping] = field(default_factory=list)
    title: str | None = None
    note: str = ""


@dataclass(frozen=True)
class PlannedRun:
    """One run of a benchmark.

    Args:
        row: the system.
        setting, fold: names; "" where the plan has none.
        seed: of the run.
        given: arguments of `semanticmac train`, those of the recipe included, without seed and output folder, by name.
        folder: output folder of the run.
    """

    row: Row
    setting: str
    fold: str
    seed: int
    given: Mapping
    folder: Path

    @property
    def name(self) -> str:
        """Return row, setting, fold and seed in one line."""
        return " / ".join([self.row.name, *filter(None, (self.setting, self.fold)), f"seed {self.seed}"])

    @property
    def argv(self) -> list[str]:
        """Return the arguments of `semanticmac train`."""
        return as_arguments({**self.given, "seed": self.seed, "output_dir": str(self.folder)})


def read_plan(path: Path | str) -> Plan:
    """Read a plan.

    Raises:
        ValueError: an unknown name, with the nearest known one; a value of the wrong kind; two rows of one name.
        FileNotFoundError: the file does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no plan {path}; it is a YAML file (docs/benchmark.md).")
    found = _checked(read_yaml(path), Plan, str(path))
    if not isinstance(found.get("rows"), list) or not found["rows"]:
        raise ValueError(f"{path}: rows is {found.get('rows')!r}; expected a list of one row or more.")
    rows = [Row(**_checked(row, Row, f"{path}: row {place}")) for place, row in enumerate(found["rows"], start=1)]
    found["folds"] = _folds(found.get("folds") or {}, path)
    found["settings"] = {name: arguments or {} for name, arguments in (found.get("settings") or {}).items()}
    plan = Plan(**{"title": path.stem, **found, "rows": rows})
    for row in rows:
        _check_row(row, plan, path)
    for kind, names in (("row", [row.name for row in rows]), ("setting", plan.settings), ("fold", plan.folds)):
        _check_names(kind, list(names), path)
    if not plan.seeds or len(set(plan.seeds)) < len(plan.seeds):
        raise ValueError(f"{path}: seeds is {plan.seeds}; expected one seed or more, each once.")
    return plan


def _checked(values, kind: type, where: str) -> dict:
    """Return a mapping whose names are fields of a dataclass."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: found {type(values).__name__}; expected a mapping.")
    known = [entry.name for entry in fields(kind)]
    for name in values:
        if name not in known:
            raise ValueError(
                f"{where}: unknown name {name!r}.{did_you_mean(name, known)} Known are {', '.join(known)}."
            )
    return {name: value for name, value in values.items() if value is not None}


def _folds(folds, path: Path) -> dict[str, Mapping]:
    """Return the arguments of each fold by its name."""
    if isinstance(folds, int) and not isinstance(folds, bool):
        folds = range(folds)
    if isinstance(folds, list | range):
        return {f"fold_{fold}": {"corpus_options": {"fold": fold}} for fold in folds}
    if not isinstance(folds, dict):
        raise ValueError(f"{path}: folds is {folds!r}; expected their number, a list, or name -> arguments.")
    return folds


def _check_row(row: Row, plan: Plan, path: Path) -> None:
    if not isinstance(row.name, str) or not row.name.strip():
        raise ValueError(f"{path}: a row has the name {row.name!r}; expected text.")
    if row.simple not in (None, *SIMPLE_SYSTEMS):
        raise ValueError(f"{path}: {row.name}: simple is {row.simple!r}; expected {' or '.join(SIMPLE_SYSTEMS)}.")
    if row.options and row.simple is None:
        raise ValueError(f"{path}: {row.name}: options are those of a simple system; give a recipe arguments.")
    if unknown := sorted(set(row.settings or ()) - set(plan.settings)):
        raise ValueError(
            f"{path}: {row.name}: unknown settings {', '.join(unknown)}; the plan has {list(plan.settings)}."
        )
    for name in OWN:
        if name in row.arguments or name in plan.arguments:
            raise ValueError(f"{path}: {row.name}: the benchmark sets {name} itself; seeds are a list of the plan.")


def _check_names(kind: str, names: list[str], path: Path) -> None:
    """Refuse names that are equal, or that would be folders of one name."""
    folders = [folder_name(name) for name in names]
    for name, folder in zip(names, folders):
        if not folder or folders.count(folder) > 1:
            raise ValueError(f"{path}: {kind} {name!r} has no name of its own among {', '.join(map(str, names))}.")


def folder_name(name: str) -> str:
    """Return a name as a folder: letters, digits, `.`, `_` and `-`."""
    return re.sub(r"[^\w.-]+", "_", str(name)).strip("_.")


def planned_runs(
    plan: Plan,
    output_dir: Path,
    extra: list[str] | tuple[str, ...] = (),
    rows: Collection[str] | None = None,
    settings: Collection[str] | None = None,
) -> list[PlannedRun]:
    """Return every run of a plan: all rows of the first seed and fold come first.

    Args:
        output_dir: of the benchmark; runs lie in `runs/ROW[/SETTING][/FOLD]/seed_<n>`.
        extra: arguments of the command line for all runs; they win over the file's.
        rows, settings: names to keep; None: all.

    Raises:
        ValueError: an unknown row, setting or argument.
        FileNotFoundError: a recipe does not exist.
    """
    for kind, names, known in (("row", rows, [row.name for row in plan.rows]), ("setting", settings, plan.settings)):
        if unknown := [name for name in names or () if name not in known]:
            raise ValueError(f"the plan has no {kind} {unknown[0]!r}; it has {', '.join(map(repr, known))}.")
    given = given_arguments(list(extra)) if extra else {}
    if own := [name for name in OWN if name in given]:
        raise ValueError(f"--{own[0]}: the benchmark sets it itself; seeds are a list of the plan.")
    found = []
    places = product(_longest_seeds(plan), plan.folds or {"": {}}, plan.settings or {"": {}}, plan.rows)
    for seed, fold, setting, row in places:
        if seed not in _row_seeds(row, plan) or (row.settings is not None and setting not in row.settings):
            continue
        if (rows is not None and row.name not in rows) or (settings is not None and setting not in settings):
            continue
        defaults = {"embeddings_dir": str(output_dir / "embeddings")}
        layers = [plan.arguments, plan.settings.get(setting, {}), row.arguments, given, plan.folds.get(fold, {})]
        recipe = recipe_arguments(row.recipe or plan.recipe, merged(layers).get("architecture"))
        layers = [defaults, recipe, *layers]
        parts = [folder_name(part) for part in (row.name, setting, fold) if part]
        folder = output_dir.joinpath(RUNS, *parts, f"seed_{seed}")
        found.append(PlannedRun(row, setting, fold, seed, merged(layers), folder))
    return found


def recipe_arguments(name: str | None, architecture: str | None = None) -> dict:
    """Return the arguments of a recipe by its name or path; none where there is no name.

    Args:
        architecture: that a row names. Where it is another than SemanticMAC and the recipe is SemanticMAC's, the
            arguments that only SemanticMAC has are left out.

    Raises:
        ValueError: the file holds no mapping.
        FileNotFoundError: there is no such recipe.
    """
    if name is None:
        return {}
    values = read_yaml(find_recipe(name))
    if not isinstance(values, dict):
        raise ValueError(f"{name} holds {type(values).__name__}; expected a mapping of argument names to values.")
    if architecture in (None, SEMANTICMAC) or values.get("architecture") not in (None, SEMANTICMAC):
        return values
    only = {*SEMANTICMAC_ONLY, *ModelArguments.config_names()}
    return {argument: value for argument, value in values.items() if argument not in only}


def _row_seeds(row: Row, plan: Plan) -> list[int]:
    seeds = row.seeds or plan.seeds
    return seeds[:1] if row.simple else seeds


def _longest_seeds(plan: Plan) -> Iterator[int]:
    """Yield each seed of any row once, in order."""
    yield from dict.fromkeys(seed for row in plan.rows for seed in _row_seeds(row, plan))


def merged(layers: Iterable[Mapping]) -> dict:
    """Return the arguments of several layers, of which the last wins; corpus options are merged by name."""
    found: dict = {}
    options: dict = {}
    for layer in layers:
        found |= layer
        own = layer.get("corpus_options") or {}
        options |= json.loads(own) if isinstance(own, str) else own
    return {**found, "corpus_options": options} if options else found


__all__ = ["Plan", "PlannedRun", "Row", "folder_name", "merged", "planned_runs", "read_plan", "recipe_arguments"]
