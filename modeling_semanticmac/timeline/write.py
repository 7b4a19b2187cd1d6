"""A long video as a timeline: one prediction per segment while the video is read; table, subtitles and plot.

Memory does not grow with the length of the video, except for the rows of the plot. An interrupted run is resumed.
"""

import csv
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from ..configuration_semanticmac import MODALITIES
from ..files.atomic_files import write_json, write_whole
from ..files.picture_style import save_picture
from ..files.row_file import RowFile
from ..media_decoding import Media, open_media
from ..modeling_imagebind import weights_hash
from .picture import timeline_picture
from .rows import make_row, subtitle, table_columns, table_row
from .segments import Segment
from .subtitle_writing import srt_lines, vtt_lines

NAME = "timeline"  # of the files


def write_timeline(
    pipe: Callable,
    video: str | os.PathLike,
    segments: Iterable[Segment],
    output_dir: str | os.PathLike,
    batch_size: int = 4,
    modalities: Sequence[str] = MODALITIES,
) -> dict:
    """Predict each segment of a video and write the timeline.

    The files in `output_dir` are `timeline.jsonl` (one row per segment: its times and text, and the pipeline's result
    or the reason why there is none; `timeline.jsonl.partial` while it grows), `timeline.csv` (the same as a table),
    `timeline.srt` and `timeline.vtt` (the prediction below the text), `timeline.png` and `timeline.svg` (over time),
    and `timeline.json` (the video, the model and the number of segments).

    Args:
        pipe: SemanticMACPipeline.
        video: a video or sound file.
        segments: in the order in which they are written; taken as they are needed.
        output_dir: a folder; an interrupted run of the same video, model and segments is resumed.
        batch_size: segments that go through the model together.
        modalities: those of "text", "audio" and "vision" to use.

    Returns:
        The content of `timeline.json`: `video`, `model`, `task`, `modalities`, and the numbers of rows `segments`,
        `unusable` and `contradicting`.

    Raises:
        MediaError: the video cannot be opened.
        ValueError: no segments; the folder holds the timeline of something else.
    """
    folder, rows = Path(output_dir), RowFile(Path(output_dir) / f"{NAME}.jsonl")
    with open_media(video, audio_stream=pipe.processor.audio_stream) as media:  # open to the end: it is read forward
        return _write(pipe, media, video, segments, folder, rows, batch_size, modalities)


def _write(pipe, media, video, segments, folder: Path, rows: RowFile, batch_size: int, modalities) -> dict:
    duration = media.info.duration
    settings = {**_settings(pipe, video, duration), "modalities": [name for name in MODALITIES if name in modalities]}
    _check_settings(folder / f"{NAME}.json", settings)
    with tqdm(total=round(duration), unit=" s of video", desc="Timeline") as bar:
        options = {"batch_size": batch_size, "modalities": settings["modalities"]}
        for row in _predicted(pipe, media, _remaining(segments, rows, bar), options):
            rows.append([row])
            _advance(bar, row["end"])
    if next(rows.read(), None) is None:
        raise ValueError(f"{os.fspath(video)}: there is no segment to predict; use other segments.")
    rows.finish()
    task = pipe.model.config.task
    summary = {**settings, **_count(rows.read())}
    write_whole(folder / f"{NAME}.csv", lambda path: _write_table(path, rows, task))
    for ending, lines in (("srt", srt_lines), ("vtt", vtt_lines)):
        write_whole(folder / f"{NAME}.{ending}", lambda path, lines=lines: _write_subtitles(path, lines, rows))
    save_picture(timeline_picture(rows.read(), task, duration), folder / NAME)
    write_json(folder / f"{NAME}.json", summary)
    return summary


def _settings(pipe: Callable, video: str | os.PathLike, duration: float) -> dict:
    """Return the settings that all rows of one timeline share."""
    model = pipe.model
    return {
        "video": {"name": Path(video).name, "bytes": os.path.getsize(video), "duration": duration},
        "model": {"name_or_path": model.name_or_path, "weights_hash": weights_hash(model)},
        "task": model.config.task_name,
    }


def _check_settings(path: Path, settings: Mapping) -> None:
    """Write the settings, or compare them with those in the folder.

    Raises:
        ValueError: they differ.
    """
    if not path.exists():
        write_json(path, settings)
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    one, two = _identity(found), _identity(settings)
    for part in one:
        if one[part] != two[part]:
            raise ValueError(
                f"{path.parent} holds a timeline with different {part}: {found[part]}, now {settings[part]}; choose "
                "another folder, or delete that one."
            )


def _identity(settings: Mapping) -> dict:
    # A video or a model that was moved is the same.
    video, model = settings["video"], settings["model"]
    return {
        "video": (video["bytes"], video["duration"]),
        "model": model["weights_hash"],
        "modalities": settings["modalities"],
    }


def _remaining(segments: Iterable[Segment], rows: RowFile, bar: tqdm) -> Iterator[Segment]:
    """Yield the segments after those that have rows.

    Raises:
        ValueError: the rows are of other segments.
    """
    stored = rows.read()
    for segment in segments:
        row = next(stored, None)
        if row is None and not rows.is_complete:
            yield segment
        elif row is not None and _is_same_time(row, segment) and row["text"] != segment.text:
            raise ValueError(
                f"{rows.path.parent} holds a timeline of other words: from {segment.start:g} s to {segment.end:g} s it "
                f"has {row['text']!r:.80}, now there is {segment.text!r:.80}; choose another folder, or delete that "
                "one."
            )
        elif row is None or not _is_same_time(row, segment):
            has = "ends before" if row is None else f"goes on from {row['start']:g} s to {row['end']:g} s at"
            raise ValueError(
                f"{rows.path.parent} holds a timeline of other segments, which {has} the segment from "
                f"{segment.start:g} s to {segment.end:g} s; choose another folder, or delete that one."
            )
        else:
            _advance(bar, row["end"])
    if next(stored, None) is not None:
        raise ValueError(
            f"{rows.path.parent} holds a timeline of more segments; choose another folder, or delete that one."
        )


def _is_same_time(row: Mapping, segment: Segment) -> bool:
    return [row["start"], row["end"]] == [segment.start, segment.end]


def _predicted(pipe: Callable, media: Media, segments: Iterator[Segment], options: Mapping) -> Iterator[dict]:
    """Yield a row a segment. The clips share one open file, so that it is decoded in one pass."""
    segments, given = itertools.tee(segments)
    clips = ({"video": media, "start": s.start, "end": s.end, "text": s.text} for s in given)
    results = iter(pipe(clips, on_error="skip", **options))
    for segment in segments:
        yield make_row(segment, next(results))


def _advance(bar: tqdm, end: float) -> None:
    bar.update(max(0, min(round(end), bar.total) - bar.n))


def _count(rows: Iterable[Mapping]) -> dict[str, int]:
    numbers = {"segments": 0, "unusable": 0, "contradicting": 0}
    for row in rows:
        numbers["segments"] += 1
        numbers["unusable"] += "error" in row
        numbers["contradicting"] += bool(row.get("contradictions"))
    return numbers


def _write_table(path: Path, rows: RowFile, task) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table_columns(task))
        writer.writerows(table_row(row, task) for row in rows.read())


def _write_subtitles(path: Path, lines: Callable, rows: RowFile) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.writelines(lines(map(subtitle, rows.read())))


__all__ = ["write_timeline"]
