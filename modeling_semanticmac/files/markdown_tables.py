"""Markdown tables and the numbers in them."""

import math
import statistics
from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence, rows: Iterable[Sequence]) -> str:
    """Return a table that ends with a line break; `|` inside a cell is escaped, a line break becomes a blank."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(_cell(value) for value in line) + " |\n" for line in lines)


def _cell(value) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def format_number(value, digits: int = 4) -> str:
    """Return a number with fixed digits after the point, `undefined` for NaN, "" for None, and anything else as a
    string.
    """
    if value is None:
        return ""
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        return str(value)
    return "undefined" if math.isnan(value) else f"{value:.{digits}f}"


def mean_and_deviation(values: Sequence[float], digits: int = 3) -> str:
    """Return `mean +- standard deviation` (n - 1) over seeds; the value alone where there is one."""
    if len(values) == 1:
        return format_number(float(values[0]), digits)
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    return f"{format_number(mean, digits)} +- {format_number(deviation, digits)}"


__all__ = ["format_number", "markdown_table", "mean_and_deviation"]
