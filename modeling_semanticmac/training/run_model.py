"""What the arguments of a run say of its model: the fields of a new one, and what a saved one already is."""

from collections.abc import Sequence
from typing import Any

from ..baselines.configuration_fusion import GENERAL_OPTIONS
from ..baselines.model_classes import SEMANTICMAC, architecture_of
from ..baselines.registry import load_system
from ..configuration_semanticmac import MODALITIES
from .run_features import OF_LANGUAGE_MODELS

# Arguments of new models that a saved model answers itself.
OF_NEW_MODELS = (
    "language_model_revision", "vision_encoder_revision", "audio_encoder_revision", "face_detector",
    "face_detector_revision", *OF_LANGUAGE_MODELS,
)  # fmt: skip


def new_model_fields(model_args, modalities: Sequence[str] = MODALITIES) -> dict:
    """Return the fields of the configuration of a new model that its arguments state.

    Args:
        model_args: the arguments.
        modalities: that the run uses; a system that concatenates those of an utterance reads these.

    Raises:
        ValueError: such a system is to read a modality that the run does not use.
    """
    if model_args.builds_semanticmac:
        return model_args.config_fields()
    general = {name: value for name, value in model_args.system_options.items() if name in GENERAL_OPTIONS}
    options = {name: value for name, value in model_args.system_options.items() if name not in GENERAL_OPTIONS}
    system: Any = load_system(model_args.architecture)
    if hasattr(system.Options, "modalities"):
        options.setdefault("modalities", [name for name in MODALITIES if name in modalities])
        unused = [name for name in options["modalities"] if name not in modalities]
        if unused:
            raise ValueError(
                f"{model_args.architecture} is to read {', '.join(unused)}, but --modalities is "
                f"{' '.join(modalities)}. Add it there, or leave it out of --architecture_options."
            )
    own = {} if model_args.text_tokens is None else {"text_tokens": model_args.text_tokens}
    return {"architecture": model_args.architecture, "options": options, **general, **own}


def check_fixed_arguments(args, config, processor) -> None:
    """Refuse arguments that a saved model cannot follow. `dropout` has no weights: it is set.

    Args:
        args: `ModelArguments`.
        config: of the saved model.
        processor: that lies beside it.

    Raises:
        ValueError: an argument differs from the saved model's value, which would be used in its place.
    """
    own = architecture_of(config)
    given = {name: (value, getattr(config, name, "none")) for name, value in args.config_fields().items()}
    if args.architecture is not None:
        given["architecture"] = (args.architecture, own)
    if own != SEMANTICMAC:
        given |= {
            name: (value, {**config.options, **config.general_options}.get(name))
            for name, value in args.system_options.items()
        }
    elif args.system_options:
        given["architecture_options"] = (args.architecture_options, "none")
    given |= {name: (value, getattr(processor, name)) for name, value in args.sampling_fields().items()}
    for modality in ("vision", "audio"):
        name, reference = getattr(args, f"{modality}_encoder"), getattr(config, f"{modality}_encoder") or {}
        if name is not None:
            given[f"{modality}_encoder"] = (name, reference.get("name_or_path"))
        if modality == "audio" and args.audio_layers is not None:
            given["audio_layers"] = (args.audio_layers, reference.get("layers") or "its own")
    for name in OF_NEW_MODELS:
        if getattr(args, name) is not None:
            given[name] = (getattr(args, name), "its own")
    if (
        config.feature_notes and args.max_frames is not None and own == SEMANTICMAC
    ):  # raised to the longest sequence when it was trained
        given["max_frames"] = (max(args.max_frames, config.max_frames), config.max_frames)
    wrong = [f"--{name} {value} (the model has {own})" for name, (value, own) in given.items() if value != own]
    if wrong:
        raise ValueError(
            f"the model at {args.model_name_or_path} is given, which these arguments do not change: "
            f"{', '.join(wrong)}. Leave them out, or build a new model with --language_model."
        )


__all__ = ["check_fixed_arguments", "new_model_fields"]
