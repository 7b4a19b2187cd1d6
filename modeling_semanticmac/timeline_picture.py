"""A timeline as a picture: predictions over time, what each modality says, and where modalities contradict each other."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MultipleLocator

from .configuration_semanticmac import TaskSpecification
from .picture_style import COLORS, CYCLE, SEQUENTIAL, new_figure, picture_style
from .result_picture import VIEWS
from .semantic_interaction import MODALITIES
from .timeline_rows import SPOKEN, SURE

WIDTH = 10.0  # inches
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)  # seconds
MOST_TICKS = 13
UNUSABLE = "#BBBBBB"
CONTRADICTING = "#444444"


def timeline_picture(rows: Iterable[Mapping], task: TaskSpecification, duration: float) -> Figure:
    """Panels above each other on one time axis: the prediction, each modality's own, and the pairs of modalities that contradict each other.

    Scores are drawn as bars from the middle of their range, cut off at its ends; the probabilities of classes as colours, a row a class, and what a
    modality says as the colour of its class. Segments without a prediction are grey.

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
        legend = draw(figure, axes, usable, task, views)
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


def _draw_scores(figure, axes, rows: list[Mapping], task: TaskSpecification, views: Sequence[str]) -> list[Patch]:
    low, high = task.label_range
    middle = (low + high) / 2
    for axis, name in zip(axes, ("multimodal", *views)):
        shown = [row for row in rows if name == "multimodal" or name in row["subtasks"]]
        scores = [(row if name == "multimodal" else row["subtasks"][name])["score"] for row in shown]
        spans = [_span(row) for row in shown]
        axis.bar(
            [start for start, _ in spans], [min(max(score, low), high) - middle for score in scores],
            [width for _, width in spans], middle, align="edge", color=COLORS[name], linewidth=0,
        )  # fmt: skip
        axis.axhline(middle, color=CYCLE[-1], linewidth=0.6)
        axis.set_ylim(low, high)
        axis.set_yticks([low, middle, high])
        axis.set_ylabel("score")
        title = f"{task.name}, {VIEWS[name]}" if name == "multimodal" else VIEWS[name]
        axis.set_title(title, loc="left", fontsize=10, color=COLORS[name])
    figure.align_ylabels(axes[: 1 + len(views)])
    return []


def _draw_classes(figure, axes, rows: list[Mapping], task: TaskSpecification, views: Sequence[str]) -> list[Patch]:
    colors = {name: CYCLE[index % len(CYCLE)] for index, name in enumerate(task.label_names)}
    scale = colormaps[SEQUENTIAL]
    spans = [_span(row) for row in rows]
    for place, name in enumerate(reversed(task.label_names)):
        shades = [scale(row["probabilities"][name]) for row in rows]
        axes[0].broken_barh(spans, (place - 0.42, 0.84), facecolors=shades, linewidth=0)
    _rows(axes[0], list(reversed(task.label_names)))
    axes[0].set_title(f"{task.name}, {VIEWS['multimodal']}", loc="left", fontsize=10)
    figure.colorbar(ScalarMappable(cmap=scale), ax=axes[0], label="probability", ticks=[0, 0.5, 1], pad=0.01)
    for place, view in enumerate(reversed(views)):
        for row in rows:
            labels = _labels(row["subtasks"].get(view, {}))
            for stripe, label in enumerate(labels):
                height = 0.84 / len(labels)
                axes[1].broken_barh([_span(row)], (place - 0.42 + stripe * height, height), color=colors[label], linewidth=0)  # fmt: skip
    if views:
        _rows(axes[1], [SPOKEN[view] for view in reversed(views)])
        axes[1].set_title("what each says alone", loc="left", fontsize=10)
    return [Patch(color=color, label=name) for name, color in colors.items()]


def _labels(view: Mapping) -> list[str]:
    return view.get("labels", [view["label"]] if "label" in view else [])


def _draw_contradictions(axis, rows: list[Mapping], pairs: list[tuple[str, str]], task: TaskSpecification) -> None:
    for place, pair in enumerate(reversed(pairs)):
        spans = [_span(row) for row in rows if list(pair) in row["contradictions"]]
        axis.broken_barh(spans, (place - 0.42, 0.84), color=CONTRADICTING, linewidth=0)
    _rows(axis, [f"{SPOKEN[one]} / {SPOKEN[two]}" for one, two in reversed(pairs)])
    rule = "one positive, the other negative"
    if not task.is_regression:
        rule = "no label in common" if task.is_multi_label else f"different classes, each at least {SURE:.0%}"
    axis.set_title(f"contradictions: {rule}", loc="left", fontsize=10)


def _rows(axis, names: list[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.grid(axis="y", visible=False)


def _time_axis(axis, duration: float) -> None:
    step = next((step for step in TICKS if duration / step <= MOST_TICKS), TICKS[-1])
    axis.set_xlim(0, duration)
    axis.xaxis.set_major_locator(MultipleLocator(step))
    with_hours = duration >= 3600
    axis.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _clock(seconds, with_hours)))
    axis.set_xlabel(f"time ({'h:' if with_hours else ''}min:s)")


def _clock(seconds: float, with_hours: bool) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if with_hours else f"{minutes}:{seconds:02d}"


__all__ = ["timeline_picture"]
