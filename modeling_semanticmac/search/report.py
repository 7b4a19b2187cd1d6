"""The report of a hyperparameter search: `search.json`, `search.md`, and `best.yaml`, a recipe of the best trial."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import yaml

from ..files.atomic_files import write_json, write_text
from ..files.markdown_tables import format_number, markdown_table
from ..files.secrets import hide_secrets, is_secret_name
from ..training.run_arguments import SearchArguments, given_arguments

FINISHED = ("complete", "pruned")
# Arguments of one machine or one run, which the user of the recipe gives again.
LEFT_OUT = {"data_dir", "output_dir", "resume_from_checkpoint"} | {field.name for field in fields(SearchArguments)}


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a search.

    Args:
        trial: its number.
        state: `complete`; `pruned` (stopped early, with the score until then); `failed` (refused or diverged, replaced
            by another draw); `stopped` (its process was killed, the same parameters are run again); `running`;
            `waiting`.
        score: on validation; None before the first evaluation.
        seconds: from start to end.
        parameters: name -> value.
        failure: reason of a failure.
    """

    trial: int
    state: str
    score: float | None
    seconds: float | None
    parameters: dict
    failure: str | None = None


@dataclass(frozen=True)
class SearchSummary:
    """The present state of a search.

    Args:
        space_file: file or name of the space.
        space: name -> values that may be tried.
        sampler, pruner, backend, seed: of the search.
        metric: validation figure by which trials are compared.
        greater_is_better: its direction.
        test_opened: why the test split was opened; None where it stayed sealed.
        trials: all trials.
        importance: share of each parameter in the variance of the scores; empty where it is unknown.
    """

    space_file: str
    space: dict
    sampler: str
    pruner: str
    backend: str
    seed: int
    metric: str
    greater_is_better: bool
    test_opened: str | None
    trials: Sequence[TrialRecord]
    importance: dict[str, float]

    @property
    def scored_on(self) -> str:
        """Describe the score of a trial."""
        best = "highest" if self.greater_is_better else "lowest"
        return f"validation {self.metric}, the {best} of a trial's evaluations"

    @property
    def best(self) -> TrialRecord | None:
        """Return the complete trial with the best score, the earliest of equal ones; None where none is complete."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return min(complete, key=self._rank, default=None)

    def _rank(self, trial: TrialRecord) -> tuple:
        if trial.score is None:
            return (2, 0.0, trial.trial)
        return (trial.state != "complete", -trial.score if self.greater_is_better else trial.score, trial.trial)


def write_search_report(summary: SearchSummary, argv: Sequence[str], folder: Path, embeddings_dir: Path) -> str:
    """Write the three files, `best.yaml` once a trial is complete, and return the text of `search.md`.

    Args:
        summary: state of the search.
        argv: command line of the search, to whose arguments those of the best trial are added.
        folder: folder of the files.
        embeddings_dir: embedding store of the search, which the recipe uses too.
    """
    best, text = summary.best, _markdown(summary, folder)
    record = {**asdict(summary), "scored_on": summary.scored_on, "best": asdict(best) if best else None}
    write_json(folder / "search.json", record)
    write_text(folder / "search.md", text)
    if best:
        recipe = _recipe(argv, best, embeddings_dir)
        head = f"# Trial {best.trial} of a search, its best by {summary.scored_on}: {best.score!r}.\n"
        head += "# Give --data_dir and --output_dir.\n"
        write_text(folder / "best.yaml", head + yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
    return text


def _recipe(argv: Sequence[str], best: TrialRecord, embeddings_dir: Path) -> dict:
    given = given_arguments(list(argv))
    # A hidden token would be used as a token: the recipe has none.
    kept = {name: given[name] for name in given if name not in LEFT_OUT and not is_secret_name(name)}
    given = hide_secrets(kept)
    if "corpus_options" in given:
        given["corpus_options"] = json.loads(given["corpus_options"])
    return {**given, "embeddings_dir": str(embeddings_dir), "do_train": True, "do_eval": True, **best.parameters}


def _markdown(summary: SearchSummary, folder: Path) -> str:
    finished = [trial for trial in summary.trials if trial.state in FINISHED]
    seal = f"was opened: {summary.test_opened}" if summary.test_opened else "stayed sealed"
    seconds = [trial.seconds for trial in finished if trial.seconds is not None]
    lines = ["# Hyperparameter search", ""]
    lines.append(
        f"{len(finished)} finished trials of `{summary.space_file}`, {summary.sampler} sampler, pruner "
        f"{summary.pruner}, seed {summary.seed}, "
        f"{sum(seconds) / max(len(seconds), 1):.0f} s each. Scored on {summary.scored_on}. The test split {seal}."
    )
    best = summary.best
    if best:
        lines += [
            "",
            f"Best: trial {best.trial}, {summary.metric} {format_number(best.score)}. Train and test it once with:",
            "",
        ]
        lines += [f"    semanticmac train {folder / 'best.yaml'} --data_dir CORPUS --output_dir RUN --do_predict"]
    names = list(summary.space)
    rows = [
        [trial.trial, trial.state, format_number(trial.score), format_number(trial.seconds, 0)]
        + [_value_text(trial.parameters.get(name)) for name in names]
        for trial in sorted(summary.trials, key=summary._rank)
    ]
    lines += ["", "Best first:", "", markdown_table(["trial", "state", summary.metric, "seconds", *names], rows)]
    failures = [f"- trial {trial.trial}: {trial.failure}" for trial in summary.trials if trial.failure]
    if failures:
        lines += ["Failed, with others drawn in their place:", "", *failures, ""]
    if summary.importance:
        lines += ["Importance: share in the variance of the scores (fANOVA over the complete trials).", ""]
        lines += [
            markdown_table(["parameter", "share"], [[n, format_number(v, 2)] for n, v in summary.importance.items()])
        ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _value_text(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str("" if value is None else value)


__all__ = ["FINISHED", "SearchSummary", "TrialRecord", "write_search_report"]
