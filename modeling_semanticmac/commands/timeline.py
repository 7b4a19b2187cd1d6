"""`semanticmac predict VIDEO --timeline OUT_DIR`: a long video as a timeline, from the command line."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from ..media_decoding import Media, open_media
from ..timeline.segments import Segment, fixed_windows

TIMELINE_EXAMPLES = """  semanticmac predict talk.mp4 --model RUN --transcript talk.srt --timeline out/
  semanticmac predict talk.mp4 --model RUN --pauses --timeline out/
  semanticmac predict talk.mp4 --model RUN --asr openai/whisper-small --timeline out/
"""
SOURCES = ("transcript", "pauses", "window", "asr")
OF_OTHER_USES = ("text", "context", "audio", "start", "end", "crop", "json")


def add_timeline_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a timeline, to those of `predict`."""
    group = parser.add_argument_group("of a long video", "one prediction a segment; say where the segments come from")
    group.add_argument(
        "--timeline", metavar="OUT_DIR", help="folder for table, subtitles and plot; a stopped run goes on"
    )
    group.add_argument(
        "--transcript", metavar="FILE", help="words with times: SRT, WebVTT, or JSON of a speech recogniser"
    )
    group.add_argument("--pauses", action="store_true", help="stretches of speech between pauses, without words")
    group.add_argument("--window", type=float, metavar="SECONDS", help="windows of this length, without words")
    group.add_argument(
        "--hop", type=float, metavar="SECONDS", help="from one window's start to the next's (default: --window)"
    )
    group.add_argument("--asr", metavar="MODEL", help="recognise the words first, e.g. with openai/whisper-small")  # fmt: skip


def asks_for_timeline(args: argparse.Namespace, parser: argparse.ArgumentParser) -> bool:
    """Whether the arguments are of a timeline; leaves with 2 where they do not fit each other."""
    given = [f"--{name}" for name in SOURCES if getattr(args, name) not in (None, False)]
    if args.timeline is None:
        if given or args.hop is not None:
            parser.error(f"{(given or ['--hop'])[0]} needs --timeline OUT_DIR, the folder for the result")
        return False
    if len(given) != 1:
        found = " and ".join(given) or "none"
        parser.error(f"--timeline needs one of {', '.join(f'--{name}' for name in SOURCES)}; found {found}")
    if args.hop is not None and args.window is None:
        parser.error("--hop goes with --window")
    if len(args.media) != 1:
        parser.error(f"--timeline is of one video file; found {len(args.media)}")
    other = [f"--{name}" for name in OF_OTHER_USES if getattr(args, name) is not None]
    if other:
        parser.error(f"{other[0]} does not go with --timeline")
    if args.batch_size < 1:
        parser.error(f"--batch_size is {args.batch_size}; expected at least 1")
    return True


def run_timeline(args: argparse.Namespace, load_pipeline: Callable) -> int:
    """Write the timeline and say where it is.

    Args:
        load_pipeline: gives the SemanticMACPipeline.

    Returns:
        0; 1 where no segment could be used.

    Raises:
        ValueError, OSError: in a sentence, what cannot be done.
    """
    video, folder = args.media[0], Path(args.timeline)
    with open_media(video, "pyav") as media:  # before the model: what is wrong with the files is said at once
        segments = _segments(args, media, folder)
        pipe = load_pipeline()
        from ..timeline import write_timeline  # with matplotlib, which takes a second

        found = write_timeline(pipe, video, segments, folder, args.batch_size, args.modalities)
    print(
        f"{found['segments']} segments, {found['contradicting']} in which modalities contradict each other, {found['unusable']} without a prediction: "
        f"{folder / 'timeline.csv'}, also as .jsonl, .srt, .vtt, .png and .svg"
    )
    return int(found["unusable"] == found["segments"])


def _segments(args: argparse.Namespace, media: Media, folder: Path) -> Iterator[Segment]:
    if args.transcript is not None:
        from ..timeline.transcripts import read_transcript

        return iter(read_transcript(args.transcript))
    if args.window is not None:
        return fixed_windows(media.info.duration, args.window, args.hop)
    if args.pauses:
        from ..timeline.speech_segments import speech_segments

        return speech_segments(media)
    from ..files.row_file import RowFile
    from ..timeline.speech_recognition import recognized_segments

    return recognized_segments(load_recognizer(args.asr, args.device), args.asr, media, RowFile(folder / "words.jsonl"))


def load_recognizer(name: str, device: str | None) -> Callable:
    """Transformers' automatic-speech-recognition pipeline.

    Raises:
        ValueError: it cannot be loaded.
    """
    from transformers import pipeline

    try:
        return pipeline("automatic-speech-recognition", model=name, device=device)
    except Exception as error:  # whatever a folder that is no recogniser makes of the library
        found = str(error).strip().splitlines() or [""]
        raise ValueError(f"--asr {name}: it cannot be loaded as a speech recogniser ({type(error).__name__}: {found[0]}).") from error  # fmt: skip


__all__ = ["TIMELINE_EXAMPLES", "add_timeline_arguments", "asks_for_timeline", "run_timeline"]
