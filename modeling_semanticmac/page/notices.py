"""What the page says of itself: what it predicts, its limits, and responsible use."""

import re
from html import escape
from pathlib import Path

from ..configuration_semanticmac import AffectConfig
from ..hub.responsible_use import DOCUMENT, LAW, NOTICE, stated_use
from .analysis import Limits


def introduction(task: str, limits: Limits) -> str:
    """Return the head of the page as Markdown."""
    return (
        "# What does this clip express?\nDrop a video or sound file of a person speaking, or record one. The model "
        f"predicts **{escape(task)}** from words, voice and picture, and says what each of them says alone. Up to "
        f"{limits.seconds:.0f} s and {limits.megabytes} MB. Nothing is kept."
    )


def notice_html(config: AffectConfig) -> str:
    """Return what the model is meant for, where its author says so, and the line on responsible use, whose link leads
    to the text on this page.
    """
    use = stated_use(config)
    told = f'<p class="smac-quiet">{escape(use)}</p>' if use else ""
    notice = escape(NOTICE).replace(DOCUMENT, '<a href="#responsible-use">Responsible use</a>')
    notice = notice.replace(LAW, f'<a href="{LAW}" rel="noopener">AI Act</a>')
    return f'<div class="smac">{told}<p class="smac-quiet">{notice}</p></div>'


def responsible_use() -> str:
    """Return the page on responsible use as Markdown, without links to other pages; of an installed package, which does
    not hold it, the notice and the name of that page.
    """
    path = Path(__file__).parents[2] / DOCUMENT
    if not path.is_file():
        return f"{NOTICE}\n\nThe whole text is in `{DOCUMENT}` of the project."
    text = path.read_text(encoding="utf-8").partition("\n")[2]  # without its title
    return re.sub(r"\[([^\]]*)\]\((?!https?://)[^)]*\)", r"\1", text).replace("\n## ", "\n### ")


__all__ = ["introduction", "notice_html", "responsible_use"]
