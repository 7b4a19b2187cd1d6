"""`semanticmac live`: predictions of a camera and a microphone, or of a repeated file, while they are recorded."""

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

from transformers.utils import logging

from ..affect_results import result_words
from ..configuration_semanticmac import SPOKEN
from ..serving.live import HALF_LIFE, SECONDS, LiveClip
from ..serving.live_capacity import capacity_words, encoding_seconds
from ..serving.live_sources import SAMPLING_RATE, Camera, Microphone, Piece, device_pieces, file_pieces, in_time
from .model_loading import load_pipeline
from .result_text import score_bar

EXAMPLES = """examples:
  semanticmac live RUN --camera 0 --microphone alsa:default
  semanticmac live RUN --camera 0 --text "I did not expect that."
  semanticmac live RUN --file clip.mp4 --seconds 30 --json

Ctrl-C ends it. People who are recorded must be told that a model rates them (EU AI Act, Article 50(3)).
"""
LATEST = 2  # windows of sound a tick, where the machine is too slow for all


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="semanticmac live",
        description="Predict what a camera and a microphone record, from the last seconds, again and again.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="RUN", help="folder of a run or a checkpoint, or name on the Hub")
    parser.add_argument("--camera", metavar="NUMBER", help="a camera, 0 for the first one (needs OpenCV)")
    parser.add_argument("--microphone", metavar="FORMAT:DEVICE", help="a sound device, e.g. alsa:default")
    parser.add_argument("--file", metavar="FILE", help="a video or sound file in their place, again and again")
    parser.add_argument("--text", help="what is said")
    parser.add_argument("--window", type=float, default=SECONDS, help="seconds that count (default %(default)g)")
    parser.add_argument(
        "--half_life", type=float, default=HALF_LIFE, help="seconds after which a result counts half (%(default)g)"
    )
    parser.add_argument("--tick", type=float, default=0.5, help="seconds between results (default %(default)g)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so many (default: never)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON a result")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Predict until Ctrl-C, the end of the camera, or `--seconds`.

    Raises:
        ValueError, OSError: what cannot be done, in a sentence.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    if (args.file is None) == (args.camera is None and args.microphone is None):
        parser.error("give --file, or --camera, --microphone or both")
    for name in ("tick", "window", "half_life", "seconds"):
        if not getattr(args, name) > 0:
            parser.error(f"--{name} is {getattr(args, name):g}; expected a positive number of seconds")
    logging.disable_progress_bar()  # of loading weights
    with contextlib.ExitStack() as devices:
        pieces = named_source(args, devices)
        pipe = load_pipeline(args.model, args.device)
        live = LiveClip(pipe, args.window, args.half_life)
        live.say(args.text)
        told = capacity_words(encoding_seconds(pipe), pipe.processor.frames_per_second)
        print(told, file=sys.stderr, flush=True)
        taken = []
        with contextlib.suppress(KeyboardInterrupt):
            for result in live_results(live, pieces, args.seconds):
                taken.append(result["latency"])
                print(json.dumps(result) if args.json else live_text(result), flush=True)
    if taken:
        slowest = sorted(taken)[int(0.95 * (len(taken) - 1))]
        told = f"{len(taken)} results, each after {1000 * statistics.median(taken):.0f} ms (median)"
        print(f"{told}; 95 % within {1000 * slowest:.0f} ms", file=sys.stderr)
    return 0


def named_source(args: argparse.Namespace, devices: contextlib.ExitStack) -> Iterator[Piece]:
    """Return the source that the arguments name; devices are closed with the stack."""
    if args.file is not None:
        return in_time(file_pieces(args.file, args.tick))
    camera = microphone = None
    if args.camera is not None:
        camera = devices.enter_context(Camera(int(args.camera) if args.camera.isdecimal() else args.camera))
    if args.microphone is not None:
        microphone = devices.enter_context(Microphone(args.microphone))
    return device_pieces(camera, microphone, args.tick)


def live_results(live: LiveClip, pieces: Iterator[Piece], seconds: float = float("inf")) -> Iterator[dict]:
    """Yield the result of each tick that has one, with `latency`: seconds from a piece to its result.

    Args:
        live: the clip.
        pieces: of a source.
        seconds: of the recording, after which it ends.
    """
    for piece in pieces:
        if piece.end > seconds + 1e-9:
            return
        start = time.perf_counter()
        if piece.sound is not None and len(piece.sound):
            live.push_sound(piece.sound, SAMPLING_RATE, piece.sound_time, LATEST)
        if piece.picture is not None:
            live.push_frame(piece.picture, piece.picture_time)
        result = live.result()
        if result is not None:
            yield {**result, "latency": time.perf_counter() - start}


def live_text(result: dict) -> str:
    """Return a result as one line for the terminal: time, smoothed prediction, modalities."""
    smoothed = result["smoothed"]
    bar = ""
    if "range" in smoothed:
        low, high = smoothed["range"]
        bar = f"  {score_bar(smoothed['score'], low, high, (low + high) / 2)}"
    used = ", ".join(SPOKEN[name] for name in result["modalities"])
    notes = "".join(f"  [{note}]" for note in result["media"]["notes"])
    taken = f"{1000 * result['latency']:.0f} ms"
    return f"{result['media']['end']:7.1f} s  {result_words(smoothed):<20}{bar}  {used}  {taken}{notes}"


__all__ = ["build_parser", "live_results", "live_text", "main", "named_source"]
