"""The forms in which people save a table: which character parts the cells, which columns only look like columns, MMSA's
own header.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from .mmsa_layout import UNIMODAL

DELIMITERS = (",", ";", "\t")
MMSA_COLUMNS = ("video_id", "clip_id", "label", "mode")


def csv_records(text: str, known: Iterable[str]) -> tuple[list[list[str]], list[int], str]:
    """Split CSV text into records.

    A first line `sep=;`, which spreadsheets write and read, names the delimiter. Otherwise it is the one of comma,
    semicolon and tab that finds the most known names in the header; a spreadsheet set to a language with decimal commas
    writes semicolons.

    Args:
        text: the content of the file.
        known: names of columns that the reader knows.

    Returns:
        The records, the number of each as a spreadsheet counts rows, and the delimiter.

    Raises:
        csv.Error: a quote is not closed or a cell is too long; its second argument is the line.
    """
    skipped, delimiter = 0, None
    first = text.partition("\n")[0].strip()
    if first.lower().startswith("sep=") and len(first) <= len("sep=;"):
        delimiter, skipped, text = first[len("sep=") :] or "\t", 1, text.partition("\n")[2]
    if delimiter is None:
        delimiter = max(DELIMITERS, key=lambda character: _known_names(text, character, set(known)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        records = list(reader)
    except csv.Error as error:
        raise csv.Error(str(error), reader.line_num + skipped) from None
    return records, [number + skipped for number in range(1, len(records) + 1)], delimiter


def _known_names(text: str, delimiter: str, known: set[str]) -> int:
    header = next(csv.reader([text.partition("\n")[0]], delimiter=delimiter), [])
    return sum(name.strip() in known for name in header)


def without_unnamed_columns(records: list[list[str]]) -> list[list[str]]:
    """Leave out columns that hold nothing, and the running number that pandas writes as a first column without a name.

    An unnamed column with other content is kept, so that the check of the header refuses it.
    """
    header = [name.strip() for name in records[0]] if records else []
    dropped = set()
    for position, name in enumerate(header):
        if name and not name.startswith("Unnamed:"):
            continue
        cells = [record[position].strip() for record in records[1:] if position < len(record)]
        running = position == 0 and cells in (_running(cells, 0), _running(cells, 1))
        if running or not any(cells):
            dropped.add(position)
    if not dropped:
        return records
    return [[cell for position, cell in enumerate(record) if position not in dropped] for record in records]


def _running(cells: list[str], first: int) -> list[str]:
    return [str(number) for number in range(first, first + len(cells))]


def from_mmsa(folder: Path, cells: dict) -> dict:
    """Rename the cells of a row with MMSA's header (`video_id`, `clip_id`, `mode`, `label_T`, ...) to the columns of a
    table of clips.

    The media file is `Raw/<video_id>/<clip_id>` with the ending that is there; `.mp4` where none is.
    """
    cells = dict(cells)
    video, clip = str(cells.pop("video_id", "")).strip(), str(cells.pop("clip_id", "")).strip()
    place = folder / "Raw" / video
    ending = next((path.suffix for path in sorted(place.glob(f"{clip}.*"))), ".mp4") if place.is_dir() else ".mp4"
    renamed = {"file": f"Raw/{video}/{clip}{ending}", "video": video, "id": f"{video}_{clip}"}
    if "mode" in cells:
        renamed["split"] = cells.pop("mode")
    for ours, theirs in UNIMODAL.items():
        if theirs in cells:
            renamed[ours] = cells.pop(theirs)
    cells.pop("annotation", None)  # the polarity in words, which the score says too
    return {**cells, **renamed}


__all__ = ["MMSA_COLUMNS", "csv_records", "from_mmsa", "without_unnamed_columns"]
