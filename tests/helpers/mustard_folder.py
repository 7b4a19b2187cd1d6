"""A small MUStARD as it lies on disk: the annotation with its damaged texts, the folds as pickle and as JSON, clips,
and litter of macOS.
"""

import json
from pathlib import Path

import numpy as np

from tests.helpers.media_files import numbered, tone, write_media
from tests.helpers.pickles import write_pickle

SHOWS = ("FRIENDS", "BBT")
DAMAGED = {0: "Don\u00d5t  you see?", 1: "We\u2019re here\u2026".encode().decode("cp1252")}
REPAIRED = {0: "Don\u2019t you see?", 1: "We\u2019re here\u2026"}


def write_mustard(folder: Path, with_media: bool = False, count: int = 20) -> Path:
    """Write `count` utterances, half of them sarcastic, five folds and the clips; without media empty files, one of
    them missing.
    """
    rows = {
        f"1_{index}": {
            "utterance": DAMAGED.get(index, f"Hey {index}."),
            "speaker": "X",
            "context": ["a"],
            "context_speakers": ["Y"],
            "show": SHOWS[index % 2],
            "sarcasm": index % 4 > 1,
        }
        for index in range(count)
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sarcasm_data.json").write_text(json.dumps(rows))  # ASCII with \u escapes, as in the release
    parts = [list(range(fold, count, 5)) for fold in range(5)]
    folds = [(sorted(set(range(count)) - set(part)), part) for part in parts]
    write_pickle(folder / "split_indices.p", [tuple(map(np.array, fold)) for fold in folds])
    (folder / "split_indices.json").write_text(json.dumps([{"train": train, "test": test} for train, test in folds]))
    clips, earlier = (folder / f"mmsd_raw_data/{name}" for name in ("utterances_final", "context_final"))
    litter = folder / "__MACOSX/mmsd_raw_data/utterances_final"
    for place in (clips, earlier, litter):
        place.mkdir(parents=True)
    for id in list(rows)[0 if with_media else 1 :]:
        (earlier / f"{id}_c.mp4").touch()
        (litter / f"._{id}.mp4").touch()
        if with_media:
            write_media(clips / f"{id}.mp4", 0.6, 25, lambda number: numbered(number, 64, 48), tone())
        else:
            (clips / f"{id}.mp4").touch()
    (clips / "._1_0.mp4").touch()
    return folder
