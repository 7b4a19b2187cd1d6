"""Draw the prediction of one clip as bars: the whole, and the views of the sub-tasks."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from ..configuration_semanticmac import VIEWS
from ..files.picture_style import COLORS, CYCLE, new_figure, picture_style


def result_bars(result: Mapping) -> Figure:
    """Draw horizontal bars of one result: a row for the prediction, on top, and for each sub-task that answered.

    Scores are drawn from the middle of their range, probabilities from 0; of two classes the second, positive one is
    drawn; more classes have one panel each.

    Args:
        result: as `SemanticMACPipeline` returns it.

    Raises:
        ValueError: the clip could not be used, so there is no prediction.
    """
    if "error" in result:
        raise ValueError(f"there is no prediction to draw: {result['error']}")
    views = {"multimodal": result, **result["subtasks"]}
    rows = [name for name in VIEWS if name in views]
    panels = _panels(result)
    columns = 3 if len(panels) in (5, 6, 9) else min(len(panels), 4)
    lines = -(-len(panels) // columns)
    with picture_style():
        figure = new_figure(max(5.5, 1.6 + 2.2 * columns), lines * (0.75 + 0.36 * len(rows)))
        axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
        for axis, (title, read, limits, start) in zip(axes.flat, panels):
            _bars(axis, rows, [read(views[name]) for name in rows], limits, start)
            axis.set_title(title)
        if len(panels) > 1:
            figure.supxlabel("probability", fontsize=10)
        for axis in axes.flat[len(panels) :]:
            axis.set_axis_off()
    return figure


def _panels(result: Mapping) -> list[tuple]:
    """Return (title, function that reads a view, limits, start of the bars) of each panel."""
    if "range" in result:
        low, high = result["range"]
        title = f"{result['task']} score, {low:g} to {high:g}"
        return [(title, lambda view: view["score"], (low, high), (low + high) / 2)]
    names = list(result["probabilities"])
    if "probability" in result:
        return [(f"probability of {names[1]}", lambda view: view["probability"], (0, 1), 0)]
    return [(name, lambda view, name=name: view["probabilities"][name], (0, 1), 0) for name in names]


def _bars(axis, rows: list[str], values: list[float], limits: tuple[float, float], start: float) -> None:
    places = list(range(len(rows)))[::-1]
    low, high = limits
    # A bar beyond the range ends at its edge; the number beside it is not clipped.
    shown = [min(max(value, low), high) for value in values]
    colors = [COLORS[name] for name in rows]
    axis.barh(places, [value - start for value in shown], left=start, color=colors, height=0.62)
    axis.axvline(start, color=CYCLE[-1], linewidth=0.8)
    room = 0.16 * (high - low)
    for place, value, end in zip(places, values, shown):
        left = end < start
        number = f"{value:+.2f}" if low < 0 else f"{value:.2f}"
        side = {"ha": "right" if left else "left", "va": "center", "fontsize": 9}
        axis.annotate(number, (end, place), (-4 if left else 4, 0), textcoords="offset points", **side)
    axis.set_xlim(low - room if low < start else low, high + room)
    axis.set_xticks([low, start, high] if low < start else [low, high])
    axis.set_yticks(places, [VIEWS[name] for name in rows])
    axis.grid(axis="y", visible=False)


__all__ = ["VIEWS", "result_bars"]
