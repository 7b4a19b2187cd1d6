"""RAVDESS (Livingstone & Russo, 2018), speech part: 24 actors say two sentences with eight emotions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .acted_speech import coded_files, fold_splits, preferred
from .corpus import CorpusBuilder, CorpusConfig, make_clip
from .corpus_files import CorpusFiles

# The name of a file is modality-channel-emotion-intensity-statement-repetition-actor.
CODE = re.compile(r"(0[1-3])-(01)-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")  # codes 01 to 08
MERGED = tuple(name for name in EMOTIONS if name != "calm")
STATEMENTS = ("Kids are talking by the door.", "Dogs are sitting by the door.")  # codes 01 and 02
INTENSITIES = ("normal", "strong")  # codes 01 and 02; neutral has normal only
VIDEO_ALONE = "02"  # modality: 01 is picture and sound, 03 sound alone
# The test actors of the five folds that publications use; validation is the fold that follows.
FOLDS = ((2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22))


@dataclass
class RavdessConfig(CorpusConfig):
    """A task of RAVDESS and its split, which is always by speaker.

    Args:
        fold: 0 to 4: the group of test actors; the next group is validation.
        intensity: "normal" or "strong": use only these clips; None: both.
    """

    fold: int = 0
    intensity: str | None = None


class Ravdess(CorpusBuilder):
    """RAVDESS, speech: 1,440 clips of 24 actors (odd numbers male, even female), 60 of each.

    `data_dir` holds the released folders, or any of them, at any depth:

        Audio_Speech_Actors_01-24/Actor_<n>/<code>.wav      sound
        Video_Speech_Actor_<n>/Actor_<n>/<code>.mp4         picture and sound (01-...); 02-... (picture alone) is unused

    or a flat folder of files that are named by the code, as WAV, FLAC or MP4. A performance whose video is there uses
    it, otherwise its sound. Song is left out. A clip's id is the code without the modality, such as
    `01-06-01-02-01-12`; lists and feature files may have the modality before it.

    The tasks are `emotion` (eight classes) and `emotion_calm_merged` (seven; calm counts as neutral). The sentence says
    nothing about the emotion: text alone must stay at chance.
    """

    BUILDER_CONFIG_CLASS = RavdessConfig
    BUILDER_CONFIGS = [
        RavdessConfig(
            name=name, task=TaskSpecification(name, "single_label_classification", classes, metrics="conversation")
        )
        for name, classes in (("emotion", EMOTIONS), ("emotion_calm_merged", MERGED))
    ]

    EXPECTED = dict.fromkeys(
        ("emotion", "emotion_calm_merged"), {"train": 840, "validation": 300, "test": 300}
    )  # with fold 0
    TITLE = "RAVDESS"
    LANGUAGE = "en"
    PEOPLE = "24 professional actors from Toronto, half of them women, in English with a North American accent."
    TERMS = "CC BY-NC-SA 4.0"
    REDISTRIBUTION = True
    CITATION = """@article{livingstone2018ravdess,
  title = {The {Ryerson} Audio-Visual Database of Emotional Speech and Song ({RAVDESS})},
  author = {Livingstone, Steven R. and Russo, Frank A.},
  journal = {PLoS ONE},
  volume = {13},
  number = {5},
  pages = {e0196391},
  year = {2018}
}"""

    @classmethod
    def find_files(cls, folder, config):
        if config.intensity not in (None, *INTENSITIES):
            raise ValueError(f"ravdess: intensity is {config.intensity!r}; expected {' or '.join(INTENSITIES)}.")
        fold_splits(FOLDS, config.fold)  # raises
        found: dict[str, list] = {}
        for code, path in coded_files(folder, CODE):
            if code[1] != VIDEO_ALONE:
                found.setdefault(cls.normalize_id(code[0]), []).append(path)
        if not found:
            raise FileNotFoundError(
                f"no speech of RAVDESS below {folder}; expected files such as "
                "Audio_Speech_Actors_01-24/Actor_01/03-01-01-01-01-01-01.wav or 01-01-01-01-01-01-01.mp4."
            )
        return CorpusFiles({}, {clip: preferred(paths) for clip, paths in sorted(found.items())})

    @classmethod
    def speaker_sex(cls, speaker: str) -> str:
        """Return the sex of an actor, which the release states by odd and even numbers."""
        return "male" if int(speaker.removeprefix("actor")) % 2 else "female"

    @classmethod
    def normalize_id(cls, listed: str) -> str:
        """Return the clip id for an id with or without the modality."""
        return listed[3:] if CODE.fullmatch(listed) else listed

    def clips(self, split) -> Iterator[dict]:
        actors = fold_splits(FOLDS, self.config.fold)[split]
        for clip, path in self.files.media.items():
            _, emotion, intensity, statement, _, actor = (int(part) for part in clip.split("-"))
            if actor not in actors or self.config.intensity not in (None, INTENSITIES[intensity - 1]):
                continue
            label = EMOTIONS[emotion - 1]
            if label not in self.config.task.label_names:
                label = "neutral"  # calm, where the two are merged
            yield make_clip(clip, label, STATEMENTS[statement - 1], path, speaker=f"actor{actor:02d}")


__all__ = ["EMOTIONS", "FOLDS", "Ravdess"]
