"""The standard folds of videos of CMU-MOSI and CMU-MOSEI, and their terms."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from .split_list import SPLITS

SCORES = (-3.0, 3.0)
TERMS = "CMU's terms: research use; the videos are their YouTube users'; SDK code and folds under an MIT-style licence"


NO_FOLD = "its video is in no standard fold"


def segment_id(video: str, number: str) -> str:
    """Return `<video_id>_<n>`, or `<video_id>[k]`, the SDK's name of an entry, where the number is "[k]"."""
    return f"{video}{number}" if number.startswith("[") else f"{video}_{number}"


@cache
def standard_folds(corpus: str) -> Mapping[str, str]:
    """Return the split by video id, as in the CMU-MultimodalSDK (`manifests/<corpus>_folds.json`)."""
    path = Path(__file__).parent / "manifests" / f"{corpus}_folds.json"
    folds = json.loads(path.read_text(encoding="utf-8"))["folds"]
    return {video: split for split in SPLITS for video in folds[split]}
