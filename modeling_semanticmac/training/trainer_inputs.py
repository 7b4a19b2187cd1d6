"""Checks and defaults of the arguments of a Trainer, with messages that say what is missing or does not fit."""

import copy
import logging
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..configuration_semanticmac import MEDIA_MODALITIES, TaskSpecification
from ..embedding_extraction import extract_embeddings, usable_clips
from ..embedding_store import EmbeddingStore
from ..encoder_outputs import is_trained
from ..metrics.definitions import selection_metric
from ..processing_semanticmac import SemanticMACProcessor
from .sharding import check_fsdp, is_set, zero_stage
from .training_args import SemanticMACTrainingArguments

logger = logging.getLogger(__name__)

# By model_type: what a trainer expects, in words, and a class of that kind.
EXPECTED = {
    "semanticmac": ("a SemanticMAC with a head", "SemanticMACForAffect"),
    "affect_fusion": ("a comparison system", "FusionForAffect"),
}
COLUMNS = ("id", "text", "context", "label")  # of every clip; `media` too where embeddings are computed


def check_model(model, model_type: str = "semanticmac") -> TaskSpecification:
    """Return the task of a model.

    Args:
        model: the model.
        model_type: that of the configuration that the trainer is for.

    Raises:
        TypeError: the model is not one of this kind with a head.
    """
    config = getattr(model, "config", None)
    if config is None or getattr(config, "model_type", None) != model_type:
        kind, name = EXPECTED[model_type]
        raise TypeError(
            f"model is {type(model).__name__}; expected {kind}, e.g. {name}.from_pretrained(...) or "
            f"{name}.from_language_model(...)."
        )
    if model_type == "semanticmac" and not hasattr(model, "predictors"):
        raise TypeError(
            f"model is {type(model).__name__}, which has no head to train; load it with "
            "SemanticMACForAffect.from_pretrained(...)."
        )
    return config.task


def resolve_arguments(
    args: TrainingArguments | None, task: TaskSpecification, has_validation: bool
) -> SemanticMACTrainingArguments:
    """Return a copy of the arguments that is complete: the figure that selects the model, and no evaluation without
    validation clips.

    Args:
        args: of the caller, left unchanged; None for the defaults.
        task: of the model.
        has_validation: whether there is an `eval_dataset`.

    Raises:
        TypeError: arguments of another class.
        ValueError: a figure to select by, and nothing to evaluate on.
    """
    if args is None:
        args = SemanticMACTrainingArguments()
    if not isinstance(args, SemanticMACTrainingArguments):
        raise TypeError(
            f"args is {type(args).__name__}; expected SemanticMACTrainingArguments, which have the same fields and "
            "those of the method."
        )
    args = copy.copy(args)
    args.dataloader_pin_memory = args.dataloader_pin_memory and args.device.type != "cpu"  # there only a warning
    if not has_validation and args.eval_strategy != IntervalStrategy.NO:
        if args.metric_for_best_model is not None or args.save_strategy == SaveStrategy.BEST:
            raise ValueError(
                f"metric_for_best_model is {args.metric_for_best_model!r} and save_strategy "
                f"{str(args.save_strategy)!r}, but there is no eval_dataset "
                "to select a model on; give one."
            )
        logger.warning("No eval_dataset: nothing is evaluated in training, and the model of the last step is kept.")
        args.eval_strategy, args.load_best_model_at_end = IntervalStrategy.NO, False
    if args.metric_for_best_model is None:
        args.metric_for_best_model, args.greater_is_better = selection_metric(task), not task.minimize
    return args


def refuse_unsupported_parallelism(args: TrainingArguments) -> None:
    """Refuse ways of training on several devices that this Trainer does not support, and warn where one has no effect.

    Raises:
        ValueError: DataParallel, ZeRO-3, or FSDP in another form than the one that is supported.
    """
    if args.n_gpu > 1:
        raise ValueError(
            f"this process sees {args.n_gpu} GPUs and would use DataParallel, which is not supported. Start one "
            "process for each GPU "
            f"(torchrun --nproc_per_node {args.n_gpu} ..., or accelerate launch), or let it see one "
            "(CUDA_VISIBLE_DEVICES=0)."
        )
    if args.deepspeed or is_set("ACCELERATE_USE_DEEPSPEED"):
        if zero_stage(args) == 3:
            raise ValueError(
                "ZeRO-3 of DeepSpeed is not supported: it divides parameters that are used outside their module's "
                "forward pass. Use ZeRO-2 (examples/launch/zero2.json), or FSDP."
            )
        logger.warning("DeepSpeed: no machine was at hand to test resuming and pseudo labels with it.")
    if args.fsdp or is_set("ACCELERATE_USE_FSDP"):
        check_fsdp(args)


def check_clips(clips, name: str) -> None:
    """Refuse what is not a dataset of labelled clips.

    Args:
        clips: a `datasets.Dataset`, a dict of them (as `eval_dataset` may be), or None.
        name: how the caller named it.

    Raises:
        TypeError: another type.
        ValueError: no clips, a missing column, or a clip without a label.
    """
    for label, dataset in _named_datasets(clips, name):
        if not isinstance(dataset, datasets.Dataset):
            raise TypeError(
                f"{label} is {type(dataset).__name__}; expected a datasets.Dataset of clips, e.g. a split of "
                "load_corpus(...) or "
                "datasets.Dataset.from_list(...)."
            )
        missing = [column for column in COLUMNS if column not in dataset.column_names]
        if missing:
            raise ValueError(
                f"{label} lacks {', '.join(missing)}; its columns are {', '.join(dataset.column_names)}. "
                "docs/architecture.md describes a clip."
            )
        if len(dataset) == 0:
            raise ValueError(f"{label} holds no clips.")
        unlabelled = [clip for clip, value in zip(dataset["id"], dataset["label"]) if value is None]
        if unlabelled:
            raise ValueError(
                f"{len(unlabelled)} of {len(dataset)} clips of {label} have no label, the first is {unlabelled[0]!r}."
            )


def _named_datasets(clips, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(clips, dict):
        yield from ((f"{name}[{key!r}]", dataset) for key, dataset in clips.items())
    elif clips is not None:
        yield name, clips


def number_clips(dataset):
    """Return the dataset with the column `clip_index`, the row number; None stays None."""
    if dataset is None or "clip_index" in dataset.column_names:
        return dataset
    return dataset.add_column("clip_index", np.arange(len(dataset)))


def default_processor(model) -> SemanticMACProcessor:
    """Return the processor that was saved beside a model.

    Raises:
        ValueError: there is none; the message says what to give.
    """
    name = getattr(model, "name_or_path", None)
    try:
        if name:
            return SemanticMACProcessor.from_pretrained(name)
        reason: Exception | None = None
    except (OSError, ValueError) as error:
        reason = error
    raise ValueError(
        "the Trainer has no processor, which turns text into tokens, and none lies beside the model "
        f"({name or 'a new one'}). Give "
        "processing_class=SemanticMACProcessor(...), or data_collator=SemanticMACCollator(...)."
    ) from reason


def encode_media(clips, model, processor, folder: Path) -> EmbeddingStore:
    """Encode the media of clips with the towers of a model; clips that the store holds already are not encoded again.

    Returns:
        The store in the folder.

    Raises:
        ValueError: a clip could not be encoded.
    """
    encoders: dict[str, torch.nn.Module | None] = {
        modality: model.get_encoder(modality)
        for modality in used_modalities(model.config)[1:]
        if modality not in trained_encoders(model)
    }
    extract_embeddings(clips, processor, encoders, folder)
    store = EmbeddingStore.open(folder)
    usable_clips(clips, store, "raise")
    return store


def trained_encoders(model) -> tuple[str, ...]:
    """Return the modalities whose towers have an adapter that is trained."""
    towers = getattr(model.base_model, "adapted_encoders", {})
    return tuple(modality for modality, tower in towers.items() if is_trained(tower))


def check_raw_inputs(model, collator) -> None:
    """Refuse embeddings of a frozen tower for a model whose tower is trained.

    Raises:
        ValueError: the collator does not read the media of such a modality.
    """
    used = getattr(collator, "modalities", ())
    stored = [name for name in trained_encoders(model) if name in used and name not in collator.raw_modalities]
    if stored:
        raise ValueError(
            f"the {stored[0]} tower of the model is trained, so its embeddings change and no store can hold them; give "
            f"the collator raw_modalities={[*collator.raw_modalities, *stored]!r}, or call model.freeze_encoders()."
        )


def used_modalities(config) -> tuple[str, ...]:
    """Return text and the modalities for which a model refers to a tower.

    Raises:
        ValueError: the model was trained on feature files, which it cannot find by itself.
    """
    for modality, note in config.feature_notes.items():
        raise ValueError(
            f"{note}, so the Trainer cannot make its {modality} stream; give data_collator=SemanticMACCollator(...) "
            "with a store of the features, or use `semanticmac train --features`."
        )
    return ("text", *(modality for modality in MEDIA_MODALITIES if getattr(config, f"{modality}_encoder") is not None))
