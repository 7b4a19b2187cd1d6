"""A synthetic corpus with a known answer: clips of a drawn face that speaks, with planted scores of words, voice and
face.

It consists of real MP4 files of 2 to 6 seconds, rendered from a seed, in which everything that a model should find is
known. The scores of the three modalities agree in most clips and contradict each other in a stated share; the
multimodal label is a stated function of the three (`synthetic_scores.py`), so neither words nor voice nor face alone
explains it. Quickstart, tests and examples use it.

It shows no people: the face is a drawing, the voice babbles vowels unrelated to the words, the sentences come from six
templates. A figure on it shows that the way from file to prediction works, and nothing about affect.
"""

import csv
import io
import json
import math
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm.auto import tqdm

from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from modeling_semanticmac.files.atomic_files import write_json, write_whole

from .corpus import SPLITS, CorpusBuilder, CorpusConfig, make_clip
from .corpus_files import CorpusFiles
from .synthetic_scores import (
    CLASSES,
    EMOTIONS,
    LABEL_WEIGHTS,
    SCORE_RANGE,
    emotion_label,
    plant_clip,
    sarcasm_label,
    sentiment_label,
)

RENDERING = 1  # increase it when the same settings render other clips, so that an old folder is not taken for a new one
CLIPS_PER_SPEAKER = 6
DEFAULTS = {
    "train": 240,
    "validation": 60,
    "test": 60,
    "seed": 0,
    "contradiction_share": 1 / 3,
    "label_weights": list(LABEL_WEIGHTS),
}
LABELS = {"sentiment": sentiment_label, "emotion": emotion_label, "sarcasm": sarcasm_label}
COLUMNS = ("id", "split", "speaker", "text", "label_text", "label_audio", "label_vision", "contradicts")


@dataclass
class SyntheticConfig(CorpusConfig):
    """One task of the synthetic corpus, and what to render. Options that are not given keep the value of the folder, or
    take the default in an empty one.

    Args:
        train, validation, test: numbers of clips; default 240, 60, 60.
        seed: seed of everything; default 0.
        contradiction_share: share of clips in which one modality contradicts the other two; default 1/3.
        label_weights: weights of words, voice and face in the label of task sentiment, which add up to 1; default 0.45,
            0.30, 0.25. They change the labels, not the clips.
        num_proc: number of rendering processes; see [`render`].
    """

    train: int | None = None
    validation: int | None = None
    test: int | None = None
    seed: int | None = None
    contradiction_share: float | None = None
    label_weights: list[float] | None = None
    num_proc: int | None = None


class Synthetic(CorpusBuilder):
    """Drawn faces that speak. `data_dir` is rendered if it is empty, completed if rendering was interrupted, and read
    otherwise.

    `label` is the multimodal label of the task; `label_text`, `label_audio`, `label_vision` are the planted scores in
    [-3, 3]. Each speaker has six clips, all in one split.
    """

    BUILDER_CONFIG_CLASS = SyntheticConfig
    TITLE = "the synthetic corpus of SemanticMAC"
    LANGUAGE = "en"
    PEOPLE = "Nobody: the faces are drawn, the voices computed, the sentences made of a word list."
    BUILDER_CONFIGS = [
        SyntheticConfig(
            name="sentiment", task=TaskSpecification("sentiment", "regression", ("sentiment",), SCORE_RANGE, "mosi")
        ),
        SyntheticConfig(
            name="emotion",
            task=TaskSpecification("emotion", "multi_label_classification", EMOTIONS, metrics="multi_label"),
        ),
        SyntheticConfig(
            name="sarcasm",
            task=TaskSpecification("sarcasm", "single_label_classification", CLASSES, metrics="weighted"),
        ),
    ]

    @classmethod
    def find_files(cls, folder, config):
        asked = {name: getattr(config, name) for name in DEFAULTS if getattr(config, name) is not None}
        render(folder, config.num_proc, **asked)
        paths = {row["id"]: _clip_path(folder, row["id"]) for row in _read_table(folder)}
        return CorpusFiles({"settings": folder / "corpus.json", "clips": folder / "clips.csv"}, paths)

    def clips(self, split) -> Iterator[dict]:
        label = LABELS[self.config.name]
        if self.config.name == "sentiment":
            label = partial(
                sentiment_label, weights=_read_settings(self.files.annotations["settings"])["label_weights"]
            )
        for row in _read_table(self.files.annotations["clips"].parent):
            if row["split"] == split:
                scores = tuple(float(row[name]) for name in ("label_text", "label_audio", "label_vision"))
                yield make_clip(
                    row["id"], label(scores), row["text"], self.files.media[row["id"]], video_id=row["speaker"],
                    speaker=row["speaker"], label_text=scores[0], label_audio=scores[1], label_vision=scores[2],
                )  # fmt: skip


def render(data_dir: str | os.PathLike, num_proc: int | None = None, **settings) -> Path:
    """Render the corpus into a folder, or what is missing from it.

    Writes `clips/<id>.mp4`, and `clips.csv` with the planted scores. The same settings make the same clips: clip i of a
    split does not depend on the number of clips.

    Args:
        num_proc: number of processes; None: one for each core, at most 8.
        settings: `train`, `validation`, `test`, `seed`, `contradiction_share`, `label_weights`, see
            [`SyntheticConfig`].

    Raises:
        ValueError: the folder holds something else, or the settings are invalid.
    """
    folder = Path(data_dir).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    settings = _settle(folder, settings)
    if _missing_files(folder, settings):
        rows = plant_corpus(settings)
        with FileLock(folder / ".rendering.lock"):  # several processes of one run may render at the same time
            missing = _missing_files(folder, settings)
            wanted = [row for row in rows if _clip_path(folder, row["id"]) in missing]
            _render_clips(folder, wanted, settings["seed"], num_proc)
            _write_table(folder, rows)
    return folder


def plant_corpus(settings: dict) -> list[dict]:
    """Return the rows of `clips.csv` for some settings, in order."""
    rows = []
    for number, split in enumerate(SPLITS):
        for index in range(settings[split]):
            planted = plant_clip(
                np.random.default_rng([settings["seed"], number, index]), settings["contradiction_share"]
            )
            names = (_clip_id(split, index), split, f"{split}_speaker_{index // CLIPS_PER_SPEAKER:03d}", planted.text)
            rows.append(dict(zip(COLUMNS, (*names, *planted.scores, planted.contradicts))))
    return rows


def _settle(folder: Path, asked: dict) -> dict:
    """Return the settings of a folder: those that it holds, which must agree with the requested ones, or new ones,
    which are written first.
    """
    unknown = asked.keys() - DEFAULTS.keys()
    if unknown:
        raise ValueError(
            f"the synthetic corpus has no setting {', '.join(sorted(unknown))}; it has {', '.join(DEFAULTS)}."
        )
    path = folder / "corpus.json"
    if path.is_file():
        held = _read_settings(path)
        for name, value in {**asked, "rendering": RENDERING}.items():
            if held.get(name) != value:
                raise ValueError(
                    f"{folder} holds a synthetic corpus with {name}={held.get(name)}; requested "
                    f"{name}={value}. Give another folder, or delete "
                    "this one."
                )
        return held
    others = [name for name in os.listdir(folder) if not name.startswith(".")]
    if others and path.is_file():  # another process has begun since the first look; it writes the settings first
        return _settle(folder, asked)
    if others:
        raise ValueError(
            f"{folder} is not empty and does not hold a synthetic corpus ({', '.join(sorted(others)[:5])}); "
            "give an empty folder."
        )
    settings = {**DEFAULTS, **asked, "rendering": RENDERING}
    sizes = [settings[split] for split in SPLITS]
    if any(not isinstance(size, int) or size < 1 for size in sizes) or settings["seed"] < 0:
        raise ValueError(
            f"train, validation, test are {sizes} and the seed is {settings['seed']}; expected at least 1 clip "
            "each and a seed >= 0."
        )
    if not 0 <= settings["contradiction_share"] <= 1:
        raise ValueError(f"contradiction_share is {settings['contradiction_share']}; expected a share from 0 to 1.")
    weights = settings["label_weights"]
    if len(weights) != 3 or min(weights) < 0 or not math.isclose(sum(weights), 1):
        raise ValueError(f"label_weights are {weights}; expected three numbers from 0 to 1 that add up to 1.")
    write_json(path, settings)
    return settings


def _read_settings(path: Path) -> dict:
    """Read `corpus.json`; settings that are younger than the folder have their defaults."""
    return {**DEFAULTS, **json.loads(path.read_text(encoding="utf-8"))}


def _missing_files(folder: Path, settings: dict) -> set[Path]:
    """Return the files of the corpus that do not exist yet."""
    wanted = {_clip_path(folder, _clip_id(split, index)) for split in SPLITS for index in range(settings[split])}
    wanted.add(folder / "clips.csv")
    return {path for path in wanted if not path.is_file()}


def _clip_id(split: str, index: int) -> str:
    return f"{split}_{index:04d}"


def _clip_path(folder: Path, clip: str) -> Path:
    return folder / "clips" / f"{clip}.mp4"


def _render_clips(folder: Path, rows: list[dict], seed: int, num_proc: int | None) -> None:
    """Render clips over processes, with a progress bar."""
    if not rows:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    num_proc = min(len(rows), num_proc or min(8, cores))
    task = partial(_render_row, folder, seed)
    with tqdm(total=len(rows), desc="Rendering clips", unit=" clips") as bar:
        if num_proc == 1:
            for row in rows:
                task(row)
                bar.update()
            return
        with multiprocessing.Pool(num_proc) as pool:
            for _ in pool.imap_unordered(task, rows, chunksize=4):
                bar.update()


def _render_row(folder: Path, seed: int, row: dict) -> None:
    from .synthetic_rendering import render_clip  # imported here: reading the corpus needs no video encoder

    split, number = row["id"].split("_")
    place = [seed, SPLITS.index(split)]
    scores = (row["label_text"], row["label_audio"], row["label_vision"])
    speaker = int(number) // CLIPS_PER_SPEAKER
    render_clip(_clip_path(folder, row["id"]), scores, [*place, speaker, 1], [*place, int(number), 2])


def _read_table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "clips.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_table(folder: Path, rows: list[dict]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / "clips.csv", lambda path: path.write_text(text.getvalue(), encoding="utf-8", newline=""))
