"""Tables of reports in Markdown."""

import math
import statistics
from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence, rows: Iterable[Sequence]) -> str:
    """A table with a line break at its end; `|` inside a cell is escaped, a line break becomes a blank."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(_cell(value) for value in line) + " |\n" for line in lines)


def _cell(value) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def figure_text(value, digits: int = 4) -> str:
    """A number with fixed digits after the point, `undefined` for NaN, anything else as it is (None: empty)."""
    if value is None:
        return ""
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        return str(value)
    return "undefined" if math.isnan(value) else f"{value:.{digits}f}"


def mean_and_deviation(values: Sequence[float], digits: int = 3) -> str:
    """`mean +- standard deviation` (n - 1) over seeds; the value alone where there is one."""
    if len(values) == 1:
        return figure_text(float(values[0]), digits)
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    return f"{figure_text(mean, digits)} +- {figure_text(deviation, digits)}"


__all__ = ["figure_text", "markdown_table", "mean_and_deviation"]
