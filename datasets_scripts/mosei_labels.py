"""Labels of CMU-MOSEI (the SDK's label file, MTurk batches, transcripts with times), and their match to clips."""

import csv
import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .csd_file import CsdVideo

EMOTIONS = (
    "happy",
    "sad",
    "anger",
    "surprise",
    "disgust",
    "fear",
)  # in the order of the label file, which begins with sentiment
MTURK = (
    "Answer.sentiment",
    "Answer.happiness",
    "Answer.sadness",
    "Answer.anger",
    "Answer.surprise",
    "Answer.disgust",
    "Answer.fear",
)
SEPARATOR = "___"
SAME_SECONDS = 2e-3  # times of one segment differ by rounding
SAME_SCORE = 0.01  # so do scores
MOST_DIFFERING = 0.01  # share of clips whose scores may differ in a correct match


@dataclass(frozen=True)
class Line:
    """A clip of a transcript: its number as text, its start and end in seconds of the full video, its text."""

    clip: str
    start: float
    end: float
    text: str


def read_transcript(path: Path) -> list[Line]:
    """Read the lines `<video_id>___<clip>___<start>___<end>___<text>` of a transcript; a text may hold underscores.

    Raises:
        ValueError: a line has another form.
    """
    lines = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        # The video's id is the name of the file: it may hold underscores, of which the field separator consists too.
        fields = re.split("_{3,}", line.strip().removeprefix(path.stem).lstrip("_"), maxsplit=3)
        try:
            clip, start, end = fields[0], float(fields[1]), float(fields[2])
            int(clip)
        except (IndexError, ValueError):
            raise ValueError(
                f"{path}, line {number}: {line[:80]!r}; expected "
                f"{SEPARATOR.join(('video', 'clip', 'start', 'end', 'text'))}."
            ) from None
        lines.append(Line(clip, start, end, " ".join(fields[3].split()) if len(fields) > 3 else ""))
    return lines


def read_mturk(paths: Iterable[Path]) -> dict[tuple[str, str], np.ndarray]:
    """Return sentiment and six emotions (7,) by (video, clip), as means over the workers, from the files that are
    batches of answers; NaN without answers.

    Raises:
        ValueError: the number of a clip is not a number.
    """
    answers = defaultdict(lambda: [[] for _ in MTURK])
    for path in paths:
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.DictReader(file)
            if not {"Input.VIDEO_ID", "Input.CLIP", *MTURK} <= set(reader.fieldnames or ()):
                continue  # another table beside the batches
            for row in reader:
                try:
                    clip = str(int(float(row["Input.CLIP"])))
                except (TypeError, ValueError):
                    raise ValueError(
                        f"{path}, line {reader.line_num}: Input.CLIP is {row['Input.CLIP']!r}; expected the "
                        "number of a clip."
                    ) from None
                video = row["Input.VIDEO_ID"].rpartition("/")[2].strip()
                for column, name in zip(answers[video, clip], MTURK):
                    column += _answer(row[name])
    return {
        key: np.array([statistics.fmean(column) if column else math.nan for column in columns])
        for key, columns in answers.items()
    }


def _answer(cell: str | None) -> list[float]:
    """Return the number that a worker gave; nothing where the question was skipped."""
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return []
    return [value] if math.isfinite(value) else []


def by_time(entries: CsdVideo, times: Mapping[str, tuple[float, float]]) -> dict[str, int]:
    """Return the position of the entry with the start and end of each clip."""
    found = {}
    for clip, time in times.items():
        distance = np.abs(entries.intervals - time).max(axis=1)
        if len(distance) and distance.min() <= SAME_SECONDS:
            found[clip] = int(distance.argmin())
    return found


def by_sorted_ids(entries: CsdVideo, scores: Mapping[str, float]) -> dict[str, int]:
    """Return the position of the entry of each clip, where entry k is the k-th of the video's labelled clips sorted as
    text ("10" before "2").

    Where the file has more entries than there are clips, a clip takes the only entry with its score, or none.

    Args:
        scores: clip -> its known sentiment.
    """
    clips = sorted(scores)
    if len(clips) == len(entries.features):
        return {clip: position for position, clip in enumerate(clips)}
    found = {}
    for clip in clips:
        same = np.flatnonzero(np.abs(entries.features[:, 0] - scores[clip]) <= SAME_SCORE)
        if len(same) == 1 and same[0] not in found.values():
            found[clip] = int(same[0])
    return found


def check_join(scores: Mapping[str, float], joined: Mapping[str, float], path: Path) -> None:
    """Refuse a match after which the sentiments differ.

    Args:
        scores, joined: clip id -> sentiment as known before and as matched.

    Raises:
        ValueError: they differ for more than one clip in a hundred.
    """
    differing = [id for id, value in joined.items() if abs(scores[id] - value) > SAME_SCORE]
    if len(differing) > MOST_DIFFERING * len(joined):
        raise ValueError(
            f"{path}: joined to the clips, its sentiment differs from theirs for {len(differing)} of "
            f"{len(joined)} ({', '.join(differing[:3])}); it belongs "
            "to other clips, or the option join is the wrong one."
        )


__all__ = ["EMOTIONS", "Line", "by_sorted_ids", "by_time", "check_join", "read_mturk", "read_transcript"]
