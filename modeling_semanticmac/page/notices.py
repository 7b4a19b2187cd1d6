"""What the page says of itself: what it predicts, its limits, and responsible use."""

import re
from html import escape
from pathlib import Path

from .analysis import Limits

DOCUMENT = "docs/responsible_use.md"  # in the project's folder; an installed package does not hold it
NOTICE = (
    "A model's estimate, not a fact about a person: do not decide about people by it. Tell people who are recorded "
    "that a model rates them (EU AI Act, Article 50(3)); at work and in education it is prohibited (Article 5(1)(f))."
)


def introduction(task: str, limits: Limits) -> str:
    """Return the head of the page as Markdown."""
    return (
        "# What does this clip express?\nDrop a video or sound file of a person speaking, or record one. The model "
        f"predicts **{escape(task)}** from words, voice and picture, and says what each of them says alone. Up to "
        f"{limits.seconds:.0f} s and {limits.megabytes} MB. Nothing is kept."
    )


def notice_html() -> str:
    """Return the line on responsible use, with a link to the text below it."""
    return (
        f'<div class="smac"><p class="smac-quiet">{escape(NOTICE)} '
        f'<a href="#responsible-use">Responsible use</a></p></div>'
    )


def responsible_use() -> str:
    """Return the page on responsible use as Markdown, without links to other pages; of an installed package the notice
    and the name of that page.
    """
    path = Path(__file__).parents[2] / DOCUMENT
    if not path.is_file():
        return f"{NOTICE}\n\nThe whole text is in `{DOCUMENT}` of the project."
    text = path.read_text(encoding="utf-8").partition("\n")[2]  # without its title
    return re.sub(r"\[([^\]]*)\]\((?!https?://)[^)]*\)", r"\1", text).replace("\n## ", "\n### ")


__all__ = ["NOTICE", "introduction", "notice_html", "responsible_use"]
