"""Arguments that a run would ignore, or find wrong only after hours: refused before anything is loaded."""

import math
import warnings
from dataclasses import fields

import numpy as np
from transformers.trainer_utils import SaveStrategy

from ..baselines.model_classes import SEMANTICMAC
from ..configuration_semanticmac import TaskSpecification
from ..metrics import LOWER_IS_BETTER, compute_metrics

# Arguments of transformers that this package's Trainer does not use, with the values that say so.
UNUSED = {
    "label_smoothing_factor": (0.0,),
    "average_tokens_across_devices": (True,),
    "use_cache": (False, None),
    "use_liger_kernel": (False,),
    "liger_kernel_config": (None,),
    "optim_target_modules": (None,),
    "prediction_loss_only": (False,),
    "batch_eval_metrics": (False,),
    "include_for_metrics": ([], None),
    "eval_do_concat_batches": (True,),
    "eval_use_gather_object": (False,),
    "label_names": (None, ["labels"]),
    "length_column_name": ("length",),
    "hub_always_push": (False,),
    # A batch size that changes by itself would not be that of the record, and pseudo labels would be made twice.
    "auto_find_batch_size": (False,),
}
# Arguments of SemanticMAC's objective: pseudo labels and contrastive losses.
SEMANTICMAC_ONLY = (
    "pseudo_labels", "num_neighbors", "label_start_epoch", "label_momentum", "label_memory", "label_pool", "label_bank",
    "intra_weight", "inter_weight", "intra_temperature", "inter_temperature", "sentiment_threshold", "keep_bank",
)  # fmt: skip
# Optimizers that want parameters in another form than groups with a rate each.
OTHER_OPTIMIZERS = ("galore", "apollo", "lomo", "muon", "dion")
# Numbers that must be above 0.
POSITIVE = {
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "hidden_size",
    "num_attention_heads",
    "frames_per_second",
    "num_frames",
    "audio_window",
    "num_crops",
}
# Numbers that may be negative: -1 switches them off.
MAY_BE_NEGATIVE = {"max_steps", "local_rank", "ddp_timeout"}


def check_arguments(model_args, data_args, training_args) -> None:
    """Refuse arguments that have no effect, exclude each other, or cannot be right.

    Raises:
        ValueError: names the argument, its value, and what to do.
    """
    args = training_args
    check_architecture_arguments(model_args.architecture or SEMANTICMAC, args)
    if not (args.do_train or args.do_eval or args.do_predict):
        raise ValueError("nothing to do: give --do_train, --do_eval or --do_predict.")
    if args.resume_from_checkpoint not in (None, "false", "False") and not args.do_train:
        raise ValueError(
            "--resume_from_checkpoint continues a training: give --do_train; or --model_name_or_path CHECKPOINT to "
            "evaluate a checkpoint."
        )
    for name, unused in UNUSED.items():
        if (value := getattr(args, name, unused[0])) not in unused:
            raise ValueError(
                f"--{name} {value} has no effect here: the Trainer of SemanticMAC does not use it. Leave it out."
            )
    if any(name in str(getattr(args.optim, "value", args.optim)) for name in OTHER_OPTIMIZERS):
        raise ValueError(
            f"--optim {args.optim} takes no groups of parameters with rates of their own; give another one, e.g. "
            "adamw_torch."
        )
    if args.warmup_steps and args.warmup_epochs:
        raise ValueError(
            f"--warmup_steps {args.warmup_steps} has no effect beside --warmup_epochs {args.warmup_epochs:g}; add "
            "--warmup_epochs 0."
        )
    if data_args.seeds and len(set(data_args.seeds)) < len(data_args.seeds):
        raise ValueError(f"--seeds {' '.join(map(str, data_args.seeds))} names a seed twice.")
    if data_args.train_on_validation:
        _check_training_on_validation(args)
    for group in (model_args, data_args, training_args):
        check_numbers(group)


def _check_training_on_validation(args) -> None:
    """Refuse, with `--train_on_validation`, what would choose by clips that are learnt.

    The run itself switches off `do_eval`, `eval_strategy` and `load_best_model_at_end`, which recipes and defaults set.

    Raises:
        ValueError: names the argument.
    """
    if not args.do_train:
        raise ValueError("--train_on_validation has no effect without --do_train.")
    given = {"metric_for_best_model": args.metric_for_best_model}
    given["save_strategy"] = "best" if args.save_strategy == SaveStrategy.BEST else None
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"--{name} {value} chooses a model on validation, whose clips --train_on_validation learns. Leave out "
                "one of them."
            )


def check_architecture_arguments(architecture: str, args) -> None:
    """Refuse arguments of SemanticMAC's objective with another architecture, which would ignore them.

    Raises:
        ValueError: names the arguments.
    """
    if architecture == SEMANTICMAC:
        return
    defaults = {field.name: field.default for field in fields(args)}
    given = [name for name in SEMANTICMAC_ONLY if getattr(args, name) != defaults[name]]
    if given:
        raise ValueError(
            f"{', '.join(f'--{name} {getattr(args, name)}' for name in given)}: an argument of SemanticMAC, which "
            f"{architecture} does not have. Leave it out."
        )


def check_numbers(group) -> None:
    """Refuse numbers that are not finite, negative ones, and sizes of 0, in a dataclass of arguments.

    Raises:
        ValueError: names the argument and its value.
    """
    for name in (field.name for field in fields(group) if field.init):
        value = getattr(group, name, None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}; expected a finite number.")
        if value == 0 and name in POSITIVE:
            raise ValueError(f"{name} is {value}; expected more than 0.")
        if value < 0 and name not in MAY_BE_NEGATIVE:
            raise ValueError(f"{name} is {value}; expected 0 or more.")


def check_search_arguments(options) -> None:
    """Refuse options of a search without a search.

    Raises:
        ValueError: names the options.
    """
    given = [f"--{field.name}" for field in fields(options) if getattr(options, field.name) != field.default]
    if given and not options.do_search:
        raise ValueError(f"{' '.join(given)}: no effect without --do_search.")


def check_best_metric(task: TaskSpecification, args) -> None:
    """Refuse a `metric_for_best_model` that the task does not have, or whose direction is given the wrong way round.

    Raises:
        ValueError: lists the metrics of the task.
    """
    if args.metric_for_best_model is None:
        return
    name = args.metric_for_best_model.removeprefix("eval_")
    known = {"loss", *metric_names(task)}
    if name not in known:
        raise ValueError(
            f"metric_for_best_model is {args.metric_for_best_model!r}; task {task.name!r} has "
            f"{', '.join(sorted(known))}."
        )
    if args.greater_is_better == name.endswith(LOWER_IS_BETTER):
        better = "lower" if args.greater_is_better else "higher"
        raise ValueError(
            f"greater_is_better is {args.greater_is_better}, but of {name} the {better} is the better value."
        )


def metric_names(task: TaskSpecification) -> set[str]:
    """Return the names of the metrics that validation computes for a task."""
    count = max(task.num_labels, 2)
    logits = np.eye(count, task.num_labels)
    labels: np.ndarray
    if task.is_regression:
        labels = np.linspace(*(task.label_range or (0.0, 1.0)), count)
    else:
        labels = np.eye(count, dtype=int) if task.is_multi_label else np.arange(count) % task.num_labels
    with warnings.catch_warnings():  # of values that few clips leave undefined
        warnings.simplefilter("ignore")
        return set(compute_metrics(task, logits, labels))


__all__ = [
    "check_architecture_arguments", "check_arguments", "check_best_metric", "check_numbers", "check_search_arguments",
    "metric_names",
]  # fmt: skip
