"""Pickles of word-level features of punchlines.

HKT's files of UR-FUNNY and MUStARD (punchline and context, visual, acoustic, humour-centric), and the released pickles
of UR-FUNNY, one a stream.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets_scripts.restricted_pickle import load_restricted

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


UR_FUNNY = {"audio": "covarep_features_sdk.pkl", "vision": "openface_features_sdk.pkl"}
UR_FUNNY_WORDS = ("word_embedding_indexes_sdk.pkl", "word_embedding_list.pkl")  # rows of a table of GloVe vectors
UR_FUNNY_BESIDE = ("language_sdk.pkl", "humor_label_sdk.pkl", "data_folds.pkl")


def is_punchlines(content) -> bool:
    """Return whether this is a dict of punchlines by clip id, as UR-FUNNY is released: one stream a file."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(entry, dict) and "punchline_features" in entry for entry in content.values())
        and not any(_is_word(row) for entry in content.values() for row in entry["punchline_features"][:1])
    )


def read_punchlines(content: dict, where: str) -> Iterator[FeatureClip]:
    """Yield one stream of the punchlines; the features of the context are not used."""
    found = {str(clip): np.asarray(entry["punchline_features"]) for clip, entry in content.items()}
    width = max(rows.shape[-1] for rows in found.values())
    for clip, rows in found.items():
        yield FeatureClip(clip, single=as_rows(rows if rows.size else np.zeros((0, width)), f"{where}, {clip}"))


def is_ur_funny_folder(path: Path) -> bool:
    """Return whether a folder holds released pickles of UR-FUNNY."""
    return path.is_dir() and any((path / name).is_file() for name in UR_FUNNY.values())


def read_ur_funny_folder(path: Path) -> Iterator[FeatureClip]:
    """Yield the punchlines of UR-FUNNY with both streams; with vectors of words, text, labels and splits where these
    files are there.
    """
    streams = {
        stream: {clip.id: clip.single for clip in read_punchlines(load_restricted(path / name), name)}
        for stream, name in UR_FUNNY.items()
        if (path / name).is_file()
    }
    language, labels, folds = (_by_id(path / name) for name in UR_FUNNY_BESIDE)
    splits = {str(clip): SPLIT_NAMES[name] for name, clips in folds.items() for clip in clips}
    vectors = _ur_funny_vectors(path)
    for clip in dict.fromkeys(clip for found in streams.values() for clip in found):
        words = language.get(clip, {})
        yield FeatureClip(
            clip,
            **{stream: found.get(clip) for stream, found in streams.items()},
            text_features=vectors.get(clip),
            text=_sentence(words["punchline_sentence"]) if "punchline_sentence" in words else None,
            label=int(labels[clip]) if clip in labels else None,
            split=splits.get(clip),
            context=_sentences(words.get("context_sentences", [])),
        )


def _ur_funny_vectors(path: Path) -> dict[str, np.ndarray]:
    """Return clip -> the GloVe vectors of its punchline (T, 300); empty where the files are absent.

    Raises:
        ValueError: a word has no row in the table.
    """
    indexes, table = (path / name for name in UR_FUNNY_WORDS)
    if not (indexes.is_file() and table.is_file()):
        return {}
    vectors, found = np.asarray(load_restricted(table), dtype=np.float32), {}
    for clip, entry in _by_id(indexes).items():
        rows = np.asarray(entry["punchline_embedding_indexes"], dtype=np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(vectors):
            raise ValueError(f"{indexes}: clip {clip} has word {rows.max()}; {table.name} has {len(vectors)} vectors.")
        found[clip] = vectors[rows]
    return found


def _by_id(path: Path) -> dict:
    """Return a pickled dict with its keys as text; empty where the file is absent."""
    return {str(key): value for key, value in load_restricted(path).items()} if path.is_file() else {}


def _is_word(value) -> bool:
    return isinstance(value, str | bytes)


def _sentence(words) -> str:
    return " ".join(words.split()) if isinstance(words, str) else " ".join(map(str, words))


def _sentences(value) -> list[str]:
    """Return the sentences of a context: a text, a list of sentences, or a list of lists of words."""
    return [_sentence(value)] if isinstance(value, str) else [_sentence(part) for part in value]


__all__ = [
    "is_hkt", "is_punchlines", "is_ur_funny_folder", "read_hkt", "read_punchlines", "read_ur_funny_folder",
]  # fmt: skip
