"""What became of every clip of an extraction: counts that add up, reasons, notes."""

from collections import Counter
from dataclasses import dataclass, field

from .embedding_store import ClipRecord


@dataclass
class ExtractionReport:
    """Every clip is in exactly one of `done`, `partial`, `failed`; `reused` counts those among them that the store already held.

    Args:
        clips: number of clips asked for.
        done: with every modality.
        partial: one modality is missing, by reason.
        failed: no modality, by reason.
        reused: taken from the store as they were.
        problems: clip id -> reason, for partial and failed clips.
        notes: clip id -> what is wrong with its file although it was used.
        seconds: of video, of the clips encoded now.
        wall_seconds, decode_wait_seconds: time taken now, and the part of it that encoding waited for decoding.
    """

    clips: int = 0
    done: int = 0
    partial: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)
    reused: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    wall_seconds: float = 0.0
    decode_wait_seconds: float = 0.0

    def add(self, record: ClipRecord, reused: bool) -> None:
        """Count a clip."""
        self.clips += 1
        self.reused += reused
        if record.status == "ok":
            self.done += 1
        else:
            (self.partial if record.status == "partial" else self.failed)[record.reason] += 1
            self.problems[record.id] = record.reason
        if record.note:
            self.notes[record.id] = record.note
        if not reused:
            self.seconds += record.duration

    def to_dict(self) -> dict:
        """For JSON."""
        plain = {name: value for name, value in self.__dict__.items() if name not in ("partial", "failed")}
        return {**plain, "partial": dict(self.partial), "failed": dict(self.failed)}

    def __str__(self) -> str:
        rows = [("clips", self.clips), ("with every modality", self.done)]
        rows += [(f"partly: {reason}", count) for reason, count in sorted(self.partial.items())]
        rows += [(f"failed: {reason}", count) for reason, count in sorted(self.failed.items())]
        rows += [("(of these from the store)", self.reused)]
        if self.wall_seconds and self.clips > self.reused:
            rows += [("clips / s", round((self.clips - self.reused) / self.wall_seconds, 1))]
            rows += [("seconds of media / s", round(self.seconds / self.wall_seconds, 1))]
            rows += [("share of time waiting for decoding", f"{self.decode_wait_seconds / self.wall_seconds:.0%}")]
        return "\n".join(f"  {name:<40} {value}" for name, value in rows)
