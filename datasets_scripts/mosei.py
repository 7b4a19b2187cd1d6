"""CMU-MOSEI (A2Zadeh): sentiment and six emotions of sentences in YouTube monologues."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .cmu_folds import NO_FOLD, SCORES, TERMS, segment_id, standard_folds
from .corpus import CorpusBuilder, CorpusConfig, make_clip
from .corpus_files import CorpusFiles, find_one, media_in
from .csd_file import read_csd
from .mmsa_layout import LabelRow, raw_media, read_label_csv
from .mosei_labels import EMOTIONS, Line, by_sorted_ids, by_time, check_join, read_mturk, read_transcript

MMSA = ("label.csv", "MOSEI/label.csv")
CSD = tuple(f"{place}CMU_MOSEI_Labels.csd" for place in ("", "CMU_MOSEI/", "Labels/", "Raw/Labels/", "labels/"))
ROOTS = ("", "Raw/", "CMU_MOSEI/", "CMU_MOSEI/Raw/")
TRANSCRIPTS = ("Transcript/Segmented/Combined", "Transcript/Combined")
RATINGS = (0.0, 3.0)  # range of the rating of an emotion
NO_EMOTION = "no emotion labels in the label file"


@dataclass
class MoseiConfig(CorpusConfig):
    """One task of CMU-MOSEI.

    Args:
        join: how entries of the SDK's label file are matched to clips: "time" (start and end as in the transcripts) or
            "sorted_ids" (entry k is the k-th of the video's clip ids sorted as text; needs label.csv). None: by time
            where there are transcripts.
    """

    join: str | None = None


@dataclass(frozen=True)
class Clip:
    """A labelled clip: ids, text, split, sentiment, and where known the six emotions (6,) and the seconds in the full
    video.
    """

    video: str
    number: str
    text: str
    split: str | None
    sentiment: float
    emotions: np.ndarray | None = None
    start: float | None = None
    end: float | None = None

    @property
    def id(self) -> str:
        return segment_id(self.video, self.number)


class Mosei(CorpusBuilder):
    """CMU-MOSEI: sentiment from -3 to 3 of 22,856 clips in 16,326 / 1,871 / 4,659 (`sentiment`), and which of six
    emotions are present (`emotion`).

    `data_dir` holds one or more of

        label.csv, Raw/<video_id>/<clip_id>.mp4     MMSA's layout (also inside MOSEI/), or with CMU's videos
        CMU_MOSEI_Labels.csd                        the SDK's label file: sentiment and emotions
        Transcript/Segmented/Combined/<video>.txt   CMU's layout (also inside Raw/), with
                                                    Videos/Segmented/Combined/<video>_<clip>.mp4 or
                                                    Videos/Full/Combined/<video>.mp4, which is cut at the times, and
                                                    Labels/*.csv (MTurk answers)

    Clips come from label.csv if it exists, otherwise from the label file or the MTurk answers, with the standard split
    by videos. Emotions come from the label file, otherwise from the MTurk answers. An emotion is present where its mean
    rating is above 0; a clip may have several or none. Without media the text can be used alone. A clip's id is
    `<video_id>_<clip_id>`; without label.csv and transcripts `<video_id>[k]`.
    """

    BUILDER_CONFIG_CLASS = MoseiConfig
    BUILDER_CONFIGS = [
        MoseiConfig(
            name="sentiment", task=TaskSpecification("sentiment", "regression", ("sentiment",), SCORES, metrics="mosi")
        ),
        MoseiConfig(
            name="emotion",
            task=TaskSpecification("emotion", "multi_label_classification", EMOTIONS, metrics="multi_label"),
        ),
    ]
    TABLE_II = {
        "sentiment": {"train": 16326, "validation": 1871, "test": 4659},
        "emotion": {"train": 16322, "validation": 1871, "test": 4659},
    }
    EXPECTED = {
        "emotion": {"train": 16322, "validation": 1871, "test": 4659}
    }  # clips of label.csv that are in the label file
    TITLE = "CMU-MOSEI"
    LANGUAGE = "en"
    PEOPLE = "English-speaking YouTube users who talk to a camera about many things."
    TERMS = TERMS
    CITATION = """@inproceedings{zadeh2018mosei,
  title = {Multimodal Language Analysis in the Wild: {CMU-MOSEI} Dataset and Interpretable Dynamic Fusion Graph},
  author = {Bagher Zadeh, AmirAli and Liang, Paul Pu and Poria, Soujanya and Cambria, Erik and Morency, Louis-Philippe},
  booktitle = {Proceedings of the 56th Annual Meeting of the Association for Computational Linguistics},
  pages = {2236--2246},
  year = {2018}
}"""

    @classmethod
    def find_files(cls, folder, config):
        if getattr(config, "join", None) not in (None, "time", "sorted_ids"):
            raise ValueError(f'mosei: join is {config.join!r}; expected "time", "sorted_ids" or nothing.')
        annotations = {}
        for role, names in (("labels", MMSA), ("csd", CSD)):
            found = [name for name in names if (folder / name).is_file()]
            if found:
                annotations[role] = find_one(folder, found, role)
        root = next(
            (folder / place for place in ROOTS if any((folder / place / name).is_dir() for name in TRANSCRIPTS)), folder
        )
        transcripts = next((root / name for name in TRANSCRIPTS if (root / name).is_dir()), None)
        for path in sorted(transcripts.glob("[!.]*.txt")) if transcripts else ():
            annotations[f"words of {path.stem}"] = path
        for path in sorted((root / "Labels").glob("[!.]*.csv")):
            annotations[f"answers of {path.stem}"] = path
        answers = any(role.startswith("answers of ") for role in annotations)
        if not {"labels", "csd"} & set(annotations) and not (transcripts and answers):
            find_one(
                folder, [*MMSA, *CSD, *(f"{place}{TRANSCRIPTS[0]}" for place in ROOTS)], "labels of CMU-MOSEI"
            )  # raises
        if config.name == "emotion" and "csd" not in annotations and not answers:
            find_one(folder, CSD, "emotion labels of CMU-MOSEI; label.csv has none")  # raises
        _check_join_option(getattr(config, "join", None), annotations)
        return CorpusFiles(annotations, _media(folder, root, annotations))

    @classmethod
    def segments(cls, data_dir, task=None, join=None, **options):
        config = replace(cls.task_config("sentiment"), join=join)
        files = cls.find_files(Path(data_dir).expanduser(), config).annotations
        clips = read_clips(files, read_lines(files))
        return {clip.id: (clip.video, clip.start, clip.end) for clip in clips if clip.start is not None}

    @cached_property
    def _clips(self) -> list[Clip]:
        annotations = self.files.annotations
        lines = read_lines(annotations)
        clips = read_clips(annotations, lines)
        return _with_emotions(clips, annotations, lines, self.config.join) if self._asks_emotions else clips

    @property
    def _asks_emotions(self) -> bool:
        return self.config.task.is_multi_label

    def clips(self, split) -> Iterator[dict]:
        dropped = self.dropped_clips(split)
        for row in self._clips:
            if row.split != split or row.id in dropped:
                continue
            label = [int(value > 0) for value in row.emotions] if self._asks_emotions else row.sentiment
            path = self.files.media.get(row.id)
            clip = make_clip(row.id, label, row.text, path, video_id=row.video)
            if path is not None and path.parent.parent.name == "Full":
                clip["media"] |= {"start": row.start, "end": row.end}
            yield clip

    def dropped_clips(self, split) -> dict[str, str]:
        """Return the clips without a label or with one out of range, and (under train) those of videos that are in no
        fold.
        """
        dropped = {}
        for row in self._clips:
            if row.split is None and split == "train":
                dropped[row.id] = NO_FOLD
            elif row.split == split and (reason := self._trouble(row)):
                dropped[row.id] = reason
        return dropped

    def _trouble(self, row: Clip) -> str:
        """Return why a clip has no label for the task; "" where it has one."""
        if self._asks_emotions and row.emotions is None:
            return NO_EMOTION
        rated = zip(EMOTIONS, row.emotions) if self._asks_emotions else [("sentiment", row.sentiment)]
        low, high = RATINGS if self._asks_emotions else SCORES
        for name, value in rated:
            if not low <= value <= high:
                return f"nobody rated {name}" if np.isnan(value) else f"{name} {value:g} is out of range"
        return ""


def _check_join_option(join: str | None, annotations: dict[str, Path]) -> None:
    """Refuse a join for which a file is missing: it would match nothing, or would not be the requested one."""
    if join == "time" and not any(role.startswith("words of ") for role in annotations):
        raise FileNotFoundError(
            'mosei: join="time" compares times with the transcripts, and there are none; expected '
            f"{TRANSCRIPTS[0]}/<video_id>.txt."
        )
    if join == "sorted_ids" and "labels" not in annotations:
        raise FileNotFoundError('mosei: join="sorted_ids" sorts the clip ids of label.csv, and there is none.')


def _media(folder: Path, root: Path, annotations: dict[str, Path]) -> dict[str, Path]:
    """Return the media file by clip id: the clip's own file, otherwise the full video."""
    media, full = media_in([root / "Videos/Segmented/Combined"]), media_in([root / "Videos/Full/Combined"])
    if "labels" in annotations:
        path = annotations["labels"]
        media |= raw_media(path.parent / "Raw", read_label_csv(path, SCORES))
    if full:
        media |= {
            row.id: full[row.video]
            for row in read_clips(annotations, read_lines(annotations))
            if row.id not in media and row.video in full and row.start is not None
        }
    return media


def read_lines(annotations: dict[str, Path]) -> dict[str, dict[str, Line]]:
    """Return the line of the transcript by video and clip."""
    paths = [path for role, path in annotations.items() if role.startswith("words of ")]
    return {path.stem: {line.clip: line for line in read_transcript(path)} for path in paths}


def read_clips(annotations: dict[str, Path], lines: dict[str, dict[str, Line]]) -> list[Clip]:
    """Return the labelled clips from label.csv, otherwise from the SDK's label file or the MTurk answers; `lines` comes
    from `read_lines`.
    """
    if "labels" in annotations:
        return [_of_row(row, lines) for row in read_label_csv(annotations["labels"], SCORES)]
    folds, clips = standard_folds("mosei"), []
    if "csd" in annotations:
        for video, entries in read_csd(annotations["csd"], width=7).items():
            spoken = lines.get(video, {})
            places = by_time(entries, {clip: (line.start, line.end) for clip, line in spoken.items()})
            numbers = {position: clip for clip, position in places.items()}
            for position, ((start, end), values) in enumerate(zip(entries.intervals, entries.features)):
                number = numbers.get(position, f"[{position}]")
                text = spoken[number].text if number in spoken else ""
                clips.append(
                    Clip(video, number, text, folds.get(video), float(values[0]), values[1:], float(start), float(end))
                )
        return clips
    for (video, number), values in _answers(annotations).items():
        line = lines.get(video, {}).get(number)
        times = (line.start, line.end) if line else (None, None)
        clips.append(
            Clip(video, number, line.text if line else "", folds.get(video), float(values[0]), values[1:], *times)
        )
    return clips


def _of_row(row: LabelRow, lines: dict[str, dict[str, Line]]) -> Clip:
    line = lines.get(row.video, {}).get(row.clip)
    times = (line.start, line.end) if line else (None, None)
    return Clip(row.video, row.clip, row.text, row.split, row.label, None, *times)


def _answers(annotations: dict[str, Path]) -> dict[tuple[str, str], np.ndarray]:
    return read_mturk(path for role, path in annotations.items() if role.startswith("answers of "))


def _with_emotions(
    clips: list[Clip], annotations: dict[str, Path], lines: dict[str, dict[str, Line]], join: str | None
) -> list[Clip]:
    """Add the emotions of the label file or of the MTurk answers to the clips of label.csv; other clips have them
    already.
    """
    if "labels" not in annotations:
        return clips
    if "csd" not in annotations:
        answers = _answers(annotations)
        rated = {f"{video}_{number}": values[1:] for (video, number), values in answers.items()}
        return [replace(clip, emotions=rated.get(clip.id)) for clip in clips]
    by_video: dict[str, dict[str, Clip]] = defaultdict(dict)
    for clip in clips:
        by_video[clip.video][clip.number] = clip
    emotions, sentiments = {}, {}
    entries_of = read_csd(annotations["csd"], width=7)
    for video, found in by_video.items():
        if video not in entries_of:
            continue
        entries, spoken = entries_of[video], lines.get(video, {})
        if join == "time" or (join is None and spoken):
            places = by_time(entries, {n: (spoken[n].start, spoken[n].end) for n in found if n in spoken})
        else:
            places = by_sorted_ids(entries, {n: clip.sentiment for n, clip in found.items()})
        for number, position in places.items():
            emotions[found[number].id] = entries.features[position, 1:]
            sentiments[found[number].id] = float(entries.features[position, 0])
    check_join({clip.id: clip.sentiment for clip in clips}, sentiments, annotations["csd"])
    return [replace(clip, emotions=emotions.get(clip.id)) for clip in clips]
