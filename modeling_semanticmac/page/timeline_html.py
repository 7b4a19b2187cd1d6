"""The timeline of a long clip as HTML: a strip over time, a list of segments, files to download."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from ..configuration_semanticmac import TaskSpecification
from ..timeline.rows import contradiction_text
from .result_html import Frame, block, frames_html, headline_html, in_words, legend_html, notes_html, spaced, tone

WIDTH, HEIGHT = 1000, 120  # units of the strip's drawing
MARKS = {
    "the bars over time": "one for each segment: its score from the middle, or the probability of what is predicted.",
    "the marks below them": "segments in which modalities contradict each other.",
}
LEAST = 1.5  # units; narrower segments would not be seen


def timeline_html(
    rows: Sequence[Mapping],
    task: TaskSpecification,
    duration: float,
    frames: Sequence[Frame],
    notes: Sequence[str],
    links: Mapping[str, str],
) -> str:
    """Return the timeline of a clip as HTML.

    Args:
        rows: of `timeline.rows.make_row`; at least one has a prediction.
        task: of the model.
        duration: seconds of the clip.
        frames: some frames of it.
        notes: what was missing or odd of the whole.
        links: data addresses of files, by their name.
    """
    usable = [row for row in rows if "error" not in row]
    if len(usable) < len(rows):
        notes = [*notes, f"segments: {len(rows) - len(usable)} of {len(rows)} cannot be used"]
    words, meaning = summary_words(usable)
    contradicting = sum(bool(row["contradictions"]) for row in usable)
    told = f"{len(usable)} segments, {contradicting} with modalities that contradict each other."
    saved = ", ".join(
        f'<a href="{address}" download="{escape(name, quote=True)}">{escape(name)}</a>'
        for name, address in links.items()
    )
    return block(
        headline_html(task.name, words, meaning)
        + f'<p class="smac-quiet">{escape(told)}</p>'
        + strip(rows, duration)
        + segment_list(rows)
        + f'<p class="smac-quiet">Save: {saved}</p>'
        + notes_html(notes)
        + legend_html(usable[0], MARKS)
        + frames_html(frames, "Frames of the clip")
    )


def summary_words(rows: Sequence[Mapping]) -> tuple[str, str]:
    """Return the whole in words, and the class of its colour."""
    if "range" in rows[0]:
        scores = [row["score"] for row in rows]
        return f"{statistics.fmean(scores):+.2f} on average, from {min(scores):+.2f} to {max(scores):+.2f}", "plain"
    labels = Counter(label for row in rows for label in ([row["label"]] if "label" in row else row["labels"]))
    words = ", ".join(f"{spaced(label)} in {count}" for label, count in labels.most_common(3)) or "none of the labels"
    return words, "plain"


def strip(rows: Sequence[Mapping], duration: float) -> str:
    """Return a drawing of the segments over time: scores from the middle, or the probability of the predicted class."""
    shapes = []
    for row in rows:
        left = WIDTH * row["start"] / duration
        width = max(WIDTH * (row["end"] - row["start"]) / duration, LEAST)
        top, height, meaning = _bar(row)
        title = escape(f"{clock(row['start'])} {said(row)}")
        shapes.append(
            f'<rect class="{meaning}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f"<title>{title}</title></rect>"
        )
        if row.get("contradictions"):
            shapes.append(
                f'<rect class="smac-against" x="{left:.1f}" y="{HEIGHT + 4}" width="{width:.1f}" height="8"></rect>'
            )
    if any("range" in row for row in rows):
        shapes.append(f'<rect class="smac-axis" x="0" y="{HEIGHT / 2 - 0.5}" width="{WIDTH}" height="1"></rect>')
    label = "Predictions over time; the mark below a segment says that modalities contradict each other in it"
    return (
        f'<svg class="smac-strip" viewBox="0 0 {WIDTH} {HEIGHT + 12}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">{"".join(shapes)}</svg><p class="smac-times" aria-hidden="true"><span>0:00</span>'
        f"<span>{clock(duration / 2)}</span><span>{clock(duration)}</span></p>"
    )


def _bar(row: Mapping) -> tuple[float, float, str]:
    """Return top, height and class of a segment's bar."""
    if "error" in row:
        return 0.0, HEIGHT, "smac-unusable"
    if "range" in row:
        low, high = row["range"]
        share = (min(max(row["score"], low), high) - low) / (high - low)
        top, bottom = sorted((HEIGHT / 2, HEIGHT * (1 - share)))
        return top, max(bottom - top, 1.0), tone(row)
    share = row["score"] if "label" in row else max((row["probabilities"][name] for name in row["labels"]), default=0.0)
    return HEIGHT * (1 - share), HEIGHT * share, "chosen"


def segment_list(rows: Sequence[Mapping]) -> str:
    """Return the segments as a list: time, prediction, words, contradictions."""
    items = []
    for row in rows:
        meaning = "neutral" if "error" in row else tone(row)
        parts = [f"<time>{clock(row['start'])}</time>", f'<b class="{meaning}">{escape(said(row))}</b>']
        parts.append(f"<span>{escape(row.get('text') or '')}</span>")
        if against := contradiction_text(row):
            parts.append(f"<em>{escape(against)}</em>")
        items.append(f"<li>{''.join(parts)}</li>")
    return f'<ol class="smac-segments" tabindex="0" aria-label="Segments">{"".join(items)}</ol>'


def said(row: Mapping) -> str:
    """Return the prediction of a row in words."""
    return "no prediction" if "error" in row else in_words(row)


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


__all__ = ["timeline_html"]
