"""The style of the package's pictures, and writing them: PNG and SVG, with their numbers as CSV.

Figures are made without pyplot: no global state, no display, safe in threads.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib import font_manager, rc_context
from matplotlib.figure import Figure

from .atomic_files import write_csv, write_whole

# Okabe and Ito's palette can be told apart with every common kind of colour blindness. Each colour also has a marker
# and a dash.
COLORS = {"text": "#0072B2", "audio": "#D55E00", "vision": "#009E73", "shared": "#CC79A7", "multimodal": "#000000"}
MARKERS = {"text": "o", "audio": "s", "vision": "^", "shared": "D", "multimodal": "X"}
DASHES = {"text": "-", "audio": "--", "vision": "-.", "shared": ":", "multimodal": "-"}
CYCLE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")  # classes, in order
SIGNED = "RdBu_r"  # scores below and above zero
SEQUENTIAL = "cividis"  # amounts

STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "svg.hashsalt": "semanticmac",  # the same picture twice is the same file twice
}
# The first has Latin letters, the others Chinese, Japanese and Korean: a letter is taken from the first installed font
# that has it.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "SimHei", "Arial Unicode MS")


def new_figure(width: float = 7.0, height: float = 4.0) -> Figure:
    """Return an empty figure, sizes in inches; add axes with `subplots()` inside `with picture_style():`."""
    return Figure(figsize=(width, height), layout="constrained")


def picture_style():
    """Return a context in which axes get the package's style."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    # A list of families is searched for each letter; `font.sans-serif` would be searched once, for all letters.
    return rc_context({**STYLE, "font.family": [name for name in FONTS if name in installed]})


def save_picture(
    figure: Figure, stem: Path, header: Sequence[str] | None = None, rows: Iterable[Sequence] = ()
) -> Path:
    """Write `stem.png`, `stem.svg` and, where a header is given, `stem.csv` with the numbers that are drawn.

    The figure is laid out once, for both files, and keeps this layout.

    Returns:
        The path of the PNG.
    """
    stem = Path(stem)
    with picture_style():
        layout = figure.get_layout_engine()
        if layout is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")  # otherwise each file would lay it out again
        for kind in ("svg", "png"):
            metadata = {"Date": None} if kind == "svg" else None
            write_whole(
                stem.with_name(f"{stem.name}.{kind}"),
                lambda path, kind=kind, metadata=metadata: figure.savefig(path, format=kind, metadata=metadata),
            )
    if header is not None:
        write_csv(stem.with_name(f"{stem.name}.csv"), header, rows)
    return stem.with_name(f"{stem.name}.png")


__all__ = [
    "COLORS",
    "CYCLE",
    "DASHES",
    "MARKERS",
    "SEQUENTIAL",
    "SIGNED",
    "new_figure",
    "picture_style",
    "save_picture",
]
