"""Corpora of actors who speak given sentences with given emotions: files named by a code, folds by speaker."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_semanticmac.clip_input import MEDIA_SUFFIXES

from .split_list import SPLITS

NUM_FOLDS = 5
# Of one performance the file with most streams is used.
PREFERENCE = (".mp4", ".mkv", ".mov", ".flv", ".wav", ".flac")


def coded_files(folder: Path, code: re.Pattern) -> Iterator[tuple[re.Match, Path]]:
    """Yield the media files anywhere below a folder whose name without ending matches a code, sorted by path."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            found = code.fullmatch(stem)
            if found and suffix.lower() in MEDIA_SUFFIXES:
                yield found, Path(place, name)


def preferred(paths: Sequence[Path]) -> Path:
    """Return the file of a performance to use: video before sound, then the first by path."""
    suffixes = {suffix: place for place, suffix in enumerate(PREFERENCE)}
    return min(paths, key=lambda path: (suffixes.get(path.suffix.lower(), len(suffixes)), str(path)))


def fold_splits(groups: Sequence[Sequence[str]], fold: int) -> dict[str, set[str]]:
    """Return the speakers of each split: group `fold` is test, the next one validation, the others train.

    Raises:
        ValueError: the fold is not a number of a group.
    """
    if fold not in range(len(groups)) or isinstance(fold, bool):
        raise ValueError(f"fold is {fold!r}; expected a whole number from 0 to {len(groups) - 1}.")
    held = {"test": fold, "validation": (fold + 1) % len(groups)}
    rest = [group for place, group in enumerate(groups) if place not in held.values()]
    speakers = {split: set(groups[place]) for split, place in held.items()}
    return {split: speakers.get(split, {name for group in rest for name in group}) for split in SPLITS}


__all__ = ["NUM_FOLDS", "coded_files", "fold_splits", "preferred"]
