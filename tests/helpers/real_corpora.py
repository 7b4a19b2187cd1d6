"""Real annotation files, which are not in a release's layout, written out in one."""

import csv
from pathlib import Path

import h5py
import numpy as np

from tests.helpers.cmu_folder import HEADER, MOSEI_HEADER, _annotation, _label_csv

SPLITS = ("train", "validation", "test")


def rows_of(corpus) -> dict[str, dict]:
    """The clips of all splits of a loaded corpus by their id."""
    return {row["id"]: row for split in SPLITS for row in corpus[split]}


def _tsv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _mmsa_rows(path: Path, texts: dict[str, str]) -> list[dict]:
    rows = []
    for row in _tsv(path):
        video, _, clip = row["name"].rpartition("_")
        rows.append({"video_id": video, "clip_id": clip, "text": texts.get(row["name"], "words"), "label": row["label"],
                     "annotation": _annotation(float(row["label"])), "mode": row["split"]})  # fmt: skip
    return rows


def write_real_mosi(shared: Path, folder: Path) -> Path:
    """Real ids, scores, splits and transcripts in MMSA's layout."""
    with open(shared / "corpora/cmu_mosi/declare-lab/transcripts.csv", newline="", encoding="utf-8") as file:
        texts = {row[0]: row[1] for row in csv.reader(file)}
    _label_csv(folder / "label.csv", HEADER, _mmsa_rows(shared / "corpora/cmu_mosi/derived/labels.tsv", texts))
    return folder


def write_real_mosei(shared: Path, folder: Path) -> Path:
    """Real ids, scores and splits in MMSA's layout."""
    _label_csv(folder / "label.csv", MOSEI_HEADER, _mmsa_rows(shared / "corpora/cmu_mosei/derived/labels.tsv", {}))
    return folder


def write_real_mosei_csd(shared: Path, folder: Path) -> dict[str, float]:
    """A label file with the real videos and times; sentiments are the real ones where they are known, happiness is made
    up from the clip's place.

    Returns:
        Clip id -> happiness, by the times of the joined list.
    """
    corpus = shared / "corpora/cmu_mosei/derived"
    joined = {(row["name"].rpartition("_")[0], row["start"], row["end"]): row for row in _tsv(corpus / "segments.tsv")}
    scores = {row["name"]: float(row["label"]) for row in _tsv(corpus / "labels.tsv")}
    known = {row["name"] for row in joined.values()}
    left: dict[str, list[str]] = {}  # of the videos whose counts differ
    for name in scores.keys() - known:
        left.setdefault(name.rpartition("_")[0], []).append(name)
    entries: dict[str, list] = {}
    for row in _tsv(corpus / "intervals.tsv"):
        entries.setdefault(row["segment"].rpartition("[")[0], []).append((row["start"], row["end"]))
    happiness = {}
    with h5py.File(folder / "CMU_MOSEI_Labels.csd", "w") as file:
        data = file.create_group("All Labels/data")
        for video, times in entries.items():
            features = np.zeros((len(times), 7), dtype=np.float32)
            mine = sorted(left.get(video, []))
            for position, (start, end) in enumerate(times):
                row = joined.get((video, start, end))
                features[position, 1] = (position + 1) / 100
                if row is not None:
                    features[position, 0] = scores[row["name"]]
                    happiness[row["name"]] = (position + 1) / 100
                elif position < len(mine):
                    features[position, 0] = scores[mine[position]]
                    happiness[mine[position]] = (position + 1) / 100
                else:
                    features[position, 0] = 2.9 - 0.3 * position  # no clip of label.csv has this
            group = data.create_group(video)
            group["features"], group["intervals"] = features, np.array(times, dtype=np.float64)
    return happiness


def write_real_sims(shared: Path, folder: Path, version: int = 1) -> Path:
    """Real ids, labels and splits of CH-SIMS, in the layout of its release; of v2 with `version=2`."""
    name, target = {1: ("ch_sims", "label.csv"), 2: ("ch_sims_v2", "CH-SIMS v2(s)/meta.csv")}[version]
    rows = []
    for row in _tsv(shared / f"corpora/{name}/derived/labels.tsv"):
        video, clip = split_sims_name(row["name"])
        rows.append(
            {
                "video_id": video,
                "clip_id": clip,
                "text": "你好，世界。",
                "label": row["label"],
                "annotation": "Neutral",
                "mode": row["split"],
            }
        )
    _label_csv(folder / target, HEADER, rows)
    return folder


def split_sims_name(name: str) -> tuple[str, str]:
    """Video and clip of a joined id: eight clips of v2 have an underscore themselves, after five digits."""
    video, _, clip = name.rpartition("_")
    if len(clip) == 1:
        video, _, first = video.rpartition("_")
        clip = f"{first}_{clip}"
    return video, clip
