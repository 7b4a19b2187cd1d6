"""The pictures of a benchmark: the first metric of every row, and the same metric against what a run costs."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from ..files.picture_style import CYCLE, new_figure, picture_style, save_picture
from ..metrics import LOWER_IS_BETTER
from .results import Figure, Results

NEAR = 5  # points between a point and its name
# Where the name of a point can stand: offset in points and alignment. The first that covers nothing is taken.
PLACES = tuple(
    (dx, dy, across, along)
    for distance in (NEAR, 12, 20, 28)
    for dx, dy, across, along in (
        (distance, 0, "left", "center"), (-distance, 0, "right", "center"), (0, distance, "center", "bottom"),
        (0, -distance, "center", "top"), (distance, distance, "left", "bottom"), (-distance, -distance, "right", "top"),
        (distance, -distance, "left", "top"), (-distance, distance, "right", "bottom"),
    )
)  # fmt: skip
AREAS = (20.0, 220.0)  # of the points, in square points: from the fewest to the most trained parameters


def save_row_picture(results: Results, stem: Path) -> None:
    """Draw the first metric of every row on test: a point a setting, a bar of one deviation."""
    metric = results.metrics[0]
    rows = list(dict.fromkeys(cell.row.name for cell in results.cells.values()))
    figure = new_figure(7.0, 1.2 + 0.4 * len(rows))
    drawn = []
    with picture_style():
        axes = figure.subplots()
        for place, setting in enumerate(results.settings):
            points: list[tuple[float, Figure]] = []
            for cell in results.of_setting(setting):
                found = cell.figures("test").get(metric)
                if found is not None:
                    height = rows.index(cell.row.name) + 0.12 * (place - (len(results.settings) - 1) / 2)
                    points.append((height, found))
                    spread = found.over_folds if found.over_folds is not None else found.over_seeds
                    drawn.append([cell.row.name, setting, metric, found.mean, spread])
            if points:
                spreads = [p.over_folds if p.over_folds is not None else (p.over_seeds or 0.0) for _, p in points]
                axes.errorbar(
                    [p.mean for _, p in points], [height for height, _ in points], xerr=spreads, fmt="o",
                    color=CYCLE[place % len(CYCLE)], label=setting or None, capsize=2,
                )  # fmt: skip
        axes.set_yticks(range(len(rows)), rows)
        axes.invert_yaxis()
        axes.set_xlabel(_metric_label(metric))
        if any(results.settings) and drawn:
            figure.legend(loc="outside right upper")
    save_picture(figure, stem, ["row", "setting", "metric", "mean", "deviation"], drawn)


def save_cost_picture(results: Results, stem: Path) -> None:
    """Draw the first metric on test against the time a run takes, a panel a setting.

    A point is a row that trains and all of whose runs are finished; its area grows with the trained parameters. The
    line joins the rows that no cheaper row reaches. Without two such rows in a setting nothing is written, and an
    earlier picture is removed.
    """
    metric = results.metrics[0]
    panels = {setting: rows for setting in results.settings if len(rows := _costs(results, setting, metric)) > 1}
    if not panels:
        for kind in ("png", "svg", "csv"):
            stem.with_name(f"{stem.name}.{kind}").unlink(missing_ok=True)  # of rows that have been changed since
        return
    figure = new_figure(8.0, 5.0 * len(panels))
    most = max(parameters for rows in panels.values() for *_, parameters in rows)
    with picture_style():
        for axes, (setting, rows) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels.items()):
            names, seconds, values, parameters = zip(*rows)
            low, high = AREAS
            areas = [low + (high - low) * count / most for count in parameters]
            axes.scatter(seconds, values, s=areas, color=CYCLE[0], alpha=0.7, linewidths=0, zorder=3)
            front = best_at_each_cost(seconds, values, metric.endswith(LOWER_IS_BETTER))
            axes.plot([seconds[i] for i in front], [values[i] for i in front], color=CYCLE[5], linewidth=1, zorder=2)
            axes.set_xscale("log")
            axes.margins(x=0.12, y=0.08)
            axes.set_xlabel(f"seconds a run (area: trained parameters, the largest {most:,})")
            axes.set_ylabel(_metric_label(metric))
            axes.set_title(setting)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # names are placed in pixels, which the layout decides
        for axes, rows in zip(figure.axes, panels.values()):
            _name_points(axes, canvas.get_renderer(), [row[:3] for row in rows])
    header = ["setting", "row", "seconds", metric, "trained_parameters"]
    save_picture(figure, stem, header, [[setting, *row] for setting, rows in panels.items() for row in rows])


def best_at_each_cost(seconds: Iterable[float], values: Iterable[float], lower_is_better: bool) -> list[int]:
    """Return the places of the points that no point of the same or a lower cost equals or beats, the cheapest first."""
    sign = -1 if lower_is_better else 1
    front: list[int] = []
    best = -float("inf")
    for place, (_, value) in sorted(enumerate(zip(seconds, values)), key=lambda row: (row[1][0], -sign * row[1][1])):
        if sign * value > best:
            best = sign * value
            front.append(place)
    return front


def _costs(results: Results, setting: str, metric: str) -> list[tuple[str, float, float, int]]:
    """Return name, seconds, test value and trained parameters of each row that trains and is finished."""
    rows = []
    for cell in results.of_setting(setting):
        found, costs = cell.figures("test").get(metric), cell.costs
        seconds, trained = costs["seconds"], costs["trained_parameters"]
        if cell.is_complete and found is not None and not math.isnan(found.mean) and seconds and trained:
            rows.append((cell.row.name, seconds, found.mean, int(trained)))
    return rows


def _name_points(axes: Axes, renderer: RendererBase, points: Sequence[tuple[str, float, float]]) -> None:
    """Write the name of each point beside it, where it covers no point and no other name, if there is such a place. A
    line leads to a name that does not touch its point.
    """
    pixels = axes.transData.transform([(x, y) for _, x, y in points])
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in pixels]
    for name, x, y in points:
        for place in PLACES:
            text = _name(axes, name, (x, y), *place)
            box = text.get_window_extent(renderer)
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if inside and not any(box.overlaps(other) for other in taken):
                break
            text.remove()
        else:
            box = _name(axes, name, (x, y), *PLACES[0]).get_window_extent(renderer)
        taken.append(box)


def _name(axes: Axes, name: str, point: tuple[float, float], dx: int, dy: int, across: str, along: str) -> Annotation:
    """Write one name, (dx, dy) in points from its point."""
    line = {"arrowstyle": "-", "linewidth": 0.4, "color": "grey", "shrinkA": 0, "shrinkB": 0}
    return axes.annotate(
        name, point, (dx, dy), textcoords="offset points", ha=across, va=along, fontsize=7, zorder=4,
        arrowprops=line if max(abs(dx), abs(dy)) > NEAR else None,
    )  # fmt: skip


def _metric_label(metric: str) -> str:
    return f"{metric} on test" + (", lower is better" if metric.endswith(LOWER_IS_BETTER) else "")


__all__ = ["best_at_each_cost", "save_cost_picture", "save_row_picture"]
