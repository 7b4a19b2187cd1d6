"""IEMOCAP (USC SAIL): dialogues of two actors, scripted and improvised, with the emotion of each utterance."""

import logging
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .clip_schema import context_of
from .corpus import CorpusBuilder, CorpusConfig, make_clip
from .corpus_files import CorpusFiles, find_one

logger = logging.getLogger(__name__)

PLACES = ("", "IEMOCAP_full_release/")
SESSIONS = (1, 2, 3, 4, 5)
TEST_SESSION = 5
VALIDATION_SHARE = 0.1  # of the training dialogues; the paper does not say which dialogues it held out

# Code in the EmoEvaluation files -> class, for each task, in the order of the field's class ids.
CLASSES = {
    "emotion": {"hap": "happy", "sad": "sad", "neu": "neutral", "ang": "angry", "exc": "excited", "fru": "frustrated"},
    "emotion_4": {"hap": "happy", "sad": "sad", "neu": "neutral", "ang": "angry", "exc": "happy"},
}
CODES = ("ang", "hap", "sad", "neu", "fru", "exc", "fea", "sur", "dis", "oth", "xxx")  # all; xxx: the raters disagree

_TURN = re.compile(r"\[\s*(\d+\.?\d*)\s*-\s*(\d+\.?\d*)\s*\]\s+((Ses0[1-5][FM]_\w+)_([FM])\w+)\s+(\w+)\s")
# Up to the first "]:", because the text may hold brackets and colons too.
_SPOKEN = re.compile(r"(Ses0[1-5]\w+)\s*\[[^\]]*\]:(.*)")


@dataclass(frozen=True)
class Utterance:
    """A turn of a dialogue: its id, start and end in seconds of the dialogue, the letter of the speaker, the code of
    the emotion, the text.
    """

    id: str
    start: float
    end: float
    actor: str
    code: str
    text: str


@dataclass
class IemocapConfig(CorpusConfig):
    """One task of IEMOCAP.

    Args:
        split_seed: seed that draws a tenth of the dialogues of Sessions 1 to 4 for validation.
        context: add the earlier utterances of the dialogue, including those whose emotion is not a class of the task.
        earlier_context: number of those earlier utterances, the nearest; -1: all.
        later_context: number of later utterances of the dialogue that follow them in the context; -1: all. Systems that
            read whole dialogues see them, one that predicts while people speak does not.
    """

    split_seed: int = 0
    context: bool = True
    earlier_context: int = -1
    later_context: int = 0


class Iemocap(CorpusBuilder):
    """IEMOCAP: 7,380 utterances of six emotions in 151 dialogues (`emotion`), 5,531 of four with excited merged into
    happy (`emotion_4`).

    `data_dir` holds `Session1/` to `Session5/` (also inside `IEMOCAP_full_release/`), of which are read

        Session<n>/dialog/EmoEvaluation/<dialogue>.txt     times and emotions; its sub-folders are ignored
        Session<n>/dialog/transcriptions/<dialogue>.txt    text
        Session<n>/dialog/avi/DivX/<dialogue>.avi          both actors side by side; optional

    A clip's media are a cut of the dialogue's avi: the left half of the picture where the speaker is the actor whose
    letter is in the dialogue's name, the right half otherwise. Its sound is that of the avi, in which both actors are
    heard; the recordings of single utterances in `sentences/wav` are not used, because picture and sound of a clip come
    from one file.

    Test is Session 5, as in the paper. A text keeps its tags ([LAUGHTER]): some utterances consist of nothing else.
    Without videos the text can be used alone.
    """

    BUILDER_CONFIG_CLASS = IemocapConfig
    BUILDER_CONFIGS = [
        IemocapConfig(
            name=name,
            task=TaskSpecification(
                name, "single_label_classification", tuple(dict.fromkeys(codes.values())), metrics="conversation"
            ),
        )
        for name, codes in CLASSES.items()
    ]
    TABLE_II = {"emotion": {"train": 5228, "validation": 519, "test": 1622}}
    EXPECTED = {"emotion": {"train": 5192, "validation": 566, "test": 1622}}  # with split_seed 0
    DIFFERENCE = {
        "emotion": "Sessions 1 to 4 have 5,758 clips of the six classes, the paper 5,747 in train and "
        "validation; which dialogues it held out, "
        "and why 11 clips are missing, is not public. The test clips agree."
    }
    TITLE = "IEMOCAP"
    LANGUAGE = "en"
    PEOPLE = "Ten actors in pairs who play and improvise scenes in English in a laboratory."
    TERMS = "USC release form: academic research, no part may be passed on; ids alone may be written down"
    REDISTRIBUTION = False
    CITATION = """@article{busso2008iemocap,
  title = {{IEMOCAP}: Interactive emotional dyadic motion capture database},
  author = {Busso, Carlos and Bulut, Murtaza and Lee, Chi-Chun and Kazemzadeh, Abe and Mower, Emily and Kim, Samuel and
            Chang, Jeannette N. and
    Lee, Sungbok and Narayanan, Shrikanth S.},
  journal = {Language Resources and Evaluation},
  volume = {42},
  number = {4},
  pages = {335--359},
  year = {2008}
}"""

    @classmethod
    def speaker_sex(cls, speaker: str) -> str:
        """Return the sex of an actor, which the last letter of the id states."""
        return {"F": "female", "M": "male"}[speaker[-1]]

    @classmethod
    def find_files(cls, folder, config):
        evaluations = {}
        for place in PLACES:  # "Ses*", not "*": macOS leaves other files beside them
            found = sorted((folder / place).glob("Session[1-5]/dialog/EmoEvaluation/Ses*.txt"))
            evaluations = evaluations or {path.stem: path for path in found}
        absent = [number for number in SESSIONS if not any(name.startswith(f"Ses0{number}") for name in evaluations)]
        if not evaluations:  # raises, with what is there
            find_one(
                folder, [f"{place}Session1/dialog/EmoEvaluation/Ses01F_impro01.txt" for place in PLACES], "IEMOCAP"
            )
        if absent:
            raise FileNotFoundError(
                f"no EmoEvaluation files of Session {', '.join(map(str, absent))} in {folder}; the split needs "
                "all five sessions."
            )
        annotations, media = {}, {}
        for dialogue, path in evaluations.items():
            folder_of_session = path.parent.parent
            words = find_one(folder_of_session, [f"transcriptions/{dialogue}.txt"], f"transcription of {dialogue}")
            annotations |= {f"emotions of {dialogue}": path, f"words of {dialogue}": words}
            video = folder_of_session / f"avi/DivX/{dialogue}.avi"
            if video.is_file():
                clips = (turn.id for turn in read_dialogue(path, words) if turn.code in CLASSES[config.name])
                media |= dict.fromkeys(clips, video)
        if not config.ids_file:
            held = split_dialogues(evaluations, config.split_seed)["validation"]
            logger.info("iemocap: with split_seed %d validation is %s", config.split_seed, ", ".join(held))
        return CorpusFiles(annotations, media)

    @cached_property
    def _dialogues(self) -> dict[str, dict[str, list[Utterance]]]:
        """The utterances by split and dialogue."""
        paths = self.files.annotations
        names = [role.removeprefix("words of ") for role in paths if role.startswith("words of ")]
        return {
            split: {name: read_dialogue(paths[f"emotions of {name}"], paths[f"words of {name}"]) for name in dialogues}
            for split, dialogues in split_dialogues(names, self.config.split_seed).items()
        }

    @property
    def _classes(self) -> dict[str, str]:
        return CLASSES[self.config.task.name]

    def clips(self, split) -> Iterator[dict]:
        for dialogue, utterances in self._dialogues[split].items():
            said = [turn.text for turn in utterances]
            speakers = [f"{dialogue[:5]}{turn.actor}" for turn in utterances]
            options = (self.config.earlier_context if self.config.context else 0, self.config.later_context)
            for place, turn in enumerate(utterances):
                if turn.code in self._classes:
                    clip = make_clip(
                        turn.id, self._classes[turn.code], turn.text, self.files.media.get(turn.id), video_id=dialogue,
                        speaker=speakers[place], context=context_of(said, place, *options),
                        context_speakers=context_of(speakers, place, *options),
                    )  # fmt: skip
                    side = "left" if turn.actor == dialogue[5] else "right"
                    clip["media"] |= {"start": turn.start, "end": turn.end, "crop": side}
                    yield clip

    def dropped_clips(self, split) -> dict[str, str]:
        """Return the utterances whose emotion is not a class of the task, and lines without an evaluation."""
        dropped = {}
        for dialogue, utterances in self._dialogues[split].items():
            codes = {turn.id: turn.code for turn in utterances}
            others = {id: code for id, code in codes.items() if code not in self._classes}
            dropped |= {id: f"emotion code {code} is not a class of the task" for id, code in others.items()}
            texts, unnamed = read_transcription(self.files.annotations[f"words of {dialogue}"])
            dropped |= dict.fromkeys((id for id in texts if id not in codes), "transcribed but not evaluated")
            dropped |= dict.fromkeys((f"{dialogue}, line {line}" for line in unnamed), "transcribed without an id")
        return dropped


def split_dialogues(dialogues, seed: int) -> dict[str, list[str]]:
    """Split the dialogues: Session 5 is test, a seeded tenth of the others is validation. Sorted by name."""
    test = sorted(name for name in dialogues if name.startswith(f"Ses0{TEST_SESSION}"))
    rest = sorted(set(dialogues) - set(test))
    drawn = list(rest)
    random.Random(seed).shuffle(drawn)
    held = set(drawn[: max(1, round(VALIDATION_SHARE * len(rest)))])
    return {"train": [name for name in rest if name not in held], "validation": sorted(held), "test": test}


def read_dialogue(evaluation: Path, transcription: Path) -> list[Utterance]:
    """Read the evaluated utterances of a dialogue in the order of time; the text is "" where none is transcribed.

    Raises:
        ValueError: a line is not a turn of this dialogue, or names an unknown emotion.
    """
    texts, _ = read_transcription(transcription)
    turns = []
    for number, line in enumerate(_lines(evaluation), start=1):
        if not line.startswith("["):  # the header, and what each rater said
            continue
        turn = _TURN.match(line + " ")
        if turn is None or turn[4] != evaluation.stem or turn[6] not in CODES:
            raise ValueError(
                f"{evaluation}, line {number}: {line!r}; expected [START - END], an utterance of "
                f"{evaluation.stem} and one of {', '.join(CODES)}."
            )
        turns.append(Utterance(turn[3], float(turn[1]), float(turn[2]), turn[5], turn[6], texts.get(turn[3], "")))
    return sorted(turns, key=lambda turn: (turn.start, turn.end, turn.id))


def read_transcription(path: Path) -> tuple[dict[str, str], list[int]]:
    """Return the text by utterance id (tags kept, single spaces), and the numbers of lines without an utterance."""
    texts, unnamed = {}, []
    for number, line in enumerate(_lines(path), start=1):
        spoken = _SPOKEN.match(line)
        if spoken:
            texts[spoken[1]] = " ".join(spoken[2].split())
        elif line.strip():
            unnamed.append(number)
    return texts, unnamed


def _lines(path: Path) -> list[str]:
    """Read the lines of a file in UTF-8, or else in latin-1."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return re.split("\r?\n", text)  # not splitlines, which also breaks at control characters
