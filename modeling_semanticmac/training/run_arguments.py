"""Arguments of `semanticmac train`: read from a YAML or JSON file and the command line."""

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from transformers import HfArgumentParser

from ..files.near_names import did_you_mean
from ..files.strict_yaml import read_yaml
from .argument_checks import check_numbers, check_search_arguments
from .argument_groups import DataArguments, ModelArguments, SearchArguments
from .training_args import SemanticMACTrainingArguments

RECIPES = Path(__file__).parent / "recipes"


def parse_arguments(argv: list[str]) -> tuple[ModelArguments, DataArguments, SemanticMACTrainingArguments]:
    """Return the arguments of `[FILE.yaml | FILE.json] [--name value ...]`; the command line wins over the file.

    Raises:
        ValueError: an unknown name, with the nearest known one; or a value that cannot be right.
        FileNotFoundError: the file of arguments does not exist.
    """
    return parse_command(argv)[:3]


def given_arguments(argv: list[str]) -> dict:
    """Return what the file and the command line say, by name, without defaults: as it would stand in one recipe."""
    parser = _parser()
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    return vars(parser.parse_args(_all_arguments(argv, parser)))


def argument_readers() -> dict[str, Callable[[str], object]]:
    """Return, by the name of each argument, the function that makes its value from the text on the command line."""
    # Of `--name` and `--no_name` the first has the reader.
    return {
        action.dest: cast(Callable, action.type) for action in reversed(_parser()._actions) if action.dest != "help"
    }


def _parser() -> HfArgumentParser:
    groups: Any = (ModelArguments, DataArguments, SemanticMACTrainingArguments, SearchArguments)
    return HfArgumentParser(
        groups,
        prog="semanticmac train",
        usage="%(prog)s [RECIPE] [--name value ...]",
        description="Train, evaluate and predict with SemanticMAC.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def _all_arguments(argv: list[str], parser: HfArgumentParser) -> list[str]:
    """Return the arguments of the command line, those of a file of arguments before them."""
    if argv and not argv[0].startswith("-"):
        known = sorted(action.dest for action in parser._actions if action.dest != "help")
        return _file_arguments(find_recipe(argv[0]), known) + list(argv[1:])
    return list(argv)


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the package, sorted."""
    return shipped_names(RECIPES)


def find_recipe(name: str) -> Path:
    """Return the path of a recipe: a file, or a recipe of the package by its name; see `find_shipped`."""
    return find_shipped(name, RECIPES, "examples/recipes", "recipe")


def shipped_names(folder: Path) -> list[str]:
    """Return the names of the YAML files in a folder of the package and the folders in it, sorted."""
    return sorted(path.stem for path in folder.rglob("*.yaml"))


def shipped_file(name: str, folder: Path) -> Path | None:
    """Return the path of a YAML file of the package by its name without ending; None where there is none."""
    return next((path for path in folder.rglob("*.yaml") if path.stem == name), None)


def find_shipped(name: str, folder: Path, former_folder: str, kind: str) -> Path:
    """Return the path of a file, or of the file of that name that ships with the package.

    Args:
        name: path, or name with or without `former_folder` and `.yaml`.
        folder: folder of the package that holds the files.
        former_folder: the folder where they were formerly found, whose spelling still works.
        kind: what the file is, for messages.

    Raises:
        FileNotFoundError: neither exists; the message names the nearest file of the package.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_file(path.name.removesuffix(".yaml"), folder)
    if str(path.parent) in (".", former_folder) and shipped is not None:
        return shipped
    hint = did_you_mean(path.stem, shipped_names(folder))
    raise FileNotFoundError(
        f"there is no file {name}, and no {kind} of that name.{hint} `semanticmac recipes` lists them; a file is a "
        "YAML or JSON mapping of argument names to values."
    )


def parse_command(
    argv: list[str],
) -> tuple[ModelArguments, DataArguments, SemanticMACTrainingArguments, SearchArguments]:
    """Parse as `parse_arguments` does, and return the options of a search too."""
    parser = _parser()
    *parsed, rest = parser.parse_args_into_dataclasses(
        args=_all_arguments(argv, parser), return_remaining_strings=True, look_for_args_file=False
    )
    if rest:
        known = sorted(action.dest for action in parser._actions if action.dest != "help")
        raise ValueError(unknown_name(rest[0], "on the command line", known))
    for group in parsed:
        check_numbers(group)
    check_search_arguments(parsed[-1])
    return cast(tuple[ModelArguments, DataArguments, SemanticMACTrainingArguments, SearchArguments], tuple(parsed))


def _file_arguments(path: Path, known: list[str]) -> list[str]:
    """Return the file's mapping as arguments of the command line, so that one parser checks both."""
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {type(values).__name__}; expected a mapping of argument names to values.")
    for name in values:
        if name not in known:
            raise ValueError(unknown_name(str(name), f"in {path}", known))
    return as_arguments(values)


def as_arguments(values: dict) -> list[str]:
    """Return a mapping of argument names to values as arguments of the command line; values of None are left out."""
    arguments = []
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, dict):
            arguments += [f"--{name}", json.dumps(value)]
        elif isinstance(value, list):
            arguments += [f"--{name}", *map(str, value)]
        else:
            arguments += [f"--{name}", str(value)]
    return arguments


def unknown_name(name: str, where: str, known: Iterable[str]) -> str:
    """Return the message about an argument that does not exist, with the nearest that does."""
    plain = name.lstrip("-").split("=")[0]
    return f"unknown argument {plain!r} {where}.{did_you_mean(plain, known)} `semanticmac train --help` lists all."


__all__ = [
    "DataArguments", "ModelArguments", "SearchArguments", "argument_readers", "as_arguments", "find_recipe",
    "given_arguments", "parse_arguments", "parse_command", "recipe_names", "shipped_file", "unknown_name",
]  # fmt: skip
