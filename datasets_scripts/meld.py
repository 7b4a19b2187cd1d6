"""MELD (Multimodal EmotionLines Dataset, declare-lab/MELD): dialogues of a TV series, emotion and sentiment of each
utterance.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .clip_schema import context_of
from .corpus import CorpusBuilder, CorpusConfig, make_clip
from .corpus_files import CorpusFiles, find_one, media_in

# In the order of the official class ids.
EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
SENTIMENTS = ("neutral", "positive", "negative")

# The release calls validation "dev" and numbers dialogues again in every split, so its split name is part of every clip
# id.
RELEASE_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
CLIP_FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
CORRECTED_CLIP = "final_videos_test"

# Media of the release that are known to be damaged, with the reason; the utterances stay in the corpus with their text.
KNOWN_BAD_MEDIA = {
    "train_dia125_utt3": "cannot be decoded",
    "dev_dia110_utt7": "not in the release",
    "test_dia38_utt4": "wrong cut of 305 s",
    "test_dia220_utt0": "wrong cut of 235 s",
    "train_dia309_utt0": "wrong cut of 41 s",
} | dict.fromkeys(
    (
        "dev_dia99_utt3",
        "dev_dia108_utt5",
        "train_dia71_utt0",
        "train_dia179_utt8",
        "train_dia312_utt9",
        "train_dia332_utt1",
        "train_dia406_utt2",
        "train_dia523_utt10",
    ),
    "nearly empty: some hundred milliseconds of sound",
)


@dataclass
class MeldConfig(CorpusConfig):
    """One task of MELD.

    Args:
        context: add the earlier utterances of the dialogue.
        earlier_context: number of those earlier utterances, the nearest; -1: all.
        later_context: number of later utterances of the dialogue that follow them in the context; -1: all. Systems that
            read whole dialogues see them, one that predicts while people speak does not.
        corrected: use the corrected clip where the release has one (132 test utterances).
    """

    context: bool = True
    earlier_context: int = -1
    later_context: int = 0
    corrected: bool = True


class Meld(CorpusBuilder):
    """MELD: 9,989 / 1,109 / 2,610 utterances of 1,038 / 114 / 280 dialogues, with the official class ids.

    `data_dir` holds `{train,dev,test}_sent_emo.csv` (also inside `train/` and so on, or all of it inside `MELD.Raw/`),
    and the unpacked clips in `train_splits/`, `dev_splits_complete/`, `output_repeated_splits_test/`, one level down
    inside `train/`, `dev/`, `test/`, or directly in these folders. Without clips the text can be used alone.

    A clip's id is `<train|dev|test>_dia<D>_utt<U>`; its video is the dialogue. For 132 test utterances the release has
    a second, corrected clip (`final_videos_testdia<D>_utt<U>.mp4`), which is used. Some clips are cut wrongly and last
    minutes (`KNOWN_BAD_MEDIA`): use the option `max_seconds`. Clips that no row names are ignored.
    """

    BUILDER_CONFIG_CLASS = MeldConfig
    KNOWN_BAD_MEDIA = KNOWN_BAD_MEDIA
    BUILDER_CONFIGS = [
        MeldConfig(
            name="emotion",
            task=TaskSpecification("emotion", "single_label_classification", EMOTIONS, metrics="conversation"),
        ),
        MeldConfig(
            name="sentiment",
            task=TaskSpecification("sentiment", "single_label_classification", SENTIMENTS, metrics="conversation"),
        ),
    ]

    TABLE_II = {"emotion": {"train": 9765, "validation": 1102, "test": 2524}}
    DIFFERENCE = {
        "emotion": "the paper has 224 / 7 / 86 fewer and no list of them is public; 1,102 is the number of "
        "validation clips in which a face was "
        "found. Here every row is a clip."
    }
    TITLE = "MELD"
    LANGUAGE = "en"
    PEOPLE = "Characters of the TV series Friends, mostly its six leads, in English; actors."
    TERMS = "annotations GPL-3.0; the clips are cut from a TV series"
    REDISTRIBUTION = False
    CITATION = """@inproceedings{poria2019meld,
  title = {{MELD}: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations},
  author = {Poria, Soujanya and Hazarika, Devamanyu and Majumder, Navonil and Naik, Gautam and Cambria, Erik and
            Mihalcea, Rada},
  booktitle = {Proceedings of the 57th Annual Meeting of the Association for Computational Linguistics},
  pages = {527--536},
  year = {2019}
}"""

    @classmethod
    def find_files(cls, folder, config):
        annotations, media = {}, {}
        inner = "MELD.Raw/" if (folder / "MELD.Raw").is_dir() else ""
        for split in RELEASE_SPLITS.values():
            name = f"{split}_sent_emo.csv"
            places = [prefix + place for prefix in dict.fromkeys(("", inner)) for place in (name, f"{split}/{name}")]
            annotations[split] = find_one(folder, places, f"utterances of MELD's {split} split")
            for stem, path in media_in(_clip_folders(folder / inner, split)).items():
                key = re.fullmatch(rf"({CORRECTED_CLIP})?(dia\d+_utt\d+)", stem)
                if key and (config.corrected if key[1] else f"{split}_{key[2]}" not in media):
                    media[f"{split}_{key[2]}"] = path
        return CorpusFiles(annotations, media)

    def clips(self, split) -> Iterator[dict]:
        name = RELEASE_SPLITS[split]
        rows = read_utterances(self.files.annotations[name])
        dialogues: dict[str, list[dict[str, str]]] = {}  # the rows of each, in order
        for row in rows:
            dialogues.setdefault(f"{name}_dia{row['Dialogue_ID']}", []).append(row)
        places: dict[str, int] = {}
        options = (self.config.earlier_context if self.config.context else 0, self.config.later_context)
        column = self.config.name.capitalize()
        for row in rows:
            dialogue = f"{name}_dia{row['Dialogue_ID']}"
            clip = f"{dialogue}_utt{row['Utterance_ID']}"
            label = row[column].strip().lower()
            if label not in self.config.task.label_names:
                raise ValueError(
                    f"{self.files.annotations[name]}: utterance {clip} has the {self.config.name} "
                    f"{row[column]!r}; expected one of "
                    f"{', '.join(self.config.task.label_names)}."
                )
            place = places[dialogue] = places.get(dialogue, -1) + 1
            said, names = ([each[key] for each in dialogues[dialogue]] for key in ("Utterance", "Speaker"))
            yield make_clip(
                clip, label, row["Utterance"], self.files.media.get(clip), video_id=dialogue, speaker=row["Speaker"],
                context=context_of(said, place, *options), context_speakers=context_of(names, place, *options),
            )  # fmt: skip


def _clip_folders(root: Path, split: str) -> list[Path]:
    """Return the folders that may hold the clips of a split, the release's own first."""
    return [root / CLIP_FOLDERS[split], root / split / CLIP_FOLDERS[split], root / split]


def read_utterances(path: Path) -> list[dict[str, str]]:
    """Read a `*_sent_emo.csv` and return its rows by dialogue and utterance id (integers), with clean text.

    Raises:
        ValueError: a column is missing, or an id is not a number.
    """
    reader = csv.DictReader(io.StringIO(decode_text(path.read_bytes()), newline=""))
    needed = {"Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"}
    missing = needed - set(reader.fieldnames or ())
    if missing:
        raise ValueError(f"{path} has no column {', '.join(sorted(missing))}; its header is {reader.fieldnames}.")
    rows = []
    for row in reader:
        try:
            row["Dialogue_ID"], row["Utterance_ID"] = int(row["Dialogue_ID"]), int(row["Utterance_ID"])
        except (TypeError, ValueError):
            raise ValueError(
                f"{path}, line {reader.line_num}: Dialogue_ID {row['Dialogue_ID']!r} and Utterance_ID "
                f"{row['Utterance_ID']!r}; "
                "expected two whole numbers."
            ) from None
        row["Utterance"], row["Speaker"] = _one_spaced(row["Utterance"]), _one_spaced(row["Speaker"])
        rows.append(row)
    return sorted(rows, key=lambda row: (row["Dialogue_ID"], row["Utterance_ID"]))


def decode_text(data: bytes) -> str:
    """Decode a file of the release, whichever of its encodings it has.

    The csv files of 2018 and 2019 are UTF-8 with C1 control characters, which are cp1252 bytes that were once read as
    latin-1; some copies are plain cp1252.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
    return re.sub("[\x80-\x9f]", lambda match: match[0].encode("latin-1").decode("cp1252", errors="replace"), text)


def _one_spaced(text: str) -> str:
    """Remove outer, doubled and no-break spaces."""
    return " ".join(text.split())
