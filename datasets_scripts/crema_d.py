"""CREMA-D (Cao et al., 2014): 91 actors say twelve sentences with six emotions, rated by the crowd."""

import csv
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .acted_speech import NUM_FOLDS, coded_files, fold_splits, preferred
from .corpus import CorpusBuilder, CorpusConfig, make_clip
from .corpus_files import CorpusFiles, find_one

CODE = re.compile(r"(1\d{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX|X)")
EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
VOTES = {code[0]: name for code, name in EMOTIONS.items()}  # letters of summaryTable.csv
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
SUMMARY = ("processedResults/summaryTable.csv", "summaryTable.csv")
NUM_ACTORS = 91
FIRST_ACTOR = 1001


@dataclass
class CremaDConfig(CorpusConfig):
    """A task of CREMA-D and its split, which is always by speaker.

    Args:
        fold: 0 to 4: the group of test actors; the next group is validation.
        split_seed: seed that deals the 91 actors out to the five groups.
    """

    fold: int = 0
    split_seed: int = 0


class CremaD(CorpusBuilder):
    """CREMA-D: 7,442 clips of 91 actors (48 men, 43 women).

    `data_dir` holds the released folders, or any of them: `VideoFlash/*.flv` or `VideoMP4/*.mp4` (picture and sound),
    `AudioWAV/*.wav` (sound); for the task `emotion_perceived` also `processedResults/summaryTable.csv`. A clip whose
    video is there uses it, otherwise its sound. A clip's id is the name of its file, such as `1001_DFA_ANG_XX`.

    The tasks are `emotion`, the emotion that the actor was asked for, and `emotion_perceived`, the one that most raters
    of picture and sound heard and saw; clips with a tie are left out. `VideoDemographics.csv` (age, sex, race,
    ethnicity of the actors) is not read: it describes people, and no task needs it. The sentence says nothing about the
    emotion: text alone must stay at chance.
    """

    BUILDER_CONFIG_CLASS = CremaDConfig
    BUILDER_CONFIGS = [
        CremaDConfig(
            name=name,
            task=TaskSpecification(
                name, "single_label_classification", tuple(EMOTIONS.values()), metrics="conversation"
            ),
        )
        for name in ("emotion", "emotion_perceived")
    ]

    TITLE = "CREMA-D"
    LANGUAGE = "en"
    PEOPLE = "91 actors aged 20 to 74 from Philadelphia, 43 of them women, of several ethnic groups, in English."
    TERMS = "Open Database License (ODbL) 1.0, contents Database Contents License 1.0"
    REDISTRIBUTION = True
    CITATION = """@article{cao2014cremad,
  title = {{CREMA-D}: Crowd-Sourced Emotional Multimodal Actors Dataset},
  author = {Cao, Houwei and Cooper, David G. and Keutmann, Michael K. and Gur, Ruben C. and Nenkova, Ani and
            Verma, Ragini},
  journal = {IEEE Transactions on Affective Computing},
  volume = {5},
  number = {4},
  pages = {377--390},
  year = {2014}
}"""

    @classmethod
    def find_files(cls, folder, config):
        fold_splits(actor_groups(config.split_seed), config.fold)  # raises
        found: dict[str, list[Path]] = {}
        for code, path in coded_files(folder, CODE):
            found.setdefault(code[0], []).append(path)
        if not found:
            raise FileNotFoundError(
                f"no clips of CREMA-D below {folder}; expected files such as AudioWAV/1001_DFA_ANG_XX.wav or "
                "VideoFlash/1001_DFA_ANG_XX.flv."
            )
        perceived = config.name == "emotion_perceived"
        annotations = {"votes": find_one(folder, SUMMARY, "votes of CREMA-D's raters")} if perceived else {}
        return CorpusFiles(annotations, {clip: preferred(paths) for clip, paths in sorted(found.items())})

    def clips(self, split) -> Iterator[dict]:
        for clip, path in self._files_of(split):
            label = self._label(clip)
            if label is not None:
                actor, sentence, _, _ = CODE.fullmatch(clip).groups()
                text = SENTENCES.get(sentence)
                if text is None:
                    raise ValueError(f"{path}: unknown sentence {sentence}; expected one of {', '.join(SENTENCES)}.")
                yield make_clip(clip, label, text, path, speaker=actor)

    def dropped_clips(self, split):
        """Return the clips without a vote, or with a tie of votes."""
        left_out = (clip for clip, _ in self._files_of(split) if self._label(clip) is None)
        return {clip: "a tie of the raters' votes" if clip in self._votes else "no vote" for clip in left_out}

    def _files_of(self, split: str) -> list[tuple[str, Path]]:
        actors = fold_splits(actor_groups(self.config.split_seed), self.config.fold)[split]
        return [(clip, path) for clip, path in self.files.media.items() if clip.partition("_")[0] in actors]

    def _label(self, clip: str) -> str | None:
        if self.config.name == "emotion":
            return EMOTIONS[CODE.fullmatch(clip)[3]]
        return VOTES.get(self._votes.get(clip, ""))  # "A:D", a tie, is not there

    @cached_property
    def _votes(self) -> dict[str, str]:
        return read_votes(self.files.annotations["votes"])


def actor_groups(seed: int) -> list[list[str]]:
    """Return five groups of the 91 actors, drawn by a seed; the sizes differ by one at most."""
    actors = [str(FIRST_ACTOR + number) for number in range(NUM_ACTORS)]
    random.Random(seed).shuffle(actors)
    return [sorted(actors[place::NUM_FOLDS]) for place in range(NUM_FOLDS)]


def read_votes(path: Path) -> dict[str, str]:
    """Read the votes on picture and sound together: letters such as "A", or "A:D" for a tie, by clip.

    Raises:
        ValueError: a column is missing, or a vote is not of the letters A, D, F, H, N and S.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    columns = {name.lower(): name for name in (rows[0] if rows else ()) if name}
    if not {"filename", "multimodalvote"} <= columns.keys():
        raise ValueError(f"{path} has the columns {', '.join(columns)}; expected FileName and MultiModalVote.")
    votes = {}
    for number, row in enumerate(rows, start=2):
        vote = row[columns["multimodalvote"]].strip()
        if not vote or set(vote.split(":")) - VOTES.keys():
            raise ValueError(
                f"{path}, row {number}: MultiModalVote is {vote!r}; expected letters of {'/'.join(VOTES)}."
            )
        votes[row[columns["filename"]].strip()] = vote
    return votes


__all__ = ["EMOTIONS", "CremaD", "actor_groups", "read_votes"]
