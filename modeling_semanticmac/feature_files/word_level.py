"""Pickles of word-level features:

UR-FUNNY and MUStARD of HKT (punchline and context, visual, acoustic, humour-centric).
"""

from collections.abc import Iterator

import numpy as np

from .streams import SPLIT_NAMES, FeatureClip, as_rows


def is_hkt(content) -> bool:
    """Return whether this is a dict of splits with lists of (punchline, context, id, label)."""
    if not isinstance(content, dict) or "test" not in content:
        return False
    first = content["test"][0] if isinstance(content["test"], list) and content["test"] else None
    return isinstance(first, tuple | list) and len(first) == 4 and len(first[0]) == 4


def read_hkt(content: dict, where: str) -> Iterator[FeatureClip]:
    """Yield the punchlines; the features of the context are not used, its sentences are."""
    for name, rows in content.items():
        if name not in SPLIT_NAMES:
            continue
        for (words, visual, acoustic, _), context, clip, label in rows:
            place = f"{where}, {name} {clip}"
            yield FeatureClip(
                str(clip),
                audio=as_rows(acoustic, place),
                vision=as_rows(visual, place),
                text=_sentence(words),
                label=int(np.asarray(label).item()),
                split=SPLIT_NAMES[name],
                context=_sentences(context[0]),
            )


def _sentence(words) -> str:
    return " ".join(words.split()) if isinstance(words, str) else " ".join(map(str, words))


def _sentences(value) -> list[str]:
    """Return the sentences of a context: a text, a list of sentences, or a list of lists of words."""
    return [_sentence(value)] if isinstance(value, str) else [_sentence(part) for part in value]


__all__ = ["is_hkt", "read_hkt"]
