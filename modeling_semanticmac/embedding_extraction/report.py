"""The outcome of every clip of an extraction, with counts that add up; and the clips that training uses."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..embedding_store import ClipRecord, EmbeddingStore
from ..embedding_store.joined import JoinedStore
from ..files.atomic_files import write_json

# What training does with a clip that could not be encoded, and how a report says it.
ON_ERROR = {"raise": "stops the run", "mask": "keeps its text", "skip": "is left out"}
SHOWN = 5  # clips named in a message


@dataclass
class Outcome:
    """The outcome of one clip.

    Args:
        path: of its media file.
        kind: "done" (encoded now), "reused" (the store held it), "unchecked" (reused, without its file to compare) or
            "failed".
        record: its row of the store's index.
    """

    path: str
    kind: str
    record: ClipRecord


@dataclass
class ExtractionReport:
    """Counts of an extraction; total = done + reused + the sum of failed.

    Args:
        total: clips of the dataset.
        done: encoded now.
        reused: taken from the store.
        unchecked: of the reused, those whose media file is not there to compare.
        failed: by reason.
        partial: of the done and reused, those that lack a modality, by reason.
        clips: every clip that failed, is partial or has a note: id, path, status, reason, note.
        seconds: of media that were encoded now.
        rows: frames and windows that were encoded now, by modality.
        faces: time steps in which a face was `looked for` now, and those in which it was `not found`.
        wall_seconds: time taken.
        decode_wait_seconds: of it, what the encoders waited for decoding (mean over processes).
    """

    total: int = 0
    done: int = 0
    reused: int = 0
    unchecked: int = 0
    failed: Counter = field(default_factory=Counter)
    partial: Counter = field(default_factory=Counter)
    clips: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    rows: Counter = field(default_factory=Counter)
    faces: Counter = field(default_factory=Counter)
    wall_seconds: float = 0.0
    decode_wait_seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a clip."""
        record = outcome.record
        self.total += 1
        self.done += outcome.kind == "done"
        self.reused += outcome.kind in ("reused", "unchecked")
        self.unchecked += outcome.kind == "unchecked"
        if outcome.kind == "done":
            self.seconds += record.duration
        if record.status == "failed":
            self.failed[record.reason] += 1
        elif record.status == "partial":
            self.partial[record.reason] += 1
        if record.status != "ok" or record.note:
            told = {name: getattr(record, name) for name in ("status", "reason", "note")}
            self.clips.append({"id": record.id, "path": outcome.path, **told})

    @property
    def num_failed(self) -> int:
        """The number of clips that failed."""
        return self.failed.total()

    def save(self, path: str | os.PathLike) -> None:
        """Write the report as JSON."""
        # Not dataclasses.asdict, which would count the items of a Counter.
        write_json(path, {n: dict(v) if isinstance(v, Counter) else v for n, v in vars(self).items()})

    def __str__(self) -> str:
        rows = [("clips", self.total), ("encoded", self.done), ("reused", self.reused)]
        rows += [("  their file is not there to compare", self.unchecked)] if self.unchecked else []
        rows += [(f"failed: {reason}", count) for reason, count in sorted(self.failed.items())]
        rows += [(f"of the encoded and reused: {reason}", count) for reason, count in sorted(self.partial.items())]
        if self.faces["looked for"]:
            rows += [("time steps in which a face was looked for", self.faces["looked for"])]
            rows += [("  no face found, the whole frame is used", self.faces["not found"])]
        if self.done:
            rows += [("clips a second", f"{self.done / self.wall_seconds:.2f}")]
            rows += [("seconds of media a second", f"{self.seconds / self.wall_seconds:.1f}")]
            rows += [("time waiting for decoding", f"{self.decode_wait_seconds / self.wall_seconds:.0%}")]
        return "\n".join(f"{name:<44}{value:>8}" for name, value in rows)


def usable_clips(dataset, store: EmbeddingStore | JoinedStore, on_error: str):
    """Return the clips of a dataset that training uses, where some could not be encoded.

    Args:
        dataset: a `datasets.Dataset` of clips that were extracted.
        store: their embeddings.
        on_error: "raise": refuse; "mask": all clips, the failed ones with their text alone; "skip": without the failed
            ones.

    Returns:
        The dataset or a selection of it.

    Raises:
        ValueError: on_error is "raise" and a clip failed, or on_error is unknown.
        KeyError: a clip was not extracted.
    """
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error is {on_error!r}; expected {', '.join(ON_ERROR)}.")
    failed = [index for index, clip in enumerate(dataset["id"]) if store.status(clip).status == "failed"]
    if not failed or on_error == "mask":
        return dataset
    if on_error == "skip":
        return dataset.select(sorted(set(range(len(dataset))) - set(failed)))
    named = _named(store.status(dataset[index]["id"]) for index in failed[:SHOWN])
    raise ValueError(
        f"{len(failed)} of {len(dataset)} clips could not be encoded: {named}{', ...' if len(failed) > SHOWN else ''}. "
        "Repair their files, or use "
        'on_error "mask" (their text alone) or "skip" (without them).'
    )


def _named(records: Iterable[ClipRecord]) -> str:
    return ", ".join(f"{record.id} ({record.reason})" for record in records)


def report_path(folder: str | os.PathLike, dataset) -> Path:
    """Return the path of a dataset's report: one file a split, so that splits do not replace each other's."""
    split = getattr(dataset, "split", None)
    return Path(folder) / (f"report_{split}.json" if split else "report.json")


__all__ = ["ExtractionReport", "Outcome", "report_path", "usable_clips"]
