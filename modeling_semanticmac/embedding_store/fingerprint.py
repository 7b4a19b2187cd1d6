"""What made the embeddings of a store: encoders, front ends, sampling, number format. Stores of different fingerprints never mix."""

from pathlib import Path

from torch import nn

from ..configuration_semanticmac import MEDIA_MODALITIES
from ..encoders import embedding_width
from ..modeling_imagebind import weights_hash

EXTRACTION = 1  # raise it when the same settings give other embeddings, so that an old store is not taken for a new one
FRONT_ENDS = {"audio": "feature_extractor", "vision": "image_processor"}
WINDOWS = {"audio": "audio_window", "vision": "vision_window"}
SAMPLING = ("frames_per_second", "num_frames")
# Where the weights came from: written down and shown, but the hash of the weights decides. A tower that was moved is the same tower.
ORIGIN = ("name_or_path", "revision")
# Fields of configurations that change no value that a tower gives.
VOLATILE = {"architectures", "auto_map", "dtype", "initializer_range", "source", "transformers_version"}


class FingerprintError(ValueError):
    """The store was made by something else than what is asked for."""


def make_fingerprint(processor, encoders: dict[str, nn.Module | None], dtype: str | None = None) -> dict:
    """The fingerprint of the embeddings that these give.

    Args:
        processor: front ends and sampling.
        encoders: "audio" and "vision" towers; one that is absent or None is not asked for.
        dtype: "float32", "bfloat16" or "float16", in which the encoders compute; None: not asked for.

    Returns:
        A dict of JSON values: `extraction`, `dtype`, `sampling`, and for each modality None or `name_or_path`, `revision`, `weights_hash`, `config`,
        `width`, `front_end`, `window`.
    """
    sampling = {name: getattr(processor, name) for name in SAMPLING}
    fingerprint = {"extraction": EXTRACTION, "dtype": dtype, "sampling": sampling}
    for modality in MEDIA_MODALITIES:
        encoder = encoders.get(modality)
        front_end = getattr(processor, FRONT_ENDS[modality])
        fingerprint[modality] = None if encoder is None else _describe(encoder, front_end)
        if encoder is not None:
            fingerprint[modality]["window"] = getattr(processor, WINDOWS[modality])
    return _plain(fingerprint)


def check_fingerprint(folder: Path, found: dict, expected: dict) -> None:
    """Raise FingerprintError, with every difference, where a store cannot serve what is expected.

    A modality or dtype that is None in `expected` is not asked for, so the store may hold any.
    """
    differences = []
    for part in sorted(found.keys() | expected.keys()):
        if expected.get(part) is None and part in (*MEDIA_MODALITIES, "dtype"):
            continue
        if part in MEDIA_MODALITIES and found.get(part) is None:
            differences.append(f"it has no {part} embeddings, which are asked for")
            continue
        has, asked = _flatten(found.get(part), part), _flatten(expected[part], part)
        different = [name for name in sorted(has.keys() | asked.keys()) if has.get(name) != asked.get(name)]
        if any(name.rpartition(".")[2] not in ORIGIN for name in different):
            differences += [f"{name}: it has {has.get(name)!r}, asked for is {asked.get(name)!r}" for name in different]
    if differences:
        raise FingerprintError(
            f"the embedding store at {folder} was made otherwise: {'; '.join(differences)}. Use another folder for these settings."
        )


def check_complete(folder: Path, found: dict, expected: dict) -> None:
    """Raise FingerprintError where a store holds modalities that are not asked for: clips added without them would be incomplete."""
    more = [modality for modality in MEDIA_MODALITIES if found.get(modality) and not expected.get(modality)]
    if more:
        raise FingerprintError(
            f"the embedding store at {folder} holds {' and '.join(more)} embeddings too, so new clips need the {' and '.join(more)} encoder; "
            "give it, or use another folder."
        )


def _describe(encoder: nn.Module, front_end) -> dict:
    config = encoder.config
    return {
        "name_or_path": getattr(config, "_name_or_path", None) or None,
        "revision": getattr(config, "_commit_hash", None),
        "weights_hash": weights_hash(encoder),
        "config": {name: value for name, value in config.to_diff_dict().items() if name.lstrip("_") not in VOLATILE | {*ORIGIN}},
        "width": embedding_width(encoder),
        # Class names differ between a package and its copy in a checkpoint.
        "front_end": {name: value for name, value in front_end.to_dict().items() if not name.endswith(("_type", "_class", "auto_map"))},
    }  # fmt: skip


def _plain(value):
    """The value as JSON gives it back."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _flatten(value, prefix: str) -> dict:
    """Nested dicts as one, by dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {name: item for key, inner in value.items() for name, item in _flatten(inner, f"{prefix}.{key}").items()}


__all__ = ["FingerprintError", "check_complete", "check_fingerprint", "make_fingerprint"]
