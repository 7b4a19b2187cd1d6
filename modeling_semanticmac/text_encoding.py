"""Utterances and what was said before them to the tokens of any tokenizer of transformers.

Legend: B batch, L text tokens.
"""

import contextlib
from collections.abc import Iterator, Sequence

import torch


def is_missing(text: str | None) -> bool:
    """Whether there are no words."""
    return not (text and text.strip())


def encode_text(
    tokenizer,
    texts: Sequence[str | None],
    contexts: Sequence[Sequence[str]] | None = None,
    max_length: int = 128,
    padding: bool | str = True,
) -> dict[str, torch.Tensor]:
    """Tokens of a batch.

    The context, utterances from oldest to newest with the tokenizer's separator between them, is the first segment and the text the second.
    What does not fit is cut off the beginning of the context; a text that fills `max_length` alone loses its end and its context.

    Args:
        texts: None or "" for a clip without words: its row of the mask is all zero, with or without context.
        contexts: earlier utterances of each clip; None: none.
        padding: True to the longest of the batch, "max_length" to max_length; on the tokenizer's side.

    Returns:
        `input_ids` and `attention_mask` (B, L), `token_type_ids` (B, L) where the tokenizer has them.

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
        None if is_missing(text) else _encode_pair(tokenizer, text, context, max_length)
        for text, context in zip(texts, contexts)
    ]
    names = next((list(row) for row in rows if row), ["input_ids", "attention_mask"])
    columns = {name: [list(row[name]) if row else [] for row in rows] for name in names}
    if not any(rows):  # one column of padding, so that the mask has a row for each clip
        padding, max_length = "max_length", 1
    width = max_length if padding == "max_length" else None
    padded = tokenizer.pad(columns, padding=padding, max_length=width, return_tensors="pt")
    return {name: padded[name] for name in names}  # (B, L)


def _encode_pair(tokenizer, text: str, context: Sequence[str], max_length: int) -> dict:
    """One row without padding."""
    earlier = [utterance for utterance in context or () if not is_missing(utterance)]
    if earlier:
        words = len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if words + tokenizer.num_special_tokens_to_add(pair=True) < max_length:
            separator = tokenizer.sep_token or tokenizer.eos_token or ""
            # No blank before the separator: byte-level tokenizers would make a token of it.
            joined = f"{separator} ".join(earlier)
            with _truncation_side(tokenizer, "left"):
                return tokenizer(joined, text, truncation="only_first", max_length=max_length)
    with _truncation_side(tokenizer, "right"):
        return tokenizer(text, truncation=True, max_length=max_length)


@contextlib.contextmanager
def _truncation_side(tokenizer, side: str) -> Iterator[None]:
    before, tokenizer.truncation_side = tokenizer.truncation_side, side
    try:
        yield
    finally:
        tokenizer.truncation_side = before


__all__ = ["encode_text", "is_missing"]
