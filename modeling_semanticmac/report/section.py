"""A section of a run's report, and the folder of its pictures."""

from dataclasses import dataclass, field

PICTURES = "report"  # in the run's folder


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Args:
        name: its key in `report.json`.
        title: its heading.
        text: Markdown below the heading.
        data: the same as numbers and words.
    """

    name: str
    title: str
    text: str
    data: dict = field(default_factory=dict)


def picture_link(name: str, words: str) -> str:
    """Markdown of a picture of the report's folder, relative to `report.md`."""
    return f"![{words}]({PICTURES}/{name}.png)\n"


__all__ = ["PICTURES", "Section", "picture_link"]
