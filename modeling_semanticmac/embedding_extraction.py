"""Clips to the embedding store: decoding in worker processes, encoding in full batches, resumable, every clip accounted for."""

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import PartialState
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm.auto import tqdm

from .atomic_files import write_json
from .clip_sampling import MediaClip
from .embedding_store import ClipRecord, EmbeddingStore, StoreWriter
from .encoders import embed_batch, embedding_width
from .extraction_report import ExtractionReport
from .media_decoding import MediaError
from .modeling_imagebind import weights_hash

CHUNK = 32  # time steps that leave a worker at once: bounds memory on a video of any length
STREAMS = {"vision": "video", "audio": "audio"}


@dataclass
class Piece:
    """What a worker sends: inputs of one modality of a clip, or its end with what became of it."""

    clip: int
    modality: str | None = None
    inputs: torch.Tensor | None = None
    record: ClipRecord | None = None
    missing: dict[str, str] = field(default_factory=dict)


def store_fingerprint(processor, encoders: dict[str, nn.Module]) -> dict:
    """What the embeddings depend on beside the clip: weights, front ends, sampling, precision."""
    sampling = {name: getattr(processor, name) for name in ("frames_per_second", "num_frames")}
    fingerprint = {"format": 1, "dtype": "float16", "sampling": sampling, "source": {}}
    settings = {"vision": {"vision_window": processor.vision_window}, "audio": {"audio_window": processor.audio_window}}
    front_ends = {"vision": processor.image_processor, "audio": processor.feature_extractor}
    for modality in ("vision", "audio"):
        encoder = encoders.get(modality)
        if encoder is None:
            fingerprint[modality] = None
            continue
        front_end = {
            name: value for name, value in front_ends[modality].to_dict().items() if not name.endswith("_class")
        }
        fingerprint[modality] = {
            "architecture": type(encoder).__name__,
            "weights_hash": weights_hash(encoder),
            "width": embedding_width(encoder),
            "front_end": {
                name: value for name, value in sorted(front_end.items()) if not name.endswith(("_type", "auto_map"))
            },
            **settings[modality],
        }
        fingerprint["source"][modality] = encoder.name_or_path
    return fingerprint


def content_hash(media: dict, known: ClipRecord | None = None) -> tuple[str, int, int]:
    """SHA-256 of the file's bytes, start, end and crop of a clip, with the file's size and time of change.

    Args:
        known: an earlier record of the clip; where the file's size and time of change are still those, its bytes are not read again.
    """
    stat = os.stat(media["path"])
    cut = f"{media.get('start')}|{media.get('end')}|{media.get('crop')}"
    if known and (known.file_size, known.file_mtime_ns) == (stat.st_size, stat.st_mtime_ns):
        file_hash = known.content_hash.partition(":")[0]
    else:
        with open(media["path"], "rb") as file:
            file_hash = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{file_hash}:{cut}", stat.st_size, stat.st_mtime_ns


class ClipReader(IterableDataset):
    """Pieces of the clips that the store lacks, decoded and prepared; each worker takes every n-th clip."""

    def __init__(
        self,
        clips: list[dict],
        known: dict[str, ClipRecord],
        processor,
        modalities: tuple[str, ...],
        max_seconds: float | None,
    ):
        self.clips, self.known, self.processor = clips, known, processor
        self.modalities, self.max_seconds = modalities, max_seconds

    def __iter__(self) -> Iterator[Piece]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in range(first, len(self.clips), step):
            yield from self._pieces(index)

    def _pieces(self, index: int) -> Iterator[Piece]:
        clip = self.clips[index]
        record = ClipRecord(clip["id"])
        media = clip["media"] if isinstance(clip["media"], dict) else {"path": clip["media"]}
        if not media.get("path") or not os.path.isfile(media["path"]):
            record.status, record.reason = "failed", "no file"
            yield Piece(index, record=record)
            return
        known = self.known.get(clip["id"])
        record.content_hash, record.file_size, record.file_mtime_ns = content_hash(media, known)
        if known and known.content_hash == record.content_hash:
            yield Piece(index, record=known)  # an unchanged clip: its record says that it is reused
            return
        missing: dict[str, str] = {}
        try:
            with MediaClip(media) as opened:
                record.duration = opened.duration
                if self.max_seconds is not None and opened.duration > self.max_seconds:
                    record.status, record.reason = "failed", "over the length limit"
                else:
                    for modality in self.modalities:
                        yield from self._read(index, modality, opened, missing)
                    record.note = "; ".join(opened.notes)
        except MediaError as error:
            record.status, record.reason, record.note = "failed", error.reason, str(error)
        yield Piece(index, record=record, missing=missing)

    def _read(self, index: int, modality: str, clip: MediaClip, missing: dict[str, str]) -> Iterator[Piece]:
        read = self.processor.iter_vision if modality == "vision" else self.processor.iter_audio
        try:
            for inputs in read(clip, CHUNK):
                yield Piece(index, modality, inputs)
        except MediaError as error:
            missing[modality] = error.reason


class _Packer:
    """Frames of different clips in full batches through one encoder; gives each clip its embeddings back in order."""

    def __init__(self, encoder: nn.Module, batch_size: int, device: torch.device, dtype: torch.dtype | None):
        self.encoder, self.batch_size, self.device, self.dtype = encoder.to(device), batch_size, device, dtype
        self.waiting: list[tuple[int, torch.Tensor]] = []
        self.size = 0
        self.embeds: dict[int, list[torch.Tensor]] = {}

    def add(self, clip: int, inputs: torch.Tensor) -> None:
        self.waiting.append((clip, inputs))
        self.size += len(inputs)
        while self.size >= self.batch_size:
            self._encode(self.batch_size)

    def finish(self) -> None:
        if self.size:
            self._encode(self.size)

    def owes(self, clip: int) -> bool:
        return any(owner == clip for owner, _ in self.waiting)

    def take(self, clip: int) -> torch.Tensor | None:
        parts = self.embeds.pop(clip, None)
        return torch.cat(parts) if parts else None

    def _encode(self, count: int) -> None:
        batch, owners = [], []
        while count:
            clip, inputs = self.waiting.pop(0)
            if len(inputs) > count:
                self.waiting.insert(0, (clip, inputs[count:]))
                inputs = inputs[:count]
            batch.append(inputs)
            owners.append((clip, len(inputs)))
            count -= len(inputs)
        stacked = torch.cat(batch).to(self.device, non_blocking=True)
        self.size -= len(stacked)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            embeds = embed_batch(self.encoder, stacked).to("cpu", torch.float16)
        for (clip, _), part in zip(owners, embeds.split([length for _, length in owners])):
            self.embeds.setdefault(clip, []).append(part)


def extract_embeddings(
    dataset,
    processor,
    encoders: dict[str, nn.Module],
    folder: str | os.PathLike,
    *,
    batch_size: int = 32,
    num_workers: int = 1,
    shard_clips: int = 256,
    max_seconds: float | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    on_error: str = "mask",
) -> ExtractionReport:
    """Encode every clip that the store does not hold in its present content, and account for all of them.

    In a distributed run each process encodes its share; all return the same report.

    Args:
        dataset: rows with `id` and `media` (a path, or {path, start, end, crop}).
        processor: a SemanticMACProcessor.
        encoders: "vision" and "audio" towers; one may be left out.
        folder: of the store.
        batch_size: frames or windows encoded at once.
        num_workers: processes that decode; 0: this one.
        shard_clips: clips a shard: what an interruption can lose.
        max_seconds: longer clips fail as "over the length limit".
        dtype: autocast on a GPU; default bfloat16 there, none on a CPU.
        device: default: the process's.
        on_error: "mask" and "skip" go on and say so in the report, "raise" stops after the report is written.

    Raises:
        FingerprintError: the folder holds embeddings of other settings.
        MediaError: on_error is "raise" and a clip failed.
    """
    state, start = PartialState(), time.perf_counter()
    device = torch.device(device) if device is not None else state.device
    if dtype is None and device.type == "cuda":
        dtype = torch.bfloat16
    writer = StoreWriter(folder, store_fingerprint(processor, encoders), shard_clips)
    store = EmbeddingStore(folder)
    known = {clip_id: store.status(clip_id) for clip_id in store}
    columns = dataset.select_columns(["id", "media"]) if hasattr(dataset, "select_columns") else dataset
    clips = list(columns)[state.process_index :: state.num_processes]
    reader = ClipReader(clips, known, processor, tuple(m for m in STREAMS if encoders.get(m) is not None), max_seconds)
    packers = {
        name: _Packer(encoder, batch_size, device, dtype) for name, encoder in encoders.items() if encoder is not None
    }
    report = _encode_all(reader, packers, writer, num_workers, state.is_local_main_process)
    report.wall_seconds = time.perf_counter() - start
    state.wait_for_everyone()
    whole = _whole_report(EmbeddingStore(folder), columns, known, report)
    if state.is_main_process:
        write_json(Path(folder) / "report.json", whole.to_dict())
    if on_error == "raise" and whole.failed:
        clip_id, reason = next((i, r) for i, r in whole.problems.items() if r in whole.failed)
        raise MediaError(
            clip_id, reason, "extraction was told to stop on errors; mend the file or use on_error='mask' or 'skip'."
        )
    return whole


def _encode_all(
    reader: ClipReader, packers: dict[str, _Packer], writer: StoreWriter, num_workers: int, show: bool
) -> ExtractionReport:
    """Drive workers, packers and writer; the report of this process's new clips."""
    report, ended = ExtractionReport(), {}
    # No collation and no batching: pieces of clips come as they are. Two ahead a worker bounds what waits in memory.
    loader = DataLoader(reader, batch_size=None, num_workers=num_workers, prefetch_factor=2 if num_workers else None)
    progress = tqdm(total=len(reader.clips), unit="clip", desc="embedding", disable=not show)
    pieces, waited = iter(loader), time.perf_counter()
    while (piece := next(pieces, None)) is not None:
        report.decode_wait_seconds += time.perf_counter() - waited
        if piece.record is None:
            packers[piece.modality].add(piece.clip, piece.inputs)
        else:
            ended[piece.clip] = piece
            progress.update()
        _write_finished(ended, packers, writer, report, reader)
        elapsed = max(progress.format_dict["elapsed"], 1e-9)
        progress.set_postfix_str(
            f"{report.seconds / elapsed:.1f} s of media/s, {report.decode_wait_seconds / elapsed:.0%} waiting for decoding"
        )
        waited = time.perf_counter()
    for packer in packers.values():
        packer.finish()
    _write_finished(ended, packers, writer, report, reader)
    writer.flush()
    progress.close()
    return report


def _write_finished(
    ended: dict[int, Piece],
    packers: dict[str, _Packer],
    writer: StoreWriter,
    report: ExtractionReport,
    reader: ClipReader,
):
    """Write the clips whose end has come and whose frames are all encoded."""
    for clip in [clip for clip in ended if not any(packer.owes(clip) for packer in packers.values())]:
        piece = ended.pop(clip)
        record = piece.record
        if record is reader.known.get(record.id) or (record.id in reader.known and record == reader.known[record.id]):
            continue  # unchanged: the store holds it
        embeds = {modality: packer.take(clip) for modality, packer in packers.items()}
        if record.status != "failed":
            lacking = {m: reason for m, reason in piece.missing.items() if embeds.get(m) is None}
            if len(lacking) == len(packers):
                record.status, record.reason = "failed", "; ".join(sorted(set(lacking.values())))
            elif lacking:
                record.status, record.reason = "partial", "; ".join(sorted(lacking.values()))
            shortened = {m: reason for m, reason in piece.missing.items() if embeds.get(m) is not None}
            if shortened:
                record.note = "; ".join(
                    filter(None, [record.note, *(f"{m}: {reason}" for m, reason in shortened.items())])
                )
        writer.add(record, **{m: x for m, x in embeds.items() if record.status != "failed"})
        report.add(record, reused=False)


def _whole_report(
    store: EmbeddingStore, dataset, known: dict[str, ClipRecord], mine: ExtractionReport
) -> ExtractionReport:
    """Every clip that was asked for, whichever process encoded it."""
    whole = ExtractionReport(wall_seconds=mine.wall_seconds, decode_wait_seconds=mine.decode_wait_seconds)
    for clip in dataset:
        record = store.status(clip["id"])
        whole.add(record, reused=record == known.get(clip["id"]))
    return whole
