"""UR-FUNNY v2 (ROC-HCI/UR-FUNNY): punchlines of TED talks, humorous or not, with the sentences before them."""

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from modeling_semanticmac.files.atomic_files import write_json

from .corpus import CorpusBuilder, CorpusConfig, make_clip
from .corpus_files import CorpusFiles, find_one, media_in
from .restricted_pickle import load_restricted

CLASSES = ("not_humorous", "humorous")
RELEASE_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
# Role -> file name of the release without ending.
ANNOTATIONS = {"folds": "data_folds", "labels": "humor_label_sdk", "language": "language_sdk"}
PLACES = ("", "sdk_features/", "urfunny2_features/")
CLIP_FOLDERS = ("urfunny2_videos", "videos", "")
FIRST_VERSION = "word_embedding_indexes_sdk.pkl"  # a file that only the first version of the corpus has
PUNCHLINE, CONTEXT = "punchline_sentence", "context_sentences"


@dataclass
class UrFunnyConfig(CorpusConfig):
    """The task of UR-FUNNY.

    Args:
        context: add the sentences before the punchline.
    """

    context: bool = True


class UrFunny(CorpusBuilder):
    """UR-FUNNY v2: 9,588 punchlines in 7,614 / 980 / 994, about half of them humorous, no speaker in two splits.

    `data_dir` holds `data_folds.pkl`, `humor_label_sdk.pkl` and `language_sdk.pkl` (also inside `sdk_features/`), or
    their export to JSON under the same names (`python -m datasets_scripts.ur_funny FOLDER` writes it), and the clips
    `urfunny2_videos/<id>.mp4`. Without clips the text can be used alone. Pickles are read without running code in them.
    Only the text is read: how the release names its word features (`punchline_embedding_indexes` or
    `punchline_features`) does not matter.

    A clip's text is the punchline, its context the sentences before it. Its media show both, because the start of the
    punchline is not published.
    """

    BUILDER_CONFIG_CLASS = UrFunnyConfig
    BUILDER_CONFIGS = [
        UrFunnyConfig(
            name="humor", task=TaskSpecification("humor", "single_label_classification", CLASSES, metrics="weighted")
        )
    ]
    TABLE_II = {"humor": {"train": 7614, "validation": 980, "test": 994}}
    EXPECTED = {"humor": {"train": 7614, "validation": 980, "test": 994}}
    TITLE = "UR-FUNNY v2"
    LANGUAGE = "en"
    PEOPLE = "Speakers of TED talks in English, on a stage."
    TERMS = "no licence is published with the annotations; the talks are TED's, CC BY-NC-ND"
    REDISTRIBUTION = False
    CITATION = """@inproceedings{hasan2019urfunny,
  title = {{UR-FUNNY}: A Multimodal Language Dataset for Understanding Humor},
  author = {Hasan, Md Kamrul and Rahman, Wasifur and Bagher Zadeh, AmirAli and Zhong, Jianyuan and
            Tanveer, Md Iftekhar and
    Morency, Louis-Philippe and Hoque, Mohammed (Ehsan)},
  booktitle = {Proceedings of EMNLP-IJCNLP},
  pages = {2046--2056},
  year = {2019}
}"""

    @classmethod
    def find_files(cls, folder, config):
        return CorpusFiles(
            {role: find_annotation(folder, role) for role in ANNOTATIONS},
            media_in(folder / place for place in CLIP_FOLDERS),
        )

    @cached_property
    def _folds(self) -> dict[str, list[str]]:
        return read_folds(self.files.annotations["folds"])

    @cached_property
    def _labels(self) -> dict[str, int]:
        return read_labels(self.files.annotations["labels"])

    @cached_property
    def _language(self) -> dict[str, dict]:
        return read_language(self.files.annotations["language"])

    def clips(self, split) -> Iterator[dict]:
        dropped = self.dropped_clips(split)
        for id in self._folds[RELEASE_SPLITS[split]]:
            if id not in dropped:
                words = self._language[id]
                yield make_clip(
                    id, CLASSES[self._labels[id]], words[PUNCHLINE], self.files.media.get(id),
                    context=words[CONTEXT] if self.config.context else [],
                )  # fmt: skip

    def dropped_clips(self, split) -> dict[str, str]:
        """Return the ids of the fold that the other files lack."""
        absent = {}
        for id in self._folds[RELEASE_SPLITS[split]]:
            if id not in self._labels:
                absent[id] = "in data_folds but not in humor_label_sdk"
            elif id not in self._language:
                absent[id] = "in data_folds but not in language_sdk"
        return absent


def find_annotation(folder: Path, role: str) -> Path:
    """Return the JSON export of an annotation file, or else its pickle.

    Raises:
        FileNotFoundError: neither exists.
        ValueError: the folder holds the first version of the corpus.
    """
    # JSON first: it was exported to avoid the pickle.
    names = [f"{place}{ANNOTATIONS[role]}{suffix}" for suffix in (".json", ".pkl") for place in PLACES]
    first = [name for name in names if (folder / name).is_file()][:1]
    old = [place + FIRST_VERSION for place in PLACES if (folder / place / FIRST_VERSION).is_file()]
    if not first and old:
        raise ValueError(
            f"{folder / old[0]} belongs to the first version of UR-FUNNY, which has neither words nor videos; "
            "get version 2 (ROC-HCI/UR-FUNNY)."
        )
    return find_one(folder, first or names, f"{role} of UR-FUNNY v2")


def read_folds(path: Path) -> dict[str, list[str]]:
    """Return the ids by split of the release ("train", "dev", "test").

    Raises:
        ValueError: the splits have other names, or an id is in two of them.
    """
    folds = _read(path)
    if set(folds) != set(RELEASE_SPLITS.values()):
        raise ValueError(f"{path} has the splits {', '.join(map(str, folds))}; expected train, dev and test.")
    folds = {split: [str(id) for id in ids] for split, ids in folds.items()}
    counts = Counter(id for ids in folds.values() for id in ids)
    twice = [id for id, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"{path}: {len(twice)} ids occur twice, such as {twice[0]}; expected each in one split, once.")
    return folds


def read_labels(path: Path) -> dict[str, int]:
    """Return 1 by id where the punchline is humorous, 0 where it is not.

    Raises:
        ValueError: a label is neither.
    """
    labels = _read(path)
    for id, label in labels.items():
        if label not in (0, 1):
            raise ValueError(f"{path}: {id} has the label {label!r}; expected 0 or 1.")
    return {str(id): int(label) for id, label in labels.items()}


def read_language(path: Path) -> dict[str, dict]:
    """Return {"punchline_sentence": text, "context_sentences": [text, ...]} by id, with single spaces.

    Raises:
        ValueError: an entry has no text.
    """
    found = {}
    for id, entry in _read(path).items():
        if not isinstance(entry, Mapping) or PUNCHLINE not in entry or CONTEXT not in entry:
            has = ", ".join(map(str, entry)) if isinstance(entry, Mapping) else type(entry).__name__
            raise ValueError(
                f"{path}: {id} has {has}; expected {PUNCHLINE} and {CONTEXT}. The first version of UR-FUNNY "
                "has no words: get version 2."
            )
        context = entry[CONTEXT]
        sentences = [context] if isinstance(context, str) else context or []
        spoken = [_sentence(path, id, sentence) for sentence in sentences]
        found[str(id)] = {
            PUNCHLINE: _sentence(path, id, entry[PUNCHLINE]),
            CONTEXT: [words for words in spoken if words],
        }
    return found


def _sentence(path: Path, id, value) -> str:
    """Join a sentence that may be stored as a list of strings, its words or its parts."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{path}: {id} has the sentence {value!r}; expected a string or a list of strings.")
    return " ".join(" ".join(parts).split())


def _read(path: Path) -> Mapping:
    content = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else load_restricted(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds {type(content).__name__}; expected a mapping.")
    return content


def export_json(folder: str | os.PathLike) -> list[Path]:
    """Write the text and labels of a release as JSON beside its pickles; each file is written whole or not at all.

    Returns:
        The files, which are read in place of the pickles from then on.

    Raises:
        FileNotFoundError, ValueError: raised as when the corpus is loaded.
    """
    folder = Path(folder)
    readers = {"folds": read_folds, "labels": read_labels, "language": read_language}
    sources = {role: find_annotation(folder, role) for role in readers}
    contents = {role: reader(sources[role]) for role, reader in readers.items()}
    targets = [sources[role].with_suffix(".json") for role in readers]
    for target, content in zip(targets, contents.values()):
        write_json(target, content)
    return targets


def main(argv: list[str] | None = None) -> int:
    """Export to JSON and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m datasets_scripts.ur_funny", description="Write the annotations of UR-FUNNY v2 as JSON."
    )
    parser.add_argument("folder", type=Path, help="folder of the release")
    try:
        for path in export_json(parser.parse_args(argv).folder):
            print(path)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
