"""The section of the test predictions by class, label or score, with a picture."""

from collections import Counter
from dataclasses import replace

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ..files.markdown_tables import format_number, markdown_table
from ..metrics import n_acc, s_acc
from ..runs.folder import RunFolder
from ..runs.record import prediction_arrays
from .pictures import confusion_picture, label_picture, score_picture
from .section import PICTURES, Section, picture_link


def predictions_section(run: RunFolder) -> Section | None:
    """Return where the test predictions are right and wrong; None where none were made."""
    rows, lacking = covered_clips(run)
    if not rows:
        return Section("predictions", "Predictions", f"{lacking}\n", {"lacking": lacking}) if lacking else None
    predictions, labels = prediction_arrays(run.task, rows)
    make = _scores if run.task.is_regression else _several_labels if run.task.is_multi_label else _classes
    section = make(run, predictions, labels)
    if not lacking:
        return section
    return replace(section, text=f"**{lacking}**\n\n{section.text}", data={**section.data, "lacking": lacking})


def covered_clips(run: RunFolder) -> tuple[list[dict[str, str]], str]:
    """Return the whole rows of the test predictions, and a sentence on the clips that they do not cover.

    The ids that the run recorded say which test clips it predicted; a last row that was cut off is left out. The
    sentence is empty where each clip has exactly one row, or where no predictions were made.
    """
    rows, path = run.predictions, run.path / "predictions_test.csv"
    if not path.is_file():
        return [], ""
    cut = [row for row in rows if None in row.values()]
    if rows and not cut and not path.read_bytes().endswith(b"\n"):
        cut = rows[-1:]
    rows = [row for row in rows if row not in cut]
    ids = Counter(row["id"] for row in rows)
    used = run.json("splits.json").get("test")
    expected = set(ids if used is None else used)
    faults = {
        f"misses {len(expected - ids.keys()):,} of the {len(expected):,} test clips of the run": expected - ids.keys(),
        f"holds {len(ids.keys() - expected):,} clips that the run did not predict": ids.keys() - expected,
        f"holds {sum(n > 1 for n in ids.values()):,} clips more than once": [n for n in ids.values() if n > 1],
        "ends within a row": cut,
    }
    found = [words for words, clips in faults.items() if clips]
    if not found:
        return rows, ""
    what = f"This section shows the {len(rows):,} whole rows of the file, not the run's test split."
    return rows, f"The file of test predictions {' and '.join(found)}. {what} Run it with --do_predict again."


def _cell(value: int | float) -> str:
    """Return a count or a figure as text."""
    return str(value) if isinstance(value, int) else format_number(value)


def _scores(run: RunFolder, predictions: np.ndarray, labels: np.ndarray) -> Section:
    """Return the errors of scores (n,) by bins of labels."""
    low, high = run.task.label_range
    step = _bin_width(low, high)
    bins = np.rint(labels / step) * step + 0.0
    rows = []
    for middle in np.unique(bins):
        found, truth = predictions[bins == middle], labels[bins == middle]
        rows.append({
            "label": round(float(middle), 6), "clips": len(found), "mean_prediction": float(found.mean()),
            "bias": float((found - truth).mean()), "mean_absolute_error": float(np.abs(found - truth).mean()),
        })  # fmt: skip
    score_picture(run.path / PICTURES / "scores", labels, predictions, (low, high), bins)
    header = [
        f"label, to the nearest {step:g}",
        "clips",
        "mean prediction",
        "mean of prediction - label",
        "mean absolute error",
    ]
    text = picture_link("scores", "Predicted against true scores of the test clips") + "\n"
    text += markdown_table(header, [[f"{row['label']:g}", *map(_cell, list(row.values())[1:])] for row in rows])
    return Section("predictions", "Predictions by label", text, {"step": step, "by_label": rows})


def _bin_width(low: float, high: float) -> float:
    """Return the width of the bins of labels.

    It is 1 on scales of up to 10 points, 0.2 on [-1, 1] (the eleven levels of CH-SIMS' raters), else a round step that
    gives 5 to 10 bins.
    """
    if 2 < high - low <= 10:
        return 1.0
    power = 10.0 ** np.floor(np.log10((high - low) / 5))
    return float(max(step for step in (power, 2 * power, 5 * power) if (high - low) / step >= 5))


def _classes(run: RunFolder, predictions: np.ndarray, labels: np.ndarray) -> Section:
    """Return precision, recall and F1 of each class, and the confusion matrix, from class ids (n,)."""
    names = run.task.label_names
    ids = range(len(names))
    precision, recall, f1, support = precision_recall_fscore_support(labels, predictions, labels=ids, zero_division=0)
    matrix = confusion_matrix(labels, predictions, labels=ids)
    by_class = {
        name: {
            "clips": int(support[i]), "predicted": int(matrix[:, i].sum()), "precision": float(precision[i]),
            "recall": float(recall[i]), "f1": float(f1[i]),
        }
        for i, name in enumerate(names)
    }  # fmt: skip
    confusion_picture(run.path / PICTURES / "confusion", matrix, names)
    header = ["class", "clips", "predicted", "precision", "recall", "F1"]
    text = markdown_table(header, [[name, *map(_cell, row.values())] for name, row in by_class.items()])
    text += "\n" + picture_link("confusion", "Confusion matrix: labels in rows, predictions in columns")
    data = {"by_class": by_class, "confusion": {"labels": list(names), "rows_are_labels": matrix.tolist()}}
    return Section("predictions", "Predictions by class", text, data)


def _several_labels(run: RunFolder, scores: np.ndarray, labels: np.ndarray) -> Section:
    """Return the figures of each label from sigmoid scores (n, C), at the thresholds tuned on validation or at 0.5."""
    names = run.task.label_names
    tuned = run.thresholds
    thresholds = np.full(len(names), 0.5) if tuned is None else tuned
    decisions = scores > thresholds
    precision, recall, f1, support = precision_recall_fscore_support(labels, decisions, average=None, zero_division=0)
    by_class = {
        name: {
            "clips": int(support[i]), "predicted": int(decisions[:, i].sum()), "threshold": float(thresholds[i]),
            "precision": float(precision[i]), "recall": float(recall[i]), "f1": float(f1[i]),
            "n_acc": n_acc(decisions[:, i].astype(int), labels[:, i]),
            "s_acc": s_acc(decisions[:, i].astype(int), labels[:, i]),
        }
        for i, name in enumerate(names)
    }  # fmt: skip
    columns = {name: [row[name] for row in by_class.values()] for name in ("precision", "recall", "n_acc")}
    columns["n-Acc"] = columns.pop("n_acc")
    title = f"{len(labels)} test clips, thresholds {'0.5' if tuned is None else 'tuned on validation'}"
    label_picture(run.path / PICTURES / "labels", names, columns, title)
    header = ["label", "clips", "predicted", "threshold", "precision", "recall", "F1", "n-Acc", "s-Acc"]
    text = f"A clip can have any number of labels. {title[0].upper() + title[1:]}.\n\n"
    text += markdown_table(header, [[name, *map(_cell, row.values())] for name, row in by_class.items()])
    text += "\n" + picture_link("labels", "Precision, recall and n-Acc of each label")
    return Section("predictions", "Predictions by label", text, {"by_class": by_class})


__all__ = ["predictions_section"]
