"""Command line of the corpora.

semanticmac corpus check CORPUS DATA_DIR [--task T] [--probe] [--json]
semanticmac corpus prepare CORPUS DATA_DIR OUT [--embed_media] [--push_to_hub org/name --private]
semanticmac corpus synthetic FOLDER --train 240

`python -m datasets_scripts` is the former spelling of `semanticmac corpus`.
"""

import argparse
import json
import sys
from pathlib import Path

from .check import MEDIA, check_corpus
from .loading import corpus_builder
from .prepare import TermsError, prepare_corpus, push_corpus
from .synthetic import DEFAULTS, render


def check(args: argparse.Namespace) -> int:
    """Print what is in the folder; return 1 where something is wrong."""
    found = check_corpus(args.corpus, args.data_dir, args.task, args.media, args.probe, **args.options)
    print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if args.json else found)
    return 0 if found.ok else 1


def prepare(args: argparse.Namespace) -> int:
    """Write Parquet files and a card, and upload them if requested."""
    builder = corpus_builder(args.corpus)
    if args.push_to_hub and not builder.REDISTRIBUTION and not args.i_hold_the_rights:
        push_corpus(args.out, builder, args.push_to_hub)  # raises before anything is written
    folder = prepare_corpus(
        args.corpus, args.data_dir, args.out, args.task and [args.task], args.embed_media, **args.options
    )
    print(f'{folder} holds the corpus: datasets.load_dataset("{folder}")')
    if args.push_to_hub:
        print(push_corpus(folder, builder, args.push_to_hub, args.private, args.i_hold_the_rights))
    return 0


def synthetic(args: argparse.Namespace) -> int:
    """Render the synthetic corpus, or complete an interrupted rendering."""
    given = {name: getattr(args, name) for name in (*DEFAULTS, "num_proc") if getattr(args, name) is not None}
    print(f"{render(args.folder, **given)} holds the corpus.")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the commands."""
    top = argparse.ArgumentParser(prog="semanticmac corpus", description="Corpora of SemanticMAC.")
    commands = top.add_subparsers(dest="command", required=True)
    corpus = argparse.ArgumentParser(add_help=False)
    corpus.add_argument(
        "corpus",
        help="e.g. mosi, mosei, ch_sims, ch_sims_v2, iemocap, meld, ur_funny, mustard, ravdess, crema_d, video_folder",
    )
    corpus.add_argument("data_dir", type=Path, help="folder of the corpus as its authors released it")
    corpus.add_argument("--task", help="default: the corpus's first (check), all of them (prepare)")
    corpus.add_argument(
        "--options", type=json.loads, default={}, help='options of the corpus as JSON, e.g. {"fold": 0}'
    )
    one = commands.add_parser(
        "check", parents=[corpus], help="compare a corpus folder with what is known of the corpus"
    )
    one.add_argument(
        "--media",
        choices=MEDIA,
        default="auto",
        help="whether absent media are a problem (auto: where some clips have them)",
    )
    one.add_argument("--probe", action="store_true", help="open every media file")
    one.add_argument("--json", action="store_true", help="print JSON")
    one.set_defaults(run=check)
    two = commands.add_parser("prepare", parents=[corpus], help="write a corpus as a Parquet dataset with a card")
    two.add_argument("out", type=Path, help="folder to write to")
    two.add_argument("--embed_media", action="store_true", help="put the media files into the dataset")
    two.add_argument("--push_to_hub", metavar="ORG/NAME", help="upload it as a dataset repository")
    two.add_argument("--private", action=argparse.BooleanOptionalAction, default=True, help="whether only you see it")
    two.add_argument("--i_hold_the_rights", action="store_true", help="upload although the corpus's terms forbid it")
    two.set_defaults(run=prepare)
    three = commands.add_parser(
        "synthetic", help="render the synthetic corpus", description="Render the synthetic corpus, or complete it."
    )
    three.add_argument("folder", type=Path, help="an empty folder, or one that holds the same corpus")
    for name, value in DEFAULTS.items():
        values = value if isinstance(value, list) else [value]
        usual = " ".join(f"{number:g}" for number in values)
        count = len(values) if isinstance(value, list) else None
        three.add_argument(f"--{name}", type=type(values[0]), nargs=count, help=f"default {usual}")
    three.add_argument("--num_proc", type=int, help="processes that render (default: one a core, at most 8)")
    three.set_defaults(run=synthetic)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run a command with the given arguments, or those of the command line, and return the exit code."""
    args = parser().parse_args(argv)
    try:
        return args.run(args)
    except (ValueError, FileNotFoundError, TermsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
