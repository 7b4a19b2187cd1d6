"""Find, read and check the table of your own clips, CSV or JSON lines."""

import csv
import difflib
import functools
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path

from .corpus_files import find_one
from .mmsa_layout import UNIMODAL
from .table_forms import MMSA_COLUMNS, csv_records, from_mmsa, without_unnamed_columns

logger = logging.getLogger(__name__)

NAMES = ("clips.csv", "metadata.csv", "clips.jsonl", "metadata.jsonl")
SCORES = ("label_text", "label_audio", "label_vision")
COLUMNS = (
    "file", "text", "label", "start", "end", "split", "speaker", "video", "context", "context_speakers", *SCORES,
    "crop", "id",
)  # fmt: skip
SHOWN = 120  # characters of a cell that a message repeats
SEPARATOR = "|"  # between several labels, and between the utterances of a context


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Args:
        place: the file and the row as a spreadsheet or an editor counts it, for messages.
        cells: column -> content; empty cells are left out.
    """

    place: str
    cells: dict

    def error(self, column: str, expected: str) -> ValueError:
        """Return an error that names the cell, its content and what was expected."""
        found = shown(repr(self.cells[column])) if column in self.cells else "an empty cell"
        return ValueError(f"{self.place}, column {column}: found {found}; expected {expected}.")

    def word(self, column: str) -> str:
        """Return the cell as text with single spaces; "" where it is empty.

        Raises:
            ValueError: the cell is a list or an object of JSON.
        """
        value = self.cells.get(column, "")
        if isinstance(value, list | dict):
            raise self.error(column, "text in quotes")
        return " ".join(str(value).split())

    def number(self, column: str, expected: str, lowest: float = -math.inf, highest: float = math.inf) -> float | None:
        """Return the cell as a number within bounds; None where it is empty.

        Raises:
            ValueError: it is not such a number; the message contains `expected`.
        """
        if column not in self.cells:
            return None
        try:
            value = float(self.cells[column])
        except (TypeError, ValueError, OverflowError):
            raise self.error(column, expected) from None
        if not math.isfinite(value) or not lowest <= value <= highest:
            raise self.error(column, expected)
        return value

    def several(self, column: str) -> list[str]:
        """Return the cell as a list: a list of JSON, or text with | between the parts."""
        value = self.cells.get(column, [])
        parts = value if isinstance(value, list) else str(value).split(SEPARATOR)
        if isinstance(value, dict) or any(isinstance(part, list | dict) for part in parts):
            raise self.error(column, f"text with {SEPARATOR} between the parts, or a list of texts")
        return [word for word in (" ".join(str(part).split()) for part in parts) if word]


def shown(text: str) -> str:
    """Shorten what was found, for a message."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text)} characters)"


def find_table(folder: Path) -> Path:
    """Return the table in a folder: `clips.csv`, `metadata.csv`, the same as `.jsonl`, or else the only CSV or
    JSON-lines file.

    Raises:
        FileNotFoundError: there is no table; the message lists the content of the folder.
        ValueError: there are several tables and none has one of these names.
    """
    if not any((folder / name).is_file() for name in NAMES) and folder.is_dir():
        entries = (path for path in folder.iterdir() if not path.name.startswith("."))
        tables = sorted(path.name for path in entries if path.suffix.lower() in (".csv", ".jsonl") and path.is_file())
        if len(tables) > 1:
            raise ValueError(
                f"{folder} holds several tables, {', '.join(tables)}; name the one with the clips {NAMES[0]}."
            )
        if tables:
            return folder / tables[0]
    return find_one(folder, NAMES, "table of clips")


def read_table(path: Path, needs_label: bool = True) -> list[Row]:
    """Read the rows of a CSV file with a header, or of a file of JSON lines.

    Args:
        path: the table.
        needs_label: refuse a table without the column label; a table of clips to predict has none.

    Raises:
        ValueError: the file is not UTF-8 or not a table, has no rows, or has a column that looks mistyped.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 at byte {error.start}; save it as «CSV UTF-8».") from None
    columns, rows = map(list, _parse(path, text))
    if not rows:
        raise ValueError(f"{path} has no rows; expected one a clip.")
    if set(MMSA_COLUMNS) <= set(columns) and "file" not in columns:
        rows = [Row(row.place, from_mmsa(path.parent, row.cells)) for row in rows]
        known = {*MMSA_COLUMNS, *UNIMODAL.values(), "annotation"}
        columns = ["file", "label", *(column for column in columns if column not in known)]
    _check_columns(path, columns, rows, needs_label)
    return rows


@functools.lru_cache(maxsize=1)  # task, files and clips of one corpus are read from its table one after the other
def _parse(path: Path, text: str) -> tuple[list[str], list[Row]]:
    """Return the columns and the rows of a table."""
    return _json_rows(path, text) if path.suffix.lower() == ".jsonl" else _csv_rows(path, text)


def _csv_rows(path: Path, text: str) -> tuple[list[str], list[Row]]:
    """Return the header and the rows that are not blank."""
    try:
        records, numbers, _ = csv_records(text, (*COLUMNS, *MMSA_COLUMNS))
    except csv.Error as error:
        message, line = error.args
        raise ValueError(
            f"{path}, line {line} is not CSV: {message}; close every quote, and save the table as «CSV UTF-8» again."
        ) from None
    records = without_unnamed_columns(records)
    header = [name.strip() for name in records[0]] if records else []
    if len(set(header)) < len(header) or "" in header:
        raise ValueError(
            f"{path} has the header {shown(str(header))}; expected names that differ, such as file, text, label."
        )
    rows = []
    for number, record in zip(numbers[1:], records[1:]):
        cells = {name: cell for name, cell in zip(header, map(str.strip, record)) if cell}
        if cells or len(record) > len(header) and any(map(str.strip, record)):
            place = f"{path}, row {number}"
            if len(record) > len(header):
                raise ValueError(
                    f"{place} has {len(record)} cells, the header {len(header)}; put text that holds a comma "
                    'in quotes: "...".'
                )
            rows.append(Row(place, cells))
    return header, rows


def _json_rows(path: Path, text: str) -> tuple[list[str], list[Row]]:
    """Return all names of the objects, and the rows."""
    columns, rows = {}, []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"{path}, row {number}"
            try:
                cells = json.loads(line, parse_constant=_constant)
                json.dumps(cells, ensure_ascii=False).encode()  # a lone surrogate such as \ud800 cannot be stored
            except (ValueError, RecursionError) as error:  # huge numbers and deep nesting do not raise JSONDecodeError
                raise ValueError(f"{place} is not JSON: {error}; expected one object a line.") from None
            if not isinstance(cells, dict):
                raise ValueError(f'{place} holds {type(cells).__name__}; expected an object such as {{"file": ...}}.')
            columns |= dict.fromkeys(cells)
            rows.append(Row(place, {name: cell for name, cell in cells.items() if cell not in (None, "")}))
    return list(columns), rows


def _constant(name: str) -> None:
    """Read the NaN that pandas and Python write for an absent value as an empty cell.

    Raises:
        ValueError: it is an infinity.
    """
    if name != "NaN":
        raise ValueError(f"{name} is not a number that JSON has")


def _check_columns(path: Path, columns: list[str], rows: list[Row], needs_label: bool) -> None:
    """Refuse a mistyped column, which would be silently unused, and a table without labels.

    Your own other columns are ignored.
    """
    own = [column for column in columns if column not in COLUMNS]
    for column in own:
        near = difflib.get_close_matches(column.lower().replace(" ", "_"), COLUMNS, n=1, cutoff=0.75)
        if near and near[0] not in columns:  # `speaker_id` beside `speaker` is not a typing error
            raise ValueError(
                f"{path} has the column {shown(repr(column))}; did you mean {near[0]!r}? The columns that are "
                f"read are {', '.join(COLUMNS)}."
            )
    if not {"file", "text"} & set(columns) or (needs_label and "label" not in columns):
        expected = "label, and file or text or both" if needs_label else "file or text or both"
        raise ValueError(
            f"{path} has the columns {shown(', '.join(columns))}; expected {expected}. Cells are parted by "
            "commas, semicolons or tabs." + (_one_hot_advice(own, rows) if needs_label else "")
        )
    if own:
        logger.info("%s: the columns %s are not used", path, shown(", ".join(own)))


def _one_hot_advice(own: list[str], rows: list[Row]) -> str:
    """Say how to write classes that a table has as a column of zeros and ones each; "" where it has none."""
    values = {column: {str(row.cells.get(column, "0")).removesuffix(".0") for row in rows} for column in own}
    classes = [column for column in own if values[column] <= {"0", "1", "False", "True", "false", "true"}]
    if len(classes) < 2:
        return ""
    return (
        f" The columns {shown(', '.join(classes))} look like one column a class: write the names of those that "
        f"a clip has into label, with {SEPARATOR} "
        f"between them, such as {classes[0]}{SEPARATOR}{classes[1]}."
    )
