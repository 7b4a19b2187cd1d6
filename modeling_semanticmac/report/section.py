"""A section of the report of a run, and the folder of its pictures."""

from dataclasses import dataclass, field

PICTURES = "report"  # in the run's folder


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Args:
        name: key in `report.json`.
        title: heading.
        text: Markdown below the heading.
        data: the same content as plain JSON types.
    """

    name: str
    title: str
    text: str
    data: dict = field(default_factory=dict)


def picture_link(name: str, description: str) -> str:
    """Return the Markdown that shows a picture of the report's folder, relative to `report.md`."""
    return f"![{description}]({PICTURES}/{name}.png)\n"


__all__ = ["PICTURES", "Section", "picture_link"]
