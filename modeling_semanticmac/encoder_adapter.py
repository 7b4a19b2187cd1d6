"""Towers with a low-rank adapter (LoRA), trained end to end on raw media.

An adapted tower is a sub-module of the model. Its base is frozen and named in the configuration, as that of any tower;
a checkpoint holds the adapter alone, in the sub-folder `vision_encoder_adapter/` or `audio_encoder_adapter/`, in the
form of PEFT.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from .configuration_semanticmac import MEDIA_MODALITIES
from .encoders import load_encoder
from .language_model_adapter import (
    AdapterOptions,
    adapter_folder,
    add_adapter,
    load_adapter,
    load_adapter_weights,
    save_adapter,
)

ENCODER_ADAPTERS = {modality: f"{modality}_encoder_adapter" for modality in MEDIA_MODALITIES}


class AdaptedEncoders:
    """The adapted towers of a model.

    A base of SemanticMAC's models; the base model holds the towers in `adapted_encoders`.
    """

    config: Any
    base_model: Any
    encoder_reference: Any

    def adapt_encoders(self, modalities: Sequence[str], options: AdapterOptions | None = None) -> None:
        """Give towers a new adapter each, and make them part of the model.

        Their embeddings are then computed from `pixel_values` and `input_features` with gradient; until the first step
        they are those of the towers as they were.

        Args:
            modalities: those of "vision" and "audio" to adapt.
            options: of the adapters; None: rank 8.

        Raises:
            ValueError: the model names no such tower, or it has an adapter already.
            ImportError: PEFT is not installed.
        """
        options = options or AdapterOptions(8)
        for modality in modalities:
            reference = self.encoder_reference(modality) if modality in MEDIA_MODALITIES else None
            if reference is None:
                raise ValueError(f"the model names no {modality} tower, which could be adapted.")
            if reference.get("adapter"):
                raise ValueError(f"the {modality} tower of this model has an adapter already.")
            tower = load_encoder(reference, modality)  # not the one that other models share
            targets = linear_layers(tower) if options.targets == "all-linear" else options.targets
            add_adapter(tower, replace(options, targets=targets))
            self._use_adapted(modality, tower)
            setattr(
                self.config, f"{modality}_encoder", {**getattr(self.config, f"{modality}_encoder"), "adapter": True}
            )

    @property
    def adapted_modalities(self) -> tuple[str, ...]:
        """The modalities whose towers have an adapter, as the configuration says."""
        named = {modality: getattr(self.config, f"{modality}_encoder") or {} for modality in MEDIA_MODALITIES}
        return tuple(modality for modality, reference in named.items() if reference.get("adapter"))

    def freeze_encoders(self) -> None:
        """Take the adapters of the towers out of the training: they are used as they are."""
        self.base_model.adapted_encoders.requires_grad_(False)

    def _use_adapted(self, modality: str, tower: PreTrainedModel) -> None:
        self.base_model.adapted_encoders[modality] = tower
        self.base_model._encoders.pop(modality, None)

    def _load_encoder_adapters(self, home: str | os.PathLike, **hub) -> None:
        """Load the towers that have an adapter, with the adapters beside the model.

        Args:
            home: folder or repository of the model.
            hub: where on the Hub the model lies, see `adapter_folder`.
        """
        for modality in self.adapted_modalities:
            if modality not in self.base_model.adapted_encoders:
                tower = load_encoder(self.encoder_reference(modality), modality)
                load_adapter(tower, adapter_folder(home, ENCODER_ADAPTERS[modality], **hub))
                self._use_adapted(modality, tower.eval())

    def _save_encoder_adapters(self, folder: str | os.PathLike) -> None:
        """Write the adapters of the towers beside the model."""
        for modality, tower in self.base_model.adapted_encoders.items():
            name = (getattr(self.config, f"{modality}_encoder") or {}).get("name_or_path")
            base = None if name is None or os.path.isdir(name) else name
            save_adapter(tower, os.path.join(folder, ENCODER_ADAPTERS[modality]), base)

    def load_encoder_adapters_of(self, checkpoint: str | os.PathLike) -> None:
        """Fill the adapters of the towers from a checkpoint of this model."""
        for modality, tower in self.base_model.adapted_encoders.items():
            load_adapter_weights(tower, os.path.join(checkpoint, ENCODER_ADAPTERS[modality]))


def linear_layers(tower: nn.Module) -> tuple[str, ...]:
    """Return the names of the linear layers of a tower.

    Raises:
        ValueError: it has none.
    """
    names = tuple(name for name, module in tower.named_modules() if isinstance(module, nn.Linear))
    if not names:
        raise ValueError(f"{type(tower).__name__} has no linear layers, which a low-rank adapter is for.")
    return names


__all__ = ["ENCODER_ADAPTERS", "AdaptedEncoders", "linear_layers"]
