"""Parameter groups of the optimizer and the length of the warm-up."""

import math

from torch import nn

from .training_args import SemanticMACTrainingArguments

LANGUAGE_MODEL = "language_model."


def parameter_groups(model: nn.Module, decayed: set[str], args: SemanticMACTrainingArguments) -> list[dict]:
    """Return the trained parameters in up to four groups: new modules or language model, with or without weight decay.

    The new modules come first, because the learning rate that the Trainer logs is that of the first group.

    Args:
        model: the model.
        decayed: names of the parameters that weight decay applies to, i.e. all but biases and norms.
        args: with the two learning rates and the weight decay.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((LANGUAGE_MODEL in name, name in decayed), []).append(parameter)
    return [
        {
            "params": group,
            "lr": args.language_model_learning_rate if in_language_model else args.learning_rate,
            "weight_decay": args.weight_decay if decays else 0.0,
        }
        for (in_language_model, decays), group in sorted(groups.items(), key=lambda item: (item[0][0], not item[0][1]))
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


__all__ = ["parameter_groups", "warmup_steps"]
