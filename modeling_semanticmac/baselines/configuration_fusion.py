"""Configuration of the comparison systems."""

from dataclasses import asdict, fields
from typing import Any, get_type_hints

from huggingface_hub.dataclasses import strict, type_validator

from ..configuration_semanticmac import AffectConfig
from ..files.near_names import did_you_mean
from .registry import find_system, load_system

LANGUAGE_MODEL_USES = ("frozen", "tuned")
TEXT_SUMMARIES = ("first", "mean", "last")
SCALINGS = ("standardize", "none")
# Fields of the configuration that `--architecture_options` can set beside the options of the system.
GENERAL_OPTIONS = ("language_model", "text_summary", "bounded", "input_scaling")


@strict
class FusionConfig(AffectConfig):
    r"""Configuration of [`FusionForAffect`]: a comparison system, the language model, the towers and the task.

    Args:
        architecture: name of the system, a key of `registry.SYSTEMS`.
        options: options of the system, by the fields of its `Options`; those that are left out get their defaults, and
            all are saved.
        language_model: "frozen" (in evaluation mode, without gradient) or "tuned"; None: as the system was published.
        text_summary: which vector stands for the whole text where a system needs one: "first" token (BERT, RoBERTa),
            "mean" of the words (sentence-transformers), or "last" token (XLNet). None: "last" for XLNet, "mean" for
            vectors of text in place of a language model, else "first".
        special_tokens: ids of the tokens that are no words ([CLS], [SEP], padding); set by `from_language_model`.
        bounded: whether scores are mapped into the range of the task, low + (high - low) sigmoid(x).
        input_scaling: "standardize" brings each column of the audio and vision embeddings to mean 0, deviation 1 over
            the frames of the training set, as SemanticMAC does; "none" leaves them as the towers give them.
        others: language model, towers and task, as in [`AffectConfig`].

    Raises:
        ValueError: an unknown architecture, option or field (with the nearest known name), or a value of a wrong type.
    """

    model_type = "affect_fusion"
    fields_before = {"input_scaling": "none"}
    keys_to_ignore_at_inference = ["losses", "embeds", "modality_mask"]

    architecture: str = "mean_pooling"
    options: dict | None = None
    language_model: str | None = None
    text_summary: str | None = None
    special_tokens: list | tuple | None = None
    bounded: bool = False
    input_scaling: str = "standardize"

    def _check(self):
        super()._check()
        system = load_system(self.architecture)
        found = read_options(system.Options, self.options or {}, f"options of {self.architecture}")
        self.options = {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
        if not self.reads_words:
            self._check_text_vectors(system)
        if self.language_model is None:
            self.language_model = system.language_model
        if self.language_model == "tuned" and find_system(self.architecture).level == "dialogue":
            raise ValueError(
                f"language_model is 'tuned'; {self.architecture} reads whole dialogues, for which the language model "
                "is frozen. Leave it out."
            )
        if self.text_summary is None:
            self.text_summary = "last" if self.get_text_config().model_type == "xlnet" else "first"
        checked = {"language_model": LANGUAGE_MODEL_USES, "text_summary": TEXT_SUMMARIES, "input_scaling": SCALINGS}
        for name, allowed in checked.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected {' or '.join(allowed)}.")
        if self.bounded and not self.task.is_regression:
            raise ValueError(f"bounded is for scores; task {self.task.name!r} has classes. Leave it out.")
        if self.bounded and not system.can_be_bounded:
            raise ValueError(
                f"bounded has no meaning with {self.architecture}, whose own losses compare scores before they are "
                "bounded. Leave it out."
            )

    def _check_text_vectors(self, system) -> None:
        """Set what a model on vectors of text has in place of a language model's options.

        Raises:
            ValueError: the system needs a language model.
        """
        if system.inside_language_model:
            raise ValueError(
                f"{self.architecture} works inside a language model, which a model on vectors of text does not have; "
                "choose another system, or leave out --text features."
            )
        if self.language_model == "tuned":
            raise ValueError(
                "language_model is 'tuned'; a model on vectors of text has no language model to tune. Leave it out."
            )
        self.language_model = "frozen"
        self.text_summary = self.text_summary or "mean"  # no vector stands for the whole text

    @property
    def general_options(self) -> dict[str, Any]:
        """The options that all systems have, by name."""
        return {name: getattr(self, name) for name in GENERAL_OPTIONS}

    @property
    def system_options(self) -> Any:
        """The options of the system, as an object of its `Options`."""
        options = load_system(self.architecture).Options
        return options(**read_options(options, self.options or {}, f"options of {self.architecture}"))


def read_options(options: type, given: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the complete options of a system by name, checked.

    Args:
        options: a dataclass with defaults for all fields.
        given: some of its fields; a whole number serves as a float, a list as a tuple.
        where: how messages name the options.

    Raises:
        ValueError: an unknown name (with the nearest known one), a value of another type, or what the dataclass itself
            refuses.
    """
    hints = get_type_hints(options)
    known = [field.name for field in fields(options)]
    values = {}
    for name, value in given.items():
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"{where} have no {name!r}.{hint} Known are {', '.join(known) or 'none'}.")
        if hints[name] is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(value, list):
            value = tuple(value)
        try:
            type_validator(name, value, hints[name])
        except TypeError as error:
            raise ValueError(f"{where}: {name} is {value!r}; expected {_type_name(hints[name])}.") from error
        values[name] = value
    return asdict(options(**values))


def _type_name(hint) -> str:
    return getattr(hint, "__name__", None) if isinstance(hint, type) else str(hint)


__all__ = ["GENERAL_OPTIONS", "LANGUAGE_MODEL_USES", "TEXT_SUMMARIES", "FusionConfig", "read_options"]
