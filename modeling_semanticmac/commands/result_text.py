"""Format a result of the pipeline as a small table for the terminal."""

from collections.abc import Mapping

from ..affect_results import certainty_words, result_words
from ..configuration_semanticmac import VIEWS
from ..neighbor_bank import neighbor_rows

BAR = 30  # characters


def result_text(result: Mapping) -> str:
    """Return the result as lines: file, modalities and prediction, then a bar for the whole and for each sub-task.

    A bar shows the score, or the probability of the second of two classes. With more classes or several labels each has
    a bar, and the predictions of the sub-tasks are text.

    Args:
        result: as `SemanticMACPipeline` returns it.
    """
    if "error" in result:
        return f"{result['media']}\n  cannot be used: {result['error']}"
    lines = [_source(result), f"  {result['task']}: {result_words(result)}"]
    if "level" in result and not result.get("abstained"):
        kind = "interval" if "interval" in result else "set"
        lines.append(f"  {100 * result['level']:g} % {kind}: {certainty_words(result)}")
    views = {"multimodal": result, **result["subtasks"]}
    if "range" in result:
        low, high = result["range"]
        rows = [
            (VIEWS[name], f"{view['score']:+.2f}", score_bar(view["score"], low, high, (low + high) / 2))
            for name, view in views.items()
        ]
    elif "probability" in result:
        positive = list(result["probabilities"])[1]
        rows = [
            (VIEWS[name], f"{view['probability']:.2f}", score_bar(view["probability"])) for name, view in views.items()
        ]
        lines.append(f"  probability of {positive}:")
    else:
        rows = [(name, f"{share:.2f}", score_bar(share)) for name, share in result["probabilities"].items()]
        rows += [(VIEWS[name], "", result_words(view)) for name, view in result["subtasks"].items()]
    width = max(len(name) for name, _, _ in rows)
    lines += [f"    {name:<{width}}  {number:>5}  {bar}".rstrip() for name, number, bar in rows]
    notes = [f"  note: {note}" for note in result.get("notes", ())]
    return "\n".join(lines + _neighbors(result) + _remarks(result["media"]) + notes)


def seconds_text(seconds: float) -> str:
    """Return a time as text, in milliseconds below one second."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _source(result: Mapping) -> str:
    media, used = result["media"], ", ".join(result["modalities"])
    if media is None:
        return f"words alone  ({used})"
    return f"{media['path']}  {media['start']:.2f}-{media['end']:.2f} s  ({used})"


def score_bar(value: float, low: float = 0.0, high: float = 1.0, start: float = 0.0) -> str:
    """Return a bar from `start` to the value, clipped to the range, between the ends of the scale."""
    place = [round((min(max(at, low), high) - low) / (high - low) * BAR) for at in (start, value)]
    left, right = sorted(place)
    cells = " " * left + "#" * (right - left) + " " * (BAR - right)
    return f"|{cells[: place[0]]}:{cells[place[0] :]}|" if start > low else f"|{cells}|"


def _neighbors(result: Mapping) -> list[str]:
    """Return the nearest training clips as lines, one a clip; the modality stands before its first."""
    rows, lines = neighbor_rows(result), []
    width = max((len(clip) for _, clip, _, _ in rows), default=0)
    for number, (modality, clip, label, distance) in enumerate(rows):
        name = modality if number == 0 or rows[number - 1][0] != modality else ""
        lines.append(f"    {name:<8}{clip:<{width}}  {label}, distance {distance:.3f}")
    return ["  nearest training clips:", *lines] if lines else []


def _remarks(media: Mapping | None) -> list[str]:
    if media is None:
        return []
    missing = [f"  without {modality}: {reason}" for modality, reason in media["missing"].items()]
    return missing + [f"  note: {note}" for note in media["notes"]]


__all__ = ["result_text", "score_bar", "seconds_text"]
