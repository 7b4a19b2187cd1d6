"""A long video as a timeline: one prediction a segment, while the video is read; table, subtitles and plot.

Memory does not depend on the length of the video, but for the rows of the plot. What was predicted when a run is stopped is not predicted again.
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
from ..media_decoding import open_media
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

    Into `output_dir` go `timeline.jsonl` (a row a segment: its times and words, and the pipeline's result or why there is none; it grows as
    `timeline.jsonl.partial`), `timeline.csv` (the same as a table), `timeline.srt` and `timeline.vtt` (the prediction under the words), `timeline.png`
    and `timeline.svg` (over time), and `timeline.json` (of what, by what, how many).

    Args:
        pipe: SemanticMACPipeline.
        video: a video or sound file.
        segments: in the order in which they are to be written; taken as they are needed.
        output_dir: a folder; one of a stopped run of the same video, model and segments is gone on with.
        batch_size: segments that go through the model together.
        modalities: those of "text", "audio" and "vision" to use.

    Returns:
        What `timeline.json` holds: `video`, `model`, `task`, `modalities`, `segments`, `unusable`, `contradicting` (numbers of rows).

    Raises:
        MediaError: the video cannot be opened.
        ValueError: no segments; the folder holds the timeline of something else.
    """
    folder, rows = Path(output_dir), RowFile(Path(output_dir) / f"{NAME}.jsonl")
    with open_media(video) as media:
        duration = media.info.duration
    settings = {**_settings(pipe, video, duration), "modalities": [name for name in MODALITIES if name in modalities]}
    _check_settings(folder / f"{NAME}.json", settings)
    with tqdm(total=round(duration), unit=" s of video", desc="Timeline") as bar:
        options = {"batch_size": batch_size, "modalities": settings["modalities"]}
        for row in _predicted(pipe, video, _remaining(segments, rows, bar), options):
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
    """What must be the same for rows to belong to one timeline."""
    model = pipe.model
    return {
        "video": {"name": Path(video).name, "bytes": os.path.getsize(video), "duration": duration},
        "model": {"name_or_path": model.name_or_path, "weights_hash": weights_hash(model)},
        "task": model.config.task_name,
    }


def _check_settings(path: Path, settings: Mapping) -> None:
    """Write the settings, or compare them with those that are there.

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
                f"{path.parent} holds a timeline with different {part}: {found[part]}, now {settings[part]}; choose another folder, or delete that one."
            )


def _identity(settings: Mapping) -> dict:
    # A video or a model that was moved is the same.
    video, model = settings["video"], settings["model"]
    return {"video": (video["bytes"], video["duration"]), "model": model["weights_hash"], "modalities": settings["modalities"]}  # fmt: skip


def _remaining(segments: Iterable[Segment], rows: RowFile, bar: tqdm) -> Iterator[Segment]:
    """The segments behind those that have rows.

    Raises:
        ValueError: the rows are of other segments.
    """
    stored = rows.read()
    for segment in segments:
        row = next(stored, None)
        if row is None and not rows.is_complete:
            yield segment
        elif row is None or [row["start"], row["end"], row["text"]] != [segment.start, segment.end, segment.text]:
            has = "ends before" if row is None else f"goes on from {row['start']:g} s to {row['end']:g} s at"
            raise ValueError(
                f"{rows.path.parent} holds a timeline of other segments, which {has} the segment from {segment.start:g} s to {segment.end:g} s; choose "
                "another folder, or delete that one."
            )
        else:
            _advance(bar, row["end"])
    if next(stored, None) is not None:
        raise ValueError(
            f"{rows.path.parent} holds a timeline of more segments; choose another folder, or delete that one."
        )


def _predicted(
    pipe: Callable, video: str | os.PathLike, segments: Iterator[Segment], options: Mapping
) -> Iterator[dict]:
    segments, given = itertools.tee(segments)
    clips = ({"video": os.fspath(video), "start": s.start, "end": s.end, "text": s.text} for s in given)
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
