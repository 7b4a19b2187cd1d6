"""What the page shows of a clip: a note when it arrives, then one prediction or a timeline."""

import base64
import io
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from ..clip_sampling import MediaClip, frame_times
from ..media_decoding import open_media
from ..media_info import MediaInfo
from ..pipeline_semanticmac import SemanticMACPipeline
from ..timeline import write_timeline
from ..timeline.segments import Segment, fixed_windows
from ..timeline.speech_segments import speech_segments
from ..timeline.transcripts import read_transcript
from .result_html import Frame, error_html, note_html, result_html
from .timeline_html import timeline_html
from .uploads import without_folders

LONG_SECONDS = 30.0  # a longer clip is shown as a timeline
WINDOW_SECONDS = 10.0  # of a segment, where no speech is found
FRAMES_SHOWN = 12
FRAME_PIXELS = 240  # longer side of a frame that is shown
NEIGHBORS = 3  # training clips that are named of each modality
DOWNLOADS = ("timeline.csv", "timeline.srt", "timeline.png")
SHOWN_BY_BROWSERS = {"h264", "vp8", "vp9", "av1"}  # codecs of pictures
GONE = "the clip is no longer here: uploads are deleted after half an hour. Drop it again."


@dataclass(frozen=True)
class Limits:
    """The limits of what the page accepts.

    Args:
        seconds: longest clip.
        megabytes: largest file.
    """

    seconds: float = 600.0
    megabytes: int = 200


def arrival_html(limits: Limits, path: str | None) -> str:
    """Return what is to be said of a clip before it is predicted, as HTML: its length and content, whether it becomes a
    timeline, whether a browser can show it, or why it cannot be used.
    """
    if path is None:
        return ""
    try:
        info = checked_media(limits, path)
    except ValueError as error:
        return error_html(without_folders(str(error), path))
    parts = [name for name, there in (("picture", info.video), ("sound", info.audio)) if there]
    lines = [f"{info.duration:.1f} s, {' and '.join(parts) or 'nothing in it'}."]
    if info.duration > LONG_SECONDS:
        lines.append(
            f"It is longer than {LONG_SECONDS:.0f} s, so it is predicted in segments and shown over time: the cues of "
            "subtitles, or stretches of speech between pauses. That takes longer."
        )
    if info.video is not None and info.video.codec not in SHOWN_BY_BROWSERS:
        name = {"hevc": "HEVC (H.265)"}.get(info.video.codec, info.video.codec)
        lines.append(f"Your browser may not be able to show {name}; the prediction reads it all the same.")
    return note_html(" ".join(lines))


def checked_media(limits: Limits, path: str) -> MediaInfo:
    """Return what a file holds.

    Raises:
        ValueError (MediaError among them): it cannot be used, or is too large or too long.
    """
    if not os.path.exists(path):
        raise ValueError(GONE)
    size = os.path.getsize(path) / 1e6
    if size > limits.megabytes:
        raise ValueError(f"the file has {size:.0f} MB; this page accepts up to {limits.megabytes}.")
    with open_media(path) as media:
        info = media.info
    if info.duration > limits.seconds:
        raise ValueError(f"the clip lasts {info.duration:.0f} s; this page accepts up to {limits.seconds:.0f} s.")
    return info


def analyse(
    pipe: SemanticMACPipeline, limits: Limits, path: str | None, text: str | None, subtitles: str | None = None
) -> str:
    """Return what the page shows of one clip, as HTML.

    Args:
        pipe: the pipeline.
        limits: of the page.
        path: a video or sound file.
        text: what is said.
        subtitles: a transcript with times. In a short clip its words are what is said, if `text` does not say it; of a
            long one each cue is a segment.

    Raises:
        ValueError (MediaError among them): the input cannot be used, in one sentence.
    """
    text = (text or "").strip() or None
    if path is None and text is None:
        raise ValueError("there is neither a clip nor text: drop a clip, record one, or type what is said.")
    if path is None:
        return result_html(predicted(pipe, {"text": text}), [])
    info = checked_media(limits, path)
    cues = [] if subtitles is None else read_transcript(subtitles, duration=info.duration)
    if info.duration > LONG_SECONDS:
        why = "the subtitles are used in their place" if cues else "they have no times; give subtitles"
        notes = [f"typed words are not used: {why}"] if text else []
        return over_time(pipe, path, info, cues, notes)
    if text is None and cues:
        text = " ".join(cue.text for cue in cues if cue.text)
    result = predicted(pipe, {"video": path, "text": text})
    return result_html(result, frames_used(pipe.processor, path) if "vision" in result["modalities"] else [])


def predicted(pipe: SemanticMACPipeline, clip: dict) -> dict:
    """Return the result of a clip, with the nearest training clips where the model has kept them."""
    return pipe(clip, neighbors=NEIGHBORS if pipe.has_neighbors else 0)


@torch.no_grad()
def frames_used(processor, path: str) -> list[Frame]:
    """Return some of the frames that the model sees, evenly spaced, each with its time."""
    with MediaClip(path) as clip:
        times = frame_times(clip.duration, processor.frames_per_second, processor.num_frames)
        number = min(len(times), FRAMES_SHOWN)
        shown = [times[(2 * index + 1) * len(times) // (2 * number)] for index in range(number)]
        frames = [frame for part in clip.iter_frames(shown, 1) for frame in part]  # uint8 (3, H, W) each
    return [Frame(time, jpeg_address(frame)) for time, frame in zip(shown, frames)]


def jpeg_address(frame: torch.Tensor) -> str:
    """Return a small picture of a frame, uint8 (3, H, W), as a data address, which leaves no file on the server."""
    image = Image.fromarray(frame.permute(1, 2, 0).numpy())
    image.thumbnail((FRAME_PIXELS, FRAME_PIXELS))
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=80)
    return data_address(jpeg.getvalue(), "image/jpeg")


def data_address(content: bytes, kind: str) -> str:
    """Return bytes as a data address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def over_time(pipe: SemanticMACPipeline, path: str, info: MediaInfo, cues: list[Segment], notes: list[str]) -> str:
    """Return the timeline of a long clip as HTML."""
    with tempfile.TemporaryDirectory() as folder:
        write_timeline(pipe, path, cues or segments_of(path), folder)
        lines = (Path(folder) / "timeline.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        files = {name: (Path(folder) / name).read_bytes() for name in DOWNLOADS}
    if all("error" in row for row in rows):
        raise ValueError(f"no segment of the clip can be used: {without_folders(rows[0]['error'], path)}")
    is_seen = any("vision" in row.get("modalities", ()) for row in rows)
    frames = frames_used(pipe.processor, path) if is_seen else []
    kinds = {".csv": "text/csv", ".srt": "application/x-subrip", ".png": "image/png"}
    links = {name: data_address(content, kinds[Path(name).suffix]) for name, content in files.items()}
    return timeline_html(rows, pipe.model.config.task, info.duration, frames, notes, links)


def segments_of(path: str) -> list[Segment]:
    """Return the stretches of speech between pauses, or fixed windows where there is no speech."""
    with open_media(path, "pyav") as media:
        segments = list(speech_segments(media)) if media.info.audio is not None else []
        return segments or list(fixed_windows(media.info.duration, WINDOW_SECONDS))


__all__ = ["LONG_SECONDS", "Limits", "analyse", "arrival_html", "frames_used"]
