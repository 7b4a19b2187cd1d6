"""Pictures of the analyses of a trained model, drawn from the results of the other files."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ..configuration_semanticmac import SUBTASK_NAMES, TaskSpecification
from ..files.picture_style import COLORS, CYCLE, DASHES, MARKERS, SIGNED, new_figure, picture_style
from .embedding_space import EmbeddingView
from .label_curves import LabelCurves
from .semantic_balance import Balance

PAIRS = {
    "text + audio": (CYCLE[1], "--", "v"),
    "text + vision": (CYCLE[4], "-.", "P"),
    "audio + vision": (CYCLE[3], ":", "D"),
}
CLASS_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LEGEND_CLASSES = 24  # of more classes the legend names the first ones
AGREEMENT_TITLES = {
    "Pearson": "Pearson's correlation with the annotation",
    "F1": "F1 of negative and positive",
}
SHOWN_NEIGHBORS = 3  # the k that Kynkaanniemi et al. report


def _look(name: str) -> tuple[str, str, str]:
    """Return colour, dash and marker of a modality or a pair of modalities."""
    return PAIRS[name] if name in PAIRS else (COLORS[name], DASHES[name], MARKERS[name])


def draw_balance(found: Mapping[str, Balance], title: str) -> Figure:
    """Draw the curves of single modalities, those of pairs, and improved precision and recall over k."""
    figure = new_figure(10.0, 4.5)
    with picture_style():
        panels = figure.subplots(1, 3, sharex=True, sharey=True)
        figure.get_layout_engine().set(wspace=0.06)
        for name, balance in found.items():
            color, dash, marker = _look(name)
            panel = panels[1 if name in PAIRS else 0]
            panel.plot(balance.recall, balance.precision, dash, color=color, label=f"{name}: area {balance.area:.3f}")
            panels[2].plot(balance.improved_recall, balance.improved_precision, dash, color=color, alpha=0.6)
            place = int(np.flatnonzero(balance.neighbors == SHOWN_NEIGHBORS)[0])
            point = balance.improved_recall[place], balance.improved_precision[place]
            panels[2].plot(*point, marker, color=color, label=f"{name}, k = {SHOWN_NEIGHBORS}", clip_on=False)
        k = next(iter(found.values())).neighbors
        titles = ("One modality, by clusters", "Two modalities, by clusters", f"By k-th neighbour, k {k[0]} to {k[-1]}")
        for panel, heading in zip(panels, titles):
            panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="recall", title=heading, aspect="equal")
            columns = 2 if panel is panels[2] else 1
            panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns, columnspacing=1.0)
        panels[0].set_ylabel("precision")
        figure.suptitle(title)
    return figure


def draw_embedding_space(found: Mapping[str, EmbeddingView], task: TaskSpecification, title: str) -> Figure:
    """Draw a map for each kind of representation, coloured by score or class, and the legend in its own panel."""
    figure = new_figure(10.0, 7.2)
    with picture_style():
        panels = figure.subplots(2, 3).flatten()
        for panel, (name, view) in zip(panels, found.items()):
            scores = _scatter(panel, view, task)
            label = f"pseudo label {name[0].upper()}" if view.pseudo else "ground truth"
            panel.set_title(f"{name}, {label}\nsilhouette {view.silhouette:.3f}")
            panel.set(xticks=[], yticks=[])
        for panel in panels[len(found) :]:
            panel.set_axis_off()
        place = panels[-1]
        if task.is_regression:
            bar = figure.colorbar(scores, cax=place.inset_axes([0.3, 0.05, 0.1, 0.9]))
            bar.set_label(f"{task.label_names[0]} (pseudo label or ground truth)")
        else:
            place.legend(handles=_class_signs(task), loc="center", title="class (pseudo label or ground truth)")
        figure.suptitle(title)
    return figure


def _scatter(panel, view: EmbeddingView, task: TaskSpecification):
    """Draw the points of one map; return the points of scores, from which a colour bar is made."""
    x, y = view.points.T
    if task.is_regression:
        low, high = task.label_range
        # Extremes on top: points in the middle of the scale say least, and would hide them.
        order = np.argsort(np.abs(view.labels - task.middle))
        return panel.scatter(
            x[order], y[order], 14, view.labels[order], cmap=SIGNED, vmin=low, vmax=high,
            edgecolors="0.4", linewidths=0.3,
        )  # fmt: skip
    for number in range(-1, task.num_labels):
        of_class = view.labels == number
        color, marker = _class_look(number)
        panel.scatter(x[of_class], y[of_class], 18, color=color, marker=marker, linewidths=0.3, edgecolors="white")
    return None


def _class_look(number: int) -> tuple[str, str]:
    """Return the colour and marker of a class, different for the first 64; -1 is a clip without a class."""
    if number < 0:
        return "0.75", "."
    turns, place = divmod(number, len(CYCLE))
    return CYCLE[place], CLASS_MARKERS[(place + turns) % len(CLASS_MARKERS)]


def _legend_handles(handles: Sequence[Line2D]) -> list[Line2D]:
    """Return the handles that a legend has room for; of more classes the last entry counts the others."""
    if len(handles) <= LEGEND_CLASSES:
        return list(handles)
    others = Line2D([], [], linestyle="", label=f"{len(handles) - LEGEND_CLASSES} more classes")
    return [*handles[:LEGEND_CLASSES], others]


def _class_signs(task: TaskSpecification) -> list[Line2D]:
    """Return the handles of a legend of classes."""
    names = {number: name for number, name in enumerate(task.label_names)}
    if task.is_multi_label:
        names[-1] = "none"
    signs = []
    for number, name in names.items():
        color, marker = _class_look(number)
        signs.append(Line2D([], [], linestyle="", color=color, marker=marker, label=name))
    return _legend_handles(signs)


def draw_label_curves(curves: LabelCurves, task: TaskSpecification, title: str) -> Figure:
    """Draw a panel for each sub-task: quantiles of the labels over the epochs, or the share of clips in each class."""
    figure = new_figure(10.0, 3.8)
    with picture_style():
        panels = figure.subplots(1, 4, sharex=True, sharey=True)
        for panel, values, (subtask, name) in zip(panels, curves.values.swapaxes(0, 1), SUBTASK_NAMES.items()):
            if task.is_regression:
                _bands(panel, curves.epochs, values, COLORS[name])
            else:
                _class_shares(panel, curves, values)
            panel.set(title=f"{subtask}: {name}", xlabel="epoch")
            _mark_start(panel, curves)
        panels[0].set_ylabel("label" if task.is_regression else "share of clips")
        *classes, start = panels[0].get_legend_handles_labels()[0]
        handles = [*(_band_signs() if task.is_regression else _legend_handles(classes)), start]
        figure.legend(handles=handles, loc="outside lower center", ncols=5)
        figure.suptitle(title)
    return figure


def _bands(panel, epochs: np.ndarray, values: np.ndarray, color: str) -> None:
    """Draw the quantiles of scores as two bands and the median."""
    panel.fill_between(epochs, values[:, 0], values[:, 4], color=color, alpha=0.2, linewidth=0)
    panel.fill_between(epochs, values[:, 1], values[:, 3], color=color, alpha=0.35, linewidth=0)
    panel.plot(epochs, values[:, 2], color=color, marker=".")


def _band_signs() -> list:
    """Return the handles of a legend of the bands, in grey."""
    return [
        Patch(color="0.3", alpha=0.2, linewidth=0, label="5 % to 95 %"),
        Patch(color="0.3", alpha=0.5, linewidth=0, label="25 % to 75 %"),
        Line2D([], [], color="0.3", marker=".", label="median"),
    ]


def _class_shares(panel, curves: LabelCurves, values: np.ndarray) -> None:
    """Draw the share of clips in each class."""
    for number, name in enumerate(curves.names):
        color, marker = _class_look(number)
        panel.plot(curves.epochs, values[:, number], color=color, marker=marker, markersize=4, label=name)
    panel.set_ylim(0, None)


def _mark_start(panel, curves: LabelCurves) -> None:
    """Draw a line after the last epoch with the ground truth."""
    panel.axvline(curves.start_epoch + 0.5, color="0.4", linestyle=":", linewidth=1, label="label generation begins")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_agreement(curves: LabelCurves, title: str) -> Figure:
    """Draw the agreement of pseudo labels with unimodal annotations; dotted, that of the ground truth."""
    figure = new_figure(9.0, 4.2)
    with picture_style():
        panels = figure.subplots(1, len(curves.agreement))
        for panel, (measure, rows) in zip(panels, curves.agreement.items()):
            for subtask, values in rows.items():
                name = SUBTASK_NAMES[subtask]
                panel.plot(
                    curves.epochs,
                    values,
                    DASHES[name],
                    color=COLORS[name],
                    marker=MARKERS[name],
                    label=f"pseudo label {subtask}",
                )
                panel.axhline(
                    values[0], color=COLORS[name], linestyle=(0, (1, 3)), linewidth=1, label=f"ground truth, {name}"
                )
            panel.set(title=AGREEMENT_TITLES[measure], xlabel="epoch")
            _mark_start(panel, curves)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        figure.suptitle(title)
    return figure


__all__ = ["draw_agreement", "draw_balance", "draw_embedding_space", "draw_label_curves"]
