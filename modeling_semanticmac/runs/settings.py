"""What made a checkpoint: arguments, clips, language model and embeddings, compared when it is resumed."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from ..configuration_semanticmac import SemanticMACConfig
from .record import INCIDENTAL, argument_values

MADE_WITH = "made_with.json"  # in each training checkpoint
SHOWN = 5  # clips named in a message
# Arguments that change no number, or whose effect is seen in the clips, the embeddings or the weights.
WITHOUT_EFFECT = (INCIDENTAL - {"seed"}) | {
    "data_dir", "corpus_options", "extraction_workers", "extraction_batch_size", "media", "on_error", "max_seconds",
    "features",
    "max_train_samples", "max_eval_samples", "max_predict_samples", "train_on_validation", "model_name_or_path",
    "language_model", "language_model_revision", "vision_encoder", "vision_encoder_revision", "audio_encoder",
    "audio_encoder_revision", "audio_layers", "face_detector", "face_detector_revision",
    "include_encoders", "intended_use", "keep_bank", "label_memory", "do_train", "do_eval", "do_predict",
    "train_batch_size", "eval_batch_size", "per_device_eval_batch_size", "eval_accumulation_steps",
    "logging_strategy", "logging_steps",
    "logging_first_step", "log_on_each_node", "logging_nan_inf_filter", "log_level", "log_level_replica",
    "include_num_input_tokens_seen", "report_to", "project", "trackio_space_id", "trackio_bucket_id",
    "trackio_static_space_id", "save_on_each_node", "save_total_limit", "save_only_model", "enable_jit_checkpoint",
    "restore_callback_states_from_checkpoint", "hub_always_push", "dataloader_num_workers", "dataloader_pin_memory",
    "dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_multiprocessing_context",
    "ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_timeout", "ddp_backend", "debug", "skip_memory_metrics",
    "torch_empty_cache_steps", "use_cpu", "activation_checkpointing", "gradient_checkpointing",
    "activation_checkpointing_kwargs", "gradient_checkpointing_kwargs",
}  # fmt: skip
# Differences after which the best validation figure so far cannot be compared with those to come.
BEST_PARTS = ("validation", "metric_for_best_model", "greater_is_better", MADE_WITH)
# What weights and states of a checkpoint depend on: never changed within a training.
FIXED = {field.name for field in fields(SemanticMACConfig)} - {"dropout", "intended_use"} | {
    "pseudo_labels", "tokenizer", "processes", "architecture", "architecture_options",
}  # fmt: skip


class ChangedSettingsError(ValueError):
    """A checkpoint was made with other settings, clips or weights than those of the run that resumes it."""


class Difference(NamedTuple):
    """One difference between what made a checkpoint and the settings of a run.

    Args:
        part: the argument, the split, the part of the weights, or the file that differs.
        text: what differs, as a message says it.
    """

    part: str
    text: str


def effective_arguments(model_args, data_args, training_args) -> dict:
    """Return the resolved arguments that change a result, by name, and the number of processes."""
    values = argument_values(model_args, data_args, training_args)
    kept = {name: value for name, value in values.items() if name not in WITHOUT_EFFECT}
    return {**kept, "processes": training_args.world_size}


def clip_digests(clips, more: Sequence[str] = ()) -> list[list[str]]:
    """Return id, digest of the label, and digest of text and context of each clip, in order.

    Args:
        clips: a `datasets.Dataset` with `id`, `label`, `text`, `context`.
        more: further columns that are read with the text, such as those of speakers.
    """
    columns = (clips[name][:] for name in ("id", "label", "text", "context", *more))
    return [[clip, digest(label), digest(words)] for clip, label, *words in zip(*columns)]


def digest(value) -> str:
    """Return a short digest of a value of JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def setting_differences(made: dict, now: dict) -> list[Difference]:
    """Return the differences between what made a checkpoint and the settings of this run.

    Args:
        made: of the checkpoint: `arguments` (name -> value), `weights` (part -> digest), `clips` (split ->
            `clip_digests`), `store` (digest of the store's fingerprint) and `media` (split -> clip -> digest).
        now: of this run, likewise; parts that it lacks are not compared.
    """
    found = []
    before, after = made.get("arguments", {}), now.get("arguments", {})
    for name in sorted(before.keys() | after.keys()) if after else ():
        if before.get(name) != after.get(name):
            found.append(Difference(name, f"{name} was {before.get(name)!r}, is {after.get(name)!r}"))
    for part, value in now.get("weights", {}).items():
        if made.get("weights", {}).get(part) != value:
            found.append(Difference(part, f"the {part} is another one"))
    for split, clips in now.get("clips", {}).items():
        found += [Difference(split, text) for text in _clip_differences(split, made.get("clips", {}).get(split), clips)]
    if "store" in now and made.get("store") != now["store"]:
        found.append(
            Difference("store", "the embeddings were made by other encoders or feature files, or with another sampling")
        )
    for split, clips in now.get("media", {}).items():
        known = made.get("media", {}).get(split, {})
        if changed := [clip for clip, value in clips.items() if known.get(clip, value) != value]:
            found.append(Difference(split, f"clips of {split} with other media: {_named(changed)}"))
    return found


def _clip_differences(split: str, made: Sequence | None, now: Sequence) -> list[str]:
    if made is None:
        return [f"{split} was not used"]
    before, after = ({clip: rest for clip, *rest in rows} for rows in (made, now))
    shared = [clip for clip in after if clip in before]
    kinds = {
        "added": [clip for clip in after if clip not in before],
        "removed": [clip for clip in before if clip not in after],
        "with another label": [clip for clip in shared if before[clip][0] != after[clip][0]],
        "with another text or context": [clip for clip in shared if before[clip][1] != after[clip][1]],
    }
    found = [f"clips of {split} {kind}: {_named(clips)}" for kind, clips in kinds.items() if clips]
    old_order = [clip for clip in before if clip in after]
    moved = [new for old, new in zip(old_order, shared) if old != new]
    return found + ([f"clips of {split} in another order: {_named(moved)}"] if moved else [])


def _named(clips: Sequence[str]) -> str:
    return f"{', '.join(clips[:SHOWN])}{', ...' if len(clips) > SHOWN else ''} ({len(clips)})"


def check_same_settings(checkpoint: Path, now: dict, allow_changes: bool) -> list[Difference]:
    """Compare a run with what made the checkpoint that it resumes.

    Args:
        checkpoint: folder of a training checkpoint.
        now: as in `setting_differences`; may hold some of its parts only.
        allow_changes: whether differences are accepted (`--allow_changed_settings`).

    Returns:
        The differences that were accepted.

    Raises:
        ChangedSettingsError: there are differences; or, even where they are allowed, the checkpoint does not fit them:
            another architecture, tokenizer or number of processes, or training clips that are others or in another
            order.
    """
    made = made_with(checkpoint)
    unknown = Difference(MADE_WITH, f"it holds no {MADE_WITH}, which would say what made it")
    differences = setting_differences(made, now) if made else [unknown]
    told = "; ".join(difference.text for difference in differences)
    if differences and not allow_changes:
        raise ChangedSettingsError(
            f"{checkpoint} was made with other settings than those of this run: {told}. Give the same arguments and "
            "data, start again in another --output_dir, or continue with --allow_changed_settings, which the record "
            "and the report of the run will say."
        )
    fixed = [difference.text for difference in differences if difference.part in FIXED]
    # By their position a checkpoint keeps its state; with generated pseudo labels also their ground truth.
    kept = 2 if now.get("arguments", {}).get("pseudo_labels") == "generated" else 1
    rows = [[row[:kept] for row in found.get("clips", {}).get("train", ())] for found in (made, now)]
    if made and "train" in now.get("clips", {}) and rows[0] != rows[1]:
        fixed += [difference.text for difference in differences if difference.part == "train"]
    if fixed:
        raise ChangedSettingsError(
            f"{checkpoint} cannot be resumed with these changes, allowed or not: {'; '.join(fixed)}. Its weights and "
            "states fit only what made them; start again in another --output_dir."
        )
    return differences


def made_with(checkpoint: Path) -> dict:
    """Return what made a checkpoint; empty where it does not say."""
    path = checkpoint / MADE_WITH
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def forgets_best(differences: Sequence[Difference]) -> bool:
    """Return whether differences make the best validation figure of a checkpoint incomparable with those to come."""
    return any(difference.part in BEST_PARTS for difference in differences)


__all__ = [
    "MADE_WITH", "ChangedSettingsError", "Difference", "check_same_settings", "clip_digests", "digest",
    "effective_arguments", "forgets_best", "made_with", "setting_differences",
]  # fmt: skip
