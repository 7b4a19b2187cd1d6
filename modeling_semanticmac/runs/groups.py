"""How well a run does for groups of test clips: by speaker, sex, duration, or what a clip lacks.

Legend: n clips.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..files.atomic_files import write_csv
from ..files.markdown_tables import format_number, markdown_table
from .comparison import LEVEL, RESAMPLES, interval
from .folder import RunFolder
from .record import prediction_arrays

FILE = "clips_test.csv"  # of a run: what is known of each test clip
COLUMNS = ("id", "speaker", "sex", "seconds", "missing")
GROUPINGS = ("speaker", "sex", "duration", "missing")
FEWEST = 10  # clips of a group; smaller ones are counted, not measured
PARTS = ("shortest third", "middle third", "longest third")


def write_clip_facts(path: str | Path, clips, modalities: Sequence[str], store, sex_of) -> None:
    """Write what is known of each clip of a split: speaker, sex, duration, and the modalities that it lacks.

    Args:
        clips: the dataset's split, one row a clip.
        modalities: that the run uses.
        store: their embeddings; None where only text is used.
        sex_of: function that returns "female", "male" or "" for a speaker of the corpus.
    """
    rows = []
    columns = ("id", "speaker", "text", "media")
    for clip, speaker, text, media in zip(*(clips[name] for name in columns)):
        record = None if store is None else store.status(clip)
        counts = {"text": len(text.strip())} | {name: getattr(record, name, 0) for name in ("audio", "vision")}
        missing = "|".join(name for name in modalities if not counts[name])
        seconds = getattr(record, "duration", 0.0)
        if not seconds and None not in (media["start"], media["end"]):
            seconds = media["end"] - media["start"]
        rows.append((clip, speaker, sex_of(speaker) if speaker else "", seconds or "", missing))
    write_csv(path, COLUMNS, rows)


def clip_groups(run: RunFolder, by: str) -> dict[str, str]:
    """Return id -> group of the test clips whose group is known.

    Raises:
        ValueError: an unknown grouping, the run did not record its clips, or nothing is known of them.
    """
    if by not in GROUPINGS:
        raise ValueError(f"there is no grouping {by!r}; expected one of {', '.join(GROUPINGS)}.")
    path = run.path / FILE
    if not path.is_file():
        raise ValueError(f"{run.path} has no {FILE}: an older version made the run, or the test split was not opened.")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if by == "missing":
        return {row["id"]: f"without {row[by].replace('|', ' and ')}" if row[by] else "complete" for row in rows}
    column = "seconds" if by == "duration" else by
    known = {row["id"]: row[column] for row in rows if row[column]}
    if not known:
        raise ValueError(f"{run.path}: nothing says the {by} of its test clips; the corpus does not state it.")
    return _by_duration(known) if by == "duration" else known


def _by_duration(seconds: dict[str, str]) -> dict[str, str]:
    """Return the third, by duration, that each clip belongs to, with its bounds in seconds."""
    values = {clip: float(value) for clip, value in seconds.items()}
    low, high = np.quantile(list(values.values()), [1 / 3, 2 / 3])
    words = (f"{PARTS[0]}, up to {low:.1f} s", f"{PARTS[1]}, up to {high:.1f} s", f"{PARTS[2]}, over {high:.1f} s")
    return {clip: words[int(value > low) + int(value > high)] for clip, value in values.items()}


def clip_errors(run: RunFolder) -> dict[str, float]:
    """Return id -> error of the test clips: absolute error of scores, 0 or 1 of classes, share of wrong labels."""
    predictions, labels = prediction_arrays(run.task, run.predictions)
    if run.task.is_multi_label:
        decisions = predictions > (0.5 if run.thresholds is None else run.thresholds)
        errors = (decisions != labels).mean(axis=1)
    else:
        errors = np.abs(predictions - labels) if run.task.is_regression else predictions != labels
    return dict(zip((row["id"] for row in run.predictions), errors.astype(float).tolist()))


def group_errors(run: RunFolder, by: str, seed: int = 0, resamples: int = RESAMPLES) -> dict:
    """Return the mean error of each group of test clips beside that of all other clips.

    Args:
        by: one of `GROUPINGS`.
        seed: of the bootstrap.
        resamples: draws of the clips, with replacement.

    Returns:
        `by`, `error` ("absolute error", "error rate" or "share of wrong labels"), `mean` over all clips of known
        group, `unknown` (clips of unknown group), `small` (groups of fewer than `FEWEST` clips), and `groups`: the
        worst first, each with `group`, `clips`, `error`, `difference` from the mean of the other clips, `low` and
        `high`, its 95 % percentile interval. With one group there is nothing to compare: `difference` is NaN.
    """
    groups, errors = clip_groups(run, by), clip_errors(run)
    ids = sorted(errors.keys() & groups.keys())
    values, names = np.array([errors[clip] for clip in ids]), np.array([groups[clip] for clip in ids])
    draws = np.random.default_rng(seed).integers(0, len(ids), (resamples, len(ids)))
    rows, small = [], {}
    for name in np.unique(names):
        own = names == name
        if own.sum() < FEWEST:
            small[str(name)] = int(own.sum())
            continue
        low, high = interval(_difference(values[draws], own[draws]))
        rows.append({
            "group": str(name), "clips": int(own.sum()), "error": float(values[own].mean()),
            "difference": float(_difference(values[None], own[None])[0]), "low": low, "high": high,
        })  # fmt: skip
    task = run.task
    kind = "absolute error" if task.is_regression else "share of wrong labels" if task.is_multi_label else "error rate"
    return {
        "by": by, "error": kind, "mean": float(values.mean()), "unknown": len(errors) - len(ids), "small": small,
        "groups": sorted(rows, key=lambda row: -row["error"]),
    }  # fmt: skip


def _difference(values: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return the mean of the values inside minus outside a group, of each row (draws, n); NaN where one is empty."""
    inside, outside = own.sum(axis=1), (~own).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (values * own).sum(axis=1) / inside - (values * ~own).sum(axis=1) / outside


def groups_text(found: dict) -> str:
    """Return the result of `group_errors` as Markdown."""
    header = [found["by"], "clips", found["error"], "difference from the others", f"{LEVEL:.0%} interval"]
    rows = [
        [row["group"], row["clips"], *map(format_number, (row["error"], row["difference"])), _range(row)]
        for row in found["groups"]
    ]
    text = markdown_table(header, rows) if rows else "No group has enough clips.\n"
    text += f"\nMean over all: {format_number(found['mean'])}. Intervals: bootstrap over clips, percentiles; several "
    text += "clips of one speaker are not independent, so read them as lower bounds of the uncertainty.\n"
    if found["small"]:
        clips = sum(found["small"].values())
        text += f"{len(found['small'])} groups of fewer than {FEWEST} clips ({clips} clips) are not shown.\n"
    if found["unknown"]:
        text += f"The group of {found['unknown']} clips is unknown.\n"
    return text


def _range(row: dict) -> str:
    """Return the interval as text, marked where 0 lies outside; empty where there is nothing to compare."""
    if np.isnan(row["low"]):
        return ""
    return f"{row['low']:+.3f} to {row['high']:+.3f}" + (" *" if row["low"] > 0 or row["high"] < 0 else "")


__all__ = ["FILE", "GROUPINGS", "clip_groups", "group_errors", "groups_text", "write_clip_facts"]
