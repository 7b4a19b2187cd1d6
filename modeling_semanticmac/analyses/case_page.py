"""Cases as one HTML page with media, pictures and tables; it needs no network, and text of the corpus is escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..configuration_semanticmac import MODALITIES, SPOKEN, SUBTASKS
from ..files.atomic_files import write_text
from ..neighbor_bank import label_words
from .case_media import read_case_media, write_case_copy
from .case_picture import ANNOTATED, output_name, save_case
from .case_study import HEAD_NAMES, HEADS, Case, value_text

FILES = "cases"  # folder beside the page
STYLE = """
body { font: 16px/1.45 system-ui, "Noto Sans CJK SC", sans-serif; color: #1a1a1a; }
body { max-width: 62rem; margin: 1.5rem auto; padding: 0 1rem; }
section { border-top: 2px solid #999; margin-top: 2.5rem; }
video, audio { display: block; margin: .5rem 0; max-width: 100%; }
img { max-width: 100%; height: auto; border: 1px solid #ddd; }
blockquote { margin: .5rem 0; padding: .2rem .9rem; border-left: 4px solid #0072B2; overflow-wrap: anywhere; }
.context { color: #555; border-left-color: #bbb; }
table { border-collapse: collapse; margin: .7rem 0; display: block; overflow-x: auto; }
th, td { border: 1px solid #ccc; padding: .2rem .6rem; text-align: right; }
th { background: #f2f2f2; } .words { text-align: left; } td.words { min-width: 16rem; overflow-wrap: anywhere; }
caption { text-align: left; font-weight: 600; padding: .2rem 0; }
nav li { overflow-wrap: anywhere; } .note { color: #555; }
"""
READING = """<p class="note">Heads: M multimodal, S shared by the modalities, T text, A audio, V vision. Attention shows
where in time the model looks, through all its layers; it does not show why. A contribution is a Shapley value: what a
modality adds to the prediction, averaged over the orders in which the three can be added. A neighbour moves a pseudo
label by exp(&minus;D&sup2;) (its ground truth &minus; the clip's) / K. The nearest training clips are those whose
representation of a modality is most like the clip's, for the finished model.</p>"""


def write_case_page(cases: Sequence[Case], folder: Path, sampling, title: str, introduction: str = "") -> Path:
    """Write `cases.html` and, in `cases/`, the files of each case.

    These are its picture (PNG, SVG, numbers as CSV) and a small copy of its clip (MP4). Cases of an earlier page in the
    same folder are removed.

    Args:
        cases: in the order of the page.
        sampling: see `case_picture.draw_case`.
        title, introduction: plain text.

    Returns:
        The path of the page.
    """
    sections = []
    for old in (folder / FILES).glob("case_*.*"):
        old.unlink()
    for number, case in enumerate(tqdm(cases, desc="Cases", unit=" cases"), start=1):
        stem = f"case_{number:02d}"  # ids may hold characters that file names cannot
        media = read_case_media(case.clip["media"])
        save_case(case, media, sampling, folder / FILES / stem)
        kind = write_case_copy(case.clip["media"], folder / FILES / f"{stem}.mp4")
        sections.append(_section(case, number, stem, kind, media.missing))
    links = "".join(
        f'<li><a href="#case_{number:02d}">{escape(case.clip["id"])}</a> {escape(case.reason)}</li>'
        for number, case in enumerate(cases, start=1)
    )
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body><h1>{escape(title)}</h1><p>{escape(introduction)}</p>{READING}<nav><ol>{links}</ol></nav>
{"".join(sections)}</body></html>
"""
    write_text(folder / "cases.html", page)
    return folder / "cases.html"


def _section(case: Case, number: int, stem: str, kind: str | None, missing: Sequence[str]) -> str:
    """Return the HTML of one case."""
    clip, player = case.clip, ""
    if kind:
        height = 240 if kind == "video" else 40
        player = f'<{kind} controls preload="metadata" height="{height}" src="{FILES}/{stem}.mp4"></{kind}>'
    notes = "".join(f'<p class="note">{escape(words[0].upper() + words[1:])}.</p>' for words in missing)
    context = "".join(f'<blockquote class="context">{escape(words)}</blockquote>' for words in clip["context"])
    words = f"<blockquote>{escape(clip['text'] or '(no words)')}</blockquote>"
    described = (
        f"Frames, sound and attention of {clip['id']}, labels, predictions and contributions, as in the tables below."
    )
    picture = f'<a href="{FILES}/{stem}.svg"><img src="{FILES}/{stem}.png" alt="{escape(described)}"></a>'
    tables = _values_table(case) + _contribution_table(case) + _nearest_table(case)
    tables += "".join(_neighbors_table(case, subtask) for subtask in SUBTASKS)
    heading = f"<h2>{number}. {escape(clip['id'])}</h2><p>{escape(case.reason)}</p>"
    return f'<section id="{stem}">{heading}{player}{notes}{context}{words}{picture}{tables}</section>\n'


def _table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[int] = (0,)) -> str:
    """Return an HTML table with escaped cells; the columns in `words` are aligned to the left."""

    def line(kind: str, cells: Sequence[str]) -> str:
        left = [' class="words"' if column in words else "" for column in range(len(cells))]
        return "<tr>" + "".join(f"<{kind}{to}>{escape(cell)}</{kind}>" for to, cell in zip(left, cells)) + "</tr>"

    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}{line('th', header)}{''.join(line('td', row) for row in rows)}</table>"


def _values_table(case: Case) -> str:
    """Return the table of ground truth, predictions and pseudo labels of the five heads, as in Table I."""
    task = case.task

    def row(name: str, values: dict[str, np.ndarray], thresholds: Mapping[str, Sequence[float]] = {}) -> list[str]:
        return [
            name,
            *(value_text(values[head], task, thresholds.get(head)) if head in values else "" for head in HEADS),
        ]

    tuned = {} if case.thresholds is None else {"M": case.thresholds}
    rows = [row("ground truth", {"M": case.truth}), row("prediction", case.predictions, tuned)]
    if case.pseudo_labels:
        pseudo = {head: found.label for head, found in case.pseudo_labels.items()}
        rows.append(row(f"pseudo label, epoch {case.epoch}", pseudo))
    annotated = {head: case.clip.get(column) for head, column in ANNOTATED.items()}
    if any(value is not None for value in annotated.values()):
        scores = [f"{annotated[head]:+.2f}" if annotated.get(head) is not None else "" for head in HEADS]
        rows.append(["annotated for the modality", *scores])
    return _table("Labels and predictions", ["", *(f"{head} {HEAD_NAMES[head]}" for head in HEADS)], rows)


def _contribution_table(case: Case) -> str:
    """Return the table of what each modality adds to the prediction."""
    found = case.contribution
    outputs = [case.shown] if not case.task.is_multi_label else range(case.task.num_labels)
    rows = [
        [
            case.task.label_names[c],
            *(f"{value:+.3f}" for value in (found.base[0, c], *found.shapley[0, :, c], found.prediction[0, c])),
        ]
        for c in outputs
    ]  # fmt: skip
    unit = output_name(case) if not case.task.is_multi_label else "probability of each label"
    return _table(f"Contributions ({unit})", ["", "base", *MODALITIES, "prediction"], rows)


def _nearest_table(case: Case) -> str:
    """Return the table of the training clips that are nearest in each modality; empty without a bank."""
    rows = [
        [SPOKEN[modality], other["id"], other["text"], label_words(other["label"]), f"{other['distance']:.3f}"]
        for modality, found in case.nearest.items()
        for other in found
    ]
    header = ["nearest in", "training clip", "text", "ground truth", "distance D"]
    return _table("Nearest training clips", header, rows, words=(0, 1, 2)) if rows else ""


def _neighbors_table(case: Case, subtask: str) -> str:
    """Return the table of the neighbours that moved the pseudo label of a sub-task, and by how much."""
    found = case.pseudo_labels.get(subtask)
    if found is None or not found.neighbors:
        return ""
    shown, task = case.shown, case.task
    rows = [
        [
            other.id, other.text, value_text(other.label, task), f"{other.distance:.3f}", f"{other.weight:.3f}",
            f"{other.move[shown]:+.3f}",
        ]
        for other in found.neighbors
    ]  # fmt: skip
    rows.append(["sum", "", "", "", "", f"{found.movement[shown]:+.3f}"])
    header = ["neighbour", "text", "ground truth", "distance D", "weight", "move"]
    caption = (
        f"Neighbours that moved the pseudo label of {subtask} ({HEAD_NAMES[subtask]}) in epoch {case.epoch}, "
        f"{output_name(case)}"
    )
    table = _table("", header, rows, words=(0, 1))
    return f"<details><summary>{escape(caption)}: {found.movement[shown]:+.3f} in all</summary>{table}</details>"


__all__ = ["write_case_page"]
