"""`semanticmac predict`: predictions of clips from the command line."""

import argparse
import json
import time
from collections.abc import Sequence

from tqdm import tqdm
from transformers.utils import logging

from ..files.atomic_files import write_json
from ..pipeline_semanticmac import ON_ERROR
from .clip_arguments import add_clip_arguments, named_clips
from .model_loading import add_model_arguments, load_pipeline
from .result_text import result_text, seconds_text
from .timeline import add_timeline_arguments, check_timeline, run_timeline

EXAMPLES = """examples:
  semanticmac predict clip.mp4 --model RUN
  semanticmac predict clip.mp4 --model RUN --text "I did not expect that." --start 3.5 --end 00:00:07
  semanticmac predict --model RUN --text "Text alone."
  semanticmac predict recordings/ more.mkv --model RUN --on_error skip --json results.json
  semanticmac predict --table clips.csv --model RUN --json results.json

--timeline and the arguments below it are the former spelling of `semanticmac timeline`.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="semanticmac predict",
        description="Predict videos, sound files or text, from all modalities and from each. Missing ones are ignored.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_clip_arguments(parser)
    add_model_arguments(parser)
    parser.add_argument(
        "--json", metavar="FILE", help="write the results as a JSON list; - prints them instead of the table"
    )
    parser.add_argument(
        "--on_error", choices=ON_ERROR, default="raise", help="at a file that cannot be used: stop (default), or go on"
    )
    parser.add_argument(
        "--abstain", action="store_true", help="make no decision where a calibrated model is not sure of one"
    )
    parser.add_argument(
        "--neighbors", type=int, default=0, metavar="K", help="name the K nearest training clips of each modality"
    )
    parser.add_argument("--allow_download", action="store_true", help="allow addresses to be downloaded")
    group = add_timeline_arguments(parser)
    group.add_argument("--timeline", metavar="OUT_DIR", help="folder for the timeline; an interrupted run is resumed")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Predict and print.

    Returns:
        0; 1 where a clip could not be used and was skipped.

    Raises:
        ValueError, OSError: what cannot be done, in a sentence.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    logging.disable_progress_bar()  # of loading weights
    if check_timeline(args, parser, "--timeline"):
        return run_timeline(args, args.media[0], args.timeline)
    return predict_clips(args, named_clips(args, parser))


def predict_clips(args: argparse.Namespace, clips: list[dict]) -> int:
    """Predict the clips as the arguments say, and print or write the results; return the exit code."""
    start = time.perf_counter()
    pipe = load_pipeline(args.model, args.device, args.dtype)
    if any(clip.keys() & {"video", "audio"} for clip in clips):
        pipe.load_encoders(args.modalities)
    loading = time.perf_counter() - start
    options = {
        name: getattr(args, name)
        for name in ("batch_size", "on_error", "allow_download", "modalities", "abstain", "neighbors")
    }
    # The pipeline returns the results of a generator one by one, as soon as each is there.
    answers = pipe((clip for clip in clips), timings=True, **options)
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


def stages_text(loading: float, results: Sequence[dict]) -> str:
    """Return one line with the seconds for loading the model and, summed over the clips, for each stage."""
    stages = {"load": loading}
    for result in results:
        for stage, taken in result.get("timings", {}).items():
            stages[stage] = stages.get(stage, 0.0) + taken
    return "time per stage: " + ", ".join(f"{stage} {seconds_text(taken)}" for stage, taken in stages.items())


__all__ = ["build_parser", "main", "predict_clips", "stages_text"]
