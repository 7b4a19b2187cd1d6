"""Rows of a timeline: a segment with its prediction, where its modalities contradict each other, and how it is written in tables and subtitles."""

import itertools
from collections.abc import Mapping

from ..configuration_semanticmac import MODALITIES, TaskSpecification
from ..pipeline_semanticmac import VIEWS
from .segments import Segment

SURE = 0.5  # probability of a class from which on a modality is taken at its word
SUBTASK_VIEWS = ("shared", *MODALITIES)
SPOKEN = {name: VIEWS[name].removesuffix(" alone") for name in MODALITIES}


def make_row(segment: Segment, result: Mapping) -> dict:
    """A row: `start`, `end`, `text` of the segment, the pipeline's result, and `contradictions`, pairs of modalities; or `error` in their place."""
    row = {"start": segment.start, "end": segment.end, "text": segment.text}
    if "error" in result:
        return {**row, "error": result["error"]}
    return {**row, **result, "contradictions": contradictions(result["subtasks"])}


def contradictions(subtasks: Mapping[str, Mapping]) -> list[list[str]]:
    """Pairs of modalities, of text, audio and vision, whose own predictions contradict each other.

    Scores: one is positive and the other negative, neither neutral. One class: different classes, each with a probability of at least 0.5.
    Several labels: both see some, and none in common.
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
    """For example "words against face; voice against face"; empty where there is none."""
    return "; ".join(f"{SPOKEN[one]} against {SPOKEN[two]}" for one, two in row.get("contradictions", ()))


def table_columns(task: TaskSpecification) -> list[str]:
    """The columns of `table_row`."""
    if task.is_regression:
        own, view = ["score", "polarity"], "score"
    else:
        view = "labels" if task.is_multi_label else "label"
        own = [view, *(f"probability_{name}" for name in task.label_names)]
    views = [f"{view}_{name}" for name in SUBTASK_VIEWS]
    return ["start", "end", "text", *own, *views, "modalities", "contradictions", "notes", "error"]


def table_row(row: Mapping, task: TaskSpecification) -> list:
    """A row of the table; what it lacks is None. Several labels or modalities are joined by "|"."""
    cells = {name: row.get(name) for name in ("start", "end", "text", "error")}
    if "error" not in row:
        kind = "score" if task.is_regression else "labels" if task.is_multi_label else "label"
        cells.update({kind: _joined(row[kind]), "polarity": row.get("polarity")})
        cells.update({f"probability_{name}": value for name, value in row.get("probabilities", {}).items()})
        cells.update({f"{kind}_{name}": _joined(view[kind]) for name, view in row["subtasks"].items()})
        missing = [f"no {name}: {reason}" for name, reason in row["media"]["missing"].items()]
        cells["modalities"], cells["notes"] = "|".join(row["modalities"]), "; ".join([*row["media"]["notes"], *missing])
        cells["contradictions"] = contradiction_text(row)
    return [cells.get(name) for name in table_columns(task)]


def _joined(value):
    return "|".join(value) if isinstance(value, list) else value


def subtitle(row: Mapping) -> Segment:
    """The segment of a row with its words, its prediction and its contradictions, a line each."""
    if "error" in row:
        lines = ["[no prediction]"]
    else:
        lines = [f"[{_said(row)}]"]
        for one, two in row["contradictions"]:
            views = row["subtasks"]
            lines.append(f"[{SPOKEN[one]}: {_said(views[one])}, {SPOKEN[two]}: {_said(views[two])}]")
    return Segment(row["start"], row["end"], "\n".join([row["text"], *lines] if row["text"] else lines))


def _said(result: Mapping) -> str:
    if "polarity" in result:
        return f"{result['polarity']} {result['score']:+.2f}"
    if "label" in result:
        return f"{result['label']} {result['score']:.0%}"
    return ", ".join(f"{name} {result['probabilities'][name]:.0%}" for name in result["labels"]) or "no label"


__all__ = [
    "SPOKEN",
    "SURE",
    "contradiction_text",
    "contradictions",
    "make_row",
    "subtitle",
    "table_columns",
    "table_row",
]
