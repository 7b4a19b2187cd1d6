"""Which configuration and model class go with an architecture, and with a saved model."""

import os
from typing import NamedTuple

from transformers import PreTrainedConfig

from ..affect_heads import SemanticMACForAffect
from ..configuration_semanticmac import SEMANTICMAC, AffectConfig, SemanticMACConfig
from ..files.near_names import did_you_mean
from ..pretrained_affect import AffectPreTrainedModel
from .configuration_fusion import FusionConfig
from .modeling_fusion import FusionForAffect
from .registry import SYSTEMS


class ModelClasses(NamedTuple):
    """The classes of a kind of model.

    Args:
        config: of the configuration.
        model: the model with its head.
    """

    config: type[AffectConfig]
    model: type[AffectPreTrainedModel]


CLASSES = {  # by model_type
    SEMANTICMAC: ModelClasses(SemanticMACConfig, SemanticMACForAffect),
    "affect_fusion": ModelClasses(FusionConfig, FusionForAffect),
}


def architecture_names() -> list[str]:
    """Return what `--architecture` can name: SemanticMAC first, then the comparison systems."""
    return [SEMANTICMAC, *sorted(SYSTEMS)]


def classes_of(architecture: str) -> ModelClasses:
    """Return the classes of an architecture.

    Raises:
        ValueError: there is none of that name; the message has the nearest.
    """
    if architecture not in architecture_names():
        hint = did_you_mean(architecture, architecture_names())
        raise ValueError(f"architecture is {architecture!r}.{hint} Known are {', '.join(architecture_names())}.")
    return CLASSES[SEMANTICMAC if architecture == SEMANTICMAC else "affect_fusion"]


def saved_classes(name_or_path: str | os.PathLike) -> ModelClasses:
    """Return the classes of a saved model, a folder or a repository on the Hub.

    Raises:
        ValueError: it is a model of another kind.
        OSError: there is no model.
    """
    kind = PreTrainedConfig.get_config_dict(name_or_path)[0].get("model_type")
    if kind not in CLASSES:
        found = f"a model of type {kind}" if kind else "not a model"
        raise ValueError(f"{name_or_path}: this is {found}; expected a SemanticMAC model or a comparison system.")
    return CLASSES[kind]


def architecture_of(config: AffectConfig) -> str:
    """Return the name of the architecture that a configuration states."""
    return getattr(config, "architecture", SEMANTICMAC)


__all__ = [
    "CLASSES", "SEMANTICMAC", "ModelClasses", "architecture_names", "architecture_of", "classes_of", "saved_classes",
]  # fmt: skip
