"""Command line of the corpora: `python -m datasets_scripts synthetic FOLDER --train 240`."""

import argparse
from pathlib import Path

from .synthetic import DEFAULTS, render


def main(argv: list[str] | None = None) -> None:
    """Run a command with the given arguments, or those of the command line."""
    parser = argparse.ArgumentParser(prog="python -m datasets_scripts", description="Corpora of SemanticMAC.")
    commands = parser.add_subparsers(dest="command", required=True)
    synthetic = commands.add_parser(
        "synthetic", help="render the synthetic corpus", description="Render the synthetic corpus, or complete it."
    )
    synthetic.add_argument("folder", type=Path, help="an empty folder, or one that holds the same corpus")
    for name, value in DEFAULTS.items():
        synthetic.add_argument(f"--{name}", type=type(value), help=f"default {value:g}")
    synthetic.add_argument("--num_proc", type=int, help="processes that render (default: one a core, at most 8)")
    given = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    given.pop("command")
    folder = given.pop("folder")
    try:
        print(f"{render(folder, **given)} holds the corpus.")
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
