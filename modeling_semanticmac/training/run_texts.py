"""How the texts of a run become tokens: checked against the corpus, the model and the language model."""

import logging
import re
from typing import Any

from .dialogue_trainer import DialogueTrainer

logger = logging.getLogger("run_mac")

# What language models were trained to read before a text, by a part of their names.
PREFIXES = {
    r"\be5\b(?!.*instruct)": "query: ",
    r"\be5\b.*instruct": "Instruct: <what to tell>\\nQuery: ",
    r"qwen3-embedding": "Instruct: <what to tell>\\nQuery:",
}


def check_texts(run: Any) -> None:
    """Refuse a way of writing texts that the corpus or the model of a run cannot follow.

    Args:
        run: `Run`, with its corpus, model and processor.

    Raises:
        ValueError: the corpus does not say who speaks, its context does not end where the text begins, or the text
            does not go through the tokenizer as words.
    """
    form, data = run.processor.text_format, run.data_args
    changed = form != type(form)()
    if changed and run.trainer_class is DialogueTrainer:
        raise ValueError(
            f"{run.model.config.architecture} reads the utterances of a dialogue and their speakers by itself; leave "
            "out --use_speakers, --context_utterances, --text_tokens, --text_prefix and --chat_instruction."
        )
    if changed and data.text != "raw":
        raise ValueError(f"--text {data.text} reads no words, so they cannot be written in another way; leave it out.")
    if form.context_utterances is not None and not data.use_context:
        raise ValueError("--context_utterances has no effect with --use_context false; leave one of them out.")
    unused = [name for name in ("earlier_context", "later_context") if data.options.get(name) and not data.use_context]
    if unused:
        raise ValueError(
            f"the corpus option {unused[0]} has no effect with --use_context false; leave one of them out."
        )
    if form.context_utterances is not None and data.options.get("later_context"):
        raise ValueError(
            "--context_utterances keeps the end of the context, which is what was said later: the corpus has the "
            f"option later_context {data.options['later_context']}. Leave it out, and limit the earlier utterances "
            'with the corpus option "earlier_context".'
        )
    if not form.use_speakers or not run.corpus.num_clips("train"):
        return
    clips = run.corpus["train"]
    if not any(clips["speaker"][:]):
        raise ValueError(f"--use_speakers: {data.corpus} does not say who speaks; leave it out.")
    pairs = zip(clips["context"][:], clips["context_speakers"][:])
    if data.use_context and any(context and len(names) != len(context) for context, names in pairs):
        raise ValueError(
            f"--use_speakers: {data.corpus} does not say who spoke the earlier utterances; add --use_context false, or "
            "leave it out."
        )


def note_prefix(model_args) -> None:
    """Log which prefix a language model was trained with, where none is given and its name tells."""
    name = str(model_args.language_model).lower()
    for pattern, prefix in PREFIXES.items():
        if re.search(pattern, name) and model_args.text_prefix is None and model_args.chat_instruction is None:
            logger.warning('%s was trained with "%s" before each text; see --text_prefix.', name, prefix)


__all__ = ["check_texts", "note_prefix"]
