"""A small MELD as it lies on disk: csv files in any of their encodings, and clips (empty files) in any of the known
layouts.
"""

import csv
import io
from pathlib import Path

from tests.helpers.media_files import numbered, tone, write_media

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime".split(
    ","
)
TIMES = (8, 21, "00:16:16,059", "0:16:21,731")
# (text, speaker, emotion, sentiment, dialogue, utterance); rows of a dialogue out of order, and a hole in its ids.
ROWS = {
    "train": [
        ("I can\u2019t.  ", "Chandler", "anger", "negative", 0, 3),
        ("\u201cWhat?\u201d\u2026", "Joey", "surprise", "positive", 0, 0),
        ("Hi", "Joey", "joy", "positive", 2, 0),
        ("No  way", "The\u00a0Interviewer", "neutral", "neutral", 0, 1),
    ],
    "dev": [("caf\u00e9", "Ross", "fear", "negative", 0, 0), ("Ew", "Ross", "disgust", "negative", 0, 1)],
    "test": [("Oh", "Rachel", "sadness", "negative", 0, 0), ("Ah", "Monica", "joy", "positive", 0, 1)],
}


def csv_text(split: str) -> str:
    """The csv of a split as clean text."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(HEADER)
    writer.writerows((7, *row, *TIMES) for row in ROWS[split])  # "Sr No." repeats in the release too
    return file.getvalue()


ENCODINGS = {
    "clean": lambda text: text.encode("utf-8"),
    "mark": lambda text: text.encode("utf-8-sig"),
    "controls": lambda text: text.encode("cp1252").decode("latin-1").encode("utf-8"),  # the release of 2018
    "cp1252": lambda text: text.encode("cp1252"),
}


def make_meld(folder: Path, encoding: str = "clean", csv_place: str = "{split}_sent_emo.csv") -> Path:
    """Write the three csv files; `csv_place` is relative to the folder."""
    for split in ROWS:
        path = folder / csv_place.format(split=split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ENCODINGS[encoding](csv_text(split)))
    return folder


def add_clip(folder: Path, place: str, name: str) -> Path:
    """An empty file where a clip would be."""
    path = folder / place / f"{name}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def write_meld(folder: Path, with_media: bool = False) -> Path:
    """The release of 2018 with its clips one level down: one test utterance has a corrected clip beside the wrong one,
    and two clips have no row.

    With media each clip is a real one; without, they are empty files, and one of validation is missing.
    """
    make_meld(folder, "controls", "MELD.Raw/{split}/{split}_sent_emo.csv")
    places = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
    for split, place in places.items():
        inner = f"MELD.Raw/{split}/{place}"
        names = [f"dia{dialogue}_utt{utterance}" for *_, dialogue, utterance in ROWS[split]]
        if split == "dev" and not with_media:
            names = names[1:]
        if split == "test":
            names += ["final_videos_testdia0_utt1", "dia93_utt5", "dia108_utt1"]
        for name in names:
            path = add_clip(folder, inner, name)
            if with_media:
                write_media(path, 0.6, 25, lambda number: numbered(number, 64, 48), tone())
            path.with_name(f"._{name}.mp4").write_bytes(b"\0\x05\x16\x07")
    return folder
