"""CH-SIMS and CH-SIMS v2 as they lie on disk, a few clips of each, with the quirks of the releases."""

import csv
import pickle
from pathlib import Path

from tests.helpers.cmu_folder import HEADER
from tests.helpers.media_files import write_media

# video, clip, text, M, T, A, V, split as the release spells it
SIMS = [
    ("video_0001", "0001", "我，不高兴", -0.8, -1.0, -0.6, 0.0, "train"),
    ("video_0001", "0002", "“好”！", 1.0, 0.8, 1.0, 1.0, "train"),
    ("video_0002", "0010", "没什么", 0.0, 0.2, 0.0, -0.2, "train"),
    ("video_0002", "0011", "行", 0.2, 0.0, 0.4, 0.2, "valid"),
    ("video_0003", "0001", "再见", -0.4, -0.2, -0.4, -0.6, "valid"),
    ("video_0001", "0003", "太好了", 0.6, 1.0, 0.2, 0.4, "test"),
    ("video_0003", "0002", "哦", -0.2, 0.0, -0.2, -0.4, "test"),
]
V2 = [
    *SIMS,
    ("video_xjzw", "00007", "新的", 0.4, 0.4, 0.2, 0.6, "train"),
    ("aqgy4_0005", "00011_0", "对", -0.6, -0.4, -0.6, -0.8, "train"),
    ("test11", "00006", "这样", -0.1, 0.0, -0.1, -0.2, "test"),
]
SPREADSHEET = {"0001": "1", "0002": "2", "0003": "3", "0010": "10", "0011": "11", "00007": "7", "00006": "6"}


def _rows(clips, stripped: bool) -> list[list]:
    return [
        [v, SPREADSHEET.get(n, n) if stripped else n, text, m, t, a, vision, "Neutral", split]
        for v, n, text, m, t, a, vision, split in clips
    ]


def _csv(path: Path, rows: list[list], encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows(rows)


def _media(root: Path, clips, with_media: bool) -> None:
    for video, clip, *_ in clips:
        path = root / "Raw" / video / f"{clip}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        if with_media:
            write_media(path, 0.5, rate=10)
        else:
            path.touch()
        (path.parent / f"._{clip}.mp4").write_bytes(b"\x00\x05\x16\x07")


def write_ch_sims(folder: Path, layout: str = "headerless", with_media: bool = False) -> Path:
    """Layouts: "headerless", "header", "stripped" (through a spreadsheet, in GBK), "metadata", "pickle"."""
    folder = Path(folder)
    _media(folder, SIMS, with_media)
    if layout == "metadata":
        order = sorted(SIMS, key=lambda row: (row[1], row[0]))
        for position, name in enumerate("MTAV"):
            rows = [[row[0], int(row[1]), row[3 + position]] for row in order]
            _csv(folder / f"metadata/sentiment/label_{name}.csv", [["video_id", "clip_id", "label"], *rows])
        for name, split in (("train", "train"), ("val", "valid"), ("test", "test")):
            rows = [[index] for index, row in enumerate(order) if row[-1] == split]
            _csv(folder / f"metadata/{name}_index.csv", [["index"], *rows])
        _csv(
            folder / "metadata/Translation.csv",
            [["video_id", "clip_id", "Chinese", "English"], *([row[0], int(row[1]), row[2], "x"] for row in SIMS)],
        )
    elif layout == "pickle":
        parts = {}
        for split in ("train", "valid", "test"):
            mine = [row for row in SIMS if row[-1] == split]
            parts[split] = {"id": [f"{row[0]}$_${row[1]}" for row in mine], "raw_text": [row[2] for row in mine]}
            for position, suffix in enumerate(("", "_T", "_A", "_V")):
                parts[split][f"regression_labels{suffix}"] = [row[3 + position] for row in mine]
        (folder / "Processed").mkdir(parents=True, exist_ok=True)
        (folder / "Processed/unaligned_39.pkl").write_bytes(pickle.dumps(parts))
    else:
        head = [] if layout == "headerless" else [HEADER]
        encoding = "gb18030" if layout == "stripped" else "utf-8"
        _csv(folder / "label.csv", [*head, *_rows(SIMS, layout == "stripped")], encoding)
    return folder


def write_ch_sims_v2(folder: Path, layout: str = "meta", with_media: bool = False) -> Path:
    """Layouts: "meta" (in a folder whose name has a space), "stripped", "unsupervised" (which is to be refused)."""
    folder = Path(folder)
    if layout == "unsupervised":
        rows = [["video_1", "00001", "文", "", "", "", "", "Neutral"]]
        _csv(folder / "meta.csv", [HEADER[:-1], *rows])
        return folder
    root = folder / "CH-SIMS v2(s)"
    _media(root, V2, with_media)
    _csv(root / "meta.csv", [HEADER, *_rows(V2, layout == "stripped")])
    return folder
