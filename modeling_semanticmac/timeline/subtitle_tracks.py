"""Cues that FFmpeg reads through PyAV: the subtitle track of a video file, and LRC."""

import io
import os
from collections.abc import Iterator

import pysubs2
from transformers.utils import logging

from ..media_index import index_media, open_container
from ..media_info import require_pyav
from .cues import Cue

logger = logging.get_logger(__name__)


def track_cues(path: str | os.PathLike) -> list[Cue]:
    """Return the cues of the subtitle track of a video file, in seconds of the media clock.

    Of several tracks the default one is used, else the first one, and a warning says so.

    Raises:
        MediaError: the file cannot be opened.
        ValueError: no subtitle track, or one of pictures.
    """
    origin = index_media(path).origin
    container = open_container(path)
    try:
        tracks = list(container.streams.subtitles)
        if not tracks:
            raise ValueError("the file holds no subtitle track; give a transcript file, or recognise words with --asr.")
        track = next((track for track in tracks if "default" in str(track.disposition).lower()), tracks[0])
        if len(tracks) > 1:
            names = ", ".join(track.metadata.get("language", "?") for track in tracks)
            chosen = tracks.index(track) + 1
            logger.warning(
                f"{os.fspath(path)}: of {len(tracks)} subtitle tracks ({names}) the one at {chosen} is used."
            )
        return [
            Cue(max(0.0, start - origin), max(0.0, end - origin), lines)
            for start, end, lines in _decoded(container, track)
        ]
    finally:
        container.close()


def _decoded(container, track) -> Iterator[Cue]:
    for packet in container.demux(track):
        if packet.pts is None:
            continue
        start = float(packet.pts * packet.time_base)
        end = start + float((packet.duration or 0) * packet.time_base)
        for subtitle in packet.decode():
            if subtitle.type == b"bitmap":
                raise ValueError("the subtitle track holds pictures, not text; give a transcript file.")
            # FFmpeg gives each cue as the fields of a line of ASS, the text behind the eighth comma.
            text = subtitle.ass.decode("utf-8", "replace").split(",", 8)[-1]
            yield Cue(start, end, pysubs2.SSAEvent(text=text).plaintext.splitlines())


def lyrics_cues(text: str) -> list[Cue]:
    """Return the lines of LRC as cues; each ends where the next one begins, the last one never."""
    cues = []
    with require_pyav().open(io.BytesIO(text.encode()), format="lrc") as container:
        for packet in container.demux():
            if packet.pts is not None and packet.size:
                start = float(packet.pts * packet.time_base)
                length = packet.duration * packet.time_base if packet.duration and packet.duration > 0 else float("inf")
                cues.append(Cue(start, start + float(length), bytes(packet).decode().splitlines()))
    return cues


__all__ = ["lyrics_cues", "track_cues"]
