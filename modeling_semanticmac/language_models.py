"""The language model that reads the text: its configuration, loading, and what it can read.

Legend: B batch, L text tokens.
"""

import copy
import inspect
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.utils import logging

from .modeling_imagebind import missing_weights

logger = logging.get_logger(__name__)

# Arguments of `from_pretrained` that say where a checkpoint lies.
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


def language_model_config(name_or_path: str, revision: str | None = None) -> PreTrainedConfig:
    """Read the configuration of a language model; of one that also sees or hears (Gemma 3, Qwen-VL) its text part's.

    Raises:
        ValueError: there is no such model, or it is not a language model.
    """
    folder = Path(name_or_path)
    where = f"the language model {str(name_or_path)!r}"
    inner = sorted(path.parent.name for path in folder.glob("0_*/config.json")) if folder.is_dir() else []
    if inner:  # its configuration at the top, where there is one, is not that of a transformer
        raise ValueError(
            f"{where} is a sentence-transformers folder of the old layout; name the transformer inside it: "
            f"{folder / inner[0]}."
        )
    looks_like_a_path = folder.is_absolute() or str(name_or_path).startswith((".", "~")) or len(folder.parts) > 2
    if looks_like_a_path and not folder.exists():
        raise ValueError(f"{where} is a folder that does not exist; check the path.")
    try:
        config = AutoConfig.from_pretrained(name_or_path, revision=revision)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{where} cannot be read: expected the folder of a model of transformers, or a repository on the Hub that "
            f"can be reached from here. ({str(error).strip().splitlines()[0]})"
        ) from error
    if config.model_type in ("semanticmac", "affect_fusion"):
        kind, name = {"semanticmac": ("SemanticMAC", "SemanticMACForAffect")}.get(
            config.model_type, ("comparison system's", "FusionForAffect")
        )
        raise ValueError(
            f"{where} is a whole {kind} checkpoint; load it with {name}.from_pretrained, or name it with "
            "--model_name_or_path to train it further."
        )
    config = config.get_text_config()
    reads = getattr(_model_class(config), "main_input_name", "input_ids")
    if reads != "input_ids" or not hasattr(config, "hidden_size"):
        raise ValueError(f"{where} is a {config.model_type} model, which is not a text encoder; name a language model.")
    return config


def load_language_model(
    name_or_path: str,
    config: PreTrainedConfig,
    revision: str | None = None,
    dtype: torch.dtype | None = None,
    **options,
) -> PreTrainedModel:
    """Load a pretrained language model; of an encoder-decoder (T5, BART) its encoder, of a model that also sees or
    hears its text part.

    Args:
        config: of the language model.
        dtype: of the weights; None: float32, also where they are stored in half precision, since small updates of
            half-precision weights round to nothing.
        options: further arguments of `from_pretrained`.

    Raises:
        ValueError: the checkpoint lacks weights, which would be random.
    """
    place = {key: options[key] for key in HUB_ARGUMENTS if options.get(key)}
    whole = AutoConfig.from_pretrained(name_or_path, revision=revision, **place)
    parts = whole.get_text_config() is not whole
    if parts:
        whole.text_config = copy.deepcopy(config)
    model, info = AutoModel.from_pretrained(
        name_or_path, revision=revision, config=whole if parts else copy.deepcopy(config),
        dtype=dtype or torch.float32, output_loading_info=True, **without_pooler(config), **options,
    )  # fmt: skip
    unused = ("pooler.", "decoder.")
    missing = [key for key in info["missing_keys"] if not key.startswith(unused)]
    if missing:
        raise ValueError(
            f"the language model {str(name_or_path)!r} {missing_weights(missing, info['unexpected_keys'])}. Name a "
            f"complete checkpoint of {type(model).__name__}."
        )
    return _text_encoder(model.language_model if parts else model)


def new_language_model(config: PreTrainedConfig, dtype: str | None = None) -> PreTrainedModel:
    """Build a language model with new weights, which a checkpoint then fills; of an encoder-decoder its encoder.

    Args:
        dtype: of the weights; None: torch's default.
    """
    built = AutoModel.from_config(config, dtype=dtype or torch.get_default_dtype(), **without_pooler(config))
    return _text_encoder(built)


def _text_encoder(model: PreTrainedModel) -> PreTrainedModel:
    """Return the encoder of an encoder-decoder model, any other model itself."""
    return model.get_encoder() if hasattr(model, "encoder") and hasattr(model, "decoder") else model


def without_pooler(text_config: PreTrainedConfig) -> dict[str, bool]:
    """Return the arguments that leave out a BERT-like model's pooler.

    Its output is not used, and unused weights disturb distributed training.
    """
    model_class = _model_class(text_config)
    has_option = model_class is not None and "add_pooling_layer" in inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if has_option else {}


def _model_class(config: PreTrainedConfig) -> type | None:
    """Return the class that AutoModel builds from a configuration; None where the library does not know it."""
    model_class = MODEL_MAPPING.get(type(config), None)
    return model_class[0] if isinstance(model_class, list | tuple) else model_class


def max_text_tokens(language_model: PreTrainedModel) -> int | None:
    """Return the number of tokens that a language model has positions for; None where it states no limit."""
    config = language_model.config
    places = getattr(config, "max_position_embeddings", None)
    if not places or places < 0 or not getattr(config, "position_biased_input", True):
        return None  # relative positions
    for name, module in language_model.named_modules():
        # RoBERTa's family counts positions from behind the padding index.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            places = module.num_embeddings - module.padding_idx - 1
    return places


def with_attention(config: PreTrainedConfig, attention: str | None) -> PreTrainedConfig:
    """Return the configuration of a decoder whose tokens see those before them only ("causal") or all others
    ("bidirectional"); None: as it is.

    Raises:
        ValueError: an unknown word, or a language model that is no decoder, whose tokens see all others anyway.
    """
    if attention is None:
        return config
    if attention not in ("causal", "bidirectional"):
        raise ValueError(f"the attention of the language model is {attention!r}; expected causal or bidirectional.")
    if not hasattr(config, "num_key_value_heads"):
        raise ValueError(
            f"the attention of a {config.model_type} model cannot be chosen; it can for decoders such as Llama, Qwen3, "
            "Gemma 3 and SmolLM3."
        )
    config = copy.deepcopy(config)
    config.is_causal = attention == "causal"
    return config


def first_position(language_model: PreTrainedModel) -> int | None:
    """Return the number of the first position of a language model with learned absolute positions that takes
    `position_ids` (BERT and GPT-2: 0, RoBERTa: 2); None for others, which have relative positions or count themselves.
    """
    if "position_ids" not in inspect.signature(language_model.forward).parameters:
        return None
    for name, module in language_model.named_modules():
        learned = name.endswith(("position_embeddings", "wpe", "positions_embed"))
        if not learned or not isinstance(module, torch.nn.Embedding):
            continue
        if module.padding_idx is not None:  # RoBERTa's family counts from behind the padding index
            return module.padding_idx + 1
        # Rows beyond those of the configuration: the model counts from a number of its own (Nystromformer).
        return 0 if module.num_embeddings == getattr(language_model.config, "max_position_embeddings", None) else None
    return None


def position_ids(first: int | None, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return `position_ids` (B, L) counted over valid tokens, so that padding on the left moves no token.

    Args:
        first: of `first_position`; None: nothing is returned.
        attention_mask: (B, L).
    """
    if first is None:
        return {}
    return {"position_ids": (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0) + first}


def check_tokens(
    embeddings: torch.nn.Module, limit: int | None, ids: torch.Tensor | None, embeds: torch.Tensor | None
) -> None:
    """Raise ValueError, in a sentence, for tokens that a language model cannot read.

    Ids are looked at on the CPU only, where this costs no synchronisation.

    Args:
        embeddings: the language model's token embeddings.
        limit: longest row in tokens; None: any length.
        ids: (B, L), or
        embeds: (B, L, width).
    """
    if ids is not None and embeds is not None:
        raise ValueError("The batch has both input_ids and inputs_embeds; give one of them.")
    given, rows = embeds if ids is None else ids, getattr(embeddings, "num_embeddings", None)
    length = 0 if given is None else given.shape[1]
    if limit is not None and length > limit:
        raise ValueError(
            f"The batch has rows of {length} tokens, and the language model has positions for {limit}; set max_length "
            f"of the processor to at most {limit}."
        )
    if ids is None or rows is None or ids.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if ids.numel() and int(ids.max()) >= rows:
        raise ValueError(
            f"input_ids hold {int(ids.max())}, and the language model has {rows} embeddings: the tokenizer is another "
            "model's, or tokens were added to it; call model.resize_token_embeddings(len(tokenizer))."
        )


def check_precision(language_model: PreTrainedModel) -> None:
    """Refuse half precision for a language model that transformers cannot compute in it.

    Raises:
        ValueError: a pass over two tokens fails.
    """
    dtypes = {weight.dtype for weight in language_model.parameters() if weight.is_floating_point()}
    if dtypes <= {torch.float32}:
        return
    try:
        with torch.no_grad():
            tokens = torch.ones(2, 2, dtype=torch.long, device=language_model.device)
            language_model(input_ids=tokens, attention_mask=tokens.tril())
    except RuntimeError as error:
        names = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        raise ValueError(
            f"a {language_model.config.model_type} model cannot compute in {names} ({str(error).splitlines()[0]}); "
            "load it in float32, and train with --bf16 true."
        ) from error


def add_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a model an embedding, with new weights, for each token that was added to its tokenizer."""
    embeddings: int = getattr(model.get_input_embeddings(), "num_embeddings", len(tokenizer))
    if len(tokenizer) > embeddings:
        logger.warning(
            f"The tokenizer has {len(tokenizer)} tokens and the language model {embeddings} embeddings; the missing "
            "ones are added with new weights."
        )
        model.resize_token_embeddings(len(tokenizer))


def reads_segments(language_model: PreTrainedModel) -> bool:
    """Return whether a language model tells segments apart by `token_type_ids`; RoBERTa's family has one segment."""
    takes_them = "token_type_ids" in inspect.signature(language_model.forward).parameters
    return takes_them and getattr(language_model.config, "type_vocab_size", 2) > 1


__all__ = [
    "HUB_ARGUMENTS",
    "add_embeddings",
    "check_precision",
    "check_tokens",
    "first_position",
    "language_model_config",
    "load_language_model",
    "max_text_tokens",
    "new_language_model",
    "position_ids",
    "reads_segments",
    "with_attention",
]
