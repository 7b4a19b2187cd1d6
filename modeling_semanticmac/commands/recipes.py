"""`semanticmac recipes`: the recipes and search spaces that ship with the package."""

import argparse
from pathlib import Path

import yaml

from ..search.space import SPACES, space_names
from ..training.run_arguments import RECIPES, recipe_names, shipped_file

COLUMNS = ("corpus", "task", "language_model")
EPILOG = """examples:
  semanticmac recipes                       list them
  semanticmac recipes NAME > mine.yaml      print one, to copy and change
  semanticmac train NAME --data_dir ...     train it; NAME may be mine.yaml
  semanticmac train NAME --do_search --search_space NAME ...
"""


def main(argv: list[str] | None = None) -> int:
    """List the recipes and search spaces, or print one."""
    parser = argparse.ArgumentParser(
        prog="semanticmac recipes",
        description="List the recipes (name, corpus, task, models) and the search spaces of the package.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="print this recipe or search space")
    args = parser.parse_args(argv)
    if args.name is None:
        print(listing())
        return 0
    for folder in (RECIPES, SPACES):
        path = shipped_file(args.name, folder)
        if path is not None:
            print(path.read_text(encoding="utf-8"), end="")
            return 0
    parser.error(f"there is no recipe or search space {args.name!r}; `semanticmac recipes` lists them")


def listing() -> str:
    """Return the table of the recipes and the names of the search spaces."""
    rows = [("recipe", "corpus", "task", "language model", "comparison system")]
    for name in recipe_names():
        values = yaml.safe_load(Path(shipped_file(name, RECIPES) or "").read_text(encoding="utf-8"))
        known = (values.get(column) or "give --" + column for column in COLUMNS)
        rows.append((name, *known, values.get("architecture", "")))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "", f"search spaces: {', '.join(space_names())}"])


__all__ = ["listing", "main"]
