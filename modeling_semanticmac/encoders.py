"""The frozen towers by reference: which encoder, its front end, its embeddings of a batch (eq. 2).

ImageBind's towers are the default; any vision or audio encoder of transformers can take their place, pooled to one vector a frame or window.
"""

import torch
from torch import nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor, AutoModel

from .configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from .feature_extraction_imagebind import ImageBindFeatureExtractor
from .image_processing_imagebind import ImageBindImageProcessor
from .modeling_imagebind import ImageBindAudioModel, ImageBindVisionModel, weights_hash

IMAGEBIND = {
    "imagebind_vision": (ImageBindVisionConfig, ImageBindVisionModel, ImageBindImageProcessor),
    "imagebind_audio": (ImageBindAudioConfig, ImageBindAudioModel, ImageBindFeatureExtractor),
}


def encoder_reference(name_or_path: str, encoder: nn.Module, revision: str | None = None) -> dict:
    """How a checkpoint names a tower: repository or folder, revision, hash of the weights."""
    return {
        "name_or_path": str(name_or_path),
        "revision": revision,
        "subfolder": None,
        "weights_hash": weights_hash(encoder),
    }


def load_encoder(reference: dict, modality: str) -> nn.Module:
    """Load a frozen tower, in evaluation mode, without gradients.

    Args:
        reference: `name_or_path` and, where they matter, `revision`, `subfolder`, `weights_hash`.
        modality: "vision" or "audio"; of a model with several towers that one is taken.

    Raises:
        ValueError: the weights are not those that the reference names.
    """
    where = _where(reference)
    config = _load_config(reference)
    if config.model_type in IMAGEBIND:
        encoder = IMAGEBIND[config.model_type][1].from_pretrained(reference["name_or_path"], **where)
    else:
        encoder = AutoModel.from_pretrained(reference["name_or_path"], **where)
        # Models of two towers (CLIP, SigLIP, CLAP) hold the one of a modality under its name.
        encoder = getattr(encoder, f"{modality}_model", encoder)
    expected = reference.get("weights_hash")
    if expected is not None and weights_hash(encoder) != expected:
        raise ValueError(
            f"the {modality} encoder at {reference['name_or_path']} has weights of hash {weights_hash(encoder)}; this model was made with "
            f"{expected}. Use the revision that it names, or extract the embeddings and train anew."
        )
    return encoder.eval().requires_grad_(False)


def load_front_end(reference: dict, modality: str):
    """The image processor or feature extractor that goes with a tower."""
    where = _where(reference)
    config = _load_config(reference)
    if config.model_type in IMAGEBIND:
        return IMAGEBIND[config.model_type][2].from_pretrained(reference["name_or_path"], **where)
    auto = AutoImageProcessor if modality == "vision" else AutoFeatureExtractor
    return auto.from_pretrained(reference["name_or_path"], **where)


def _where(reference: dict) -> dict:
    return {name: reference[name] for name in ("revision", "subfolder") if reference.get(name)}


def _load_config(reference: dict):
    """The configuration; ImageBind's by its own classes, so that remote code needs no registration."""
    name, where = reference["name_or_path"], _where(reference)
    for config_class, *_ in IMAGEBIND.values():
        found, _ = config_class.get_config_dict(name, **where)
        if found.get("model_type") == config_class.model_type:
            return config_class.from_pretrained(name, **where)
    return AutoConfig.from_pretrained(name, **where)


@torch.no_grad()
def embed_batch(encoder: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """One embedding a frame or window: (n, ...) -> (n, D).

    ImageBind: the head's output, before its normalisation. Others: the projected or pooled vector where the model has one, else the mean of the
    last hidden states.
    """
    output = encoder(inputs)
    for name in ("embeds", "image_embeds", "pooler_output"):
        found = getattr(output, name, None)
        if found is not None:
            return found
    return output.last_hidden_state.flatten(1, -2).mean(dim=1)


def embedding_width(encoder: nn.Module) -> int:
    """D of `embed_batch`, from the configuration."""
    config = encoder.config
    if config.model_type in IMAGEBIND:
        return config.projection_dim
    return config.hidden_size
