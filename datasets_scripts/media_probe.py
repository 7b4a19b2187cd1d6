"""Open the media files of a corpus and say what is wrong with them."""

import collections
import os
from concurrent.futures import ProcessPoolExecutor

import datasets
from tqdm.auto import tqdm

from modeling_semanticmac.media_decoding import MediaError, open_media

CUT_TOLERANCE = 0.1  # seconds by which a cut may end after its file
NAMES = {"video": "picture", "audio": "sound"}


def probe_file(path: str) -> tuple[str, dict | None, str]:
    """Open a media file; return its path, its duration and streams (None where it cannot be read), and its notes or the
    reason.
    """
    try:
        with open_media(path) as media:
            info = media.info
            kinds = [kind for kind in ("video", "audio") if getattr(info, kind) is not None]
            return path, {"duration": info.duration, "streams": kinds}, "; ".join(info.notes)
    except MediaError as error:
        return path, None, error.reason


def probe_media(corpus: datasets.DatasetDict, summary: dict[str, float]) -> dict[str, list[str]]:
    """Open each media file of a corpus once, on all cores.

    Args:
        summary: filled with the number of files and their durations.

    Returns:
        What is wrong -> ids of the clips.
    """
    cuts = collections.defaultdict(list)
    for clips in corpus.values():
        for clip, media in zip(clips["id"], clips["media"]):
            if media["path"]:
                cuts[media["path"]].append((clip, media["end"] if media["start"] is not None else None))
    findings: dict[str, list[str]] = collections.defaultdict(list)
    durations = []
    with ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        results = pool.map(probe_file, sorted(cuts), chunksize=8)
        for path, info, trouble in tqdm(results, total=len(cuts), unit="file", desc="opening media"):
            ids = [clip for clip, _ in cuts[path]]
            if info is None:
                findings[f"media that cannot be read: {trouble}"] += ids
                continue
            durations.append(info["duration"])
            if trouble:
                findings[f"media with damage: {trouble}"] += ids
            for kind in {"video", "audio"} - set(info["streams"]):
                findings[f"media without {NAMES[kind]}"] += ids
            beyond = [clip for clip, end in cuts[path] if end is not None and end > info["duration"] + CUT_TOLERANCE]
            findings["cuts that run over the end of their file"] += beyond
    summary |= {"files opened": len(cuts), "seconds of media": round(sum(durations), 1)}
    if durations:
        summary |= {
            "shortest file in seconds": round(min(durations), 2),
            "longest file in seconds": round(max(durations), 2),
        }
    return {kind: clips for kind, clips in sorted(findings.items()) if clips}


__all__ = ["probe_file", "probe_media"]
