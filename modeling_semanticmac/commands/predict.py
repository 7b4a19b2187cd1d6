"""`semanticmac predict`: predictions of clips from the command line."""

import argparse
import json
import os
import time
from collections.abc import Sequence

import torch
from tqdm import tqdm
from transformers import pipeline

from ..clip_input import is_address, media_files
from ..configuration_semanticmac import DTYPES, MODALITIES
from ..files.atomic_files import write_json
from ..pipeline_semanticmac import ON_ERROR, TASK, SemanticMACPipeline
from .info import load_config, short_message
from .result_text import result_text, seconds_text
from .timeline import TIMELINE_EXAMPLES, add_timeline_arguments, asks_for_timeline, run_timeline

OF_ONE_CLIP = ("text", "context", "audio", "start", "end", "crop")
EXAMPLES = """examples:
  semanticmac predict clip.mp4 --model RUN
  semanticmac predict clip.mp4 --model RUN --text "I did not expect that." --start 3.5 --end 7
  semanticmac predict --model RUN --text "Words alone."
  semanticmac predict recordings/ more.mkv --model RUN --on_error skip --json results.json
"""


def add_predict_parser(commands) -> None:
    """Add the command to those of `semanticmac`."""
    parser = commands.add_parser(
        "predict",
        help="predict videos, or words alone",
        description="Predict videos, sound files or words, with what words, voice and picture each say. A modality that is missing is done without.",
        epilog=EXAMPLES + TIMELINE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_predict_arguments(parser)
    add_timeline_arguments(parser)
    parser.set_defaults(run=lambda args: run_predict(args, parser))


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `predict`."""
    parser.add_argument(
        "media", nargs="*", metavar="VIDEO", help="video or sound file, folder of such files, or http(s) address"
    )
    parser.add_argument("--model", required=True, help="folder of a run, or name on the Hub")
    clip = parser.add_argument_group("of one clip")
    clip.add_argument("--text", help="what is said")
    clip.add_argument("--context", nargs="+", metavar="UTTERANCE", help="what was said before, oldest first")
    clip.add_argument("--audio", metavar="FILE", help="file whose sound is used instead of the video's")
    clip.add_argument("--start", type=float, metavar="SECONDS", help="where the clip begins in the file")
    clip.add_argument("--end", type=float, metavar="SECONDS", help="where it ends")
    clip.add_argument("--crop", choices=("left", "right"), help="half of the picture to use")
    parser.add_argument(
        "--modalities",
        nargs="+",
        choices=MODALITIES,
        default=MODALITIES,
        help="what to use of text, audio and vision (default all)",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the results as JSON, a list; - for standard output, in place of the table"
    )
    parser.add_argument(
        "--on_error", choices=ON_ERROR, default="raise", help="at a file that cannot be used: stop (default), or go on"
    )
    parser.add_argument("--allow_download", action="store_true", help="let an address be downloaded")
    parser.add_argument(
        "--batch_size", type=int, default=1, help="clips that go through the model together (default 1)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    parser.add_argument("--dtype", choices=DTYPES, help="number format of the model (default: as it was saved)")


def run_predict(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Predict and print.

    Returns:
        0; 1 where a clip could not be used and was skipped.

    Raises:
        ValueError, OSError: in a sentence, what cannot be done.
    """
    if asks_for_timeline(args, parser):
        return run_timeline(args, lambda: load_pipeline(args.model, args.device, args.dtype))
    clips = named_clips(args, parser)
    start = time.perf_counter()
    pipe = load_pipeline(args.model, args.device, args.dtype)
    if any(clip.keys() & {"video", "audio"} for clip in clips):
        pipe.load_encoders(args.modalities)
    loading = time.perf_counter() - start
    options = {name: getattr(args, name) for name in ("batch_size", "on_error", "allow_download", "modalities")}
    answers = pipe(iter_clips(clips), timings=True, **options)
    results = []
    for result in tqdm(answers, total=len(clips), unit="clip", disable=True if len(clips) == 1 else None):
        results.append(result)
        if args.json != "-":
            tqdm.write(result_text(result) + "\n")
    if args.json == "-":
        print(json.dumps(results, indent=2))
    else:
        tqdm.write(stages_text(loading, results))
        if args.json:
            write_json(args.json, results)
    return int(any("error" in result for result in results))


def named_clips(args: argparse.Namespace, parser: argparse.ArgumentParser) -> list[dict]:
    """The clips that the arguments name, as the pipeline takes them; leaves with 2 where they do not fit each other.

    Raises:
        ValueError: a file that is not there.
    """
    paths = []
    for name in args.media:
        if os.path.isdir(name):
            paths += media_files(name)
        elif is_address(name) or os.path.exists(name):
            paths.append(name)
        else:
            raise ValueError(f"{name}: there is no such file; check the path. Words go after --text.")
    given = {name: getattr(args, name) for name in OF_ONE_CLIP if getattr(args, name) is not None}
    if not paths and not given.keys() & {"text", "audio"}:
        parser.error("there is nothing to predict: give a VIDEO, or --text, or --audio")
    if len(paths) > 1 and given:
        parser.error(f"--{next(iter(given))} is of one clip, and there are {len(paths)} files; predict them one by one")
    if args.batch_size < 1:
        parser.error(f"--batch_size is {args.batch_size}; expected at least 1")
    return [{"video": path, **given} for path in paths] or [given]


def iter_clips(clips: Sequence[dict]):
    """The clips as a generator, for which the pipeline gives each result as soon as it is there."""
    yield from clips


def load_pipeline(model: str, device: str | None = None, dtype: str | None = None) -> SemanticMACPipeline:
    """The pipeline of a model by the arguments of the command line.

    Raises:
        ValueError: no such model, or not of this kind, or it is damaged, or no such device.
    """
    load_config(model)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {device} cannot be used here: {short_message(error)}") from error
    try:
        return pipeline(TASK, model=model, device=device, dtype=dtype or "auto")
    except Exception as error:  # whatever a damaged folder makes of the library
        raise ValueError(
            f"{model}: the model cannot be loaded ({type(error).__name__}: {short_message(error)})."
        ) from error


def stages_text(loading: float, results: Sequence[dict]) -> str:
    """One line: seconds for loading the model, and in sum over the clips for each stage."""
    stages = {"load": loading}
    for result in results:
        for stage, seconds in result.get("timings", {}).items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    return "time per stage: " + ", ".join(f"{stage} {seconds_text(seconds)}" for stage, seconds in stages.items())


__all__ = ["add_predict_arguments", "add_predict_parser", "load_pipeline", "run_predict"]
