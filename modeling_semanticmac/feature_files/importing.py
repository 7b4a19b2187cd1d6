"""Feature files into an embedding store: normalised, finite, with what made them as the store's fingerprint."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from ..configuration_semanticmac import MEDIA_MODALITIES
from ..embedding_store import ClipRecord, EmbeddingStore, StoreWriter, read_fingerprint
from ..embedding_store.fingerprint import fingerprint_digest
from ..files.atomic_files import write_json
from .normalization import NORMALIZE, ColumnStatistics
from .sources import FeatureStream

IMPORT = 1  # raise it when the same files and settings give other numbers, so that an old store is not taken for new
NO_FEATURES = "no features"
SHOWN = 3  # ids named in a message


@dataclass
class FeatureReport:
    """Counts of an import for some clips; total = done + the sum of failed.

    Args:
        total: clips of the corpus.
        done: with features.
        failed: by reason: clips without any features.
        partial: of the done, those that lack a stream, by reason.
        repaired: stream -> values that were NaN or infinite and are 0 now.
        repaired_clips: stream -> clips with such values.
        clips: every clip that failed or is partial: id, path of the file, status, reason, note.
        streams: what each stream is: file, form, widths, lengths (`FeatureImport.facts`).
    """

    total: int = 0
    done: int = 0
    failed: Counter = field(default_factory=Counter)
    partial: Counter = field(default_factory=Counter)
    repaired: Counter = field(default_factory=Counter)
    repaired_clips: Counter = field(default_factory=Counter)
    clips: list[dict] = field(default_factory=list)
    streams: dict[str, dict] = field(default_factory=dict)

    @property
    def num_failed(self) -> int:
        """The number of clips without features."""
        return self.failed.total()

    def save(self, path: Path) -> None:
        """Write the report as JSON."""
        write_json(path, {n: dict(v) if isinstance(v, Counter) else v for n, v in vars(self).items()})

    def __str__(self) -> str:
        rows = [("clips", self.total), ("with features", self.done)]
        rows += [(f"failed: {reason}", count) for reason, count in sorted(self.failed.items())]
        rows += [(f"of those with features: {reason}", count) for reason, count in sorted(self.partial.items())]
        for stream, count in sorted(self.repaired.items()):
            told = f"{stream} values that were NaN or infinite, now 0 ({self.repaired_clips[stream]} clips)"
            rows.append((told, count))
        return "\n".join(f"{name:<68}{count:>9}" for name, count in rows)


class FeatureImport:
    """Streams of feature files, normalised, and the store that holds them.

    Args:
        streams: modality -> its stream, as `read_streams` returns them.
        train: ids of the clips of the training split, from which the statistics are computed.
        normalize: "train": standard scores by the training split, but not of an encoder's values (vectors of text, and
            stores that towers made); "all": of these too; "none": the numbers of the file.
        statistics: modality -> statistics to use in place of those of `train` (of a trained model); None for a stream
            that is not normalised.

    Attributes:
        fingerprint: of the store.

    Raises:
        ValueError: no clip of the training split has features, or the widths differ from those of the statistics.
    """

    def __init__(
        self,
        streams: Mapping[str, FeatureStream],
        train: Sequence[str],
        normalize: str = "train",
        statistics: Mapping[str, ColumnStatistics | None] | None = None,
    ):
        if normalize not in NORMALIZE:
            raise ValueError(f"normalize is {normalize!r}; expected {' or '.join(NORMALIZE)}.")
        self.streams, self._forgotten = dict(streams), False
        self.statistics: dict[str, ColumnStatistics | None] = {}
        for modality, stream in self.streams.items():
            if statistics is not None:
                self.statistics[modality] = statistics[modality]
            else:
                scores = normalize == "all" or (normalize == "train" and not stream.is_encoded)
                self.statistics[modality] = _statistics(stream, train) if scores else None
        parts = {modality: self._describe(modality) for modality in self.streams}
        self.fingerprint = {"import": IMPORT, "storage_dtype": "float32", **dict.fromkeys(MEDIA_MODALITIES), **parts}

    @property
    def folder_name(self) -> str:
        """The name of the store within a folder of stores: another one for each fingerprint, e.g. of each fold."""
        return f"features_{fingerprint_digest(self.fingerprint)}"

    @property
    def longest(self) -> int:
        """The number of rows of the longest sequence."""
        return max(stream.longest for stream in self.streams.values())

    def _describe(self, modality: str) -> dict:
        """Return what made the embeddings of a modality, as values of JSON."""
        stream, statistics = self.streams[modality], self.statistics[modality]
        file = stream.file
        return {
            "name_or_path": file.path.name,
            "weights_hash": file.sha256,
            "width": stream.width,
            "known_as": file.known_as,
            "form": file.form,
            "normalize": "none" if statistics is None else "train",
            "statistics_sha256": None if statistics is None else statistics.sha256(),
            "segments": stream.segments,
            **({} if statistics is None else statistics.as_lists()),
        }

    def facts(self) -> dict[str, dict]:
        """Return what each stream is: file, SHA-256, released file, form, width, longest sequence, normalisation."""
        names = {"name_or_path": "file", "weights_hash": "sha256"}
        kept = ("name_or_path", "weights_hash", "known_as", "form", "width", "normalize")
        return {
            modality: {names.get(name, name): self.fingerprint[modality][name] for name in kept}
            | {"longest": stream.longest, "clips_in_file": len(stream.rows)}
            for modality, stream in self.streams.items()
        }

    def reference(self, modality: str) -> dict:
        """Return how the configuration of a model names the features of a modality."""
        part = self.fingerprint[modality]
        names = {"name_or_path": "file", "weights_hash": "sha256"}
        kept = ("name_or_path", "weights_hash", "known_as", "form", "normalize", "column_means", "column_deviations")
        return {names.get(name, name): part[name] for name in kept if name in part}

    def write(self, folder: Path, clips: Iterable[str]) -> EmbeddingStore:
        """Write the clips that the store does not hold; a clip without features is written as failed.

        Args:
            folder: of the store.
            clips: ids of the corpus.

        Raises:
            FingerprintError: the folder holds a store of other files or settings.
        """
        store = EmbeddingStore(folder, self.fingerprint) if read_fingerprint(folder) else None
        missing = [clip for clip in clips if store is None or clip not in store]
        if missing or store is None:
            if self._forgotten:
                raise RuntimeError(f"the sequences were freed, but {len(missing)} clips are not in the store.")
            with StoreWriter(folder, self.fingerprint, shard_clips=4096) as writer:
                for clip in missing:
                    writer.add(self.record(clip), **self._embeddings(clip))
        return EmbeddingStore(folder, self.fingerprint)

    def forget_sequences(self) -> None:
        """Free the memory of the sequences once they are in a store; reports stay as they are."""
        self._forgotten = True
        for stream in self.streams.values():
            stream.rows = {clip: np.broadcast_to(np.float32(0), rows.shape) for clip, rows in stream.rows.items()}
            stream.broken = {}
            stream.file = replace(stream.file, read=lambda: iter(()))  # it holds the content of the file

    def record(self, clip: str) -> ClipRecord:
        """Return the record of a clip: "ok", "partial" where it lacks a stream, "failed" where it has none."""
        reasons = []
        for modality, stream in self.streams.items():
            rows = stream.rows.get(clip)
            if rows is None:
                reasons.append(NO_FEATURES if len(self.streams) == 1 else f"no {modality} features")
            elif not len(rows):
                reasons.append(f"{modality} features of length 0")
        if len(reasons) == len(self.streams):
            absent = all(clip not in stream.rows for stream in self.streams.values())
            return ClipRecord(clip, status="failed", reason=NO_FEATURES if absent else "; ".join(reasons))
        return ClipRecord(clip, status="partial" if reasons else "ok", reason="; ".join(reasons))

    def _embeddings(self, clip: str) -> dict[str, torch.Tensor]:
        """Return the normalised sequences of a clip."""
        found = {}
        for modality, stream in self.streams.items():
            rows, statistics = stream.rows.get(clip), self.statistics[modality]
            if rows is not None and len(rows):
                found[modality] = torch.from_numpy((statistics.apply(rows) if statistics else rows).copy())
        return found

    def report(self, clips: Iterable[str]) -> FeatureReport:
        """Return the counts for some clips of the corpus."""
        report = FeatureReport(streams=self.facts())
        paths = "; ".join(dict.fromkeys(str(stream.file.path) for stream in self.streams.values()))
        for clip in clips:
            record = self.record(clip)
            report.total += 1
            report.done += record.status != "failed"
            if record.status == "failed":
                report.failed[record.reason] += 1
            elif record.status == "partial":
                report.partial[record.reason] += 1
            if record.status != "ok":
                told = {"status": record.status, "reason": record.reason, "note": record.note}
                report.clips.append({"id": clip, "path": paths, **told})
            for modality, stream in self.streams.items():
                if clip in stream.repaired:
                    report.repaired[modality] += stream.repaired[clip]
                    report.repaired_clips[modality] += 1
        return report


def check_overlap(streams: Mapping[str, FeatureStream], clips: Sequence[str]) -> None:
    """Refuse files that have features of no clip of the corpus.

    Raises:
        ValueError: names ids of both sides.
    """
    for modality, stream in streams.items():
        if not any(clip in stream.rows for clip in clips):
            raise ValueError(
                f"{stream.file.path} has {modality} features of none of the {len(clips)} clips of the corpus. Ids in "
                f"the file: {_some(list(stream.rows))}; of the corpus: {_some(list(clips))}. Expected the same ids."
            )


def _statistics(stream: FeatureStream, train: Sequence[str]) -> ColumnStatistics:
    found = [stream.as_in_file(clip) for clip in train if clip in stream.rows]
    if not any(map(len, found)):
        raise ValueError(
            f"{stream.file.path}: none of the {len(train)} clips of the training split has {stream.modality} features, "
            "so they cannot be normalised by it; check the ids, or give --normalize none."
        )
    return ColumnStatistics.of(found)


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


__all__ = ["NO_FEATURES", "FeatureImport", "FeatureReport", "check_overlap"]
