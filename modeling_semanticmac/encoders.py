"""The frozen towers by reference: which encoder, its front end, its embeddings of a batch (eq. 2).

ImageBind's towers are the default; any vision or audio encoder of transformers can take their place, pooled to one vector a frame or window.
"""

import inspect
import os
import stat
from collections.abc import Sequence

import torch
from huggingface_hub import resolve_revision
from huggingface_hub.errors import HfHubHTTPError, RevisionResolutionError
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor, AutoModel, PreTrainedConfig

from .configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from .feature_extraction_imagebind import ImageBindFeatureExtractor
from .image_processing_imagebind import ImageBindImageProcessor, cut_side
from .modeling_imagebind import ImageBindAudioModel, ImageBindVisionModel, weights_hash

IMAGEBIND = {
    "imagebind_vision": (ImageBindVisionConfig, ImageBindVisionModel, ImageBindImageProcessor),
    "imagebind_audio": (ImageBindAudioConfig, ImageBindAudioModel, ImageBindFeatureExtractor),
}


def encoder_reference(name_or_path: str, encoder: nn.Module, revision: str | None = None) -> dict:
    """Return how a checkpoint names a tower: repository or absolute folder, revision, hash of the weights."""
    return {
        # A relative folder would be looked for where the checkpoint is used, and then taken for a repository.
        "name_or_path": os.path.abspath(name_or_path) if os.path.isdir(name_or_path) else str(name_or_path),
        "revision": revision,
        "subfolder": None,
        "weights_hash": weights_hash(encoder),
    }


def follow_umask(folder: str | os.PathLike) -> None:
    """Give the weight files of a saved model the permissions of the config.json beside them: safetensors writes 0600 whatever the umask."""
    mode = stat.S_IMODE(os.stat(os.path.join(folder, "config.json")).st_mode)
    for entry in os.scandir(folder):
        if entry.name.endswith(".safetensors") and stat.S_IMODE(entry.stat().st_mode) != mode:
            os.chmod(entry.path, mode)


def commit_of(name_or_path: str, revision: str | None = None) -> str | None:
    """The commit that a branch or tag of a repository on the Hub stands for now; None for a folder, or where nobody can say."""
    if os.path.isdir(name_or_path):
        return None
    try:
        return resolve_revision(str(name_or_path), revision=revision).resolved
    except (HfHubHTTPError, RevisionResolutionError, ValueError):
        return None  # loading will say what is wrong with the name


def load_encoder(reference: dict, modality: str) -> nn.Module:
    """Load a frozen tower in single precision, in evaluation mode, without gradients.

    Args:
        reference: `name_or_path` and, where they matter, `revision`, `subfolder`, `weights_hash`.
        modality: "vision" or "audio"; of a model with several towers (CLIP, SigLIP, CLAP) that one is taken.

    Raises:
        ValueError: the weights are not those that the reference names, or the checkpoint lacks some.
    """
    reference = _pinned(reference)
    name, where = reference["name_or_path"], _where(reference)
    config = _load_config(reference)
    model_class = IMAGEBIND[config.model_type][1] if config.model_type in IMAGEBIND else AutoModel
    model, info = model_class.from_pretrained(name, dtype=torch.float32, output_loading_info=True, **where)
    missing = sorted(info["missing_keys"])
    encoder = getattr(model, f"{modality}_model", model)
    if missing and all(key.startswith("pooler.") for key in missing):
        encoder.pooler = None  # trained without one: its random weights would say nothing
    elif missing:
        raise ValueError(
            f"the {modality} encoder at {name} lacks {len(missing)} weights, {missing[0]!r} among them; they would be random. Name a complete "
            f"checkpoint of {type(model).__name__}."
        )
    encoder.config._name_or_path, encoder.config._commit_hash = (
        str(name),
        reference["commit"],
    )  # of the part of a model too
    expected = reference.get("weights_hash")
    if expected is not None and (found := weights_hash(encoder)) != expected:
        raise ValueError(
            f"the {modality} encoder at {name} has weights of hash {found}; this model was made with {expected}. Use the revision that it names, "
            "or extract the embeddings and train anew."
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


def load_towers(references: dict[str, dict], num_crops: int | None = None) -> tuple[dict[str, nn.Module], dict]:
    """Towers and front ends by reference.

    Args:
        references: "vision" and "audio", each as `load_encoder` takes it; one or both may be absent.
        num_crops: crops a frame; None: the front end's own.

    Returns:
        The towers that are named, and the front ends of both modalities, ImageBind's where no tower is named.

    Raises:
        ValueError: num_crops for a front end that crops in its own way.
    """
    references = {modality: _pinned(reference) for modality, reference in references.items()}
    encoders = {modality: load_encoder(reference, modality) for modality, reference in references.items()}
    front_ends = {"vision": ImageBindImageProcessor(), "audio": ImageBindFeatureExtractor()}
    front_ends |= {modality: load_front_end(reference, modality) for modality, reference in references.items()}
    if num_crops is not None:
        if not hasattr(front_ends["vision"], "num_crops"):
            raise ValueError(f"--num_crops is ImageBind's; {type(front_ends['vision']).__name__} crops in its own way.")
        front_ends["vision"].num_crops = num_crops
    return encoders, front_ends


def _pinned(reference: dict) -> dict:
    """The reference with its `commit`, which is also its revision where there is one: everything of a tower comes from the same."""
    commit = commit_of(reference["name_or_path"], reference.get("revision"))
    return {**reference, "commit": commit, "revision": commit or reference.get("revision")}


def _where(reference: dict) -> dict:
    return {name: reference[name] for name in ("revision", "subfolder") if reference.get(name)}


def _load_config(reference: dict):
    """The configuration; ImageBind's by its own classes, so that remote code needs no registration."""
    name, where = reference["name_or_path"], _where(reference)
    found, _ = PreTrainedConfig.get_config_dict(name, **where)
    config_class = IMAGEBIND.get(found.get("model_type"), (AutoConfig,))[0]
    return config_class.from_pretrained(name, **where)


@torch.no_grad()
def embed_batch(encoder: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """One embedding a frame or window: (n, ...) -> float32 (n, D).

    ImageBind: the head's output, before its normalisation. Others: the projected or pooled vector where the model gives one, else the mean of the
    last hidden states over tokens or time. Pairs of frames, (n, 3, 2, H, W), are one input for ImageBind; an encoder of pictures sees each
    frame, and the mean of the two embeddings is taken.
    """
    if inputs.ndim == 5 and encoder.config.model_type not in IMAGEBIND:
        frames = inputs.transpose(1, 2)  # (n, 2, 3, H, W)
        return embed_batch(encoder, frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(dim=1)  # (n, D)
    output = encoder(inputs)
    for name in ("embeds", "image_embeds", "audio_embeds", "pooler_output"):
        found = getattr(output, name, None)
        if found is not None:
            return found.flatten(1).float()  # convolutional encoders pool to (n, D, 1, 1)
    hidden = output.last_hidden_state  # (n, L, D), or (n, D, H, W) of convolutional encoders
    return (hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)).float()  # (n, D)


def embedding_width(encoder: nn.Module) -> int:
    """D of `embed_batch`, from the configuration.

    Raises:
        ValueError: the configuration does not say.
    """
    config = encoder.config
    # Only where the model projects is projection_dim the width; a CLIP tower's configuration has the field without using it.
    projects = config.model_type in IMAGEBIND or type(encoder).__name__.endswith("WithProjection")
    width = config.projection_dim if projects else getattr(config, "hidden_size", None)
    if width is None:
        width = (getattr(config, "hidden_sizes", None) or [None])[-1]
    if width is None:
        raise ValueError(f"the configuration of {type(encoder).__name__} has no hidden_size; use another encoder.")
    return width


def picture_inputs(image_processor, frames, side: str | None = None) -> torch.Tensor:
    """uint8 frames to the inputs of a vision tower.

    Args:
        image_processor: ImageBindImageProcessor, or any image processor of transformers that gives one picture a frame.
        frames: (n, 3, H, W), or a list of frames as the image processor takes them.
        side: "left" or "right" first cuts that half of the picture.

    Returns:
        float32 (n * crops, 3, height, width).

    Raises:
        ValueError: the image processor gives something else than pictures.
    """
    if "side" in inspect.signature(image_processor.__call__).parameters:
        return image_processor(frames, side=side, return_tensors="pt")["pixel_values"]
    if side is not None:
        frames = [cut_side(torch.as_tensor(frame), side) for frame in frames]
    pixel_values = image_processor(images=list(frames), return_tensors="pt")["pixel_values"]
    if pixel_values.ndim != 4:
        raise ValueError(
            f"{type(image_processor).__name__} gives pixel_values of shape {tuple(pixel_values.shape)}; expected one picture a frame, "
            "(n, 3, height, width). Use the image processor of an image encoder."
        )
    return pixel_values


def sound_inputs(
    feature_extractor, windows: Sequence[torch.Tensor], sampling_rate: int, num_samples: int
) -> torch.Tensor:
    """Sound windows to the inputs of an audio tower.

    Args:
        feature_extractor: ImageBindFeatureExtractor, or one of transformers for waveforms (HuBERT, WavLM) or spectrograms (AST).
        windows: mono sound, float32 (samples,) each.
        sampling_rate: Hz of the windows; must be the feature extractor's.
        num_samples: of a full window; shorter ones are followed by silence, so that all inputs have one shape.

    Returns:
        float32 (n, ...), as the tower takes it.
    """
    parameters = inspect.signature(feature_extractor.__call__).parameters
    if "windows" in parameters:
        return feature_extractor(windows, sampling_rate=sampling_rate)["input_features"]
    name = feature_extractor.model_input_names[0]
    windows = [torch.as_tensor(window, dtype=torch.float32)[:num_samples] for window in windows]
    options = {}
    if "padding" in parameters and parameters["padding"].default is False:
        # A waveform extractor: with a mask asked for it normalises what is there and then pads; without one, silence and all.
        options = {
            "padding": "max_length",
            "max_length": num_samples,
            "truncation": True,
            "return_attention_mask": True,
        }
    else:
        windows = [F.pad(window, (0, num_samples - len(window))) for window in windows]
    sounds = [window.numpy() for window in windows]
    return feature_extractor(sounds, sampling_rate=sampling_rate, return_tensors="pt", **options)[name]


__all__ = ["picture_inputs", "sound_inputs"]
