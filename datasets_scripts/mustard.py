"""MUStARD (soujanyaporia/MUStARD): sarcasm in utterances of TV series, with the sentences before them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .corpus import CorpusBuilder, CorpusConfig, make_clip
from .corpus_files import CorpusFiles, find_one, media_in
from .restricted_pickle import load_restricted
from .split_list import SPLITS
from .stratified_split import stratified_parts

CLASSES = ("not_sarcastic", "sarcastic")
NUM_FOLDS = 5
HELD_OUT_SHOW = "FRIENDS"  # left out by the authors' code in the speaker-independent setup
VALIDATION_SHARE = 0.1  # of the training part; the authors have no validation split
SPLIT_SIZES = (554, 68, 68)  # the sizes that the paper's table of corpora gives; its lists of ids are not public
PLACES = ("", "data/", "mmsd_raw_data/")


@dataclass
class MustardConfig(CorpusConfig):
    """The task of MUStARD and its split; without `fold` and `speaker_independent` a seeded stratified split 554 / 68 /
    68.

    Args:
        fold: 0 to 4, the authors' speaker-dependent folds (552 / 138); needs their `split_indices.p`, or the same as
            JSON.
        speaker_independent: the authors' other setup: test on FRIENDS (356), train on all other shows (334).
        split_seed: seed of the split; with `fold` and `speaker_independent` it draws the tenth of the training part
            that becomes validation (55 of 552, 33 of 334).
        context: add the sentences before the utterance.
    """

    fold: int | None = None
    speaker_independent: bool = False
    split_seed: int = 0
    context: bool = True


class Mustard(CorpusBuilder):
    """MUStARD: 690 utterances, half of them sarcastic.

    `data_dir` holds `sarcasm_data.json` (also inside `data/`), the authors' folds as `split_indices.p` or
    `split_indices.json` (a list of `{"train": [...], "test": [...]}`, positions in `sarcasm_data.json`), and the
    unpacked clips in `utterances_final/` (also inside `data/` or `mmsd_raw_data/`). Without clips the text can be used
    alone. The clips of the context, `context_final/<id>_c.mp4`, are not used: the context is text. A clip's id is its
    key in `sarcasm_data.json`.

    Two of the four shows leak the label: 39 of 40 clips of GOLDENGIRLS and all 14 of SARCASMOHOLICS are sarcastic.
    """

    BUILDER_CONFIG_CLASS = MustardConfig
    BUILDER_CONFIGS = [
        MustardConfig(
            name="sarcasm",
            task=TaskSpecification("sarcasm", "single_label_classification", CLASSES, metrics="weighted"),
        )
    ]

    TABLE_II = {"sarcasm": {"train": 554, "validation": 68, "test": 68}}
    TITLE = "MUStARD"
    LANGUAGE = "en"
    PEOPLE = "Characters of four TV series in English; actors."
    TERMS = "annotations MIT; the clips are cut from TV series"
    REDISTRIBUTION = False
    CITATION = """@inproceedings{castro2019mustard,
  title = {Towards Multimodal Sarcasm Detection (An {\\_Obviously\\_} Perfect Paper)},
  author = {Castro, Santiago and Hazarika, Devamanyu and P{\\'e}rez-Rosas, Ver{\\'o}nica and
            Zimmermann, Roger and Mihalcea, Rada and
    Poria, Soujanya},
  booktitle = {Proceedings of the 57th Annual Meeting of the Association for Computational Linguistics},
  pages = {4619--4629},
  year = {2019}
}"""

    @classmethod
    def find_files(cls, folder, config):
        if config.fold is not None and config.speaker_independent:
            raise ValueError("mustard: fold and speaker_independent are two ways to split it; give one.")
        if config.fold is not None and config.fold not in range(NUM_FOLDS):
            raise ValueError(f"mustard: fold is {config.fold!r}; expected a whole number from 0 to {NUM_FOLDS - 1}.")
        annotations = {"utterances": find_one(folder, [f"{place}sarcasm_data.json" for place in PLACES], "utterances")}
        if config.fold is not None:
            # JSON first: it was exported to avoid the pickle.
            names = [f"{place}split_indices{suffix}" for suffix in (".json", ".p") for place in PLACES]
            first = [name for name in names if (folder / name).is_file()][:1]
            annotations["folds"] = find_one(folder, first or names, "folds of the speaker-dependent setting")
        return CorpusFiles(annotations, media_in(folder / f"{place}utterances_final" for place in PLACES))

    def clips(self, split) -> Iterator[dict]:
        path = self.files.annotations["utterances"]
        rows = json.loads(path.read_text(encoding="utf-8"))
        entries = list(rows.items())
        for index in self._indices([row for _, row in entries])[split]:
            clip, row = entries[index]
            if not isinstance(row.get("sarcasm"), bool):
                raise ValueError(f"{path}: {clip} has sarcasm = {row.get('sarcasm')!r}; expected true or false.")
            context = [repair_text(sentence) for sentence in row["context"]] if self.config.context else []
            yield make_clip(
                clip,
                CLASSES[row["sarcasm"]],
                repair_text(row["utterance"]),
                self.files.media.get(clip),
                speaker=row["speaker"],
                context=context,
                context_speakers=row.get("context_speakers", []) if self.config.context else [],
            )

    def _indices(self, rows: list[dict]) -> dict[str, list[int]]:
        """The positions in the file of the clips of each split."""
        labels = [bool(row["sarcasm"]) for row in rows]
        if self.config.fold is not None:
            train, test = read_folds(self.files.annotations["folds"], len(rows))[self.config.fold]
        elif self.config.speaker_independent:
            train = [index for index, row in enumerate(rows) if row["show"] != HELD_OUT_SHOW]
            test = [index for index, row in enumerate(rows) if row["show"] == HELD_OUT_SHOW]
        else:
            # The sizes of the paper, or the same proportions for another number of clips.
            held = [round(len(rows) * size / sum(SPLIT_SIZES)) for size in SPLIT_SIZES[1:]]
            sizes = (len(rows) - sum(held), *held)
            return dict(zip(SPLITS, stratified_parts(labels, sizes, self.config.split_seed)))
        held = round(VALIDATION_SHARE * len(train))
        parts = stratified_parts([labels[index] for index in train], (len(train) - held, held), self.config.split_seed)
        return {
            "train": [train[place] for place in parts[0]],
            "validation": [train[place] for place in parts[1]],
            "test": test,
        }


def read_folds(path: Path, num_clips: int) -> list[tuple[list[int], list[int]]]:
    """Read the (train, test) positions of the five folds from the authors' pickle or a JSON export.

    Raises:
        ValueError: the file does not hold five folds that each divide all clips.
    """
    if path.suffix == ".json":
        folds = [(fold["train"], fold["test"]) for fold in json.loads(path.read_text(encoding="utf-8"))]
    else:
        folds = load_restricted(path)
    found = []
    for pair in folds:
        train, test = (np.asarray(part) for part in pair)
        whole = train.ndim == test.ndim == 1 and train.dtype.kind in "iu" and test.dtype.kind in "iu"
        if not whole or sorted(train.tolist() + test.tolist()) != list(range(num_clips)):
            raise ValueError(
                f"{path}: fold {len(found)} does not divide the {num_clips} utterances of sarcasm_data.json "
                "into train and test."
            )
        found.append((train.tolist(), test.tolist()))
    if len(found) != NUM_FOLDS:
        raise ValueError(f"{path} holds {len(found)} folds; expected {NUM_FOLDS}.")
    return found


def repair_text(text: str) -> str:
    """Repair apostrophes that were read in a wrong encoding, and remove outer and doubled spaces.

    U+00D5 is Mac Roman's apostrophe; a run such as U+0101 U+20AC U+2122 is UTF-8 that was read as cp1257 (or cp1252).
    """
    text = re.sub(r"[^\x00-\x7f]{2,}", lambda run: _decode_again(run[0]), text)
    return " ".join(text.replace("\u00d5", "\u2019").split())


def _decode_again(run: str) -> str:
    for encoding in ("cp1257", "cp1252"):
        try:
            return run.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return run
