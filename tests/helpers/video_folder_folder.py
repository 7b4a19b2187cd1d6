"""Somebody's own clips: a folder of media files and a table as a spreadsheet saves it."""

import csv
import io
import json
from pathlib import Path

from tests.helpers.media_files import numbered, tone, write_media

SECONDS = 0.8
# Three cuts of one file, clips in a sub-folder, words alone; scores and emotions of each.
ROWS = [
    {
        "file": "a.mp4",
        "text": "I love it, really",
        "label": "2.5",
        "emotion": "joy",
        "start": "0",
        "end": "0.4",
        "speaker": "Ann",
    },
    {
        "file": "a.mp4",
        "text": "so  much",
        "label": "1",
        "emotion": "joy|surprise",
        "start": "0.4",
        "end": "0.8",
        "speaker": "Ann",
        "context": "I love it, really",
    },
    {"file": "b.mp4", "text": "it is fine", "label": "0", "emotion": "", "speaker": "Ben", "crop": "left"},
    {
        "file": "more/c.mp4",
        "text": "caf\u00e9?",
        "label": "-1.5",
        "emotion": "anger",
        "speaker": "Cem",
        "context": "one | two",
    },
    {"file": "more/d.mp4", "label": "-3", "emotion": "anger|joy", "speaker": "Dana", "id": "last"},
    {"text": "words alone", "label": "-0.2", "emotion": "surprise", "speaker": "Eve"},
    {"file": "e.mp4", "text": "end", "label": "0.4", "emotion": "joy", "speaker": "Fay"},
]
COLUMNS = ("file", "text", "label", "start", "end", "speaker", "context", "crop", "id")


def labelled(column: str = "label") -> list[dict]:
    """The rows with their scores or their emotions as label."""
    rows = [{**row, "label": row[column]} for row in ROWS]
    return [{name: value for name, value in row.items() if name != "emotion"} for row in rows]


def csv_bytes(rows: list[dict], columns: tuple[str, ...] = COLUMNS) -> bytes:
    """As a spreadsheet saves it: UTF-8 with a mark, CRLF, every cell of a row, a blank row at the end."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return (file.getvalue() + "," * (len(columns) - 1) + "\r\n").encode("utf-8-sig")


def json_lines(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write_table(folder: Path, rows: list[dict], name: str = "clips.csv") -> Path:
    """The table, with every column that some row has, and an empty file for each media file that is not there; returns
    the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    (folder / name).write_bytes(json_lines(rows) if name.endswith("jsonl") else csv_bytes(rows, columns))
    for row in rows:
        if row.get("file"):
            path = folder / row["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder


def write_video_folder(folder: Path, with_media: bool = False, copies: int = 3, column: str = "label") -> Path:
    """Write the clips of `ROWS` so many times, each with speakers of its own, so that the drawn split has clips
    everywhere; with media, those that have a file.
    """
    rows = []
    for copy in range(copies):
        for row in labelled(column):
            if with_media and "file" not in row:
                continue
            file = {"file": f"{copy}/{row['file']}"} if row.get("file") else {}
            id = {"id": f"{row['id']}_{copy}"} if "id" in row else {}
            rows.append({**row, **file, **id, "speaker": f"{row['speaker']} {copy}"})
    write_table(folder, rows)
    (folder / "._clips.csv").write_bytes(b"\0\x05\x16\x07")
    if with_media:
        for file in {row["file"] for row in rows if row.get("file")}:
            write_media(folder / file, SECONDS, 25, lambda number: numbered(number, 64, 48), tone())
    return folder
