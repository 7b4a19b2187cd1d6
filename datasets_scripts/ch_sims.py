"""CH-SIMS (thuiar): sentiment of clips from Chinese films and shows, as a whole and for each modality."""

import csv
import io
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .corpus import SPLITS, CorpusBuilder, CorpusConfig
from .corpus_files import CorpusFiles, find_one
from .mmsa_layout import UNIMODAL, LabelRow, decode_csv, mmsa_clips, raw_media, read_label_csv, score
from .restricted_pickle import load_restricted
from .split_list import split_name

RANGE = (-1.0, 1.0)
SENTIMENT = [
    CorpusConfig(
        name="sentiment", task=TaskSpecification("sentiment", "regression", ("sentiment",), RANGE, metrics="sims")
    )
]
DIGITS = 4  # digits in the file name of a clip
PLACES = ("", "CH-SIMS/", "SIMS/")
MODALITIES = {"M": "label", "T": "label_T", "A": "label_A", "V": "label_V"}
RELEASE_SPLITS = {"train": "train", "validation": "val", "test": "test"}
TABLES = {f"label {name}": f"metadata/sentiment/label_{name}.csv" for name in MODALITIES}
TABLES |= {f"index of {split}": f"metadata/{name}_index.csv" for split, name in RELEASE_SPLITS.items()}
TABLES |= {"translation": "metadata/Translation.csv"}


class ChSims(CorpusBuilder):
    """CH-SIMS: 2,281 clips of 60 videos in 1,368 / 456 / 457; scores from -1 to 1 for the whole clip and for text,
    audio and vision alone.

    `data_dir` (or `CH-SIMS/`, `SIMS/` in it) holds one of

        label.csv                     nine columns, with or without a header
        metadata/sentiment/*.csv      another release, with metadata/*_index.csv and metadata/Translation.csv
        Processed/unaligned_39.pkl    its text and labels; no code in it is run

    and the clips `Raw/<video_id>/<clip_id>.mp4`. Without clips the text can be used alone. A clip's id is
    `<video_id>_<clip_id>`.

    59 of the 60 videos have clips in train and in test.
    """

    BUILDER_CONFIGS = SENTIMENT
    TABLE_II = {"sentiment": {"train": 1368, "validation": 456, "test": 457}}
    TITLE = "CH-SIMS"
    LANGUAGE = "zh"
    PEOPLE = "Characters of Chinese films, series and shows, who speak Mandarin; mostly actors."
    TERMS = "no licence is published with the data; research use by the paper"
    CITATION = """@inproceedings{yu2020chsims,
  title = {{CH-SIMS}: A {Chinese} Multimodal Sentiment Analysis Dataset with Fine-grained Annotation of Modality},
  author = {Yu, Wenmeng and Xu, Hua and Meng, Fanyang and Zhu, Yilin and Ma, Yixiao and
            Wu, Jiele and Zou, Jiyun and Yang, Kaicheng},
  booktitle = {Proceedings of the 58th Annual Meeting of the Association for Computational Linguistics},
  pages = {3718--3727},
  year = {2020}
}"""

    @classmethod
    def find_files(cls, folder, config):
        roots = [folder / place for place in PLACES]
        tables = [root for root in roots if (root / TABLES["label M"]).is_file()]
        names = [f"{place}{name}" for name in ("label.csv", "Processed/unaligned_39.pkl") for place in PLACES]
        if tables and not any((folder / place / "label.csv").is_file() for place in PLACES):
            root = tables[0]
            annotations = {role: find_one(root, [name], role) for role, name in TABLES.items()}
        else:
            first = [name for name in names if (folder / name).is_file()]
            csv_files = [name for name in first if name.endswith(".csv")]
            path = find_one(folder, csv_files or first or [*names, TABLES["label M"]], "labels of CH-SIMS")
            root = path.parent if path.suffix == ".csv" else path.parent.parent
            annotations = {"labels": path}
        return CorpusFiles(annotations, raw_media(root / "Raw", read_rows(annotations)))

    @cached_property
    def _rows(self) -> list[LabelRow]:
        return read_rows(self.files.annotations)

    def clips(self, split) -> Iterator[dict]:
        yield from mmsa_clips(self._rows, split, self.files.media)

    def dropped_clips(self, split) -> dict[str, str]:
        """Return the rows of the `metadata/` release that are in none of its splits (under train)."""
        return {row.id: "in no index of a split" for row in self._rows if row.split is None and split == "train"}


def _pad(video: str, clip: str) -> str:
    return clip.zfill(DIGITS)


def read_rows(annotations: dict[str, Path]) -> list[LabelRow]:
    """Return the clips from the files that were found.

    Raises:
        ValueError: the files contradict themselves.
    """
    if "labels" not in annotations:
        return _from_tables(annotations)
    path = annotations["labels"]
    return read_label_csv(path, RANGE, _pad) if path.suffix == ".csv" else _from_pickle(path)


def _table(path: Path, *columns: str) -> list[dict[str, str]]:
    """Read a table that must have these columns."""
    reader = csv.DictReader(io.StringIO(decode_csv(path.read_bytes()), newline=""))
    if not set(columns) <= set(reader.fieldnames or ()):
        raise ValueError(f"{path}: its columns are {reader.fieldnames}; expected {', '.join(columns)}.")
    return list(reader)


def _key(row: dict[str, str]) -> tuple[str, str]:
    return row["video_id"].strip(), row["clip_id"].strip().zfill(DIGITS)


def _from_tables(annotations: dict[str, Path]) -> list[LabelRow]:
    """Read the `metadata/` release: four tables of labels in one order, the row numbers of each split, the texts."""
    keys, scores = [], {}
    for name in MODALITIES:
        path = annotations[f"label {name}"]
        rows = _table(path, "video_id", "clip_id", "label")
        keys = keys or [_key(row) for row in rows]
        if [_key(row) for row in rows] != keys:
            raise ValueError(f"{path} lists other clips than {annotations['label M']}, or in another order.")
        scores[name] = [
            score(row["label"], f"{path}, row {number}", "label", RANGE) for number, row in enumerate(rows, start=2)
        ]
    if None in scores["M"]:
        raise ValueError(f"{annotations['label M']}, row {scores['M'].index(None) + 2}: there is no label.")
    texts = {
        _key(row): " ".join(row["Chinese"].split())
        for row in _table(annotations["translation"], "video_id", "clip_id", "Chinese")
    }
    splits = _splits(annotations, len(keys))
    return [
        LabelRow(*key, texts.get(key, ""), splits.get(index), scores["M"][index],
                 {ours: scores[theirs[-1]][index] for ours, theirs in UNIMODAL.items()})
        for index, key in enumerate(keys)
    ]  # fmt: skip


def _splits(annotations: dict[str, Path], num_rows: int) -> dict[int, str]:
    """Return the split by row of the tables."""
    found: dict[int, str] = {}
    for split in SPLITS:
        path = annotations[f"index of {split}"]
        for row in _table(path, "index"):
            index = int(row["index"]) if row["index"].strip().isdecimal() else -1
            if not 0 <= index < num_rows:
                raise ValueError(f"{path}: index {row['index']!r}; the tables have {num_rows} rows, numbered from 0.")
            if index in found:
                raise ValueError(f"{path}: index {index} is in {found[index]} already; expected each row once.")
            found[index] = split
    return found


def _from_pickle(path: Path) -> list[LabelRow]:
    """Read ids (`<video_id>$_$<clip_id>`), texts and labels of MMSA's feature pickle; its features are not used."""
    content = load_restricted(path)
    needed = ("id", "raw_text", "regression_labels")
    found = []
    for name, part in content.items() if isinstance(content, dict) else [("all", content)]:
        split, lengths = split_name(name), None
        if isinstance(part, dict) and set(needed) <= part.keys():
            lengths = [len(part[key]) for key in needed]
        if split is None or lengths is None or len(set(lengths)) > 1:
            holds = f"{len(lengths)} lists of {lengths}" if lengths else type(part).__name__
            raise ValueError(
                f"{path}: part {name!r} holds {holds}; expected train, valid and test, each with as many "
                f"{', '.join(needed)}."
            )
        for index, (listed, text) in enumerate(zip(part["id"], part["raw_text"])):
            place = f"{path}, {name} {index}"
            video, mark, clip = str(listed).partition("$_$")
            if not mark:
                raise ValueError(f"{place}: id {listed!r}; expected <video_id>$_$<clip_id>.")
            row = {
                ours: score(str(values[index]), place, theirs, RANGE)
                for ours, theirs in {"label": "label", **UNIMODAL}.items()
                if (values := part.get(theirs.replace("label", "regression_labels"))) is not None
            }
            found.append(LabelRow(video, clip, " ".join(str(text).split()), split, row.pop("label"), row))
    return found
