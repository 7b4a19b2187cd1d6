"""The figures of the benchmarks: one table with ratios at the end of a run, the tables and pictures of
docs/performance.md.

A table of the page stands between `<!-- figures: NAME -->` and `<!-- end of NAME -->`, with its picture and a line that
says when and on what it was measured. A run replaces those for which it has rows, and leaves the others.
"""

import datetime
import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch

from modeling_semanticmac import __version__
from modeling_semanticmac.files.markdown_tables import markdown_table
from tests.helpers.project import PROJECT

PAGE = PROJECT / "docs/performance.md"
PICTURES = PROJECT / "docs/pictures"


@dataclass
class Recorder:
    """What the benchmarks of a run measured.

    Args:
        tables: name -> rows, each column -> text.
        ratios: what was measured, its figure, that of the other way, and how many times as fast it is.
        curves: name -> title, axes, and lines by label.
    """

    tables: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    ratios: list[tuple[str, str, str, str]] = field(default_factory=list)
    curves: dict[str, dict] = field(default_factory=dict)

    def row(self, table: str, **cells) -> None:
        """Add a row to a table of the page; the names of the cells are the header, with _ for spaces."""
        self.tables.setdefault(table, []).append({name.replace("_", " "): str(cell) for name, cell in cells.items()})

    def ratio(self, what: str, own: str, other: str, ratio: float) -> None:
        """Add a line to the table at the end of the run."""
        self.ratios.append((what, own, other, f"{ratio:.2f}"))

    def curve(self, name: str, title: str, x: str, y: str, lines: dict[str, dict[float, float]]) -> None:
        """Draw a picture of the table of this name: the lines by label, each x -> y, on logarithmic axes."""
        self.curves[name] = {"title": title, "x": x, "y": y, "lines": lines}

    def summary(self) -> str:
        """Return the table of all ratios."""
        rows = [dict(zip(("what", "here", "compared with", "ratio"), row)) for row in self.ratios]
        return markdown_table(list(rows[0]), [list(row.values()) for row in rows]) if rows else ""

    def write(self, page: Path = PAGE, pictures: Path = PICTURES) -> None:
        """Replace the tables of the page for which there are rows, and draw the curves."""
        text = page.read_text(encoding="utf-8")
        for name, rows in {**self.tables, "machine": [machine()]}.items():
            if name == "machine" and not self.tables:
                continue
            table = markdown_table(list(rows[0]), [list(row.values()) for row in rows]).strip()
            if name in self.curves:
                table += f"\n\n![{self.curves[name]['title']}](pictures/{name}.png)"
            if name != "machine":
                table += f"\n\n{stamp()}"
            marks = rf"(<!-- figures: {re.escape(name)} -->\n).*?(<!-- end of {re.escape(name)} -->)"
            text, found = re.subn(marks, lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL)
            if not found:
                raise ValueError(f"{page} has no place for the table {name!r}: <!-- figures: {name} -->.")
        for name, curve in self.curves.items():
            draw(curve, pictures / f"{name}.png")
        page.write_text(text, encoding="utf-8")


def stamp() -> str:
    """Return the line under a table that says when, by which version and on what it was measured."""
    found = machine()
    return (
        f"*Measured on {found['date']} by version {__version__}, {found['processor']}, {found['cores']} cores, torch "
        f"{torch.__version__.partition('+')[0]}.*"
    )


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    flags = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512_f", "avx2") if capabilities.get(flag)]
    load = os.getloadavg()[0]
    return {
        "date": f"{datetime.date.today():%d %B %Y}",
        "processor": str(capabilities.get("cpu_name") or platform.machine()),
        "cores": str(len(os.sched_getaffinity(0))),
        "instructions": ", ".join(flags[:2]),
        "CPython, torch": f"{platform.python_version()}, {torch.__version__}",
        "load at the end": f"{load:.1f}",
    }


def draw(curve: dict, path: Path) -> None:
    """Draw lines on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    for label, points in curve["lines"].items():
        axes.plot(list(points), list(points.values()), marker="o", label=label)
    axes.set(xscale="log", yscale="log", title=curve["title"], xlabel=curve["x"], ylabel=curve["y"])
    axes.grid(alpha=0.3)
    if len(curve["lines"]) > 1:
        axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


RECORDER = Recorder()

__all__ = ["RECORDER", "Recorder"]
