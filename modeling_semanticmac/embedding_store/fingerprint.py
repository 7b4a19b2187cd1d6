"""What made the embeddings of a store: encoders, front ends, sampling, number format.

Stores of different fingerprints never mix.
"""

import json
from pathlib import Path

import torch
import xxhash
from torch import nn

from ..configuration_semanticmac import MEDIA_MODALITIES
from ..encoder_outputs import IMAGEBIND_TYPES, embedding_width
from ..face_detection import PROCEDURE
from ..modeling_imagebind import weights_hash

FINGERPRINT = "fingerprint.json"
EXTRACTION = 2  # raise it when the same settings give other embeddings, so that an old store is not taken for a new one
STREAMS = (*MEDIA_MODALITIES, "text")  # that a store may hold; vectors of text come from feature files
FRONT_ENDS = {"audio": "feature_extractor", "vision": "image_processor"}
WINDOWS = {"audio": "audio_window", "vision": "vision_window"}
SAMPLING = ("frames_per_second", "num_frames")
# Where weights and features came from, and what follows from other entries: written down and shown, but hashes decide.
# A tower or a file that was moved is the same one.
ORIGIN = ("name_or_path", "revision", "known_as", "column_means", "column_deviations")
STORAGE_DTYPE = "float16"  # of embeddings on disk, where the fingerprint says nothing else
# Fields of configurations that change no output of a tower.
VOLATILE = {"architectures", "auto_map", "dtype", "initializer_range", "source", "transformers_version"}


class FingerprintError(ValueError):
    """The embeddings were created with other encoders or settings than requested."""


def make_fingerprint(processor, encoders: dict[str, nn.Module | None], dtype: str | None = None) -> dict:
    """Return the fingerprint of the embeddings that these encoders and settings create.

    Args:
        processor: front ends and sampling.
        encoders: "audio" and "vision" towers; one that is absent or None is not requested.
        dtype: "float32", "bfloat16" or "float16", in which the encoders compute; None: any.

    Returns:
        A dict of JSON values: `extraction`, `dtype`, `sampling`, and for each modality None or `name_or_path`,
        `revision`, `weights_hash`, `config`, `width`, `front_end`, `window`.
    """
    sampling = {name: getattr(processor, name) for name in SAMPLING}
    fingerprint = {"extraction": EXTRACTION, "dtype": dtype, "sampling": sampling}
    for modality in MEDIA_MODALITIES:
        encoder = encoders.get(modality)
        front_end = getattr(processor, FRONT_ENDS[modality])
        fingerprint[modality] = None if encoder is None else _describe_encoder(encoder, front_end)
        if encoder is not None:
            fingerprint[modality]["window"] = getattr(processor, WINDOWS[modality])
    if fingerprint["vision"] is not None and processor.vision_crop != "none":
        fingerprint["vision"]["crop"] = _describe_crop(processor)
    if fingerprint["audio"] is not None:
        fingerprint["audio"]["audio_stream"] = processor.audio_stream
        if encoders["audio"].config.model_type not in IMAGEBIND_TYPES:
            # Earlier versions padded short windows with silence and let it count.
            fingerprint["audio"]["short_windows"] = "own length"
    return _plain(fingerprint)


def fingerprint_digest(fingerprint: dict) -> str:
    """Return a checksum of all that decides what embeddings are; where the weights came from does not count."""
    decisive = {name: value for name, value in _flatten(fingerprint, "").items() if not _is_origin(name)}
    return xxhash.xxh3_64_hexdigest(json.dumps(decisive, sort_keys=True).encode())


def storage_dtype(fingerprint: dict) -> torch.dtype:
    """Return the number format of a store's embeddings on disk: that of the fingerprint, else half precision."""
    return getattr(torch, fingerprint.get("storage_dtype") or STORAGE_DTYPE)


def stored_streams(fingerprint: dict) -> tuple[str, ...]:
    """Return the streams that the shards of a store have, in the order of `STREAMS`: audio and vision, of which one may
    be empty, and text where feature files gave it.
    """
    return STREAMS if fingerprint.get("text") else MEDIA_MODALITIES


def check_fingerprint(folder: Path, found: dict, expected: dict) -> None:
    """Check that a store can serve what is expected.

    Args:
        folder: of the store.
        found: its fingerprint.
        expected: a modality or dtype that is None is not requested, so the store may hold any.

    Raises:
        FingerprintError: it cannot; the message has every difference.
    """
    differences = []
    for part in sorted(found.keys() | expected.keys()):
        if expected.get(part) is None and part in (*STREAMS, "dtype"):
            continue
        if part in STREAMS and found.get(part) is None:
            differences.append(f"it has no {part} embeddings, which are requested")
            continue
        has, wanted = _flatten(found.get(part), part), _flatten(expected.get(part), part)
        different = [name for name in sorted(has.keys() | wanted.keys()) if has.get(name) != wanted.get(name)]
        if not all(map(_is_origin, different)):
            differences += [
                f"{name}: it has {has.get(name)!r}, requested is {wanted.get(name)!r}" for name in different
            ]
    if differences:
        raise FingerprintError(
            f"the embedding store at {folder} was created with other encoders or settings than requested: "
            f"{'; '.join(differences)}. "
            "Use another folder for these settings."
        )


def lacking_modalities(found: dict, given: dict) -> list[str]:
    """Return the modalities that a store holds and a fingerprint has no encoder for: clips added without them would be
    incomplete.
    """
    return [modality for modality in STREAMS if found.get(modality) and not given.get(modality)]


def lacking_message(folder: Path, lacking: list[str], clips: str) -> str:
    """Return the sentence for clips that must be encoded while an encoder is lacking."""
    names = " and ".join(lacking)
    return (
        f"the embedding store at {folder} holds {names} embeddings too, so {clips} need the {names} encoder; "
        "give it, or use another folder."
    )


def _describe_encoder(encoder: nn.Module, front_end) -> dict:
    config = encoder.config
    return {
        "name_or_path": getattr(config, "_name_or_path", None) or None,
        "revision": getattr(config, "_commit_hash", None),
        "weights_hash": weights_hash(encoder),
        "config": {
            name: value for name, value in config.to_diff_dict().items() if name.lstrip("_") not in VOLATILE | {*ORIGIN}
        },
        "width": embedding_width(encoder),
        # Class names differ between a package and its copy in a checkpoint.
        "front_end": {
            name: value
            for name, value in front_end.to_dict().items()
            if not name.endswith(("_type", "_class", "auto_map"))
        },
    }


def _describe_crop(processor) -> dict:
    """Return what decides the crops of faces; the detector is loaded, so that a missing one is noticed before decoding
    begins.
    """
    processor.load_face_detector()
    return {
        "vision_crop": processor.vision_crop,
        "face_choice": processor.face_choice,
        "procedure": PROCEDURE,
        "detector": {name: processor.face_detector.get(name) for name in ("name_or_path", "revision", "hash")},
    }


def _is_origin(name: str) -> bool:
    return name.rpartition(".")[2] in ORIGIN


def _plain(value):
    """Return the value as it comes back from JSON."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _flatten(value, prefix: str) -> dict:
    """Return nested dicts as one dict with dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {name: item for key, inner in value.items() for name, item in _flatten(inner, f"{prefix}.{key}").items()}


__all__ = [
    "FINGERPRINT",
    "STREAMS",
    "FingerprintError",
    "check_fingerprint",
    "fingerprint_digest",
    "lacking_message",
    "lacking_modalities",
    "make_fingerprint",
    "storage_dtype",
    "stored_streams",
]
