"""The layout of MMSA (thuiar) for MOSI, MOSEI and CH-SIMS: one `label.csv` and `Raw/<video_id>/<clip_id>.mp4`."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .corpus import make_clip
from .split_list import split_name

# Columns are read by name: their order differs between corpora. A file without a header has this order.
COLUMNS = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode")
UNIMODAL = {"label_text": "label_T", "label_audio": "label_A", "label_vision": "label_V"}
SPREADSHEET_DAMAGE = ("#NAME?", "#VALUE!", "#REF!")


@dataclass(frozen=True)
class LabelRow:
    """A row of `label.csv`.

    Ids are text; scores of single modalities are None where they are empty, and so is the split of a row without one.
    """

    video: str
    clip: str
    text: str
    split: str | None
    label: float
    unimodal: dict[str, float | None]

    @property
    def id(self) -> str:
        """Return `<video_id>_<clip_id>`, which cannot be split again: either part may hold underscores."""
        return f"{self.video}_{self.clip}"


def decode_csv(data: bytes) -> str:
    """Decode UTF-8, or GB18030, which Chinese spreadsheets write."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("gb18030")


def read_label_csv(
    path: Path, label_range: tuple[float, float], pad: Callable[[str, str], str] | None = None
) -> list[LabelRow]:
    """Read a `label.csv` with or without a header.

    Args:
        label_range: lowest and highest score.
        pad: returns the clip id for (video_id, clip_id), for ids whose leading zeros a spreadsheet has removed.

    Raises:
        ValueError: a column is missing, a row has too few or too many cells, a spreadsheet has damaged an id, or a
            label or split is invalid.
    """
    rows = [row for row in csv.reader(io.StringIO(decode_csv(path.read_bytes()), newline="")) if any(row)]
    if not rows:
        raise ValueError(f"{path} is empty; expected the columns {', '.join(COLUMNS)}.")
    has_header = rows[0][0].strip() == "video_id"
    header = [name.strip() for name in rows[0]] if has_header else list(COLUMNS)
    needed = {"video_id", "clip_id", "text", "label", "mode"}
    if not needed <= set(header) or len(rows[0]) < len(header) - 1:
        absent = ", ".join(sorted(needed - set(header))) or "columns"
        raise ValueError(
            f"{path} has no {absent}; its first row is {rows[0]}. Expected the columns {', '.join(COLUMNS)}, "
            "with or without a header."
            + (
                " The unsupervised part of CH-SIMS v2 has no labels and cannot be trained on."
                if "mode" not in header
                else ""
            )
        )
    body = enumerate(rows[has_header:], start=1 + has_header)
    found = []
    for number, row in body:
        cells = dict(zip(header, row))
        if not needed <= cells.keys() or any(row[len(header) :]):
            raise ValueError(
                f"{path}, row {number} has {len(row)} cells, {row[:4]} first; expected {', '.join(header)}. "
                'Text that holds a comma stands in quotes: "...".'
            )
        found.append(_label_row(path, number, cells, label_range, pad))
    return found


def _label_row(path: Path, number: int, cells: dict[str, str], label_range: tuple[float, float], pad) -> LabelRow:
    place = f"{path}, row {number}"
    video, clip = cells["video_id"].strip(), cells["clip_id"].strip()
    if not video or not clip or video in SPREADSHEET_DAMAGE or clip in SPREADSHEET_DAMAGE:
        raise ValueError(
            f"{place}: video_id {video!r} and clip_id {clip!r}; a spreadsheet has damaged them. Get the file "
            "again and do not open it in a spreadsheet."
        )
    split = split_name(cells["mode"])
    if split is None:
        raise ValueError(f"{place}: mode is {cells['mode']!r}; expected train, valid or test.")
    label = score(cells["label"], place, "label", label_range)
    if label is None:
        raise ValueError(f"{place}: there is no label; the unsupervised part of a corpus cannot be trained on.")
    unimodal = {ours: score(cells.get(theirs, ""), place, theirs, label_range) for ours, theirs in UNIMODAL.items()}
    return LabelRow(video, pad(video, clip) if pad else clip, " ".join(cells["text"].split()), split, label, unimodal)


def score(cell: str, place: str, column: str, label_range: tuple[float, float]) -> float | None:
    """Return the number in a cell; None for an empty cell.

    Raises:
        ValueError: the cell is not a number within the range.
    """
    if not cell or not cell.strip():
        return None
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not label_range[0] <= value <= label_range[1]:
        raise ValueError(
            f"{place}: {column} is {cell!r}; expected a score from {label_range[0]:g} to {label_range[1]:g}."
        )
    return value


def raw_media(folder: Path, rows: Iterable[LabelRow]) -> dict[str, Path]:
    """Return the media file by clip id; `folder` holds a folder for each video.

    Files that no row names have ids too.
    """
    found = {(video, stem): path for video, stem, path in _files(folder)}
    media = {}
    for row in rows:
        path = found.pop((row.video, row.clip), None)
        if path is not None:
            media[row.id] = path
    return media | {f"{video}_{stem}": path for (video, stem), path in found.items()}


def _files(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield (video, name without ending, path) of each media file in the folders of `folder`, without the `._` files of
    macOS.
    """
    for video in os.scandir(folder) if folder.is_dir() else ():
        if video.is_dir() and not video.name.startswith("."):
            for file in os.scandir(video.path):
                stem, dot, suffix = file.name.rpartition(".")
                if dot and suffix.lower() in ("mp4", "avi", "mkv") and not file.name.startswith("._"):
                    yield video.name, stem, Path(file.path)


def mmsa_clips(rows: Iterable[LabelRow], split: str, media: dict[str, Path]) -> Iterator[dict]:
    """Yield the clips of a split, with scores as labels."""
    for row in rows:
        if row.split == split:
            yield make_clip(row.id, row.label, row.text, media.get(row.id), video_id=row.video, **row.unimodal)


__all__ = ["COLUMNS", "LabelRow", "decode_csv", "mmsa_clips", "raw_media", "read_label_csv", "score"]
