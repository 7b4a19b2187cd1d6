"""Published figures beside the rows of a benchmark, each with the note that a comparison needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from datasets_scripts import task_specification

from ..configuration_semanticmac import MODALITIES
from ..report.paper_figures import OWN_MODEL, PaperRow, paper_rows
from ..training.run_arguments import parse_arguments
from .plan import Plan, PlannedRun, Row

PAPER = "arXiv 2408.07694"
OTHER_FEATURES = (
    "published with other audio and visual features than those here: what is compared here is the fusion, not the row"
)
FILE_CLIPS = "the clips and labels here are those of a feature file"


@dataclass(frozen=True)
class Published:
    """A published row.

    Args:
        name: of the system.
        metrics: name -> value, fractions; `mae` and `pearson` as they are.
        source: where it is printed.
        note: what to consider before comparing.
    """

    name: str
    metrics: Mapping[str, float]
    source: str
    note: str

    @classmethod
    def read(cls, values: Mapping) -> "Published":
        """Return the row of a mapping of a plan.

        Raises:
            ValueError: a part is missing: figures without source and note say nothing.
        """
        missing = [name for name in ("name", "metrics", "source", "note") if not values.get(name)]
        if missing:
            raise ValueError(
                f"a published row lacks {', '.join(missing)}: {dict(values)}; give name, metrics, source and note."
            )
        return cls(*(values[name] for name in ("name", "metrics", "source", "note")))


def published_row(
    row: Row,
    corpus: str,
    task: str,
    use_context: bool | None,
    language_model: str | None,
    modalities: Sequence[str] = MODALITIES,
    options: Mapping | None = None,
) -> Published | None:
    """Return what was published for the system of a row; None where its plan names nothing.

    Args:
        row: its `published` is the name of a model in the paper's tables, or a mapping.
        corpus, task, use_context, language_model, modalities: of its runs.
        options: of the corpus; of a feature file, `like` names the corpus whose rows are meant.

    Raises:
        ValueError: the paper's tables have no such model for this corpus and task.
    """
    if row.published is None:
        return None
    if not isinstance(row.published, str):
        return Published.read({"name": row.name, **row.published})
    like = (options or {}).get("like")
    corpus = like or corpus
    known = paper_rows(corpus, task)
    # "SemanticMAC" is "SemanticMAC-BERT" where the table has one row for each language model.
    found = [
        entry for entry in known if row.published in (entry.model, entry.model.removesuffix(f"-{entry.language_model}"))
    ]
    found = [entry for entry in found if entry.model == row.published] or found
    if not found:
        names = ", ".join(dict.fromkeys(entry.model for entry in known)) or "none"
        raise ValueError(
            f"{row.name}: the paper's tables have no {row.published!r} for {corpus} {task}; they have {names}."
        )
    # Of several language models the run's, of two settings of a corpus the one with as much context.
    best = min(
        found,
        key=lambda entry: (not entry.has_language_model(language_model), entry.use_context not in (None, use_context)),
    )
    published = of_paper(best, language_model, modalities)
    return replace(published, note=f"{published.note}; {FILE_CLIPS}".removeprefix("; ")) if like else published


def of_paper(entry: PaperRow, language_model: str | None = None, modalities: Sequence[str] = MODALITIES) -> Published:
    """Return a row of the paper with its notes; language model and modalities are those of the runs beside it."""
    missing = [name for name in MODALITIES if name not in modalities]
    notes = [f"published with {' and '.join(missing)} too"] if missing else []
    notes += [OTHER_FEATURES] if not entry.model.startswith(OWN_MODEL) else []
    if entry.language_model:
        notes.append(f"language model {entry.language_model}" + (f", here {language_model}" if language_model else ""))
    if entry.from_publication:
        notes.append("figures of the system's own publication")
    notes += [entry.note] if entry.note else []
    return Published(entry.model, entry.metrics, f"Table {entry.table} of {PAPER}", "; ".join(notes))


def check_published(plan: Plan, runs: list[PlannedRun]) -> None:
    """Refuse a plan that names published rows which are not known, before anything is run.

    Raises:
        ValueError: names the row.
    """
    for values in plan.published:
        Published.read(values)
    of_row = {run.row.name: run for run in runs if run.row.published is not None}
    for run in of_row.values():
        data_args = parse_arguments(run.argv)[1]
        task = task_specification(data_args.corpus, data_args.task, data_dir=data_args.data_dir, **data_args.options)
        published_row(
            run.row, data_args.corpus, task.name, data_args.use_context, None, options=data_args.options
        )  # fmt: skip


__all__ = ["Published", "check_published", "of_paper", "published_row"]
