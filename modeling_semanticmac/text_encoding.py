"""The text side of a model: utterances to tokens of any tokenizer, and the language model that reads them.

Legend: B batch, L text tokens.
"""

import contextlib
import copy
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.utils import logging

from .modeling_imagebind import missing_weights

logger = logging.get_logger(__name__)

# Arguments of `from_pretrained` that say where a checkpoint lies.
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


def is_missing(text: str | None) -> bool:
    """Return whether a text has no words."""
    return not (text and text.strip())


def encode_text(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str | None],
    contexts: Sequence[Sequence[str | None]] | None = None,
    max_length: int = 128,
    padding: bool | str = True,
) -> dict[str, torch.Tensor]:
    """Tokenize a batch of texts with what was said before them.

    The context, utterances from oldest to newest with the tokenizer's separator between them, is the first segment and
    the text the second. Context that does not fit is cut at its beginning; a text that fills `max_length` alone loses
    its end and its context.

    Args:
        texts: None or "" for a clip without words: its row of the mask is all zero, with or without context.
        contexts: earlier utterances of each clip; None: no context.
        max_length: longest row in tokens; the tokenizer's own limit also holds.
        padding: True pads to the longest row, "max_length" to max_length; on the tokenizer's side.

    Returns:
        `input_ids` and `attention_mask` (B, L), and `token_type_ids` (B, L) where the tokenizer has them.

    Raises:
        ValueError: another number of contexts than texts, or a max_length that leaves no room for words.
    """
    if contexts is not None and len(contexts) != len(texts):
        raise ValueError(
            f"there are {len(contexts)} contexts for {len(texts)} texts; expected one list of utterances for each text."
        )
    least = tokenizer.num_special_tokens_to_add(pair=True) + 1
    max_length = min(max_length, tokenizer.model_max_length)
    if max_length < least:
        raise ValueError(f"max_length is {max_length}, which leaves no room for words; expected at least {least}.")
    contexts = [()] * len(texts) if contexts is None else contexts
    rows = [
        None if is_missing(text) else _encode_pair(tokenizer, str(text), context, max_length)
        for text, context in zip(texts, contexts)
    ]
    return _pad(tokenizer, rows, max_length if padding == "max_length" and any(rows) else 1)


def _pad(tokenizer: PreTrainedTokenizerBase, rows: list[dict | None], least: int) -> dict[str, torch.Tensor]:
    """Pad rows of tokens, None for a clip without words, to the longest and at least to `least` tokens.

    Not by `tokenizer.pad`, which refuses tokenizers without a padding token: padding is masked, so any token serves.
    """
    fill = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
    columns: dict[str, torch.Tensor] = {}
    for name in next((list(row) for row in rows if row), ["input_ids", "attention_mask"]):
        tokens = [torch.tensor(row[name] if row else [], dtype=torch.long) for row in rows]
        tokens.append(torch.zeros(least, dtype=torch.long))  # a row of the least width, removed again
        padded = pad_sequence(tokens, True, fill.get(name, 0), tokenizer.padding_side)
        columns[name] = padded[:-1]  # (B, L)
    return columns


def _encode_pair(
    tokenizer: PreTrainedTokenizerBase, text: str, context: Sequence[str | None], max_length: int
) -> dict[str, list[int]]:
    """Return the tokens of one text and its context, without padding."""
    earlier = [utterance for utterance in context or () if utterance and not is_missing(utterance)]
    if earlier:
        special = tokenizer.sep_token or tokenizer.eos_token
        # No blank before the separator: byte-level tokenizers would make a token of it.
        separator = f"{special} " if special else "\n"
        joined, added = separator.join(earlier), tokenizer.num_special_tokens_to_add(pair=True)
        if added <= tokenizer.num_special_tokens_to_add(pair=False):
            # The tokenizer puts nothing between two segments: without a separator, "well" and "I" become "wellI".
            separator = special or "\n"
            joined += separator
            added += len(tokenizer(separator, add_special_tokens=False)["input_ids"])
        words = len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if words + added < max_length:
            with _truncation_side(tokenizer, "left"):
                return dict(tokenizer(joined, text, truncation="only_first", max_length=max_length))
    with _truncation_side(tokenizer, "right"):
        return dict(tokenizer(text, truncation=True, max_length=max_length))


@contextlib.contextmanager
def _truncation_side(tokenizer: PreTrainedTokenizerBase, side: str) -> Iterator[None]:
    """Cut on another side for the time of a `with` block."""
    before, tokenizer.truncation_side = tokenizer.truncation_side, side
    try:
        yield
    finally:
        tokenizer.truncation_side = before


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


def position_ids(language_model: PreTrainedModel, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return `position_ids` (B, L) counted over valid tokens, for decoders with learned absolute positions (GPT-2),
    whose positions padding on the left would move; empty for others, which do this themselves or have relative ones.
    """
    if not hasattr(language_model, "wpe"):
        return {}
    return {"position_ids": (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)}


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
    "check_tokens",
    "encode_text",
    "is_missing",
    "language_model_config",
    "load_language_model",
    "max_text_tokens",
    "new_language_model",
    "position_ids",
    "reads_segments",
    "with_attention",
]
