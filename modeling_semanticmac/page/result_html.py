"""A prediction as HTML: in words, as bars by modality, with what was missing and a legend. Everything is escaped.

Colours say the meaning: `negative`, `positive` and `neutral` are classes of the style (page.css).
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from ..affect_results import certainty_words, result_words
from ..configuration_semanticmac import SPOKEN, VIEWS
from ..neighbor_bank import neighbor_rows

SHARE = ".0%"  # how probabilities are written
MEANINGS = {
    "all together": "the prediction: the model reads everything that the clip has.",
    "what all share": "what the model finds in all modalities alike, without what only one of them says.",
    "words alone, voice alone, picture alone": "what the model reads in this modality. Where they differ, one "
    "contradicts another, as in irony.",
}


class Frame(NamedTuple):
    """A picture of the clip.

    Args:
        seconds: its time in the clip.
        address: a data address of the picture.
    """

    seconds: float
    address: str


def result_html(result: Mapping, frames: Sequence[Frame]) -> str:
    """Return one prediction, the modalities used, what was missing, and the frames, as HTML."""
    views = {"multimodal": result, **result["subtasks"]}
    parts = [headline_html(result["task"], in_words(result), tone(result))]
    if "level" in result:
        kind, truth = ("interval", "score") if "interval" in result else ("set", "class")
        found, level = spaced(certainty_words(result)), f"{result['level']:.0%}"
        words = f"The {kind} {found} is made to hold the true {truth} of {level} of clips."
        parts.append(f'<p class="smac-quiet">{escape(words)}</p>')
    parts += [
        bars(views),
        used_html(result),
        notes_html(remarks(result)),
        neighbors_html(result),
        legend_html(result),
        frames_html(frames, "Frames that were used"),
    ]
    return block("".join(parts))


def block(content: str) -> str:
    """Return HTML with the style's class; screen readers say it when it changes."""
    return f'<section class="smac" aria-live="polite">{content}</section>'


def note_html(words: str) -> str:
    """Return a quiet sentence as HTML."""
    return block(f'<p class="smac-note">{escape(words)}</p>')


def error_html(words: str) -> str:
    """Return a sentence about what cannot be done as HTML."""
    return block(f'<p class="smac-error" role="alert">{escape(words[:1].upper() + words[1:])}</p>')


def headline_html(task: str, words: str, meaning: str) -> str:
    """Return the name of the task, and the prediction in large letters in the colour of its meaning."""
    name = spaced(task).capitalize()
    return (
        f'<p class="smac-task">{escape(name)}</p>'
        f'<p class="smac-headline {meaning}">{escape(words)}</p>'
    )  # fmt: skip


def in_words(view: Mapping) -> str:
    """Return a prediction in words, with the names of classes as people write them."""
    return spaced(result_words(view, SHARE))


def spaced(name: str) -> str:
    """Return the name of a class or a task, or names, as people write them."""
    return name.replace("_", " ")


def tone(view: Mapping) -> str:
    """Return the class of a prediction's colour: that of its polarity, or of a class."""
    if view.get("abstained"):
        return "neutral"
    return view["polarity"] if "polarity" in view else "chosen"


def bars(views: Mapping[str, Mapping]) -> str:
    """Return the bars of a prediction and of its views: scores, or the probabilities of classes."""
    return score_bars(views) if "range" in views["multimodal"] else class_bars(views)


def score_bars(views: Mapping[str, Mapping]) -> str:
    """Return bars from the middle of the scale, one a view, with the ends of the scale below."""
    low, high = views["multimodal"]["range"]
    rows = []
    for name in [name for name in VIEWS if name in views]:
        score = views[name]["score"]
        left, right = sorted((0.5, (min(max(score, low), high) - low) / (high - low)))
        band = interval_band(views[name], low, high)
        bar = f'<i class="smac-bar {tone(views[name])}" style="left:{left:.1%};width:{right - left:.1%}"></i>'
        rows.append(bar_row(VIEWS[name], band + '<i class="smac-middle"></i>' + bar, f"{score:+.2f}", name))
    middle = (low + high) / 2
    ends = (f"{low:g}", "negative", f"{middle:g}", "positive", f"{high:g}")
    scale = "".join(f'<span class="{"smac-wide" if word.isalpha() else ""}">{word}</span>' for word in ends)
    scale = f'<div class="smac-scale" aria-hidden="true"><span class="smac-ends">{scale}</span></div>'
    return f'<div class="smac-bars">{"".join(rows)}{scale}</div>'


def interval_band(view: Mapping, low: float, high: float) -> str:
    """Return the interval of a calibrated score as a band behind the bar; empty without one."""
    if "interval" not in view:
        return ""
    left, right = ((end - low) / (high - low) for end in view["interval"])
    return f'<i class="smac-band" style="left:{left:.1%};width:{right - left:.1%}"></i>'


def class_bars(views: Mapping[str, Mapping]) -> str:
    """Return a bar for each class with its probability, the highest first, and what each view says alone in words."""
    whole = views["multimodal"]
    chosen = set(whole.get("labels", [whole.get("label")]))
    rows = []
    for name, share in sorted(whole["probabilities"].items(), key=lambda item: -item[1]):
        meaning = "chosen" if name in chosen else "neutral"
        bar = f'<i class="smac-bar {meaning}" style="left:0%;width:{share:.1%}"></i>'
        rows.append(bar_row(spaced(name), bar, f"{share:{SHARE}}", name))
    alone = "".join(
        f"<li><span>{escape(VIEWS[name])}</span> <b>{escape(in_words(views[name]))}</b></li>"
        for name in VIEWS
        if name in views and name != "multimodal"
    )
    return f'<div class="smac-bars">{"".join(rows)}</div>' + (f'<ul class="smac-alone">{alone}</ul>' if alone else "")


def bar_row(name: str, bar: str, number: str, key: str) -> str:
    """Return a row of a bar chart: a name, the bar on its track, a number."""
    whole = " smac-whole" if key == "multimodal" else ""
    return (
        f'<div class="smac-row{whole}" data-view="{escape(key, quote=True)}">'
        f'<span class="smac-name">{escape(name)}</span><span class="smac-track">{bar}</span>'
        f'<b class="smac-number">{escape(number)}</b></div>'
    )


def used_html(result: Mapping) -> str:
    """Return the modalities from which a result was made."""
    used = ", ".join(SPOKEN[name] for name in result["modalities"])
    return f'<p class="smac-quiet">Made from: {escape(used)}.</p>'


def remarks(result: Mapping) -> list[str]:
    """Return what was missing or odd, a phrase each."""
    media = result["media"] or {"missing": {}, "notes": []}
    found = [f"{SPOKEN[name]}: {reason}" for name, reason in media["missing"].items()]
    if "text" not in result["modalities"] and "text" not in media["missing"]:
        found.append("words: none were given")
    return [*found, *media["notes"], *result.get("notes", ())]


def notes_html(notes: Iterable[str]) -> str:
    """Return notes as one paragraph; empty without any."""
    words = "; ".join(map(escape, notes))
    return f'<p class="smac-note">Missing or odd: {words}.</p>' if words else ""


def neighbors_html(result: Mapping) -> str:
    """Return the training clips that are nearest in each modality as a table; empty where the result names none."""
    rows = "".join(
        f"<tr><td>{escape(modality)}</td><td>{escape(clip)}</td><td>{escape(spaced(label))}</td><td>{distance:.2f}</td></tr>"
        for modality, clip, label, distance in neighbor_rows(result)
    )
    if not rows:
        return ""
    names = "".join(f'<th scope="col">{name}</th>' for name in ("in", "training clip", "label", "distance"))
    return (
        '<p class="smac-title">Training clips that are most alike</p><div class="smac-neighbors"><table><thead><tr>'
        f"{names}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def legend_html(result: Mapping, more: Mapping[str, str] | None = None) -> str:
    """Return what the names and the scale mean, folded away.

    Args:
        result: of the clip, or of a segment.
        more: meanings by name, of what else is shown.
    """
    meanings = {**MEANINGS, **(more or {})}
    if "range" in result:
        low, high = result["range"]
        meanings["the scale"] = (
            f"from {low:g}, the most negative, to {high:g}, the most positive, as people rated the clips that the "
            "model learned from. Bars begin in the middle; blue is negative, orange positive, grey neither."
        )
        if "interval" in result:
            meanings["the grey band"] = "where the score is likely to lie, by the validation clips."
    else:
        meanings["the percentages"] = "how probable the model holds each class, not how strong it is."
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(words)}</dd>" for name, words in meanings.items())
    return f'<details class="smac-legend"><summary>What does this mean?</summary><dl>{rows}</dl></details>'


def frames_html(frames: Sequence[Frame], title: str) -> str:
    """Return the frames with their times as a grid below a title; empty without any."""
    if not frames:
        return ""
    cells = "".join(
        f'<figure><img src="{frame.address}" alt="frame at {frame.seconds:.1f} s" loading="lazy">'
        f"<figcaption>{frame.seconds:.1f} s</figcaption></figure>"
        for frame in frames
    )
    return f'<p class="smac-title">{title}</p><div class="smac-frames">{cells}</div>'


__all__ = [
    "Frame",
    "bars",
    "block",
    "error_html",
    "frames_html",
    "headline_html",
    "in_words",
    "legend_html",
    "note_html",
    "notes_html",
    "remarks",
    "result_html",
    "spaced",
    "tone",
    "used_html",
]
