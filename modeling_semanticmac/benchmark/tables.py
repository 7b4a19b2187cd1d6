"""The table of a benchmark as Markdown, LaTeX and JSON, with its pictures."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ..configuration_semanticmac import MODALITIES
from ..files.atomic_files import write_json, write_text
from ..files.markdown_tables import format_number, markdown_table
from ..metrics import LOWER_IS_BETTER
from ..runs.comparison import LEVEL
from .pictures import save_cost_picture, save_row_picture
from .plan import Plan, PlannedRun
from .published import Published, published_row
from .results import SPLITS, Cell, Results

NAME = "benchmark"
DIGITS = 3
SHOWN_RUNS = 3  # named beside the reason why they are not there


def write_tables(
    plan: Plan, runs: list[PlannedRun], output_dir: Path, failures: Mapping[str, str], resamples: int
) -> str:
    """Write `benchmark.md`, `.tex`, `.json` and the pictures of what is finished, and return the Markdown.

    Args:
        runs: all planned runs.
        failures: name of a run -> what went wrong.
        resamples: draws of the bootstrap.

    Raises:
        ValueError: rows that predicted other clips, or a published row that is not known.
    """
    results = Results(plan, runs, failures)
    data = _data(results, resamples)
    text = _markdown(results, data, resamples)
    write_text(output_dir / f"{NAME}.md", text)
    write_text(output_dir / f"{NAME}.tex", _latex(results, data))
    write_json(output_dir / f"{NAME}.json", data)
    if results.metrics:
        save_row_picture(results, output_dir / NAME)
        save_cost_picture(results, output_dir / f"{NAME}_costs")
    return text


def _data(results: Results, resamples: int) -> dict:
    """Return everything that the tables show, as values of JSON."""
    settings = {}
    for setting in results.settings:
        differences = results.differences(setting, resamples)
        settings[setting] = [_cell_data(cell, results, differences.get(cell.row.name)) for cell in
                             results.of_setting(setting)]  # fmt: skip
    return {
        "title": results.plan.title, "metrics": results.metrics, "settings": settings,
        "published": [asdict(Published.read(row)) for row in results.plan.published],
        "bootstrap": {"draws": resamples, "level": LEVEL, "unit": "clip", "folds": "pooled", "seeds": "pooled"},
        "git_revisions": results.revisions, "note": results.plan.note,
    }  # fmt: skip


def _cell_data(cell: Cell, results: Results, differences: dict | None) -> dict:
    published = None
    if cell.row.published is not None and results.record is not None:
        data, run = results.record["data"], next(iter(cell.runs.values()), None)
        published = published_row(
            cell.row, data["corpus"], results.record["task"]["name"], data["use_context"],
            run.language_model if run else None, run.record["data"]["modalities"] if run else MODALITIES,
            json.loads(data.get("corpus_options") or "{}"),
        )  # fmt: skip
    choices = [run.record["simple_system"]["choice"] for run in cell.runs.values() if "simple_system" in run.record]
    return {
        "row": cell.row.name, "planned": len(cell.planned), "finished": len(cell.runs), "failures": cell.failures,
        "seeds": sorted({seed for _, seed in cell.runs}), "folds": list(dict.fromkeys(fold for fold, _ in cell.runs)),
        "figures": {split: {name: asdict(figure) for name, figure in cell.figures(split).items()} for split in SPLITS},
        "difference_to_first": differences, "costs": cell.costs, "runs_at_once": sorted(cell.processes),
        "modalities": next((run.record["data"]["modalities"] for run in cell.runs.values()), None),
        "choices": choices, "note": cell.row.note, "published": asdict(published) if published else None,
    }  # fmt: skip


def _markdown(results: Results, data: dict, resamples: int) -> str:
    parts = [f"# {data['title']}\n"]
    notes: list[str] = []
    for setting, cells in data["settings"].items():
        parts.append(f"## {setting}\n" if setting else "")
        parts.append(_figure_table(results.metrics, cells, notes))
        if any(cell["difference_to_first"] for cell in cells):
            parts.append(_difference_table(results.metrics, cells, _clips(results, setting)))
    if data["published"]:
        rows = [[row["name"], *_published_cells(results.metrics, row, notes)] for row in data["published"]]
        parts += ["## Published\n", markdown_table(["system", *results.metrics, "note"], rows)]
    if failures := _failures(data):
        parts.append("## Not finished\n\n" + "\n".join(failures) + "\n")
    parts.append("\n".join(_explanations(data, resamples)) + "\n")
    if notes:
        parts.append("\n".join(f"[{place}] {note}.  " for place, note in enumerate(notes, start=1)) + "\n")
    return "\n".join(part for part in parts if part)


def _failures(data: dict) -> list[str]:
    """Return a line for each reason why runs are not there, with the names of the runs."""
    names: dict[str, list[str]] = {}
    for cells in data["settings"].values():
        for cell in cells:
            for name, reason in cell["failures"].items():
                names.setdefault(reason, []).append(name)
    lines = []
    for reason, found in names.items():
        more = f" and {len(found) - SHOWN_RUNS} more" if len(found) > SHOWN_RUNS else ""
        lines.append(f"- {', '.join(found[:SHOWN_RUNS])}{more}: {reason}")
    return lines


def _figure_table(metrics: list[str], cells: list[dict], notes: list[str]) -> str:
    """Return the table of one setting: a line a row and, below it, the published one."""
    header = ["system", "runs"]
    for name in metrics:
        label = name + (" (lower is better)" if name.endswith(LOWER_IS_BETTER) else "")
        header += [f"{label}, test", "validation"]
    header += ["time a run", "trained parameters", "note"]
    best = {name: _best(name, cells) for name in metrics}
    rows = []
    for cell in cells:
        line = [cell["row"], f"{cell['finished']} of {cell['planned']}"]
        for name in metrics:
            for split in SPLITS:
                figure = cell["figures"][split].get(name)
                text = figure_text(figure, DIGITS) if figure else ""
                is_best = split == "test" and figure and figure["mean"] == best[name] and len(cells) > 1
                line.append(f"**{text}**" if is_best else text)
        costs = cell["costs"]
        told = [cell["note"]] if cell["note"] else []
        told += [f"{len(cell['failures'])} failed"] if cell["failures"] else []
        line += [_seconds(costs["seconds"]), _count(costs["trained_parameters"]), "; ".join(told)]
        rows.append(line)
        if cell["published"]:
            row = cell["published"]
            printed = [text for value in _published_cells(metrics, row, notes)[:-1] for text in (value, "")]
            rows.append([f"{row['name']}, published", "", *printed, "", "", f"[{_note(row, notes)}]"])
    return markdown_table(header, rows)


def _published_cells(metrics: list[str], row: Mapping, notes: list[str]) -> list[str]:
    printed = [format_number(row["metrics"].get(name), DIGITS) for name in metrics]
    return [*printed, f"[{_note(row, notes)}]"]


def _note(row: Mapping, notes: list[str]) -> int:
    """Return the number of the note of a published row; a new one is added."""
    text = f"{row['source']}: {row['note']}".rstrip(".")
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1


def _difference_table(metrics: list[str], cells: list[dict], clips: int) -> str:
    first = cells[0]["row"]
    header = [f"test, difference to {first}", *metrics]
    rows = [
        [cell["row"], *(_difference(cell["difference_to_first"].get(name)) for name in metrics)]
        for cell in cells
        if cell["difference_to_first"]
    ]
    return markdown_table(header, rows) + f"\n{clips:,} test clips.\n"


def _difference(found: Mapping | None) -> str:
    if not found:
        return ""
    value, low, high = (
        "undefined" if math.isnan(found[name]) else f"{found[name]:+.{DIGITS}f}"
        for name in ("difference", "low", "high")
    )
    return f"{value} ({low} to {high}){' *' if found['significant'] else ''}"


def _clips(results: Results, setting: str) -> int:
    predictions = results.of_setting(setting)[0].predictions
    return len(predictions.ids) if predictions else 0


def figure_text(figure: Mapping, digits: int) -> str:
    """Return `mean ± deviation` with what the deviation is over: f folds, s seeds."""
    text = format_number(figure["mean"], digits)
    for letter, name in (("f", "over_folds"), ("s", "over_seeds")):
        if figure[name] is not None:
            text += f" ± {format_number(figure[name], digits)}{letter}"
    return text


def _best(metric: str, cells: list[dict]) -> float | None:
    means = [cell["figures"]["test"][metric]["mean"] for cell in cells if metric in cell["figures"]["test"]]
    means = [mean for mean in means if not math.isnan(mean)]
    return (min if metric.endswith(LOWER_IS_BETTER) else max)(means) if means else None


def _explanations(data: dict, resamples: int) -> list[str]:
    """Return how the figures were made."""
    jobs = sorted({count for cells in data["settings"].values() for cell in cells for count in cell["runs_at_once"]})
    lines = [
        "Mean over folds and seeds; ± standard deviation (n - 1): f of the folds' means, s of the seeds' means. Every "
        "model is chosen on validation; the test split is opened after the choice. To choose between rows, read the "
        "validation columns.",
        f"Differences: the row minus the first, metrics over the test clips of all folds together (not the mean of the "
        f"folds), mean over a row's seeds; {LEVEL:.0%} intervals of a paired bootstrap over clips, {resamples} draws, "
        "percentiles, the same clips for both rows and all seeds. `*`: 0 lies outside. They cover the choice of test "
        "clips, not that of seeds.",
        "Time: the whole run from its start to its report"
        + (f", {' or '.join(map(str, jobs))} at once" if jobs and jobs != [1] else "")
        + "; embeddings that were stored before are not counted.",
    ]
    if len(data["git_revisions"]) > 1:
        lines.append(f"**The runs were made by several versions of the code**: {', '.join(data['git_revisions'])}.")
    return [f"{line}\n" for line in [*lines, *([data["note"]] if data["note"] else [])]]


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


SPECIAL = {
    "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "±": r"$\pm$",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Return text with LaTeX's special characters escaped."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def _latex(results: Results, data: dict) -> str:
    """Return a table with `booktabs` rules: test figures, their spread as a subscript, the best in bold."""
    metrics = results.metrics
    arrows = [r"$\downarrow$" if name.endswith(LOWER_IS_BETTER) else r"$\uparrow$" for name in metrics]
    names = [f"{latex_text(name)} {arrow}" for name, arrow in zip(metrics, arrows)]
    lines = [
        r"% \usepackage{booktabs}", rf"\begin{{tabular}}{{l{'r' * len(metrics)}}}", r"\toprule",
        " & ".join(["system", *names]) + r" \\",
    ]  # fmt: skip
    for setting, cells in data["settings"].items():
        lines.append(r"\midrule")
        if setting:
            lines.append(rf"\multicolumn{{{len(metrics) + 1}}}{{l}}{{\emph{{{latex_text(setting)}}}}} \\")
        best = {name: _best(name, cells) for name in metrics}
        for cell in cells:
            figures = cell["figures"]["test"]
            texts = [_latex_figure(figures.get(name), best[name], len(cells) > 1) for name in metrics]
            lines.append(" & ".join([latex_text(cell["row"]), *texts]) + r" \\")
            if cell["published"]:
                lines.append(_latex_published(cell["published"], metrics))
    if data["published"]:
        lines += [r"\midrule", *(_latex_published(row, metrics) for row in data["published"])]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_figure(figure: Mapping | None, best: float | None, several: bool) -> str:
    if figure is None:
        return ""
    mean = format_number(figure["mean"], DIGITS)
    spread = figure["over_folds"] if figure["over_folds"] is not None else figure["over_seeds"]
    text = rf"\textbf{{{mean}}}" if several and figure["mean"] == best else mean
    return text + (rf"$_{{\pm {spread:.{DIGITS}f}}}$" if spread is not None else "")


def _latex_published(row: Mapping, metrics: list[str]) -> str:
    texts = [format_number(row["metrics"].get(name), DIGITS) for name in metrics]
    return " & ".join([latex_text(f"{row['name']} (published)"), *texts]) + r" \\"


__all__ = ["figure_text", "latex_text", "write_tables"]
