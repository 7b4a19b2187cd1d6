"""Pickled tuples of dialogues: IEMOCAP and MELD features of DialogueRNN, DialogueGCN, MMGCN and their successors.

COSMIC's lists hold no features, but the texts, labels and splits of the same dialogues.
"""

from collections.abc import Iterator

import numpy as np

from .streams import FeatureClip

LENGTHS = (9, 10)


def is_conversations(content) -> bool:
    """Return whether this is a tuple of 9 or 10 whose first entries are dicts by dialogue."""
    return (
        isinstance(content, tuple | list)
        and len(content) in LENGTHS
        and all(isinstance(part, dict) for part in content[:5])
    )


def read_conversations(content, where: str) -> Iterator[FeatureClip]:
    """Yield the utterances of all dialogues in order.

    The 9-tuple of IEMOCAP has audio and visual features, that of MELD audio alone; the 10-tuple of MELD has both. They
    differ in what stands at the sixth place: features, or sentences. There is no validation split.

    Raises:
        ValueError: lists of a dialogue differ in their length.
    """
    ids, speakers, labels, text, audio = content[:5]
    has_vision = not _is_text(content[5])
    vision = content[5] if has_vision else {}
    sentences, train, test = content[6 if has_vision else 5 :][:3]
    splits = {dialogue: "train" for dialogue in train} | {dialogue: "test" for dialogue in test}
    for dialogue, names in ids.items():
        parts = {"labels": labels, "text": text, "audio": audio, "vision": vision, "sentences": sentences}
        wrong = {
            name: len(part[dialogue]) for name, part in parts.items() if part and len(part[dialogue]) != len(names)
        }
        if wrong:
            raise ValueError(f"{where}: dialogue {dialogue!r} has {len(names)} utterances but {wrong}.")
        spoken = [str(sentence) for sentence in sentences[dialogue]]
        for row, name in enumerate(names):
            yield FeatureClip(
                _utterance_id(dialogue, name, row),
                audio=_vector(audio[dialogue][row]),
                vision=_vector(vision[dialogue][row]) if has_vision else None,
                text_features=_vector(text[dialogue][row]),
                text=spoken[row],
                label=int(
                    np.argmax(labels[dialogue][row]) if np.ndim(labels[dialogue][row]) else labels[dialogue][row]
                ),
                split=splits.get(dialogue),
                context=spoken[:row],
                speaker=_speaker(speakers[dialogue][row]),
            )


def is_conversation_texts(content) -> bool:
    """Return whether this is COSMIC's list of 6 (IEMOCAP) or 7 (MELD, with sentiment labels)."""
    return (
        isinstance(content, tuple | list)
        and len(content) in (6, 7)
        and all(isinstance(part, dict) for part in content[:-3])
        and _is_text(content[-4])
        and not any(isinstance(part, dict) for part in content[-3:])
    )


def read_conversation_texts(content, where: str) -> Iterator[FeatureClip]:
    """Yield the utterances of all dialogues in order, without features; ids are numbered within a dialogue.

    Raises:
        ValueError: lists of a dialogue differ in their length.
    """
    speakers, labels, sentences = content[0], content[1], content[-4]
    named = zip(("train", "test", "validation"), content[-3:])
    splits = {dialogue: split for split, dialogues in named for dialogue in dialogues}
    for dialogue, spoken in sentences.items():
        counts = {"speakers": len(speakers[dialogue]), "labels": len(labels[dialogue])}
        if set(counts.values()) != {len(spoken)}:
            raise ValueError(f"{where}: dialogue {dialogue!r} has {len(spoken)} utterances but {counts}.")
        spoken = [str(sentence) for sentence in spoken]
        for row, sentence in enumerate(spoken):
            yield FeatureClip(
                f"dia{dialogue}_utt{row}" if isinstance(dialogue, int) else f"{dialogue}_{row}",
                text=sentence,
                label=int(labels[dialogue][row]),
                split=splits.get(dialogue),
                context=spoken[:row],
                speaker=_speaker(speakers[dialogue][row]),
            )


def _is_text(part: dict) -> bool:
    first = next(iter(part.values()), [])
    return len(first) > 0 and isinstance(first[0], str | bytes)


def _vector(value) -> np.ndarray:
    return np.asarray(value, dtype=np.float32).reshape(1, -1)


def _utterance_id(dialogue, name, row: int) -> str:
    """Return IEMOCAP's own id, or MELD's `dia<D>_utt<U>` where the file numbers dialogues and utterances."""
    return str(name) if isinstance(name, str) else f"dia{dialogue}_utt{row if isinstance(name, list) else name}"


def _speaker(value) -> str:
    """Return a letter as it is, and the position of a one-hot vector as a number."""
    return value if isinstance(value, str) else str(int(np.argmax(value)))


__all__ = ["is_conversation_texts", "is_conversations", "read_conversation_texts", "read_conversations"]
