"""`semanticmac features`: feature files into an embedding store, and what a feature file holds."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets_scripts.loading import corpus_builder, load_corpus

from ..configuration_semanticmac import MEDIA_MODALITIES
from ..embedding_store.fingerprint import STREAMS
from ..feature_files.description import describe_file
from ..feature_files.importing import FeatureImport, check_overlap
from ..feature_files.normalization import NORMALIZE
from ..feature_files.sources import read_streams

EPILOG = """examples:
  semanticmac features info unaligned_50.pkl
  semanticmac features unaligned_50.pkl --corpus mosi --data_dir MOSI --output STORE
  semanticmac features audio=wavlm/ vision=action_units.csv --corpus ravdess --data_dir RAVDESS --output STORE

`semanticmac train RECIPE --features FILE ...` imports by itself. docs/how_to/feature_files.md lists the forms.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the import."""
    parser = argparse.ArgumentParser(
        prog="semanticmac features",
        usage="%(prog)s FILE [FILE ...] --corpus NAME --data_dir DIR --output STORE, or %(prog)s info FILE [FILE ...]",
        description="Import files of precomputed features into an embedding store, or describe them (info).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a file or folder; audio=FILE, vision=FILE or text=FILE says which stream it is",
    )
    parser.add_argument("--corpus", required=True, help="name of the corpus, e.g. mosi")
    parser.add_argument("--data_dir", required=True, help="folder of the corpus")
    parser.add_argument("--task", help="task of the corpus where it has several")
    parser.add_argument(
        "--corpus_options", type=json.loads, default={}, help='options of the corpus as JSON, e.g. {"fold": 0}'
    )
    parser.add_argument("--output", required=True, help="folder of the store")
    parser.add_argument("--normalize", choices=NORMALIZE, default="train", help="default %(default)s")
    parser.add_argument(
        "--modalities", nargs="+", choices=STREAMS, default=MEDIA_MODALITIES,
        help="streams to import (default: audio vision); text for --text features",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Import or describe, and return the exit code.

    Raises:
        ValueError, OSError: a file cannot be used, in a sentence.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["info"]:
        return _info(argv[1:])
    args = build_parser().parse_args(argv)
    options = args.corpus_options
    corpus = load_corpus(args.corpus, args.data_dir, args.task, **{"media": "features", **options})
    builder = corpus_builder(args.corpus)
    segments = builder.segments(args.data_dir, args.task, **options)
    streams = read_streams(args.files, args.modalities, builder.normalize_id, segments=segments)
    ids = {split: clips["id"][:] for split, clips in corpus.items()}
    everything = [clip for clips in ids.values() for clip in clips]
    check_overlap(streams, everything)
    imported = FeatureImport(streams, ids["train"], args.normalize)
    imported.write(Path(args.output), everything)
    for split, clips in ids.items():
        print(f"\n{split}\n{imported.report(clips)}")
    print(f"\n{args.output}: {', '.join(imported.streams)}")
    return 0


def _info(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="semanticmac features info", description="Describe feature files.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file or folder")
    parser.add_argument("--json", choices=("-",), help="- prints JSON instead of text")
    args = parser.parse_args(argv)
    found = [describe_file(path) for path in args.files]
    as_json = json.dumps([description.as_json() for description in found], indent=2)
    print(as_json if args.json else "\n\n".join(map(str, found)))
    return 0


__all__ = ["build_parser", "main"]
