"""Parameter groups of the optimizer and the length of the warm-up."""

import math

from torch import nn

from .training_args import SemanticMACTrainingArguments

LANGUAGE_MODEL, ENCODERS = "language_model.", "adapted_encoders."
WHOLE_RATE, ADAPTER_RATE = 4e-5, 2e-4
SYSTEM = "fusion."  # of the parameters of a comparison system, whose own names follow


def language_model_rate(args: SemanticMACTrainingArguments, config) -> float:
    """Return the learning rate of the language model: the given one, or by default that of an adapter, whose few new
    weights take larger steps, or that of a language model that is tuned whole.
    """
    if args.language_model_learning_rate is not None:
        return args.language_model_learning_rate
    return WHOLE_RATE if config.language_model_reference is None else ADAPTER_RATE


def parameter_groups(model: nn.Module, decayed: set[str], args: SemanticMACTrainingArguments) -> list[dict]:
    """Return the trained parameters in groups: new modules, language model or towers, with or without weight decay, and
    one more for each factor of `rate_multiplier`.

    The new modules come first, because the learning rate that the Trainer logs is that of the first group.

    Args:
        model: the model.
        decayed: names of the parameters that weight decay applies to, i.e. all but biases and norms.
        args: with the learning rates, their factors and the weight decay.

    Raises:
        ValueError: a factor for names that no trained parameter has.
    """
    factors, language_model = args.rate_factors(), language_model_rate(args, model.config)
    rates = (args.learning_rate, language_model, args.encoder_learning_rate)
    groups: dict[tuple[int, float, bool], list[nn.Parameter]] = {}
    unused = set(factors)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            prefix = max((p for p in factors if name.removeprefix(SYSTEM).startswith(p)), key=len, default=None)
            unused.discard(prefix)
            factor = 1.0 if prefix is None else factors[prefix]
            part = 1 if LANGUAGE_MODEL in name else 2 if ENCODERS in name else 0
            groups.setdefault((part, factor, name in decayed), []).append(parameter)
    if unused:
        raise ValueError(f"rate_multiplier names {', '.join(sorted(unused))}, with which no trained parameter begins.")
    return [
        {
            "params": group,
            "lr": factor * rates[part],
            "weight_decay": args.weight_decay if decays else 0.0,
        }
        for (part, factor, decays), group in sorted(
            groups.items(), key=lambda item: (item[0][0], item[0][1] != 1, item[0][1], not item[0][2])
        )
    ]


def warmup_steps(args: SemanticMACTrainingArguments, clips: int, num_training_steps: int) -> int:
    """Return the optimizer steps in `warmup_epochs` epochs, at most all steps of the training.

    Args:
        args: with batch size, accumulation and number of processes.
        clips: size of the training set.
        num_training_steps: of the whole training.
    """
    batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    return min(round(args.warmup_epochs * math.ceil(clips / batch)), num_training_steps)


__all__ = ["language_model_rate", "parameter_groups", "warmup_steps"]
