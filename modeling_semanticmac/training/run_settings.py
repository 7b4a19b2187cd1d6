"""What changes the result of a training, gathered from a run; written into its checkpoints (`runs.settings`)."""

from collections.abc import Iterable

from ..embedding_store.fingerprint import ORIGIN
from ..modeling_imagebind import weights_hash
from ..runs.settings import clip_digests, digest, effective_arguments
from .run import Run
from .run_towers import media_digest


def run_settings(run: Run) -> dict:
    """Return what changes the result of a training: arguments, digests of weights and clips (`runs.settings`)."""
    limits = {"train": run.data_args.max_train_samples, "validation": run.data_args.max_eval_samples}
    splits = ("train", "validation") if run.needs_validation else ("train",)
    tokenizer = run.processor.tokenizer
    speakers = run.collator(["text"]).speaker_columns
    start = run.model if run.model_args.model_name_or_path else run.model.base_model.language_model
    return {
        "arguments": effective_arguments(run.model_args, run.data_args, run.training_args),
        "weights": {
            "model that the training starts from" if start is run.model else "language model": weights_hash(start),
            "tokenizer": digest([type(tokenizer).__name__, tokenizer.get_vocab(), str(tokenizer.special_tokens_map)]),
        },
        "clips": {split: clip_digests(run.rows(split, limits[split]), speakers) for split in splits},
    }


def media_settings(run: Run, splits: Iterable[str]) -> dict:
    """Return the settings that are known after the extraction: fingerprint of the store, content of the media."""
    store = run.store
    raw = {}
    if run.raw_modalities:
        raw = {split: _raw_media(run.rows(split, None), run.used[split]) for split in splits}
    if store is None:
        return {"media": raw} if raw else {}
    records = {split: {clip: store.status(clip) for clip in run.used[split]} for split in splits}
    modalities = (*run.encoders, *run.feature_modalities)
    parts = {name: store.fingerprint.get(name) for name in ("sampling", "extraction")}
    for modality in modalities:  # a tower or a file that was moved is the same one
        made_by = store.fingerprint[modality]
        parts[modality] = {name: value for name, value in made_by.items() if name not in ORIGIN}
    return {
        "store": digest(parts),
        "media": {
            split: {
                clip: digest([record.content_hash, record.status, *([raw[split][clip]] if raw else [])])
                for clip, record in found.items()
            }
            for split, found in records.items()
        },
    }


def _raw_media(clips, used: Iterable[str]) -> dict[str, str]:
    """Return a digest of the media of the clips in use, by their ids."""
    found = {clip["id"]: media_digest(clip) for clip in clips.select_columns(["id", "media"])}
    return {clip: found[clip] for clip in used}


__all__ = ["media_settings", "run_settings"]
