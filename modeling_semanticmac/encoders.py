"""The frozen towers by reference: which encoder, its front end, the embeddings of a model's raw media (eq. 2).

ImageBind's towers are the default. Any vision or audio encoder of transformers can take their place, pooled to one
vector a frame or window.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import resolve_revision
from huggingface_hub.errors import HfHubHTTPError, RevisionResolutionError
from torch import nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
)

from .configuration_imagebind import ImageBindAudioConfig, ImageBindTowerConfig, ImageBindVisionConfig
from .configuration_semanticmac import MEDIA_MODALITIES
from .encoder_outputs import choose_layers, chosen_layers, embed_batch, embedding_width, is_trained
from .feature_extraction_imagebind import ImageBindFeatureExtractor
from .image_processing_imagebind import ImageBindImageProcessor
from .modeling_imagebind import (
    ImageBindAudioModel,
    ImageBindPreTrainedModel,
    ImageBindVisionModel,
    missing_weights,
    weights_hash,
)
from .tower_precision import choose_dtype, dtype_named, prepare_encoder

ENCODER_BATCH = 64  # frames or windows that a tower sees at once


class TowerClasses(NamedTuple):
    """The classes of one of ImageBind's towers."""

    config: type[ImageBindTowerConfig]
    model: type[ImageBindPreTrainedModel]
    front_end: type[ImageBindImageProcessor] | type[ImageBindFeatureExtractor]


# By the configuration's model_type.
IMAGEBIND = {
    "imagebind_vision": TowerClasses(ImageBindVisionConfig, ImageBindVisionModel, ImageBindImageProcessor),
    "imagebind_audio": TowerClasses(ImageBindAudioConfig, ImageBindAudioModel, ImageBindFeatureExtractor),
}


def encoder_reference(name_or_path: str | os.PathLike, encoder: nn.Module, revision: str | None = None) -> dict:
    """Return how a checkpoint names a tower: repository or absolute folder, revision, hash of the weights, and the
    hidden layers where they were chosen.
    """
    layers = chosen_layers(encoder)
    return {
        # A relative folder would be looked for where the checkpoint is used, and then taken for a repository.
        "name_or_path": os.path.abspath(name_or_path) if os.path.isdir(name_or_path) else str(name_or_path),
        "revision": revision,
        "subfolder": None,
        "weights_hash": weights_hash(encoder),
        **({} if layers is None else {"layers": f"{layers[0]}-{layers[-1]}"}),
    }


def follow_umask(folder: str | os.PathLike) -> None:
    """Give the weight files of a saved model the permissions of the config.json beside them.

    safetensors writes them 0600 whatever the umask.
    """
    mode = stat.S_IMODE(os.stat(os.path.join(folder, "config.json")).st_mode)
    for entry in Path(folder).iterdir():
        if entry.suffix == ".safetensors" and stat.S_IMODE(entry.stat().st_mode) != mode:
            entry.chmod(mode)


def commit_of(name_or_path: str | os.PathLike, revision: str | None = None) -> str | None:
    """Return the commit that a branch or tag of a repository on the Hub names now.

    None for a folder, and where the repository cannot be reached.
    """
    if os.path.isdir(name_or_path):
        return None
    try:
        return resolve_revision(str(name_or_path), revision=revision).resolved
    except (HfHubHTTPError, RevisionResolutionError, ValueError):
        return None  # loading will say what is wrong with the name


def load_encoder(reference: Mapping[str, Any], modality: str) -> PreTrainedModel:
    """Load a frozen tower in single precision, in evaluation mode, without gradients.

    Args:
        reference: `name_or_path` and, where needed, `revision`, `subfolder`, `weights_hash`, and `layers` as
            `parse_layers` takes them.
        modality: "vision" or "audio"; of a model with several towers (CLIP, SigLIP, CLAP) this one is taken, of an
            encoder-decoder (Whisper) the encoder.

    Raises:
        ValueError: the weights are not those that the reference names, the checkpoint lacks some, or the tower has no
            such layers.
    """
    reference = _pinned(reference)
    name, where = reference["name_or_path"], _where(reference)
    model_class = _model_class(_load_config(reference))
    model, info = model_class.from_pretrained(name, dtype=torch.float32, output_loading_info=True, **where)
    missing = sorted(info["missing_keys"])
    encoder = _tower(model, modality)
    if missing and all(key.startswith("pooler.") for key in missing):
        encoder.pooler = None  # trained without one: its random weights would say nothing
    elif missing:
        raise ValueError(
            f"the {modality} encoder at {name} {missing_weights(missing, info['unexpected_keys'])}. Name a complete "
            f"checkpoint of {type(model).__name__}."
        )
    encoder.config._name_or_path = str(name)  # of the part of a model too
    encoder.config._commit_hash = reference["commit"]
    expected = reference.get("weights_hash")
    if expected is not None and (found := weights_hash(encoder)) != expected:
        raise ValueError(
            f"the {modality} encoder at {name} has weights of hash {found}; this model was made with {expected}. Use "
            "the revision that it names, or extract the embeddings and train again."
        )
    choose_layers(encoder, reference.get("layers"))
    return encoder.eval().requires_grad_(False)


def _model_class(config: PreTrainedConfig) -> Any:
    """Return the class that loads a tower.

    A tower of an encoder-decoder that was saved beside a model is the encoder alone, which AutoModel does not know.
    """
    if config.model_type in IMAGEBIND:
        return IMAGEBIND[config.model_type].model
    saved = (config.architectures or [""])[0]
    if config.is_encoder_decoder and saved.endswith("Encoder"):
        with torch.device("meta"):
            encoder = AutoModel.from_config(config).get_encoder()
        if type(encoder).__name__ == saved:
            return type(encoder)
    return AutoModel


def _tower(model: PreTrainedModel, modality: str) -> Any:
    """Return the tower of a modality within a model; the model where it is the tower."""
    if hasattr(model, f"{modality}_model"):
        return getattr(model, f"{modality}_model")
    if model.config.is_encoder_decoder and hasattr(model, "decoder"):
        return model.get_encoder()
    return model


def load_front_end(reference: Mapping[str, Any], modality: str):
    """Load the image processor or feature extractor that goes with a tower."""
    where = _where(reference)
    config = _load_config(reference)
    if config.model_type in IMAGEBIND:
        return IMAGEBIND[config.model_type].front_end.from_pretrained(reference["name_or_path"], **where)
    auto = AutoImageProcessor if modality == "vision" else AutoFeatureExtractor
    return auto.from_pretrained(reference["name_or_path"], **where)


def load_towers(
    references: Mapping[str, Mapping[str, Any]], num_crops: int | None = None, audio_layers: str | None = None
) -> tuple[dict[str, PreTrainedModel], dict]:
    """Load towers and front ends by reference.

    Args:
        references: "vision" and "audio", each as `load_encoder` takes it; one or both may be absent.
        num_crops: crops a frame; None: as the front end does by default.
        audio_layers: hidden layers of the audio tower whose mean is its embedding, as `parse_layers` takes them.

    Returns:
        The named towers, and the front ends of both modalities, ImageBind's where no tower is named.

    Raises:
        ValueError: num_crops for a front end that crops in its own way; layers that no tower has.
    """
    pinned = {modality: _pinned(reference) for modality, reference in references.items()}
    if audio_layers is not None:
        if "audio" not in pinned:
            raise ValueError("--audio_layers needs an audio encoder, whose layers they are; leave it out, or name one.")
        pinned["audio"]["layers"] = audio_layers
    encoders = {modality: load_encoder(reference, modality) for modality, reference in pinned.items()}
    front_ends: dict[str, Any] = {"vision": ImageBindImageProcessor(), "audio": ImageBindFeatureExtractor()}
    front_ends |= {modality: load_front_end(reference, modality) for modality, reference in pinned.items()}
    if num_crops is not None:
        if not hasattr(front_ends["vision"], "num_crops"):
            raise ValueError(
                f"--num_crops belongs to ImageBind's image processor; {type(front_ends['vision']).__name__} crops in "
                "its own way."
            )
        front_ends["vision"].num_crops = num_crops
    return encoders, front_ends


def _pinned(reference: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reference with its `commit`, which becomes its revision: all files of a tower come from it."""
    commit = commit_of(reference["name_or_path"], reference.get("revision"))
    return {**reference, "commit": commit, "revision": commit or reference.get("revision")}


def _where(reference: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that say where in a repository a tower lies."""
    return {name: reference[name] for name in ("revision", "subfolder") if reference.get(name)}


def _load_config(reference: Mapping[str, Any]) -> PreTrainedConfig:
    """Load the configuration; ImageBind's by its own classes, so that remote code needs no registration."""
    name, where = reference["name_or_path"], _where(reference)
    kind = PreTrainedConfig.get_config_dict(name, **where)[0].get("model_type")
    return (IMAGEBIND[kind].config if kind in IMAGEBIND else AutoConfig).from_pretrained(name, **where)


class SharedEncoders(dict[str, PreTrainedModel]):
    """The loaded towers by modality. Copies of a model share them: they are large, and frozen.

    Attributes:
        dtype: Number format in which they compute, as `EncodersByReference.set_tower_dtype` takes it.
    """

    dtype: torch.dtype | str = torch.float32

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self._cast: dict[tuple, torch.nn.Module] = {}

    def __deepcopy__(self, memo: dict) -> "SharedEncoders":
        shared = SharedEncoders(self)
        shared.dtype = self.dtype
        return shared

    def embed(self, modality: str, inputs: torch.Tensor) -> torch.Tensor:
        """Compute the embeddings (n, D) of inputs (n, ...), float32, in the number format of the towers."""
        encoder, device = self[modality], inputs.device
        dtype = dtype_named(self.dtype) or choose_dtype(device, self.values())
        if dtype == torch.float32:
            encoder.to(device)  # type: ignore[arg-type]
            return embed_batch(encoder, inputs).float()
        key = modality, id(encoder), device, dtype
        if key not in self._cast:
            self._cast[key] = prepare_encoder(encoder, device, dtype)
        with torch.autocast(device.type, dtype):
            return embed_batch(self._cast[key], inputs).float()  # type: ignore[arg-type]


class EncodersByReference:
    """The towers of a model: named in its configuration, loaded on first use, never part of its weights.

    A base of SemanticMAC's models; the base model holds the towers in `_encoders`, those with an adapter in
    `adapted_encoders`, see `encoder_adapter.py`.
    """

    config: Any
    base_model: Any
    name_or_path: Any
    _encoders: SharedEncoders

    def set_encoders(self, vision: PreTrainedModel | None = None, audio: PreTrainedModel | None = None) -> None:
        """Use these frozen towers for raw media instead of those that the configuration names."""
        for modality, encoder in (("vision", vision), ("audio", audio)):
            if encoder is not None:
                self._refuse_features(modality)
                if modality in self.base_model.adapted_encoders:
                    raise ValueError(f"the {modality} tower of this model has an adapter; another cannot replace it.")
                self.base_model._encoders[modality] = encoder.eval().requires_grad_(False)

    def set_tower_dtype(self, dtype: torch.dtype | str) -> None:
        """Let the towers compute raw media in a number format: "float32" (the default), "bfloat16", "float16", or
        "auto", what the device is fastest in (`tower_precision.choose_dtype`).
        """
        dtype_named(dtype)  # refuses what is none
        self.base_model._encoders.dtype = dtype

    def get_encoder(self, modality: str | None = None):
        """Return the tower of "vision" or "audio", a frozen one loaded on first use; None: the language model."""
        if modality is None:
            return self.base_model.language_model
        if modality in self.base_model.adapted_encoders:
            return self.base_model.adapted_encoders[modality]
        encoders = self.base_model._encoders
        if modality not in encoders:
            self._refuse_features(modality)
            reference = self.encoder_reference(modality)
            if reference is None:
                raise ValueError(
                    f"This model got raw {modality} input, but its configuration names no {modality} encoder. Give "
                    f"{modality}_embeds, set config.{modality}_encoder={{'name_or_path': ...}}, or call "
                    f"set_encoders({modality}=...)."
                )
            encoders[modality] = load_encoder(reference, modality)
        return encoders[modality]

    def _refuse_features(self, modality: str) -> None:
        """Raise ValueError for media, or a tower, of a modality that the model was trained on a feature file for."""
        note = self.config.feature_notes.get(modality)
        if note is not None:
            raise ValueError(f"{note}; give {modality}_embeds made from such features, normalised as in training.")

    def encode_media(self, modality: str, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embed the valid frames or windows, eq. (2), zeros elsewhere: (B, T, ...), mask (B, T) -> (B, T, D).

        With gradient where the tower has an adapter that is trained.
        """
        valid = mask.bool()
        width = getattr(self.config, f"{modality}_width")
        embeds = torch.zeros(*valid.shape, width, device=inputs.device)
        adapted = self.base_model.adapted_encoders
        if not valid.any() and torch.is_grad_enabled() and modality in adapted and is_trained(adapted[modality]):
            # Distributed training waits for a gradient of every weight, also where a batch has nothing for it.
            return embeds + 0.0 * embed_batch(adapted[modality], inputs[0, :1].nan_to_num()).sum()
        if valid.any():
            encoder = self.get_encoder(modality)  # loads it
            chunks = inputs[valid].split(ENCODER_BATCH)  # (n, ...) each
            if modality in adapted:  # in float32, or the autocast of the training
                parts = [embed_batch(encoder.to(inputs.device), chunk).float() for chunk in chunks]
            else:
                parts = [self.base_model._encoders.embed(modality, chunk) for chunk in chunks]
            found = torch.cat(parts)  # (sum T, D)
            if found.shape[-1] != width:
                raise ValueError(
                    f"The {modality} encoder returns embeddings of width {found.shape[-1]}; config.{modality}_width is "
                    f"{width}."
                )
            embeds[valid] = found
        return embeds

    def encoder_reference(self, modality: str) -> dict | None:
        """Return how a tower is found from anywhere, None where the model has none.

        A tower beside the model is named by the model's name, one from the Hub by the commit that was loaded.
        """
        reference = getattr(self.config, f"{modality}_encoder")
        if reference is None:
            return None
        loaded = {**self.base_model._encoders, **self.base_model.adapted_encoders}
        encoder, name = loaded.get(modality), reference.get("name_or_path") or self.name_or_path
        commit = getattr(encoder.config, "_commit_hash", None) if encoder is not None else None
        return {**reference, "name_or_path": name, "revision": commit or reference.get("revision")}

    @property
    def refers_to_folders(self) -> bool:
        """Whether a tower or the base of an adapter lies in a folder of this machine, where nobody else can load it."""
        references = [self.encoder_reference(modality) for modality in MEDIA_MODALITIES]
        references.append(self.config.language_model_reference)
        return any(reference is not None and os.path.isdir(reference["name_or_path"] or "") for reference in references)


__all__ = ["embed_batch", "embedding_width", "encoder_reference", "load_encoder", "load_front_end", "load_towers"]
