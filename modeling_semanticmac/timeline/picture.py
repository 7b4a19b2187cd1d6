"""A timeline as a picture: predictions over time, those of each modality, and contradictions between modalities."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MultipleLocator

from ..configuration_semanticmac import MODALITIES, SPOKEN, VIEWS, TaskSpecification
from ..files.picture_style import COLORS, CYCLE, SEQUENTIAL, new_figure, picture_style
from .rows import SURE

WIDTH = 10.0  # inches
ROUND_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)
MOST_TICKS, MOST_PARTS = 13, 60
MANY = 4  # segments per part; with so many their mean is drawn
UNUSABLE = "#BBBBBB"
CONTRADICTING = "#444444"
LANE = 0.84  # height of a lane, of a distance of 1


def timeline_picture(rows: Iterable[Mapping], task: TaskSpecification, duration: float) -> Figure:
    """Draw panels on one time axis: the prediction, that of each modality, and the contradictions between modalities.

    Scores are bars from the middle of their range, cut off at its ends, with a line of means if there are many of them.
    Probabilities of classes are colours, one row per class; the prediction of a modality has the colour of its class.
    Segments without a prediction are grey.

    Args:
        rows: of `timeline_rows.make_row`, all of one task.
        duration: seconds of the video.
    """
    rows = list(rows)
    usable = [row for row in rows if "error" not in row]
    views = [name for name in MODALITIES if any(name in row["subtasks"] for row in usable)]
    pairs = list(itertools.combinations(views, 2))
    draw, heights = (_draw_scores, _score_heights) if task.is_regression else (_draw_classes, _class_heights)
    heights = [*heights(task, views), *([0.35 + 0.2 * len(pairs)] if pairs else [])]
    with picture_style():
        figure = new_figure(WIDTH, sum(heights) + 1.0)
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        legend = draw(figure, axes, usable, task, views, duration)
        if pairs:
            _draw_contradictions(axes[-1], usable, pairs, task)
        failed = [_span(row) for row in rows if "error" in row]
        if failed:
            for axis in axes:
                axis.broken_barh(failed, (0, 1), transform=axis.get_xaxis_transform(), color=UNUSABLE, linewidth=0)
            legend.append(Patch(color=UNUSABLE, label="no prediction"))
        _time_axis(axes[-1], duration)
        for axis in axes:
            axis.set_axisbelow(True)
        if legend:
            figure.legend(handles=legend, loc="outside lower center", ncols=min(len(legend), 7))
    return figure


def _score_heights(task: TaskSpecification, views: Sequence[str]) -> list[float]:
    return [1.8, *[0.9] * len(views)]


def _class_heights(task: TaskSpecification, views: Sequence[str]) -> list[float]:
    return [0.5 + 0.28 * task.num_labels, *([0.4 + 0.3 * len(views)] if views else [])]


def _span(row: Mapping) -> tuple[float, float]:
    return row["start"], row["end"] - row["start"]


def _boxes(axis, boxes: list[tuple[float, float, float, float]], color) -> None:
    """Draw rectangles (left, bottom, width, height) as one collection; thousands of single ones are slow."""
    corners = [[(x, y), (x, y + height), (x + width, y + height), (x + width, y)] for x, y, width, height in boxes]
    axis.add_collection(PolyCollection(corners, facecolors=color, linewidth=0), autolim=False)


def _draw_scores(figure, axes, rows, task: TaskSpecification, views: Sequence[str], duration: float) -> list[Patch]:
    low, high = task.label_range
    middle = (low + high) / 2
    part = _step(duration, MOST_PARTS)
    has_means = len(rows) >= MANY * duration / part
    for axis, name in zip(axes, ("multimodal", *views)):
        shown = [(row, row if name == "multimodal" else row["subtasks"].get(name)) for row in rows]
        scores = [(*_span(row), min(max(view["score"], low), high)) for row, view in shown if view]
        color = to_rgba(COLORS[name], 0.35 if has_means else 1.0)
        _boxes(axis, [(start, middle, width, score - middle) for start, width, score in scores], color)
        if has_means:
            axis.plot(*_means(scores, part, duration), color=COLORS[name], linewidth=1.5)
        axis.axhline(middle, color=CYCLE[-1], linewidth=0.6)
        axis.set_ylim(low, high)
        axis.set_yticks([low, middle, high])
        axis.set_ylabel("score")
        title = f"{task.name}, {VIEWS[name]}" if name == "multimodal" else VIEWS[name]
        if has_means and name == "multimodal":
            title += f"; lines: means of {f'{part // 60} min' if part >= 60 else f'{part} s'}"
        axis.set_title(title, loc="left", fontsize=10, color=COLORS[name])
    figure.align_ylabels(axes[: 1 + len(views)])
    return []


def _means(scores: list[tuple[float, float, float]], part: float, duration: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the middles of equal parts of the time, and the mean score in each, weighted by length; NaN if empty."""
    starts, widths, values = np.array(scores).T
    edges = np.arange(0, duration + part, part)
    length = np.histogram(starts + widths / 2, edges, weights=widths)[0]
    total = np.histogram(starts + widths / 2, edges, weights=widths * values)[0]
    return edges[:-1] + part / 2, np.divide(total, length, out=np.full_like(total, np.nan), where=length > 0)


def _draw_classes(figure, axes, rows, task: TaskSpecification, views: Sequence[str], duration: float) -> list[Patch]:
    colors = {name: CYCLE[index % len(CYCLE)] for index, name in enumerate(task.label_names)}
    scale = colormaps[SEQUENTIAL]
    for place, name in enumerate(reversed(task.label_names)):
        _lane(axes[0], place, rows, [scale(row["probabilities"][name]) for row in rows])
    _name_lanes(axes[0], list(reversed(task.label_names)))
    axes[0].set_title(f"{task.name}, {VIEWS['multimodal']}", loc="left", fontsize=10)
    figure.colorbar(ScalarMappable(cmap=scale), ax=axes[0], label="probability", ticks=[0, 0.5, 1], pad=0.01)
    for place, view in enumerate(reversed(views)):
        boxes, shades = [], []
        for row in rows:
            labels = _labels(row["subtasks"].get(view, {}))
            start, width = _span(row)
            for stripe, label in enumerate(labels):  # several labels share the height of the lane
                height = LANE / len(labels)
                boxes.append((start, place - LANE / 2 + stripe * height, width, height))
                shades.append(colors[label])
        _boxes(axes[1], boxes, shades)
    if views:
        _name_lanes(axes[1], [SPOKEN[view] for view in reversed(views)])
        axes[1].set_title("what each says alone", loc="left", fontsize=10)
    return [Patch(color=color, label=name) for name, color in colors.items()]


def _labels(view: Mapping) -> list[str]:
    return view.get("labels", [view["label"]] if "label" in view else [])


def _draw_contradictions(axis, rows: list[Mapping], pairs: list[tuple[str, str]], task: TaskSpecification) -> None:
    for place, pair in enumerate(reversed(pairs)):
        _lane(axis, place, [row for row in rows if list(pair) in row["contradictions"]], CONTRADICTING)
    _name_lanes(axis, [f"{SPOKEN[one]} / {SPOKEN[two]}" for one, two in reversed(pairs)])
    rule = "one positive, the other negative"
    if not task.is_regression:
        rule = "no label in common" if task.is_multi_label else f"different classes, each at least {SURE:.0%}"
    axis.set_title(f"contradictions: {rule}", loc="left", fontsize=10)


def _lane(axis, place: int, rows: list[Mapping], color) -> None:
    spans = map(_span, rows)
    _boxes(axis, [(start, place - LANE / 2, width, LANE) for start, width in spans], color)


def _name_lanes(axis, names: list[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.grid(axis="y", visible=False)


def _time_axis(axis, duration: float) -> None:
    axis.set_xlim(0, duration)
    axis.xaxis.set_major_locator(MultipleLocator(_step(duration, MOST_TICKS)))
    in_hours = duration >= 3600
    axis.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _clock(seconds / 60 if in_hours else seconds)))
    axis.set_xlabel("time (h:min)" if in_hours else "time (min:s)")


def _step(duration: float, most: int) -> int:
    """Return the shortest round time, in seconds, of which at most `most` fill the duration."""
    return next((step for step in ROUND_SECONDS if duration / step <= most), ROUND_SECONDS[-1])


def _clock(smaller: float) -> str:
    return f"{round(smaller) // 60}:{round(smaller) % 60:02d}"


__all__ = ["timeline_picture"]
