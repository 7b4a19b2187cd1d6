"""Your own clips: a folder of media files and a table that says what is in them."""

import functools
import logging
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath

from modeling_semanticmac.clip_input import MEDIA_SUFFIXES

from .clip_labels import TASKS, label_of, scores_of, task_of
from .clip_table import Row, find_table, read_table
from .corpus import CorpusBuilder, CorpusConfig, make_clip
from .corpus_files import CorpusFiles, find_name, nearest_name
from .split_list import SPLITS, split_name
from .stratified_split import grouped_parts

logger = logging.getLogger(__name__)

LONGEST_CUT = 600.0  # seconds; a longer median is taken for milliseconds
SHARES = (0.8, 0.1, 0.1)
TASK_OPTIONS = ("label_range", "label_names", "multi_label")  # they define what is predicted


@dataclass
class VideoFolderConfig(CorpusConfig):
    """What the labels of the table mean, and how to split it where it has no splits.

    Args:
        label_range: (lowest, highest) score of `sentiment`; other labels are an error. None: (-3, 3).
        label_names: the classes of `emotion` in the order of their ids; None: those of the table, sorted.
        multi_label: `emotion`: whether a clip may have several classes or none; None: whether a label of the table
            holds a `|`.
        split_seed: seed of the split 80/10/10, by speaker where every row names one, otherwise by video.
        context: add the earlier utterances of the column `context`.
    """

    label_range: Sequence[float] | None = None
    label_names: Sequence[str] | None = None
    multi_label: bool | None = None
    split_seed: int = 0
    context: bool = True


class VideoFolder(CorpusBuilder):
    """Your own clips: media files and one table, `clips.csv`, `metadata.csv`, the same as `.jsonl`, or the only such
    file in the folder.

    A row is a clip. Columns, of which `label` and one of `file` and `text` are needed; an empty cell is absent:

        file        path of the media file below the folder; several rows may be cuts of one file
        text        what is said
        label       a score; a class, or several with | between them; 0, 1, true, false or the class (humor,
                    sarcasm)
        start, end  seconds of the cut
        split       train, validation (val, valid, dev) or test, in every row or in none
        speaker     who speaks: a drawn split never divides a speaker
        video       what the clip is part of, the file by default: without speakers, a drawn split never divides a video
        context     what was said before, oldest first, with | between the utterances
        context_speakers  who said it, likewise
        label_text, label_audio, label_vision   scores of one modality, for `sentiment`
        crop        left or right: the half of the picture that shows the speaker
        id          unique; the file's name and the start by default

    The classes of `emotion` are read from the table, so `task_specification` needs `data_dir` here.
    """

    BUILDER_CONFIG_CLASS = VideoFolderConfig
    BUILDER_CONFIGS = [VideoFolderConfig(name=name) for name in TASKS]
    TITLE = "clips of the author's own"
    PEOPLE = "Whoever is in the clips of whoever trained the model; its author can tell."
    TERMS = "your own clips: what the people in them agreed to"
    REDISTRIBUTION = True
    TEXT_ALONE_IS_MEANT = True
    MAY_LACK_SPLITS = True  # a table of clips to predict may hold test clips only

    @classmethod
    def task_config(cls, task, data_dir=None, **options):
        """Return the configuration of a task; the classes are read from the table in `data_dir`.

        Raises:
            ValueError: an unknown task, an option of another task, or no `data_dir` for a task whose classes are in the
                table.
        """
        config = super().task_config(task)
        rows = read_table(find_table(Path(data_dir).expanduser())) if data_dir is not None else None
        own = {name: options.get(name) for name in TASK_OPTIONS}
        return replace(config, task=task_of(config.name, rows, **own))

    @classmethod
    def find_files(cls, folder, config):
        table = find_table(folder)
        media, found = {}, {}  # a long recording has many rows
        for index, row in enumerate(read_table(table), start=1):
            name = str(row.cells.get("file", ""))
            if not name or name not in found:
                found[name] = media_path(folder, row)
            path = found[name]
            if path is not None:
                media[clip_id(row, index)] = path
        return CorpusFiles({"clips": table}, media)

    def _info(self):
        # The library creates the configuration again from its name.
        own = {name: getattr(self.config, name) for name in TASK_OPTIONS}
        self.config.task = task_of(self.config.name, self._rows, **own)
        return super()._info()

    @cached_property
    def _rows(self) -> list[Row]:
        rows = read_table(self.files.annotations["clips"])
        check_seconds(rows)
        return rows

    @cached_property
    def _indices(self) -> dict[str, list[int]]:
        """The indices of the rows by split."""
        everything = list(range(len(self._rows)))
        if self.config.ids_file:  # the base class assigns the splits
            return dict.fromkeys(SPLITS, []) | {"train": everything}
        if not any("split" in row.cells for row in self._rows):
            return dict(zip(SPLITS, draw_split(self._rows, self.config.split_seed)))
        splits = [split_name(row.word("split")) for row in self._rows]
        for row, split in zip(self._rows, splits):
            if split is None:
                raise row.error("split", "train, validation or test, in every row or in none")
        return {split: [index for index in everything if splits[index] == split] for split in SPLITS}

    def clips(self, split) -> Iterator[dict]:
        ids = self._ids
        for index in self._indices[split]:
            yield self._clip(self._rows[index], ids[index])

    def _clip(self, row: Row, id: str) -> dict:
        clip = make_clip(
            id, label_of(row, self.config.task), row.word("text"), self.files.media.get(id), video_id=video_of(row, id),
            speaker=row.word("speaker"), context=row.several("context") if self.config.context else [],
            context_speakers=row.several("context_speakers") if self.config.context else [],
            **scores_of(row, self.config.task),
        )  # fmt: skip
        clip["media"] |= cut_of(row)
        return clip

    @cached_property
    def _ids(self) -> list[str]:
        """The ids of all rows.

        Raises:
            ValueError: two rows have the same id.
        """
        ids = [clip_id(row, index) for index, row in enumerate(self._rows, start=1)]
        first: dict[str, Row] = {}
        for id, row in zip(ids, self._rows):
            if id in first:
                raise row.error("id", f"another one than {id!r}, which {first[id].place} has; give each clip its own")
            first[id] = row
        return ids


def cut_of(row: Row) -> dict:
    """Return `start` and `end` (seconds) and `crop` (left or right) of the row's cut of its file; None for an empty
    cell.

    Raises:
        ValueError: a cell holds something else.
    """
    start = row.number("start", "seconds from 0 on", lowest=0.0)
    end = row.number("end", "seconds from the start on", lowest=start or 0.0)
    crop = row.word("crop") or None
    if crop not in (None, "left", "right"):
        raise row.error("crop", "left, right or nothing")
    return {"start": start, "end": end, "crop": crop}


def media_path(folder: Path, row: Row) -> Path | None:
    """Return the media file of a row; None where it names none.

    Raises:
        ValueError: there is no such file below the folder, or the row has neither a file nor text.
    """
    name = str(row.cells.get("file", "")).strip()
    if not name:
        if not row.word("text"):
            raise row.error("file", "a media file, or else words in the column text")
        return None
    expected = f"a file below {folder}; correct the name, or leave the cell empty to use the text alone"
    inside = not Path(name).is_absolute() and ".." not in Path(name.replace("\\", "/")).parts
    try:
        path = folder / name if inside and (folder / name).is_file() else None
        path = path or (find_name(folder, name, MEDIA_SUFFIXES) if inside else None)
    except (OSError, ValueError):  # a name too long, or with a character that no name has
        raise row.error("file", expected) from None
    if path is None:
        near = nearest_name(folder, name) if inside else None
        raise row.error("file", expected + (f" (the nearest is {near!r})" if near else ""))
    return path


def check_seconds(rows: list[Row]) -> None:
    """Refuse a table whose cuts look like milliseconds: all times are whole numbers, and the median cut lasts over ten
    minutes.

    Read as seconds, the first cut of each file would be the whole file.

    Raises:
        ValueError: naming the first such cut.
    """
    cuts = []
    for row in rows:
        start = row.number("start", "seconds from 0 on", lowest=0.0) or 0.0
        end = row.number("end", "seconds from the start on", lowest=start)
        if end is not None:
            cuts.append((end - start, start == int(start) and end == int(end), row))
    if cuts and all(whole for _, whole, _ in cuts):
        length = statistics.median(length for length, _, _ in cuts)
        if length > LONGEST_CUT:
            raise cuts[0][2].error(
                "end",
                f"seconds; the median cut of this table would last {length:g} s, which looks like "
                "milliseconds: divide start and end by 1000",
            )


def clip_id(row: Row, number: int) -> str:
    """Return the id of the row, or else the name of the file without ending and the start of the cut; for text alone
    the number of the row.
    """
    file = str(row.cells.get("file", "")).strip()
    name = _without_suffix(file) if file else f"row_{number}"
    start = row.number("start", "seconds from 0 on", lowest=0.0)
    return row.word("id") or (name if start is None else f"{name}_{start:.10g}")


@functools.lru_cache(maxsize=1024)  # a long recording has many rows
def _without_suffix(file: str) -> str:
    return PurePath(file).with_suffix("").as_posix()


def video_of(row: Row, id: str) -> str:
    """Return the video that the clip is part of."""
    return row.word("video") or str(row.cells.get("file", "")).strip() or id


def draw_split(rows: list[Row], seed: int) -> list[list[int]]:
    """Draw the split 80/10/10 without dividing a speaker, or else a video, and return the indices of the rows in train,
    validation and test.

    Raises:
        ValueError: there are fewer than three of them.
    """
    by_speaker = all(row.word("speaker") for row in rows)
    groups = [row.word("speaker") if by_speaker else video_of(row, str(index)) for index, row in enumerate(rows)]
    kind = "speaker" if by_speaker else "video"
    if len(set(groups)) < len(SHARES):
        raise ValueError(
            f"the {len(rows)} clips have {len(set(groups))} different values of {kind}, of which none goes "
            "into two splits; give the column split, "
            f"or clips of at least three: {', '.join(sorted(set(groups)))}."
        )
    logger.info("video_folder: the split is drawn by %s with split_seed %d", kind, seed)
    return grouped_parts(groups, SHARES, seed)
