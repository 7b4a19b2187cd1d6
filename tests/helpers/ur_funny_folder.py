"""A small UR-FUNNY v2 as it lies on disk: pickles of protocol 2 with integer ids, their fields spelled in the ways that
the release describes.
"""

from pathlib import Path

import numpy as np

from tests.helpers.media_files import numbered, tone, write_media
from tests.helpers.pickles import write_pickle

FOLDS = {"train": [101, 7, 3000, 12], "dev": [5, 66], "test": [9, 10, 11]}
HUMOROUS = {101, 3000, 5, 9, 11}
# id -> (punchline, context); the others have words made of their id.
WORDS = {
    7: ("so  i said caf\u00e9", ["first", "second  one"]),
    12: (
        ["it", "was", "not"],
        [["i looked", "up"], "and"],
    ),  # lists of strings, as the release's description draws them
    9: ("no context at all", []),
}


def words_of(id: int) -> tuple:
    return WORDS.get(id, (f"punchline {id}", [f"context {id}"]))


def entry(id: int) -> dict:
    """What `language_sdk.pkl` has of a clip; the word features under one of their two names."""
    punchline, context = words_of(id)
    feature = "embedding_indexes" if id % 2 else "features"
    return {
        f"punchline_{feature}": [1, 2, 3],
        f"context_{feature}": [[4]],
        "punchline_sentence": punchline,
        "context_sentences": context,
        "punchline_intervals": [np.array([0.0, 0.5])],
        "context_intervals": [np.zeros((2, 2))],
    }


def write_ur_funny(folder: Path, with_media: bool = False, place: str = "sdk_features") -> Path:
    """Write the three pickles below `place` and the clips; without media empty files for them, among them one that no
    fold has, and litter.
    """
    ids = [id for fold in FOLDS.values() for id in fold]
    write_pickle(folder / place / "data_folds.pkl", FOLDS)
    write_pickle(folder / place / "humor_label_sdk.pkl", {id: np.int64(id in HUMOROUS) for id in ids})
    write_pickle(folder / place / "language_sdk.pkl", {id: entry(id) for id in [*ids, 999]})
    videos = folder / "urfunny2_videos"
    videos.mkdir(parents=True)
    for id in [*ids, 999]:
        path = videos / f"{id}.mp4"
        if with_media:
            write_media(path, 0.6, 25, lambda number: numbered(number, 64, 48), tone())
        else:
            path.touch()
    (videos / "._101.mp4").write_bytes(b"\0\x05\x16\x07")
    return folder
