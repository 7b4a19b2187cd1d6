"""CMU-MOSI (A2Zadeh): sentiment of opinions in YouTube monologues about films."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from modeling_semanticmac.configuration_semanticmac import TaskSpecification

from .cmu_folds import NO_FOLD, SCORES, TERMS, segment_id, standard_folds
from .corpus import CorpusBuilder, CorpusConfig, make_clip
from .corpus_files import CorpusFiles, find_one, media_in
from .csd_file import read_csd, words_between
from .mmsa_layout import LabelRow, mmsa_clips, raw_media, read_label_csv, score

# Places of the file by which a layout is recognised.
MMSA = ("label.csv", "MOSI/label.csv")
CMU = tuple(f"{place}Labels/OpinionLevelSentiment.csv" for place in ("", "Raw/", "CMU_MOSI_Raw/", "CMU_MOSI/Raw/"))
CSD = ("CMU_MOSI_Opinion_Labels.csd", "CMU_MOSI/CMU_MOSI_Opinion_Labels.csd")
WORDS = "CMU_MOSI_TimestampedWords.csd"
DELIMITER = "_DELIM_"


@dataclass(frozen=True)
class Segment:
    """A segment of a video: its number, its start and end in seconds of the full video, its score."""

    video: str
    number: str
    start: float
    end: float
    score: float

    @property
    def id(self) -> str:
        return segment_id(self.video, self.number)


class Mosi(CorpusBuilder):
    """CMU-MOSI: 2,199 segments of 93 videos in 1,284 / 229 / 686; scores from -3 to 3.

    `data_dir` holds one of

        label.csv, Raw/<video_id>/<n>.mp4              MMSA's layout (also inside MOSI/)
        Labels/OpinionLevelSentiment.csv               CMU's layout (also inside Raw/ or CMU_MOSI_Raw/), with
                                                       Transcript/Segmented/*.annotprocessed and
                                                       Video/Segmented/<video_id>_<n>.mp4, or Video/Full/<video_id>.mp4,
                                                       which is cut at the times
        CMU_MOSI_Opinion_Labels.csd                    the SDK's, with CMU_MOSI_TimestampedWords.csd and
                                                       Video/Full/<video_id>.mp4

    Without media the text can be used alone. A clip's id is `<video_id>_<n>`, n from 1; in the SDK's layout
    `<video_id>[k]`, k from 0, because the order of its entries is not documented. The split is the standard one by
    videos.
    """

    BUILDER_CONFIGS = [
        CorpusConfig(
            name="sentiment", task=TaskSpecification("sentiment", "regression", ("sentiment",), SCORES, metrics="mosi")
        )
    ]
    TABLE_II = {"sentiment": {"train": 1284, "validation": 229, "test": 686}}
    TITLE = "CMU-MOSI"
    LANGUAGE = "en"
    PEOPLE = "English-speaking YouTube users who tell a camera their opinion, mostly of films."
    TERMS = TERMS
    CITATION = """@article{zadeh2016mosi,
  title = {Multimodal Sentiment Intensity Analysis in Videos: Facial Gestures and Verbal Messages},
  author = {Zadeh, Amir and Zellers, Rowan and Pincus, Eli and Morency, Louis-Philippe},
  journal = {IEEE Intelligent Systems},
  volume = {31},
  number = {6},
  pages = {82--88},
  year = {2016}
}"""

    @classmethod
    def find_files(cls, folder, config):
        layouts = {names: [name for name in names if (folder / name).is_file()] for names in (MMSA, CMU, CSD)}
        if layouts[MMSA] and layouts[CMU]:
            raise ValueError(
                f"{folder} holds two layouts of CMU-MOSI, {layouts[MMSA][0]} and {layouts[CMU][0]}; give the "
                "folder of one of them."
            )
        if layouts[MMSA]:
            path = find_one(folder, MMSA, "labels of CMU-MOSI")
            return CorpusFiles({"labels": path}, raw_media(path.parent / "Raw", read_label_csv(path, SCORES)))
        if layouts[CMU]:
            return _cmu_files(find_one(folder, CMU, "scores of CMU-MOSI"))
        path = find_one(folder, CSD if layouts[CSD] else (*MMSA, *CMU, *CSD), "labels of CMU-MOSI")
        annotations = {"csd": path}
        if (path.parent / WORDS).is_file():
            annotations["words"] = path.parent / WORDS
        videos = media_in([path.parent / "Video/Full", folder / "Video/Full"])
        return CorpusFiles(
            annotations,
            {segment.id: videos[segment.video] for segment in read_csd_segments(path) if segment.video in videos},
        )

    @classmethod
    def segments(cls, data_dir, task=None, **options):
        files = cls.find_files(Path(data_dir).expanduser(), cls.BUILDER_CONFIGS[0]).annotations
        if "labels" in files:  # MMSA's layout has no times
            return {}
        found = read_scores(files["scores"]) if "scores" in files else read_csd_segments(files["csd"])
        return {segment.id: (segment.video, segment.start, segment.end) for segment in found}

    @cached_property
    def _rows(self) -> list[LabelRow]:
        return read_label_csv(self.files.annotations["labels"], SCORES)

    @cached_property
    def _segments(self) -> list[Segment]:
        annotations = self.files.annotations
        return read_scores(annotations["scores"]) if "scores" in annotations else read_csd_segments(annotations["csd"])

    @cached_property
    def _texts(self) -> dict[str, str]:
        """Return the text by clip id."""
        annotations = self.files.annotations
        if "scores" in annotations:
            transcripts = [path for role, path in annotations.items() if role.startswith("words of ")]
            return {id: words for path in transcripts for id, words in read_transcript(path).items()}
        words = read_csd(annotations["words"]) if "words" in annotations else {}
        return {s.id: words_between(words.get(s.video), s.start, s.end) for s in self._segments}

    def clips(self, split) -> Iterator[dict]:
        if "labels" in self.files.annotations:
            yield from mmsa_clips(self._rows, split, self.files.media)
            return
        folds = standard_folds("mosi")
        for segment in self._segments:
            if folds.get(segment.video) == split:
                path = self.files.media.get(segment.id)
                clip = make_clip(
                    segment.id, segment.score, self._texts.get(segment.id, ""), path, video_id=segment.video
                )
                if path is not None and path.stem == segment.video and path.stem != segment.id:  # the full video
                    clip["media"] |= {"start": segment.start, "end": segment.end}
                yield clip

    def dropped_clips(self, split) -> dict[str, str]:
        """Return the segments of videos that are in no fold."""
        if "labels" in self.files.annotations or split != "train":
            return {}
        folds = standard_folds("mosi")
        return {segment.id: NO_FOLD for segment in self._segments if segment.video not in folds}


def _cmu_files(scores: Path) -> CorpusFiles:
    root = scores.parent.parent
    annotations = {"scores": scores}
    transcripts = root / "Transcript/Segmented"
    for path in sorted(transcripts.glob("[!.]*.annotprocessed")):
        annotations[f"words of {path.stem}"] = path
    media = media_in([root / "Video/Segmented"])
    full = media_in([root / "Video/Full"])
    for segment in read_scores(scores):
        if segment.id not in media and segment.video in full:
            media[segment.id] = full[segment.video]
    return CorpusFiles(annotations, media)


def read_scores(path: Path) -> list[Segment]:
    """Read the rows `start, end, video_id, segment number, score` of OpinionLevelSentiment.csv, which has no header.

    Raises:
        ValueError: a row has another form.
    """
    segments = []
    with open(path, newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if not any(row):
                continue
            place = f"{path}, row {number}"
            try:
                start, end, video, segment, value = (cell.strip() for cell in row)
                segments.append(
                    Segment(video, str(int(segment)), float(start), float(end), score(value, place, "score", SCORES))
                )
            except ValueError as error:
                raise ValueError(
                    f"{place}: {row}; expected start, end, video_id, segment number, score ({error})."
                ) from None
    return segments


def read_csd_segments(path: Path) -> list[Segment]:
    """Read the entries of the SDK's label file, named `<video_id>[k]`."""
    return [
        Segment(video, f"[{k}]", float(start), float(end), float(value))
        for video, entries in read_csd(path, width=1).items()
        for k, ((start, end), (value,)) in enumerate(zip(entries.intervals, entries.features))
    ]


def read_transcript(path: Path) -> dict[str, str]:
    """Read an `.annotprocessed` file, with lines `<n>_DELIM_<WORDS>`, and return the text by clip id.

    Raises:
        ValueError: a line has another form.
    """
    texts = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        segment, delimiter, words = line.partition(DELIMITER)
        if not delimiter or not segment.strip().isdecimal():
            raise ValueError(f"{path}, line {number}: {line!r}; expected <n>{DELIMITER}<words>.")
        texts[f"{path.stem}_{int(segment)}"] = " ".join(words.split())
    return texts
