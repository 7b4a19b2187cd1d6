"""The corpus `features`: clips, texts, labels and splits of a feature file itself."""

import functools
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from datasets_scripts.clip_labels import BINARY
from datasets_scripts.corpus import CorpusBuilder, CorpusConfig, make_clip
from datasets_scripts.corpus_files import CorpusFiles
from datasets_scripts.loading import task_specification

from ..configuration_semanticmac import TaskSpecification
from .reading import clips_of, read_feature_file
from .streams import FeatureClip

logger = logging.getLogger(__name__)

RANGES = ((-1.0, 1.0), (-3.0, 3.0))  # of CH-SIMS and of CMU's corpora; the first that holds all scores
# The classes of conversation files in the order of their ids, as the loaders of DialogueRNN and MMGCN number them.
IEMOCAP = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
MELD = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
MULT_IEMOCAP = ("neutral", "happy", "sad", "angry")  # each present or absent
TASKS = ("sentiment", "emotion", *BINARY, "emotion_4", "emotion_calm_merged")
VALIDATION_SHARE = 0.1  # of the training dialogues, where a file has no validation split


@dataclass
class FeatureCorpusConfig(CorpusConfig):
    """What the labels of a feature file mean.

    Args:
        like: a corpus whose task, classes and metrics apply, e.g. "mosi"; None: they follow from the file.
        label_range: (lowest, highest) score; None: (-1, 1) or (-3, 3), the first that holds all scores.
        split_seed: seed that draws a tenth of the training dialogues for validation, where the file has none.
        context: add the earlier utterances of the dialogue.
    """

    like: str | None = None
    label_range: Sequence[float] | None = None
    split_seed: int = 0
    context: bool = True


class FeatureCorpus(CorpusBuilder):
    """The clips of a feature file that has labels and splits: MMSA, MulT, conversation tuples, HKT.

    `data_dir` is the file. Texts are those of the file; where it has none (MulT), audio and vision are all there is.
    Conversation tuples have no validation split: a tenth of the training dialogues is drawn.
    """

    BUILDER_CONFIG_CLASS = FeatureCorpusConfig
    BUILDER_CONFIGS = [FeatureCorpusConfig(name=name) for name in TASKS]
    TITLE = "clips of a feature file"
    PEOPLE = "Whoever is in the corpus that the features were computed from."
    TERMS = "those of the corpus that the features were computed from"
    TEXT_ALONE_IS_MEANT = True

    @classmethod
    def corpus_name(cls) -> str:
        return "features"

    @classmethod
    def task_config(cls, task, data_dir=None, like=None, label_range=None, **options):
        """Return the configuration of a task, whose classes follow from the file in `data_dir`, or from `like`.

        Raises:
            ValueError: the file has no labels, or they do not fit the task.
        """
        if like is not None:
            found = task_specification(like, task)
        else:
            if data_dir is None:
                raise ValueError("features: what the labels mean is in the file; give data_dir, the feature file.")
            found = _task_of(Path(data_dir).expanduser(), task, label_range)
        return replace(super().task_config(found.name), task=found)

    @classmethod
    def find_files(cls, folder, config):
        labelled_clips(folder)  # raises where there are no labels
        code = {f"code of {path.name}": path for path in Path(__file__).parent.glob("*.py")}  # rows follow from it
        return CorpusFiles({f"features {path.name}": path for path in _parts(folder)} | code)

    def _info(self):
        # The library creates the configuration again from its name.
        own = {name: getattr(self.config, name) for name in ("like", "label_range")}
        self.config.task = self.task_config(self.config.name, Path(self.config.data_dir), **own).task
        return super()._info()

    @cached_property
    def _clips(self) -> list[FeatureClip]:
        clips = labelled_clips(Path(self.config.data_dir))[1]
        if any(clip.split == "validation" for clip in clips):
            return list(clips)
        return _with_validation(clips, self.config.split_seed)

    def clips(self, split) -> Iterator[dict]:
        """Yield the rows of a split that have a label."""
        form, _ = labelled_clips(Path(self.config.data_dir))
        names, task = _class_names(form, self._clips), self.config.task
        for clip in self._clips:
            if clip.split != split:
                continue
            yield make_clip(
                self.normalize_id(clip.id), _label(clip, task, names), clip.text or "", speaker=clip.speaker,
                context=clip.context if self.config.context else [],
                **{f"label_{name}": value for name, value in clip.unimodal.items() if task.is_regression},
            )  # fmt: skip


@functools.lru_cache(maxsize=2)
def _labelled(path: Path, state: tuple) -> tuple[str, tuple[FeatureClip, ...]]:
    file = read_feature_file(path)
    streams = ("audio", "vision", "single", "text_features", "token_ids", "interval")
    clips = tuple(replace(clip, **dict.fromkeys(streams)) for clip in clips_of(file))
    if not any(clip.label is not None and clip.split for clip in clips):
        raise ValueError(
            f"{path} (form {file.form}) has no labels and splits of its own; name the corpus with --corpus and "
            "--data_dir."
        )
    return file.form, clips


def labelled_clips(path: Path) -> tuple[str, tuple[FeatureClip, ...]]:
    """Return the form of a file and its clips without their streams; read once.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no labels or splits, or is no feature file.
    """
    if not path.exists():
        raise FileNotFoundError(f"no feature file at {path}.")
    return _labelled(path, tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in _parts(path)))


def _parts(path: Path) -> list[Path]:
    """Return the files of a folder, sorted, or the file."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _class_names(form: str, clips: Sequence[FeatureClip]) -> tuple[str, ...] | None:
    """Return the names of class ids of conversation files; None for other forms."""
    if form != "conversations":
        return None
    return MELD if clips[0].id.startswith("dia") else IEMOCAP


def _task_of(path: Path, task: str | None, label_range: Sequence[float] | None) -> TaskSpecification:
    """Return what the labels of a file predict.

    Raises:
        ValueError: they do not fit the task, or the task must be given.
    """
    form, clips = labelled_clips(path)
    labels = [clip.label for clip in clips if clip.label is not None]
    if any(isinstance(label, list) for label in labels):
        found = TaskSpecification("emotion", "multi_label_classification", MULT_IEMOCAP, metrics="multi_label")
    elif (names := _class_names(form, clips)) is not None:
        found = TaskSpecification("emotion", "single_label_classification", names, metrics="conversation")
    elif all(isinstance(label, int) for label in labels) and set(labels) <= {0, 1}:
        if task not in BINARY:
            raise ValueError(f"{path} has labels 0 and 1; say what they mean with --task {' or '.join(BINARY)}.")
        found = TaskSpecification(task, "single_label_classification", BINARY[task], metrics="weighted")
    else:
        low, high = min(labels), max(labels)
        fitting = [bounds for bounds in RANGES if bounds[0] <= low and high <= bounds[1]]
        if label_range is None and not fitting:
            raise ValueError(
                f"{path} has scores from {low:g} to {high:g}; expected them within -3 and 3, or the option label_range."
            )
        bounds = tuple(label_range) if label_range is not None else fitting[0]
        found = TaskSpecification("sentiment", "regression", ("sentiment",), bounds)
    if task not in (None, found.name):
        raise ValueError(f"{path} has labels of {found.name}, not of {task}.")
    return found


def _label(clip: FeatureClip, task: TaskSpecification, names: tuple[str, ...] | None):
    """Return a label in the clip schema.

    Raises:
        ValueError: the task has no such label.
    """
    label, low_high = clip.label, task.label_range
    if task.is_regression and isinstance(label, float) and low_high and low_high[0] <= label <= low_high[1]:
        return label
    if task.is_multi_label and isinstance(label, list) and len(label) == task.num_labels:
        return label
    if not task.is_regression and not task.is_multi_label and isinstance(label, int):
        word = names[label] if names is not None else None
        if word in task.label_names:
            return word
        if names is None and label < task.num_labels:
            return task.label_names[label]
    expected = f"a score from {low_high[0]:g} to {low_high[1]:g}" if low_high else ", ".join(task.label_names)
    raise ValueError(f"clip {clip.id!r} has the label {label!r}; task {task.name!r} expects {expected}.")


def _with_validation(clips: Sequence[FeatureClip], seed: int) -> list[FeatureClip]:
    """Return the clips with a tenth of the training dialogues as validation; without dialogues, of the clips."""
    dialogues, number = [], -1
    for clip in clips:  # a dialogue begins where nothing was said before
        number += not clip.context
        dialogues.append(number)
    train = sorted({dialogue for dialogue, clip in zip(dialogues, clips) if clip.split == "train"})
    held = set(random.Random(seed).sample(train, max(1, round(VALIDATION_SHARE * len(train)))))
    logger.info("features: %d of %d training dialogues are validation (split_seed %d)", len(held), len(train), seed)
    return [
        replace(clip, split="validation") if clip.split == "train" and dialogue in held else clip
        for dialogue, clip in zip(dialogues, clips)
    ]


__all__ = ["FeatureCorpus", "labelled_clips"]
