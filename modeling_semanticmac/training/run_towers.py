"""Towers that a run trains end to end: their adapters, and clips that are read from their media in every step."""

import os
from typing import Any

from ..runs.settings import digest


def adapt_towers(run: Any) -> None:
    """Give the towers that a run trains an adapter each; one that the model has already is trained further.

    Args:
        run: `Run`, with its model.

    Raises:
        ValueError: towers that the run does not use, or clips to be left out that only decoding would tell.
    """
    args, data, model = run.model_args, run.data_args, run.model
    options, asked = args.encoder_adapter(), tuple(args.trainable_encoders or ())
    unused = [name for name in asked if name not in data.modalities or name in run.feature_modalities]
    if unused:
        raise ValueError(f"--trainable_encoders {unused[0]}: the run reads no media with this tower; leave it out.")
    if asked and not run.training_args.do_train:
        raise ValueError("--trainable_encoders has no effect without --do_train; leave it out.")
    if asked and data.on_error == "skip":
        raise ValueError(
            "--on_error skip leaves out clips whose media cannot be read, and with --trainable_encoders they are read "
            "in training; use raise or mask."
        )
    if asked and data.max_seconds is not None:
        raise ValueError(
            "--max_seconds leaves out clips of the store, which --trainable_encoders does not use; cut them with "
            "--corpus_options '{\"max_seconds\": ...}'."
        )
    model.adapt_encoders([name for name in asked if name not in model.adapted_modalities], options)
    for name in model.adapted_modalities:
        model.base_model.adapted_encoders[name].requires_grad_(False)
        for part, weight in model.base_model.adapted_encoders[name].named_parameters():
            weight.requires_grad_(name in asked and "lora_" in part)


def has_media(clip: dict) -> bool:
    """Return whether a clip names a media file."""
    return bool((clip["media"] or {}).get("path"))


def media_digest(clip: dict) -> str:
    """Return a digest of the media of a clip that are read in every step: the size of the file, and the cut."""
    media = dict(clip["media"] or {})
    path = media.pop("path", None)
    return digest([os.path.getsize(path) if path and os.path.isfile(path) else None, media])


__all__ = ["adapt_towers", "has_media", "media_digest"]
