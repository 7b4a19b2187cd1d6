"""The pictures of the report of a run: scores, confusion matrix, several labels, training curves, pseudo labels.

Each function writes `stem.png`, `stem.svg` and `stem.csv` (the drawn numbers) and returns the path of the PNG file.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..configuration_semanticmac import HEAD_NAMES
from ..files.picture_style import COLORS, CYCLE, DASHES, MARKERS, SEQUENTIAL, new_figure, picture_style, save_picture

# Sub-task -> the modality whose colour it has, and its name in a legend.
SUBTASK_STYLES = {subtask: (name, f"{subtask}: {name}") for subtask, name in HEAD_NAMES.items()}
NUMBERED_CLASSES = 12  # a matrix of more classes is not larger, and has no counts in its cells
NAMED_CLASSES = 60  # of more classes only every second, third ... is named on an axis
LABEL_ROWS = 40  # a picture of more labels is not taller
LONGEST_NAME = 32  # letters of a class name on an axis


def score_picture(stem: Path, labels: np.ndarray, predictions: np.ndarray, label_range: Sequence[float], bins) -> Path:
    """Draw predicted against true scores, with the mean and deviation of the predictions in each bin of labels.

    Args:
        labels, predictions: (n,).
        label_range: lowest and highest score of the task.
        bins: (n,), the value that represents the bin of each label.
    """
    middles = np.unique(bins)
    means, deviations = (np.array([f(predictions[bins == middle]) for middle in middles]) for f in (np.mean, np.std))
    low, high = (f(f(values) for values in (labels, predictions, label_range)) for f in (min, max))
    margin = 0.03 * (high - low)
    with picture_style():
        figure = new_figure(4.8, 4.6)
        axes = figure.subplots()
        axes.plot([low, high], [low, high], color="0.6", linewidth=1, linestyle="--", label="perfect", zorder=1)
        dense = len(labels) > 500
        axes.scatter(
            labels, predictions, s=8 if dense else 18, alpha=0.2 if dense else 0.5, color=CYCLE[0], linewidths=0,
            label="one clip", rasterized=dense, zorder=2,
        )  # fmt: skip
        axes.errorbar(
            middles, means, deviations, color=CYCLE[5], marker="o", markersize=5, linewidth=1.2, capsize=3, zorder=3,
            label="mean and standard deviation by label",
        )  # fmt: skip
        axes.set(
            xlabel="label", ylabel="prediction", xlim=(low - margin, high + margin), ylim=(low - margin, high + margin),
            aspect="equal", title=f"Predicted against true score, {len(labels)} test clips",
        )  # fmt: skip
        axes.legend(loc="upper left")
    return save_picture(figure, stem, ["label", "prediction"], zip(labels.tolist(), predictions.tolist()))


def confusion_picture(stem: Path, matrix: np.ndarray, names: Sequence[str]) -> Path:
    """Draw a confusion matrix: colours are shares of a row, numbers are clips.

    Args:
        matrix: (C, C), labels in rows, predictions in columns.
        names: of the C classes.
    """
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    side = 2.6 + 0.62 * min(len(names), NUMBERED_CLASSES)
    rows = [f"{shortened(name)} ({total})" for name, total in zip(names, totals[:, 0])]
    with picture_style():
        figure = new_figure(side + 0.9, side)
        axes = figure.subplots()
        image = axes.imshow(shares, vmin=0, vmax=1, cmap=SEQUENTIAL)
        axes.grid(False)
        font, step = _tick_labels(len(names), NUMBERED_CLASSES)
        places = range(0, len(names), step)
        columns = [shortened(name) for name in names[::step]]
        axes.set_xticks(places, columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=font)
        axes.set_yticks(places, rows[::step], fontsize=font)
        axes.set(xlabel="prediction", ylabel="label (clips)", title=f"{matrix.sum()} test clips")
        if len(names) <= NUMBERED_CLASSES:
            for (row, column), count in np.ndenumerate(matrix):
                color = "black" if shares[row, column] > 0.55 else "white"
                axes.text(column, row, str(count), ha="center", va="center", color=color)
        figure.colorbar(image, ax=axes, label="share of the clips with that label", shrink=0.8)
    return save_picture(figure, stem, ["label", *names], [[name, *row] for name, row in zip(names, matrix.tolist())])


def shortened(name: str) -> str:
    """Return a name that fits on an axis."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _tick_labels(count: int, roomy: int) -> tuple[float, int]:
    """Return the font size and the step of the names of `count` classes on an axis with room for `roomy` names."""
    step = -(-count // NAMED_CLASSES)
    return max(5.0, 10.0 * min(1.0, 2 * roomy * step / count)), step


def label_picture(stem: Path, names: Sequence[str], columns: dict[str, Sequence[float]], title: str) -> Path:
    """Draw a row of points for each of several labels.

    Args:
        names: of the labels.
        columns: name of a figure -> its value in [0, 1] for each label.
        title: of the picture.
    """
    with picture_style():
        figure = new_figure(6.4, 1.8 + 0.35 * min(len(names), LABEL_ROWS))
        axes = figure.subplots()
        places = np.arange(len(names))
        for (name, values), color, marker in zip(columns.items(), CYCLE, MARKERS.values()):
            axes.plot(values, places, linestyle="none", marker=marker, color=color, markersize=8, alpha=0.8, label=name)
        font, step = _tick_labels(len(names), LABEL_ROWS)
        axes.set_yticks(places[::step], [shortened(name) for name in names[::step]], fontsize=font)
        axes.set(xlim=(-0.02, 1.02), xlabel="share", title=title)
        axes.invert_yaxis()
        figure.legend(loc="outside lower center", ncols=len(columns))
    return save_picture(figure, stem, ["label", *columns], zip(names, *columns.values()))


def _training_panels(history: Sequence[dict], metric: str) -> list[tuple[str, dict[str, tuple]]]:
    """Return the panels of which something was logged: title, and name in the log -> color, dash, marker and label."""
    subtasks = {
        f"loss_{s}": (COLORS[kind], DASHES[kind], MARKERS[kind], label) for s, (kind, label) in SUBTASK_STYLES.items()
    }
    validation = (CYCLE[1], "--", "s")
    panels = [
        (
            "Loss of sub-task M",
            {"loss_M": (*subtasks.pop("loss_M")[:3], "training"), "eval_loss": (*validation, "validation")},
        ),
        ("Training loss by sub-task", subtasks),
        (
            "Contrastive terms, training",
            {
                "loss_intra": (CYCLE[4], "-", "o", "within clips"),
                "loss_inter": (CYCLE[7], ":", "D", "between clips"),
            },
        ),
    ]  # fmt: skip
    logged = {name for row in history for name, value in row.items() if value != 0}  # 0: an unused modality
    shown = {name for _, lines in panels for name in lines}
    others = sorted(name for name in logged - shown if name.startswith("loss_"))
    styles = zip(itertools.cycle(CYCLE), itertools.cycle(("-", "--", ":")), itertools.cycle("osD^v"))
    terms = {name: (*style, name.removeprefix("loss_")) for name, style in zip(others, styles)}
    panels.append(("Further terms, training", terms))  # of a comparison system
    if metric != "loss":
        panels.append((f"Validation {metric}", {f"eval_{metric}": (*validation, metric)}))
    found = [(title, {name: style for name, style in lines.items() if name in logged}) for title, lines in panels]
    return [(title, lines) for title, lines in found if lines]


def training_picture(stem: Path, history: Sequence[dict], chosen_epoch: float | None, metric: str) -> Path | None:
    """Draw the logged losses of training and validation, the contrastive terms, and the validation metric.

    Args:
        history: rows of the Trainer's log.
        chosen_epoch: epoch of the checkpoint that was selected on validation; None where none was.
        metric: the validation metric that selects, as it is logged without `eval_`.

    Returns:
        The path; None where nothing was logged.
    """
    found = _training_panels(history, metric)
    if not found:
        return None
    with picture_style():
        rows = 2 if len(found) > 3 else 1
        columns = -(-len(found) // rows)
        figure = new_figure(2.9 * columns, 2.9 * rows)
        for axes, (title, lines) in zip(np.atleast_1d(figure.subplots(rows, columns)).flat, found):
            for name, (color, dash, marker, label) in lines.items():
                epochs, values = zip(*((row["epoch"], row[name]) for row in history if name in row))
                few = len(epochs) <= 30
                axes.plot(
                    epochs, values, color=color, linestyle=dash, marker=marker if few else None,
                    markersize=4, label=label,
                )  # fmt: skip
            if chosen_epoch is not None:
                once = "chosen" if title == found[0][0] else None
                axes.axvline(chosen_epoch, color="0.5", linewidth=1.5, linestyle=":", label=once, zorder=1)
            axes.set(title=title, xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(fontsize="small")
    names = ["epoch", *(name for _, lines in found for name in lines)]
    rows = [[row.get(name, "") for name in names] for row in history if row.keys() & set(names[1:])]
    return save_picture(figure, stem, names, rows)


def pseudo_label_picture(stem: Path, epochs: Sequence[int], made: Sequence[dict]) -> Path:
    """Draw how pseudo labels leave the ground truth: weight of the neighbours, movement, share that differs.

    Args:
        epochs: the epoch that learns from each generation of labels.
        made: `weight_<s>`, `movement_<s>` and `differs_<s>` of each generation.
    """
    panels = {
        "weight": "Weight of the neighbours",
        "movement": "Movement of the labels",
        "differs": "Share that differs",
    }
    subtasks = [subtask for subtask in "STAV" if f"weight_{subtask}" in made[-1]]
    with picture_style():
        figure = new_figure(9.2, 2.8)
        for axes, (name, title) in zip(figure.subplots(1, len(panels)), panels.items()):
            for subtask in subtasks:
                kind, label = SUBTASK_STYLES[subtask]
                values = [row.get(f"{name}_{subtask}", np.nan) for row in made]
                look = {"color": COLORS[kind], "linestyle": DASHES[kind], "marker": MARKERS[kind], "markersize": 4}
                axes.plot(epochs, values, label=label, **look)
            axes.set(title=title, xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_ylim(0, 1.05 if name == "weight" else None)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    names = [f"{name}_{subtask}" for name in panels for subtask in subtasks]
    return save_picture(
        figure, stem, ["epoch", *names], ([epoch, *(row.get(n, "") for n in names)] for epoch, row in zip(epochs, made))
    )


__all__ = ["confusion_picture", "label_picture", "pseudo_label_picture", "score_picture", "training_picture"]
