"""The layers of a language model, for systems that work inside it."""

from torch import nn
from transformers import PreTrainedModel

# Where text encoders of transformers keep their layers.
PATHS = ("encoder.layer", "transformer.layer", "encoder.layers", "layers", "layer", "encoder.block", "block", "h")
TIME_FIRST = ("xlnet",)  # hidden states between layers are (L, B, d), not (B, L, d)


def language_model_layers(language_model: PreTrainedModel) -> nn.ModuleList:
    """Return the layers of a text encoder, in the order in which they run.

    Raises:
        ValueError: the model has no list of layers, or shares one layer among several (ALBERT).
    """
    count = getattr(language_model.config, "num_hidden_layers", None)
    for path in PATHS:
        found = language_model
        for name in path.split("."):
            found = getattr(found, name, None)
        if isinstance(found, nn.ModuleList) and len(found) == count:
            return found
    raise ValueError(
        f"the language model {type(language_model).__name__} keeps no list of its {count} layers where one is looked "
        f"for ({', '.join(PATHS)}), so this system cannot work inside it; use another, for example BERT, RoBERTa, "
        "ELECTRA, DeBERTa or XLNet."
    )


def is_time_first(language_model: PreTrainedModel) -> bool:
    """Return whether the hidden states between the layers are (L, B, d) and not (B, L, d)."""
    return language_model.config.model_type in TIME_FIRST


__all__ = ["is_time_first", "language_model_layers"]
