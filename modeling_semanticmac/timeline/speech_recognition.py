"""The speech of a video, recognised by a pipeline of transformers, one stretch between two pauses at a time."""

from collections.abc import Callable, Iterator, Mapping

from ..files.row_file import RowFile
from ..media_decoding import Media
from .recognizer_words import segments_from_json
from .segments import Segment
from .speech_segments import speech_segments

LONGEST_SECONDS = 28.0  # Whisper takes 30 at once
SAMPLING_RATE = 16000
# The value of `return_timestamps` by kind of recogniser: Whisper has times of phrases, CTC of words, others have none.
TIMESTAMPS = {"seq2seq_whisper": True, "ctc": "word", "ctc_with_lm": "word"}


def recognized_segments(recognizer: Callable, name: str, media: Media, rows: RowFile) -> Iterator[Segment]:
    """Yield segments with text while the sound is read; only one stretch of at most 28 s is in memory.

    The stretches are those of `speech_segments`.

    Args:
        recognizer: transformers' automatic-speech-recognition pipeline; without timestamps a stretch is one segment.
        name: of the recogniser.
        media: with sound; with the PyAV backend, see `speech_segments`.
        rows: keeps the recognised speech, one row per stretch, so that an interrupted run is resumed.

    Raises:
        MediaError: no sound, or none that can be decoded.
        ValueError: the rows are of another recogniser or of other sound.
    """
    if rows.is_complete:
        for row in rows.read():
            _check(row, name, None, rows)
            yield from _segments(row)
        return
    stored = rows.read()
    for stretch in speech_segments(media, longest=LONGEST_SECONDS):
        row = next(stored, None)
        if row is None:
            found = _recognize(recognizer, media, stretch)
            row = {"by": name, "start": stretch.start, "end": stretch.end, "segments": found}
            rows.append([row])
        _check(row, name, stretch, rows)
        yield from _segments(row)
    rows.finish()


def _check(row: Mapping, name: str, stretch: Segment | None, rows: RowFile) -> None:
    if row["by"] != name or (stretch and [row["start"], row["end"]] != [stretch.start, stretch.end]):
        raise ValueError(
            f"{rows.path.parent} holds words that {row['by']} recognised from {row['start']:g} s to {row['end']:g} s, "
            f"not {name}'s of this video; choose another folder, or delete that one."
        )


def _segments(row: Mapping) -> list[Segment]:
    return [Segment(*fields) for fields in row["segments"]]


def _recognize(recognizer: Callable, media: Media, stretch: Segment) -> list[tuple[float, float, str]]:
    """Return (start, end, text) of the phrases in a stretch, in seconds of the media."""
    sound = media.waveform(stretch.start, stretch.end, SAMPLING_RATE)  # (samples,)
    times = TIMESTAMPS.get(getattr(recognizer, "type", None))
    options = {} if times is None else {"return_timestamps": times}
    found = recognizer({"raw": sound.numpy(), "sampling_rate": SAMPLING_RATE}, **options)
    length = stretch.end - stretch.start
    chunks = found.get("chunks") or [{"timestamp": (0.0, length), "text": found["text"]}]
    placed = []
    for chunk in chunks:
        start, end = chunk["timestamp"]
        start = min(max(start or 0.0, 0.0), length)  # Whisper's times may lie outside of what it heard, or be missing
        end = length if end is None else min(max(end, start), length)
        placed.append({"start": stretch.start + start, "end": stretch.start + end, "text": chunk["text"]})
    return [
        (segment.start, segment.end, segment.text)
        for segment in segments_from_json(placed, unit="word" if times == "word" else "segment")
    ]


__all__ = ["recognized_segments"]
