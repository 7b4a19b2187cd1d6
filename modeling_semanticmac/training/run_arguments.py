"""Arguments of `semanticmac train`: dataclasses, read from a YAML or JSON file and the command line."""

import argparse
import difflib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import yaml
from transformers import HfArgumentParser

from ..configuration_semanticmac import MODALITIES, SemanticMACConfig
from .training_args import SemanticMACTrainingArguments

RECIPES = Path(__file__).parent / "recipes"


def _option(help_text: str, default=None):
    return field(default=default, metadata={"help": help_text})


@dataclass
class ModelArguments:
    """Which model: a checkpoint to go on from, or a language model and two towers to build a new one on.

    Every field of `SemanticMACConfig` in the second block overrides the configuration's default; sampling fields go to the processor.
    """

    model_name_or_path: str | None = _option("A SemanticMAC checkpoint to continue from, evaluate or predict with.")
    language_model: str | None = _option("A pretrained text encoder (name or folder) to build a new model on.")
    language_model_revision: str | None = _option("Revision of the language model on the Hub.")
    vision_encoder: str | None = _option("The frozen vision tower (name or folder).")
    vision_encoder_revision: str | None = _option("Revision of the vision tower on the Hub.")
    audio_encoder: str | None = _option("The frozen audio tower (name or folder).")
    audio_encoder_revision: str | None = _option("Revision of the audio tower on the Hub.")
    include_encoders: bool | None = _option(
        "Write the towers into the saved model. Default: only where they come from a folder, which nobody else can load."
    )

    hidden_size: int | None = _option("Width d.")
    num_attention_heads: int | None = _option("Heads h.")
    num_latents: int | None = _option("Latent tokens N of each Affective Perceiver.")
    num_perceiver_layers: int | None = _option("Layers of each Affective Perceiver.")
    num_interaction_layers: int | None = _option("Layers of each interaction stack.")
    num_bridge_tokens: int | None = _option("Bridge tokens n_b.")
    max_frames: int | None = _option("Rows of the frame embedding tables.")
    use_frame_embeddings: bool | None = _option("Frame embeddings, eq. (3).")
    perceiver_norm: str | None = _option("pre or none.")
    perceiver_residual: bool | None = _option("Residual connections in the perceiver.")
    use_modality_embeddings: bool | None = _option("Modality embeddings, eq. (5).")
    multi_query: bool | None = _option("One key and value head for all query heads, eq. (6).")
    use_bridge_tokens: bool | None = _option("Bridge tokens, eq. (7)-(8).")
    gate: str | None = _option("reglu, relu or none, eq. (9).")
    dropout: float | None = _option("Dropout of the new modules.")
    initializer_range: float | None = _option("Standard deviation of new weights.")

    frames_per_second: float | None = _option("Frames and audio windows a second (default 2).")
    num_frames: int | None = _option("A fixed number of frames and windows a clip, instead of frames_per_second.")
    vision_window: str | None = _option("image (one still a token) or clip (two frames of one second).")
    audio_window: float | None = _option("Length of an audio window in seconds (default 2.0).")
    num_crops: int | None = _option("1 (centre) or 3 (left, centre, right) crops a frame.")

    @classmethod
    def config_names(cls) -> set[str]:
        """The arguments that are fields of `SemanticMACConfig`."""
        names = {f.name for f in fields(SemanticMACConfig)} & {f.name for f in fields(cls)}
        return names - {"vision_encoder", "audio_encoder"}  # references, made from the names when the towers are loaded

    def config_fields(self) -> dict:
        """The fields of `SemanticMACConfig` that were given."""
        return {name: getattr(self, name) for name in sorted(self.config_names()) if getattr(self, name) is not None}

    def sampling_fields(self) -> dict:
        """The sampling fields of the processor that were given."""
        names = ("frames_per_second", "num_frames", "vision_window", "audio_window")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass
class DataArguments:
    """Which clips, and what of them is used."""

    corpus: str | None = _option("Name of the corpus, e.g. mosi, meld, mustard, synthetic.")
    data_dir: str | None = _option("Folder of the corpus as its authors released it.")
    task: str | None = _option("Task of the corpus where it has several, e.g. sentiment, emotion.")
    corpus_options: str | None = _option('Options of the corpus as JSON, e.g. {"fold": 0}; in a YAML file a mapping.')
    modalities: list[str] = field(
        default_factory=lambda: list(MODALITIES), metadata={"help": "Modalities to use: text audio vision."}
    )
    use_context: bool = _option("Put the earlier utterances of the dialogue before the text.", True)
    max_length: int = _option("Longest text in tokens, context included.", 128)
    embeddings_dir: str | None = _option("Folder of the embedding store (default: <output_dir>/embeddings).")
    extraction_workers: int | None = _option("Processes that decode media (default: by the number of cores).")
    extraction_batch_size: int = _option("Frames or audio windows that a tower encodes at once.", 32)
    media: str = _option(
        "required, or optional: the same as --on_error mask, for corpora whose media are absent.", "required"
    )
    on_error: str = _option("Clips whose media cannot be used: raise, mask (their text alone) or skip.", "raise")
    max_seconds: float | None = _option("Longer clips are not encoded.")
    seeds: list[int] | None = _option(
        "Run each of these seeds in a folder of its own, skip those that are finished, and report mean and deviation."
    )
    max_train_samples: int | None = _option("Use only the first clips of the training set (for debugging).")
    max_eval_samples: int | None = _option("Use only the first clips of validation (for debugging).")
    max_predict_samples: int | None = _option("Use only the first clips of test (for debugging).")

    def __post_init__(self):
        if self.media not in ("required", "optional"):
            raise ValueError(f"media is {self.media!r}; expected required or optional.")
        if self.media == "optional" and self.on_error == "raise":
            self.on_error = "mask"
        self.options = json.loads(self.corpus_options) if self.corpus_options else {}
        if not isinstance(self.options, dict):
            raise ValueError(
                f'corpus_options is {self.corpus_options!r}; expected a JSON mapping such as {{"fold": 0}}.'
            )


@dataclass
class SearchArguments:
    """A hyperparameter search in the place of one run (docs/search.md)."""

    do_search: bool = _option("Search hyperparameters, scored on validation, in the place of one run.", False)
    search_space: str | None = _option("A search space of the package (default: paper), or a YAML file.")
    search_trials: int = _option("Finished trials to reach, earlier ones of the same search included.", 50)
    search_sampler: str = _option("random or tpe.", "random")
    search_pruner: str = _option("none or median (stop a trial that is worse than the median of the others).", "none")
    search_storage: str | None = _option(
        "Database of the trials, e.g. postgresql://... (default: OUTPUT_DIR/search.db)."
    )
    search_heartbeat: int = _option(
        "Seconds between signs of life of a trial; one that is silent for twice as long was killed and is run again.",
        60,
    )
    search_backend: str = _option("optuna or ray.", "optuna")

    def __post_init__(self):
        choices = {"sampler": ("random", "tpe"), "pruner": ("none", "median"), "backend": ("optuna", "ray")}
        for name, known in choices.items():
            value = getattr(self, f"search_{name}")
            if value not in known:
                raise ValueError(f"search_{name} is {value!r}; expected {' or '.join(known)}.")
        for name in ("search_trials", "search_heartbeat"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more.")


def parse_arguments(argv: list[str]) -> tuple[ModelArguments, DataArguments, SemanticMACTrainingArguments]:
    """Arguments from `[FILE.yaml | FILE.json] [--name value ...]`; the command line wins over the file.

    Raises:
        ValueError: an unknown name, with the nearest known one.
        FileNotFoundError: the file of arguments does not exist.
    """
    return parse_command(argv)[:3]


def given_arguments(argv: list[str]) -> dict:
    """What the file and the command line say, by name, without any default: as it would stand in one recipe."""
    parser = _parser()
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    return vars(parser.parse_args(_words(argv, parser)))


def argument_readers() -> dict[str, Callable[[str], object]]:
    """What makes the value of each argument from a word of the command line, by its name."""
    # Of `--name` and `--no_name` the first has the reader.
    return {action.dest: action.type for action in reversed(_parser()._actions) if action.dest != "help"}


def _parser() -> HfArgumentParser:
    return HfArgumentParser(
        (ModelArguments, DataArguments, SemanticMACTrainingArguments, SearchArguments),
        prog="semanticmac train",
        usage="%(prog)s [RECIPE] [--name value ...]",
        description="Train, evaluate and predict with SemanticMAC.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def _words(argv: list[str], parser: HfArgumentParser) -> list[str]:
    """The words of the command line, those of a file of arguments before them."""
    if argv and not argv[0].startswith("-"):
        known = sorted(action.dest for action in parser._actions if action.dest != "help")
        return _file_arguments(find_recipe(argv[0]), known) + list(argv[1:])
    return list(argv)


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with the package, sorted."""
    return shipped_names(RECIPES)


def find_recipe(name: str) -> Path:
    """Return the path of a recipe: a file, or the name of one that ships with the package, as `find_shipped` finds it."""
    return find_shipped(name, RECIPES, "examples/recipes", "recipe")


def shipped_names(folder: Path) -> list[str]:
    """Return the names of the YAML files in a folder of the package, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


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
    shipped = folder / f"{path.name.removesuffix('.yaml')}.yaml"
    if str(path.parent) in (".", former_folder) and shipped.is_file():
        return shipped
    near = difflib.get_close_matches(path.stem, shipped_names(folder), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise FileNotFoundError(
        f"there is no file {name}, and no {kind} of that name.{hint} `semanticmac recipes` lists them; a file is a YAML or JSON mapping of "
        "argument names to values."
    )


def parse_command(
    argv: list[str],
) -> tuple[ModelArguments, DataArguments, SemanticMACTrainingArguments, SearchArguments]:
    """As `parse_arguments`, with the options of a search."""
    parser = _parser()
    *parsed, rest = parser.parse_args_into_dataclasses(
        args=_words(argv, parser), return_remaining_strings=True, look_for_args_file=False
    )
    if rest:
        known = sorted(action.dest for action in parser._actions if action.dest != "help")
        raise ValueError(unknown_name(rest[0], "on the command line", known))
    return tuple(parsed)


def _file_arguments(path: Path, known: list[str]) -> list[str]:
    """The file's mapping as command line words, so that one parser checks both."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {type(values).__name__}; expected a mapping of argument names to values.")
    words = []
    for name, value in values.items():
        if name not in known:
            raise ValueError(unknown_name(name, f"in {path}", known))
        if value is None:
            continue
        if isinstance(value, dict):
            words += [f"--{name}", json.dumps(value)]
        elif isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        else:
            words += [f"--{name}", str(value)]
    return words


def unknown_name(name: str, where: str, known: Iterable[str]) -> str:
    """The message about an argument that does not exist, with the nearest that does."""
    plain = name.lstrip("-").split("=")[0]
    near = difflib.get_close_matches(plain, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown argument {plain!r} {where}.{hint} `semanticmac train --help` lists all."
