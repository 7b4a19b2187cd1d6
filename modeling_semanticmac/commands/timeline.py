"""`semanticmac timeline`: a long video, one prediction a segment."""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from transformers.utils import logging

from ..hub.responsible_use import NOTICE
from ..media_decoding import Media, open_media
from ..timeline.segments import Segment, fixed_windows
from .clip_arguments import OF_ONE_CLIP
from .model_loading import add_model_arguments, load_pipeline

EXAMPLES = """examples:
  semanticmac timeline talk.mp4 --model RUN --transcript talk.srt --output_dir out
  semanticmac timeline talk.mp4 --model RUN --pauses --output_dir out
  semanticmac timeline talk.mp4 --model RUN --window 10 --hop 5 --output_dir out
  semanticmac timeline talk.mp4 --model RUN --asr openai/whisper-small --output_dir out

The folder then holds timeline.csv, .jsonl, .srt, .vtt, .png and .svg. The same command resumes an interrupted run.
"""
SOURCES = ("transcript", "pauses", "window", "asr")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="semanticmac timeline",
        description="Predict a long video segment by segment; write a table, subtitles and a picture.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("media", metavar="VIDEO", nargs="+", help="video or sound file")
    parser.add_argument(
        "--output_dir", required=True, metavar="OUT_DIR", help="folder for table, subtitles and picture"
    )
    add_model_arguments(parser)
    add_timeline_arguments(parser)
    return parser


def add_timeline_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the arguments that say where segments come from, and return their group."""
    group = parser.add_argument_group("segments of a long video", "one prediction a segment; give one source")
    group.add_argument(
        "--transcript",
        metavar="FILE",
        help="text with times: SRT, WebVTT, SBV, ASS, TTML, LRC, JSON of a recogniser, or a video with subtitles",
    )
    group.add_argument(
        "--transcript_encoding", metavar="NAME", help="of a transcript that is not UTF-8, e.g. gb18030 (default: guess)"
    )
    group.add_argument("--pauses", action="store_true", help="stretches of speech between pauses, without text")
    group.add_argument("--window", type=float, metavar="SECONDS", help="windows of this length, without text")
    group.add_argument("--hop", type=float, metavar="SECONDS", help="time between window starts (default: --window)")
    group.add_argument("--asr", metavar="MODEL", help="recognise the speech first, e.g. with openai/whisper-small")
    return group


def main(argv: Sequence[str] | None = None) -> int:
    """Write the timeline of a video.

    Returns:
        0; 1 where no segment could be used.

    Raises:
        ValueError, OSError: what cannot be done, in a sentence.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    logging.disable_progress_bar()  # of loading weights
    check_timeline(args, parser, "--output_dir")
    return run_timeline(args, args.media[0], args.output_dir)


def check_timeline(args: argparse.Namespace, parser: argparse.ArgumentParser, option: str) -> bool:
    """Return whether the arguments are of a timeline; exit with 2 where they do not fit each other.

    Args:
        option: the argument that names the folder of the timeline.
    """
    given = [f"--{name}" for name in SOURCES if _is_given(getattr(args, name))]
    if getattr(args, option.removeprefix("--")) is None:
        given += [f"--{name}" for name in ("hop", "transcript_encoding") if getattr(args, name) is not None]
        if given:
            parser.error(f"{given[0]} needs {option} OUT_DIR, the folder for the result")
        return False
    if len(given) != 1:
        found = " and ".join(given) or "none"
        parser.error(f"{option} needs one of {', '.join(f'--{name}' for name in SOURCES)}; found {found}")
    if args.hop is not None and args.window is None:
        parser.error("--hop goes with --window")
    if args.transcript_encoding is not None and args.transcript is None:
        parser.error("--transcript_encoding goes with --transcript")
    if len(args.media) != 1:
        parser.error(f"a timeline is of one video file; found {len(args.media)}")
    other = [f"--{name}" for name in (*OF_ONE_CLIP, "json", "table") if getattr(args, name, None) is not None]
    if other:
        parser.error(f"{other[0]} does not go with {option}")
    return True


def _is_given(value) -> bool:
    return value is not None and value is not False  # 0 is given, and refused later


def _refuse_nothing_to_read(pipe, modalities: Sequence[str]) -> None:
    """Refuse a model that makes nothing of these modalities of a video, where every segment would be an error."""
    if not set(modalities) & set(pipe.reads):
        notes = pipe.model.config.unread_notes
        told = "; ".join(notes.get(name, f"it has no {name} tower") for name in modalities)
        raise ValueError(f"the model reads nothing of {', '.join(modalities)}, so there is no timeline: {told}.")


def run_timeline(args: argparse.Namespace, video: str, output_dir: str) -> int:
    """Write the timeline and print where it is; return the exit code.

    Raises:
        ValueError, OSError: what cannot be done, in a sentence.
    """
    folder = Path(output_dir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: this is a file; name a folder for the timeline, which may be a new one.")
    if os.path.exists(video) and not os.path.isfile(video):
        raise ValueError(f"{video}: this is not a file; a timeline reads its video more than once, so give a file.")
    import matplotlib  # noqa: F401  (missing in a plain install: said before the work, not after it)

    with open_media(video, "pyav") as media:  # before the model: what is wrong with the files is said at once
        segments = _segments(args, media, folder)
        pipe = load_pipeline(args.model, args.device, args.dtype)
        _refuse_nothing_to_read(pipe, args.modalities)
        from ..timeline import write_timeline

        found = write_timeline(pipe, video, segments, folder, args.batch_size, args.modalities)
    print(
        f"{found['segments']} segments, {found['contradicting']} in which modalities contradict each other, "
        f"{found['unusable']} without a prediction: {folder / 'timeline.csv'}, also as .jsonl, .srt, .vtt, .png and "
        ".svg"
    )
    print(NOTICE)
    return int(found["unusable"] == found["segments"])


def _segments(args: argparse.Namespace, media: Media, folder: Path) -> Iterator[Segment]:
    """Return the segments from the source that the arguments name."""
    if args.transcript is not None:
        from ..timeline.transcripts import read_transcript

        return iter(read_transcript(args.transcript, encoding=args.transcript_encoding, duration=media.info.duration))
    if args.window is not None:
        return fixed_windows(media.info.duration, args.window, args.hop)
    if args.pauses:
        from ..timeline.speech_segments import speech_segments

        return _some(
            speech_segments(media), f"{media.info.path}: no speech is found in the sound; use --window SECONDS."
        )
    from ..files.row_file import RowFile
    from ..timeline.speech_recognition import recognized_segments

    return recognized_segments(load_recognizer(args.asr, args.device), args.asr, media, RowFile(folder / "words.jsonl"))


def _some(segments: Iterator[Segment], message: str) -> Iterator[Segment]:
    """Yield the segments; raise a ValueError with the message where there is none."""
    segment = None
    for segment in segments:
        yield segment
    if segment is None:
        raise ValueError(message)


def load_recognizer(name: str, device: str | None) -> Callable:
    """Load the automatic-speech-recognition pipeline of transformers.

    Raises:
        ValueError: it cannot be loaded.
    """
    from transformers import pipeline

    try:
        return pipeline("automatic-speech-recognition", model=name, device=device)
    except Exception as error:  # a folder of another kind can raise anything in the library
        found = str(error).strip().splitlines() or [""]
        raise ValueError(
            f"--asr {name}: it cannot be loaded as a speech recogniser ({type(error).__name__}: {found[0]})."
        ) from error


__all__ = ["add_timeline_arguments", "build_parser", "check_timeline", "load_recognizer", "main", "run_timeline"]
