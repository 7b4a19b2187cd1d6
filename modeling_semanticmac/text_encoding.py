"""Utterances to tokens of any tokenizer: context, speakers, instructions, and which tokens are the utterance's own.

Legend: B batch, L text tokens.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchEncoding, PreTrainedTokenizerBase

TEXT_TOKENS = ("all", "utterance")
# Templates may write today's date into the text: a fixed one, so that a prediction is the same tomorrow.
_DATE = "01 Jan 2025"
_FIXED: dict[str, Any] = {"date_string": _DATE, "enable_thinking": False}
_NO_DATE_OF_TODAY = f"{{%- macro strftime_now(form) -%}}{_DATE}{{%- endmacro -%}}"
_PLACE = "\ue000"  # of the utterance in a template's text: the utterance may occur in the template by itself


@dataclass(frozen=True)
class TextFormat:
    """How a text and what was said before it become a row of tokens.

    Args:
        use_speakers: write `Name: utterance` where the speaker is known.
        context_utterances: the latest utterances of the context that are used; None: all that fit.
        tokens: "all", or "utterance": `encode_text` also returns which tokens are the utterance's own, its speaker's
            name included, for models that read the context through attention alone.
        prefix: instruction before each row that the language model was trained with, e.g. "query: " of E5.
        chat_instruction: what the model is asked to do, the system turn of the tokenizer's chat template; None: no
            template.

    Raises:
        ValueError: values that cannot be right, or do not fit together.
    """

    use_speakers: bool = False
    context_utterances: int | None = None
    tokens: str = "all"
    prefix: str = ""
    chat_instruction: str | None = None

    def __post_init__(self):
        if self.tokens not in TEXT_TOKENS:
            raise ValueError(f"text_tokens is {self.tokens!r}; expected {' or '.join(TEXT_TOKENS)}.")
        if self.context_utterances is not None and self.context_utterances < 1:
            raise ValueError(
                f"context_utterances is {self.context_utterances}; expected 1 or more (use_context false: none)."
            )
        if self.prefix and self.chat_instruction is not None:
            raise ValueError("text_prefix and chat_instruction both say what to do with a text; give one of them.")

    def check_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Refuse a tokenizer that cannot do what the format needs.

        Raises:
            ValueError: no chat template, or a slow tokenizer, which does not say where a token stands in the text.
        """
        if self.chat_instruction is not None and not tokenizer.chat_template:
            raise ValueError(
                "chat_instruction needs the chat template of an instruction-tuned model, which this tokenizer does not "
                "have; use text_prefix, or leave it out."
            )
        if (self.tokens != "all" or self.prefix or self.chat_instruction is not None) and not tokenizer.is_fast:
            raise ValueError(
                f"text_tokens utterance, text_prefix and chat_instruction need a fast tokenizer; this is a "
                f"{type(tokenizer).__name__}."
            )

    def said(self, speaker: str | None, words: str) -> str:
        """Return an utterance as the model reads it."""
        known = self.use_speakers and not is_missing(speaker)
        return f"{speaker}: {words}" if known else words

    def earlier(self, context: Sequence[str | None] | None, speakers: Sequence[str | None] | None) -> list[str]:
        """Return the utterances before a text as the model reads them, oldest first, without blank ones.

        Raises:
            ValueError: another number of speakers than utterances.
        """
        context = list(context or ())
        if self.use_speakers and speakers and len(speakers) != len(context):
            raise ValueError(
                f"there are {len(speakers)} speakers for a context of {len(context)} utterances; expected one each."
            )
        names = list(speakers or ()) or [None] * len(context)
        found = [self.said(name, words) for name, words in zip(names, context) if words and not is_missing(words)]
        return found if self.context_utterances is None else found[-self.context_utterances :]


def is_missing(text: str | None) -> bool:
    """Return whether a text has no words."""
    return not (text and text.strip())


def encode_text(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str | None],
    contexts: Sequence[Sequence[str | None]] | None = None,
    max_length: int = 128,
    padding: bool | str = True,
    text_format: TextFormat | None = None,
    speakers: Sequence[str | None] | None = None,
    context_speakers: Sequence[Sequence[str | None]] | None = None,
) -> dict[str, torch.Tensor]:
    """Tokenize a batch of texts with what was said before them.

    The context, utterances from oldest to newest with the tokenizer's separator between them, is the first segment and
    the text the second. Context that does not fit is cut at its beginning; a text that fills `max_length` alone loses
    its end and its context. With a chat template each utterance is a turn, and turns are left out whole.

    Args:
        texts: None or "" for a clip without words: its row of the mask is all zero, with or without context.
        contexts: earlier utterances of each clip; None: no context.
        max_length: longest row in tokens; the tokenizer's own limit also holds.
        padding: True pads to the longest row, "max_length" to max_length; on the tokenizer's side.
        text_format: None: the text and its context as they are.
        speakers: who speaks each text, None or "" where unknown; read where the format says so.
        context_speakers: who spoke each utterance of the contexts.

    Returns:
        `input_ids` and `attention_mask` (B, L), `token_type_ids` (B, L) where the tokenizer has them, and where the
        format asks for it `utterance_mask` (B, L), the utterance's own tokens.

    Raises:
        ValueError: another number of contexts or speakers than texts, or a max_length that leaves no room for words.
    """
    form = text_format or TextFormat()
    form.check_tokenizer(tokenizer)
    for name, given in (("contexts", contexts), ("speakers", speakers), ("context_speakers", context_speakers)):
        if given is not None and len(given) != len(texts):
            raise ValueError(f"there are {len(given)} {name} for {len(texts)} texts; expected one for each text.")
    least = tokenizer.num_special_tokens_to_add(pair=True) + 1
    max_length = min(max_length, tokenizer.model_max_length)
    if max_length < least:
        raise ValueError(f"max_length is {max_length}, which leaves no room for words; expected at least {least}.")
    rows: list[dict | None] = []
    for place, text in enumerate(texts):
        if is_missing(text):
            rows.append(None)
            continue
        utterance = form.said(speakers[place] if speakers else None, str(text))
        told = context_speakers[place] if context_speakers else None
        earlier = form.earlier(contexts[place] if contexts else None, told)
        rows.append(_encode_row(tokenizer, utterance, earlier, max_length, form))
    names = ["input_ids", "attention_mask", *(["utterance_mask"] if form.tokens == "utterance" else [])]
    return _pad(tokenizer, rows, max_length if padding == "max_length" and any(rows) else 1, names)


def _pad(
    tokenizer: PreTrainedTokenizerBase, rows: list[dict | None], least: int, names: list[str]
) -> dict[str, torch.Tensor]:
    """Pad rows of tokens, None for a clip without words, to the longest and at least to `least` tokens.

    Not by `tokenizer.pad`, which refuses tokenizers without a padding token: padding is masked, so any token serves.
    """
    fill = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
    columns: dict[str, torch.Tensor] = {}
    for name in next((list(row) for row in rows if row), names):
        tokens = [torch.tensor(row[name] if row else [], dtype=torch.long) for row in rows]
        tokens.append(torch.zeros(least, dtype=torch.long))  # a row of the least width, removed again
        padded = pad_sequence(tokens, True, fill.get(name, 0), tokenizer.padding_side)
        columns[name] = padded[:-1]  # (B, L)
    return columns


def _encode_row(
    tokenizer: PreTrainedTokenizerBase, utterance: str, earlier: list[str], max_length: int, form: TextFormat
) -> dict[str, list[int]]:
    """Return the tokens of one text and its context, without padding."""
    if form.chat_instruction is not None:
        encoded, begin, end = _encode_chat(tokenizer, form.chat_instruction, earlier, utterance, max_length)
        segment = 0
    else:
        encoded, begin, segment = _encode_pair(tokenizer, utterance, earlier, max_length, form.prefix)
        end = begin + len(utterance)
    row = {name: encoded[name] for name in tokenizer.model_input_names if name in encoded}
    if form.tokens == "utterance":
        row["utterance_mask"] = _own_tokens(encoded, segment, begin, end)
    return row


def _own_tokens(encoded: BatchEncoding, segment: int, begin: int, end: int) -> list[int]:
    """Return which tokens of a row stand for characters `begin` to `end` of one of its segments; special tokens that
    the tokenizer added stand for none.
    """
    places = zip(encoded.sequence_ids(0), _offsets(encoded))
    return [int(found == segment and first < end and last > begin) for found, (first, last) in places]


def _offsets(encoded: BatchEncoding) -> list[tuple[int, int]]:
    """Return the first and last character of each token in its segment."""
    return encoded.encodings[0].offsets if encoded.encodings else []


def _encode_pair(
    tokenizer: PreTrainedTokenizerBase, text: str, earlier: list[str], max_length: int, prefix: str
) -> tuple[BatchEncoding, int, int]:
    """Return the tokens of one text and its context, where the text begins in its segment, and the segment's number."""
    if earlier:
        special = tokenizer.sep_token or tokenizer.eos_token
        # No blank before the separator: byte-level tokenizers would make a token of it.
        separator = f"{special} " if special else "\n"
        joined, added = separator.join(earlier), tokenizer.num_special_tokens_to_add(pair=True)
        if added <= tokenizer.num_special_tokens_to_add(pair=False):
            # The tokenizer puts nothing between two segments: without a separator, "well" and "I" become "wellI".
            separator = special or "\n"
            joined += separator
            added += _count(tokenizer, separator)
        words = _count(tokenizer, text)
        if prefix:
            room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - words
            joined = _cut_behind(tokenizer, prefix, joined, room)
        if words + added < max_length and joined:
            with _truncation_side(tokenizer, "left"):
                return tokenizer(joined, text, truncation="only_first", max_length=max_length), 0, 1
    with _truncation_side(tokenizer, "right"):
        return tokenizer(prefix + text, truncation=True, max_length=max_length), len(prefix), 0


def _count(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """Return the number of tokens of a text alone."""
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _cut_behind(tokenizer: PreTrainedTokenizerBase, prefix: str, joined: str, room: int) -> str:
    """Return a prefix and as much of the end of a context as fits into `room` tokens; "" where none of it does."""
    while joined:
        encoded = tokenizer(prefix + joined, add_special_tokens=False, verbose=False)
        excess = len(encoded["input_ids"]) - room
        if excess <= 0:
            return prefix + joined
        starts = [first for first, last in _offsets(encoded) if last > len(prefix)]
        if excess >= len(starts):
            return ""
        joined = joined[max(starts[excess] - len(prefix), 1) :]
    return ""


def _encode_chat(
    tokenizer: PreTrainedTokenizerBase, instruction: str, earlier: Sequence[str], utterance: str, max_length: int
) -> tuple[BatchEncoding, int, int]:
    """Return the tokens of a chat, without padding, and where the utterance begins and ends in its text.

    The instruction is the system turn, each utterance a user turn; a template that allows no two user turns in a row,
    or no system turn, gets all of them as lines of one. The beginning of the model's answer follows. Of a chat that is
    too long the oldest turns are left out; an utterance that is too long by itself is cut at its end.

    Raises:
        ValueError: `max_length` has no room for words beside the instruction, or the template changes the words.
    """
    sizes = [len(tokenizer(words, add_special_tokens=False, verbose=False)["input_ids"]) for words in earlier]
    kept = list(earlier)
    while kept and sum(sizes[-len(kept) :]) >= max_length:  # they cannot fit: no need to try
        kept.pop(0)
    utterance = utterance.strip()  # many templates do so themselves
    while True:
        text, begin = _rendered(tokenizer, instruction, kept, utterance)
        encoded = tokenizer(text, add_special_tokens=False, verbose=False)
        excess = len(encoded["input_ids"]) - max_length
        if excess <= 0:
            return encoded, begin, begin + len(utterance)
        if kept:
            kept.pop(0)
            continue
        own = [first for first, last in _offsets(encoded) if begin <= first < begin + len(utterance)]
        if excess >= len(own):
            raise ValueError(
                f"max_length is {max_length}, and the chat template with its instruction leaves no room for words; "
                f"expected at least {len(encoded['input_ids']) - len(own) + 1}."
            )
        utterance = utterance[: own[-excess] - begin].rstrip()


def _rendered(
    tokenizer: PreTrainedTokenizerBase, instruction: str, earlier: Sequence[str], utterance: str
) -> tuple[str, int]:
    """Return the text of a chat, and where the utterance begins in it."""
    turns = [{"role": "user", "content": words} for words in (*earlier, _PLACE)]
    system = [{"role": "system", "content": instruction}] if instruction else []
    lines = "\n".join(filter(None, (instruction, *earlier, _PLACE)))
    template = _NO_DATE_OF_TODAY + tokenizer.get_chat_template()
    options = {"chat_template": template, "tokenize": False, "add_generation_prompt": True, **_FIXED}
    reason = ""
    for messages in ([*system, *turns], [{"role": "user", "content": lines}]):
        try:
            text = str(tokenizer.apply_chat_template(messages, **options))
        except Exception as error:  # whatever a template raises, by jinja2 or its own `raise_exception`
            reason = f" ({error})"
            continue
        if text.count(_PLACE) == 1 and instruction in text:
            return text.replace(_PLACE, utterance), text.index(_PLACE)
    raise ValueError(
        f"the chat template of this tokenizer does not show the instruction and the words as they are{reason}."
    )


@contextlib.contextmanager
def _truncation_side(tokenizer: PreTrainedTokenizerBase, side: str) -> Iterator[None]:
    """Cut on another side for the time of a `with` block."""
    before, tokenizer.truncation_side = tokenizer.truncation_side, side
    try:
        yield
    finally:
        tokenizer.truncation_side = before


__all__ = ["TEXT_TOKENS", "TextFormat", "encode_text", "is_missing"]
