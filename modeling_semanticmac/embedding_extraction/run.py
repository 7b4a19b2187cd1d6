"""Decode, encode and write the clips of one process."""

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace

import torch
from torch import nn
from tqdm.auto import tqdm
from transformers.utils import logging

from ..embedding_store import ClipRecord
from ..embedding_store.writer import StoreWriter
from ..image_processing_imagebind import picture_inputs
from .clip_decoding import ClipReader, ClipTask
from .frame_packing import Clip, FramePacker
from .report import Outcome
from .termination import Termination
from .worker_processes import WorkerDied, read_pieces, steps_that_fit

logger = logging.get_logger(__name__)


class ExtractionRun:
    """Decode, encode and write clips.

    Args:
        processor: front ends and sampling.
        encoders: "vision" and "audio" towers as `frame_packing.prepare_encoder` returns them; one may be absent.
        writer: of the store.
        batch_size: frames or windows encoded at once.
        num_workers: processes that decode; 0: this one.
        max_seconds: longer clips fail.
        dtype: number format of the encoders.
        termination: asked after each piece whether to stop.

    Attributes:
        outcomes: position in the dataset -> outcome of the clip.
        rows: modality -> number of frames or windows encoded.
        faces: time steps in which a face was looked for, and those without one.
        waited: seconds that the encoders waited for decoding.
    """

    def __init__(
        self,
        processor,
        encoders: dict[str, nn.Module],
        writer: StoreWriter,
        batch_size: int,
        num_workers: int,
        max_seconds: float | None,
        dtype: torch.dtype,
        termination: Termination,
    ):
        self.processor, self.encoders, self.writer = processor, encoders, writer
        self.termination = termination
        self.batch_size, self.num_workers, self.max_seconds, self.dtype = batch_size, num_workers, max_seconds, dtype
        self.outcomes: dict[int, Outcome] = {}
        self.rows = dict.fromkeys(encoders, 0)
        self.faces = (0, 0)
        self.waited = 0.0

    def __call__(
        self, tasks: list[ClipTask], on_progress: Callable[[int, int], None] | None = None, show: bool = True
    ) -> None:
        """Encode the clips under a progress bar."""
        self._tasks = {task.position: task for task in tasks}
        self._on_progress, self._media_seconds, self._start = on_progress, 0.0, time.perf_counter()
        with tqdm(total=len(tasks), unit=" clips", desc="Embedding clips", disable=not show) as self._bar:
            self._encode(tasks)

    def _encode(self, tasks: list[ClipTask]) -> None:
        """Encode the clips; where a decoder crashes its whole process, its clip is tried once more, alone."""
        while tasks:
            steps = steps_that_fit(self._bytes_a_step(), self.num_workers)
            try:
                return self._consume(
                    ClipReader(tasks, self.processor, tuple(self.encoders), self.max_seconds, steps, self.dtype)
                )
            except WorkerDied as death:
                suspect = next(task for task in tasks if task.position == death.position)
                note = str(death)
            if len(tasks) == 1:
                return self._settle(suspect, ClipRecord(suspect.id, status="failed", reason="cannot decode", note=note))
            logger.warning(f"{suspect.id}: {note}; it is tried again, alone.")
            self._encode([suspect])
            tasks = [task for task in tasks if task.position not in self.outcomes]

    def _bytes_a_step(self) -> int:
        """Return the bytes of a time step's frames, the largest tensor that a worker sends."""
        if "vision" not in self.encoders:
            return 1 << 20
        blank = picture_inputs(self.processor.image_processor, torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
        pictures = 2 if self.processor.vision_crop == "frame_and_face" else 1
        return 2 * pictures * blank.nbytes  # two frames with vision_window "clip"

    def _consume(self, reader: ClipReader) -> None:
        """Read pieces, collect them into batches, and write each clip when it is complete."""
        packers = {m: FramePacker(m, encoder, self.batch_size, self.dtype) for m, encoder in self.encoders.items()}
        clips: dict[int, Clip] = {}
        # Closing it ends its workers, also after an error.
        with contextlib.closing(read_pieces(reader, self.num_workers)) as pieces:
            since = time.perf_counter()
            while (piece := next(pieces, None)) is not None:
                self.waited += time.perf_counter() - since
                clip = clips.setdefault(piece.position, Clip(piece.position))
                if piece.modality is None:
                    clip.end, touched = piece, [clip]
                    self.faces = (self.faces[0] + piece.faces[0], self.faces[1] + piece.faces[1])
                else:
                    touched = packers[piece.modality].put(clip, piece.inputs)
                    self.rows[piece.modality] += len(piece.inputs)
                self._finish(touched, clips)
                self._show_rates()
                self.writer.flush_if_due()
                self.termination.check()
                since = time.perf_counter()
        for packer in packers.values():
            self._finish(packer.finish(), clips)

    def _finish(self, touched: Iterable[Clip], clips: dict[int, Clip]) -> None:
        """Write the clips that are complete."""
        for clip in touched:
            if clip.complete and clips.pop(clip.position, None):
                embeds = {modality: clip.take(modality) for modality in self.encoders}
                task, end = self._tasks[clip.position], clip.end
                if end.record is None:
                    self._reuse(task, end.file)
                else:
                    self._settle(task, end.record, embeds)

    def _reuse(self, task: ClipTask, file: tuple[int, int]) -> None:
        """Take a clip from the store, and record the size and modification time of its file, so that it is not hashed
        again.
        """
        record = replace(task.known, file_size=file[0], file_mtime_ns=file[1])
        self.writer.confirm(record)
        self._note(task, "reused", record)

    def _settle(self, task: ClipTask, record: ClipRecord, embeds: dict | None = None) -> None:
        """Write a clip and note its outcome."""
        if record.status == "failed" or _is_broken(record, embeds):
            kind = "failed"
            # A store that cannot take new records keeps the old one, which says that the clip failed, too.
            keeps = self.writer.lacking or not self.writer.is_writable
            if not _is_same_failure(record, task.known) and not (keeps and _is_failure(task.known)):
                self.writer.add(record)
        else:
            kind = "done"
            self._media_seconds += record.duration
            self.writer.add(record, **embeds)
        self._note(task, kind, record)

    def _note(self, task: ClipTask, kind: str, record: ClipRecord) -> None:
        self.outcomes[task.position] = Outcome(task.path, kind, record)
        self._bar.update()
        if self._on_progress is not None:
            self._on_progress(len(self.outcomes), len(self._tasks))

    def _show_rates(self) -> None:
        elapsed = time.perf_counter() - self._start
        frames = ", ".join(f"{count / elapsed:.0f} {modality}/s" for modality, count in self.rows.items())
        share = self.waited / elapsed
        waits = f"decoding ({share:.0%}" if share > 0.5 else f"encoding ({1 - share:.0%}"
        self._bar.set_postfix_str(
            f"{self._media_seconds / elapsed:.1f} s of media/s, {frames}, waits for {waits} of the time)", refresh=False
        )


def _is_broken(record: ClipRecord, embeds: dict[str, torch.Tensor | None]) -> bool:
    """Return whether embeddings hold infinities or NaN; the record then says that the clip failed."""
    broken = [modality for modality, found in embeds.items() if found is not None and not found.isfinite().all()]
    if broken:
        record.status, record.reason = "failed", "not finite"
        record.note = f"the {' and '.join(broken)} encoder returns values that half precision cannot hold"
    return bool(broken)


def _is_same_failure(record: ClipRecord, known: ClipRecord | None) -> bool:
    """Return whether the store already has this record of a failed clip."""
    if known is None:
        return False
    place = {"shard": "", "row": 0, "checksum": ""}
    return {**asdict(record), **place} == {**asdict(known), **place}


def _is_failure(known: ClipRecord | None) -> bool:
    return known is not None and known.status == "failed"


__all__ = ["ExtractionRun"]
