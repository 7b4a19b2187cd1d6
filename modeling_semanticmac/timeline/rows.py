"""Rows of a timeline: a segment with its prediction and contradictions, and its form in tables and subtitles."""

import itertools
from collections.abc import Mapping

from ..affect_results import result_cell, result_words
from ..configuration_semanticmac import MODALITIES, SPOKEN, SUBTASK_NAMES, TaskSpecification
from .segments import Segment

SURE = 0.5  # two modalities contradict each other only where each is at least this sure of its class
SHARE = ".0%"  # how subtitles write a probability


def make_row(segment: Segment, result: Mapping) -> dict:
    """Return `start`, `end`, `text` of the segment, and the pipeline's result with `contradictions`, or its `error`."""
    row = {"start": segment.start, "end": segment.end, "text": segment.text}
    if "error" in result:
        return {**row, "error": result["error"]}
    return {**row, **result, "contradictions": contradictions(result["subtasks"])}


def contradictions(subtasks: Mapping[str, Mapping]) -> list[list[str]]:
    """Return the pairs of modalities, of text, audio and vision, whose predictions contradict each other.

    Scores: one is positive and the other negative. One class: different classes, each with a probability of at least
    0.5. Several labels: both predict some, and none in common.
    """
    pairs = itertools.combinations([name for name in MODALITIES if name in subtasks], 2)
    return [[one, two] for one, two in pairs if _contradict(subtasks[one], subtasks[two])]


def _contradict(one: Mapping, two: Mapping) -> bool:
    if "polarity" in one:
        return {one["polarity"], two["polarity"]} == {"negative", "positive"}
    if "label" in one:
        return one["label"] != two["label"] and min(one["score"], two["score"]) >= SURE
    return bool(one["labels"] and two["labels"]) and not set(one["labels"]) & set(two["labels"])


def contradiction_text(row: Mapping) -> str:
    """Return the contradictions in words, such as "words against picture; voice against picture"; "" for none."""
    return "; ".join(f"{SPOKEN[one]} against {SPOKEN[two]}" for one, two in row.get("contradictions", ()))


def table_columns(task: TaskSpecification) -> list[str]:
    """Return the names of the cells of `table_row`."""
    if task.is_regression:
        own, view = ["score", "polarity"], "score"
    else:
        view = "labels" if task.is_multi_label else "label"
        own = [view, *(f"probability_{name}" for name in task.label_names)]
    views = [f"{view}_{name}" for name in SUBTASK_NAMES.values()]
    return ["start", "end", "text", *own, *views, "modalities", "contradictions", "notes", "error"]


def table_row(row: Mapping, task: TaskSpecification) -> list:
    """Return a row of the table; missing cells are None. Several labels or modalities are joined by "|"."""
    cells = {name: row.get(name) for name in ("start", "end", "text", "error")}
    if "error" not in row:
        kind = "score" if task.is_regression else "labels" if task.is_multi_label else "label"
        cells.update({kind: result_cell(row), "polarity": row.get("polarity")})
        cells.update({f"probability_{name}": value for name, value in row.get("probabilities", {}).items()})
        cells.update({f"{kind}_{name}": result_cell(view) for name, view in row["subtasks"].items()})
        missing = [f"no {name}: {reason}" for name, reason in row["media"]["missing"].items()]
        notes = [*row["media"]["notes"], *missing, *row.get("notes", ())]
        cells["modalities"], cells["notes"] = "|".join(row["modalities"]), "; ".join(notes)
        cells["contradictions"] = contradiction_text(row)
    return [cells.get(name) for name in table_columns(task)]


def subtitle(row: Mapping) -> Segment:
    """Return the segment of a row with its words, its prediction and its contradictions, a line each."""
    if "error" in row:
        lines = ["[no prediction]"]
    else:
        lines = [f"[{result_words(row, SHARE)}]"]
        for one, two in row["contradictions"]:
            views = row["subtasks"]
            said = (f"{SPOKEN[name]}: {result_words(views[name], SHARE)}" for name in (one, two))
            lines.append(f"[{', '.join(said)}]")
    return Segment(row["start"], row["end"], "\n".join([row["text"], *lines] if row["text"] else lines))


__all__ = [
    "SURE",
    "contradiction_text",
    "contradictions",
    "make_row",
    "subtitle",
    "table_columns",
    "table_row",
]
