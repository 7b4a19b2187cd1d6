"""CMU-MOSI and CMU-MOSEI as they lie on disk, a few clips of each, with the quirks of the releases."""

import csv
from pathlib import Path

import h5py
import numpy as np

from datasets_scripts.cmu_folds import standard_folds
from tests.helpers.media_files import write_media

SPLITS = {"train": "train", "validation": "valid", "test": "test"}
HEADER = "video_id clip_id text label label_T label_A label_V annotation mode".split()
MOSEI_HEADER = "video_id clip_id text label annotation mode label_T label_A label_V".split()
UNMATCHED = "-NFrJFQijFE"  # a video that only label.csv has


def video_of(corpus: str, split: str, like=lambda video: True) -> str:
    """A video of a split of the standard folds."""
    return next(video for video, found in sorted(standard_folds(corpus).items()) if found == split and like(video))


# video, segment, start, end, score, words; segment 2 of the first video has no length
MOSI = [
    (video_of("mosi", "train"), 1, 0.0, 0.3, -1.8, "A BAD FILM"),
    (video_of("mosi", "train"), 2, 0.3, 0.3, 0.0, "IT WAS"),
    (video_of("mosi", "train"), 10, 0.3, 0.9, 2.4, "GREAT, REALLY"),
    (video_of("mosi", "validation"), 1, 0.0, 0.4, 0.25, "FINE"),
    (video_of("mosi", "validation"), 2, 0.4, 0.8, -3.0, "AWFUL"),
    (video_of("mosi", "test"), 1, 0.1, 0.5, 1.0, "GOOD"),
    (video_of("mosi", "test"), 2, 0.5, 0.9, 0.0, "WELL"),
]

DASH = video_of("mosei", "train", lambda video: video.startswith("-") and video != UNMATCHED)
DIGITS = video_of("mosei", "train", str.isdecimal)
SPARSE = video_of(
    "mosei", "train", lambda video: video[0] == "A"
)  # three entries in the label file, one clip in label.csv
# video, clip, start, end, sentiment, emotions (happy sad anger surprise disgust fear), words
MOSEI = [
    (DASH, 2, -0.2, 0.3, 1.0, (1.0, 0, 0, 0, 0, 0), "I liked it, 'very' much"),
    (DASH, 10, 0.3, 0.6, -0.3333, (0, 0.6667, 0, 0, 0, 0.3333), "ten"),
    (DASH, 13, 0.6, 0.9, 0.0, (0, 0, 0, 0, 0, 0), "thirteen ___ and more"),
    (DIGITS, 0, 0.0, 0.5, 2.0, (3.0, 0, 0, 1.0, 0, 0), "digits"),
    (SPARSE, 1, 0.0, 0.3, -2.0, (0, 0, 2.0, 0, 1.0, 0), "only I am in the table"),
    (video_of("mosei", "validation"), 0, 0.0, 0.4, 0.6667, (0, 0, 0, 0.3333, 0, 0), "valid"),
    (video_of("mosei", "validation"), 1, 0.4, 0.8, -1.0, (0, 1.0, 0, 0, 0, 0), "again"),
    (video_of("mosei", "test"), 3, 0.1, 0.5, 3.0, (2.0, 0, 0, 0, 0, 0), "test"),
    (video_of("mosei", "test"), 4, 0.5, 0.9, -3.0, (0, 0, 0, 0, 3.0, 0), "end"),
]
# Entries of the label file that label.csv lacks.
ONLY_IN_FILE = [
    (SPARSE, 0, 0.3, 0.6, 1.0, (1.0, 0, 0, 0, 0, 0), "zero"),
    (SPARSE, 2, 0.6, 0.9, 0.5, (1.0, 0, 0, 0, 0, 0), "two"),
]


def _annotation(score: float) -> str:
    return "Neutral" if score == 0 else "Positive" if score > 0 else "Negative"


def _label_csv(path: Path, header: list[str], rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _media(path: Path, with_media: bool, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if with_media:
        write_media(path, seconds, rate=10)
    else:
        path.touch()


def _csd(path: Path, root: str, rows) -> None:
    """Video -> entries sorted by clip id as text, as the real file has them."""
    with h5py.File(path, "w") as file:
        data = file.create_group(root).create_group("data")
        file[root].create_group("metadata")
        for video in sorted({row[0] for row in rows}):
            mine = sorted((row for row in rows if row[0] == video), key=lambda row: str(row[1]))
            group = data.create_group(video)
            group["features"] = np.array([row[4] for row in mine], dtype=np.float32)
            group["intervals"] = np.array([row[2:4] for row in mine])


def write_mosi(folder: Path, layout: str = "mmsa", with_media: bool = False) -> Path:
    """Layouts: "mmsa", "segmented" and "full" (CMU's, with either kind of video), "csd"."""
    folds, folder = standard_folds("mosi"), Path(folder)
    videos = sorted({row[0] for row in MOSI})
    if layout == "mmsa":
        rows = [
            {
                "video_id": v,
                "clip_id": n,
                "text": text,
                "label": score,
                "annotation": _annotation(score),
                "mode": SPLITS[folds[v]],
            }
            for v, n, _, _, score, text in MOSI
        ]
        _label_csv(folder / "label.csv", HEADER, rows)
        for video, segment, *_ in MOSI:
            _media(folder / "Raw" / video / f"{segment}.mp4", with_media)
        return folder
    if layout == "csd":
        folder.mkdir(parents=True, exist_ok=True)
        _csd(
            folder / "CMU_MOSI_Opinion_Labels.csd",
            "Opinion Segment Labels",
            [(v, n, start, end, (score,)) for v, n, start, end, score, _ in MOSI],
        )
        with h5py.File(folder / "CMU_MOSI_TimestampedWords.csd", "w") as file:
            for video in videos:
                words = [("sp", 0.0, 0.05)] if video == MOSI[0][0] else []
                for v, _, start, end, _, text in MOSI:
                    parts = text.split() if v == video and end > start else []
                    words += [
                        (word, start + (end - start) * i / len(parts), start + (end - start) * (i + 1) / len(parts))
                        for i, word in enumerate(parts)
                    ]
                group = file.require_group("words/data").create_group(video)
                group["features"] = np.array([[word.encode()] for word, *_ in words])
                group["intervals"] = np.array([times for _, *times in words])
        for video in videos:
            _media(folder / "Video/Full" / f"{video}.mp4", with_media, 1.0)
        return folder
    root = folder / "Raw"
    (root / "Labels").mkdir(parents=True)
    lines = [f"{start},{end},{v},{n},{score}" for v, n, start, end, score, _ in MOSI]
    (root / "Labels/OpinionLevelSentiment.csv").write_bytes("\r\n".join(lines).encode() + b"\r\n")
    transcripts = root / "Transcript/Segmented"
    transcripts.mkdir(parents=True)
    for video in videos:
        mine = [f"{n}_DELIM_{text}" for v, n, *_, text in MOSI if v == video]
        (transcripts / f"{video}.annotprocessed").write_text("\n".join(mine) + "\n\n")
        (transcripts / f"._{video}.annotprocessed").write_bytes(b"\x00\x05\x16\x07")
        if layout == "full":
            _media(root / "Video/Full" / f"{video}.mp4", with_media, 1.0)
    if layout == "segmented":
        for video, segment, *_ in MOSI:
            _media(root / "Video/Segmented" / f"{video}_{segment}.mp4", with_media)
    return folder


def write_mosei(folder: Path, layout: str = "mmsa", with_media: bool = False) -> Path:
    """Layouts: "mmsa" (sentiment only), "mmsa+csd", "mmsa+csd+transcripts", "csd", "csd+transcripts", "full" (these
    with full videos), "mturk".
    """
    folds, folder = standard_folds("mosei"), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        (v, n, start, end, (score, *emotions)) for v, n, start, end, score, emotions, _ in [*MOSEI, *ONLY_IN_FILE]
    ]
    if layout.startswith("mmsa"):
        rows = [
            {
                "video_id": v,
                "clip_id": n,
                "text": text,
                "label": score,
                "annotation": _annotation(score),
                "mode": SPLITS[folds[v]],
            }
            for v, n, _, _, score, _, text in MOSEI
        ]
        rows.append(
            {
                "video_id": UNMATCHED,
                "clip_id": "1",
                "text": "nowhere else",
                "label": 0.0,
                "annotation": "Neutral",
                "mode": "train",
            }
        )
        _label_csv(folder / "label.csv", MOSEI_HEADER, rows)
        for video, clip, *_ in MOSEI:
            _media(folder / "Raw" / video / f"{clip}.mp4", with_media)
    if "csd" in layout or layout == "full":
        _csd(folder / "CMU_MOSEI_Labels.csd", "All Labels", entries)
    if "transcripts" in layout or layout in ("full", "mturk"):
        _transcripts(folder / "Raw/Transcript/Segmented/Combined")
    if layout == "mturk":
        _answers(folder / "Raw/Labels")
    if layout == "full":
        for video in {row[0] for row in MOSEI}:
            _media(folder / "Raw/Videos/Full/Combined" / f"{video}.mp4", with_media, 1.0)
    elif layout in ("mturk", "csd+transcripts"):
        for video, clip, *_ in MOSEI:
            _media(folder / "Raw/Videos/Segmented/Combined" / f"{video}_{clip}.mp4", with_media)
    return folder


def _transcripts(folder: Path) -> None:
    """With clips that nobody labelled, blank lines at the end, and separators of six underscores."""
    folder.mkdir(parents=True)
    rows = [*MOSEI, *ONLY_IN_FILE]
    for video in {row[0] for row in rows}:
        lines = []
        for position, (v, n, start, end, _, _, text) in enumerate(rows):
            if v == video:
                bar = "______" if position % 2 else "___"
                lines.append(f"{v}___{n}{bar}{start}___{end}{bar}{text}")
        lines.append(f"{video}___77___30.5___31.5___never labelled")
        (folder / f"{video}.txt").write_text("\n".join(lines) + "\n\n  \n")
        (folder / f"._{video}.txt").write_bytes(b"\x00\x05\x16\x07")


def _answers(folder: Path) -> None:
    """Three workers a clip whose means are the scores; a table of another kind beside them."""
    folder.mkdir(parents=True)
    emotions = ("happiness", "sadness", "anger", "surprise", "disgust", "fear")
    with open(folder / "Batch_1_batch_results.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "HITId",
                "WorkerId",
                "Input.VIDEO_ID",
                "Input.CLIP",
                "Answer.sentiment",
                *(f"Answer.{name}" for name in emotions),
            ]
        )
        for v, n, _, _, score, values, _ in MOSEI:
            for worker, shift in enumerate((-0.5, 0.0, 0.5)):
                writer.writerow(["x", worker, f"videos/{v}", n, score + shift, *values])
    (folder / "pom_extra_sqa_mono_results.csv").write_text("a,b\n1,2\n")
