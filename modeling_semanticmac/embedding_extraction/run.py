"""Write the clips that an engine encodes into a store, and keep account of them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import torch
from tqdm.auto import tqdm

from ..embedding_store import ClipRecord
from ..embedding_store.writer import StoreWriter
from .clip_decoding import ClipTask
from .clip_encoder import EncodedClip
from .report import Outcome
from .termination import Termination


class ExtractionRun:
    """Writes encoded clips and notes their outcomes.

    Args:
        writer: of the store.
        termination: asked after each piece whether to stop.
        waited: returns the seconds that the encoders waited for decoding so far.

    Attributes:
        outcomes: position in the dataset -> outcome of the clip.
        rows: modality -> number of frames or windows written.
        faces: time steps in which a face was looked for, and those without one.
    """

    def __init__(self, writer: StoreWriter, termination: Termination, waited: Callable[[], float] = lambda: 0.0):
        self.writer, self.termination, self._waited = writer, termination, waited
        self.outcomes: dict[int, Outcome] = {}
        self.rows: Counter[str] = Counter()
        self.faces = (0, 0)

    def __call__(
        self,
        tasks: list[ClipTask],
        encode: Callable[[list[ClipTask], Callable[[], None]], Iterator[EncodedClip]],
        on_progress: Callable[[int, int], None] | None = None,
        show: bool = True,
    ) -> None:
        """Encode the clips under a progress bar.

        Args:
            tasks: the clips.
            encode: yields each clip of a list when it is complete, and calls a function after each piece of one.
            on_progress: called with (clips done, clips to do).
            show: whether to show the bar.
        """
        self._total, self._on_progress, self._media_seconds = len(tasks), on_progress, 0.0
        self._start = time.perf_counter()
        with tqdm(total=len(tasks), unit=" clips", desc="Embedding clips", disable=not show) as self._bar:
            for clip in encode(tasks, self._after_piece):
                self.faces = (self.faces[0] + clip.faces[0], self.faces[1] + clip.faces[1])
                if clip.record is None:
                    self._reuse(clip)
                else:
                    self._settle(clip.task, clip.record, clip.embeds)

    def _after_piece(self) -> None:
        self._show_rates()
        self.writer.flush_if_due()
        self.termination.check()

    def _reuse(self, clip: EncodedClip) -> None:
        """Take a clip from the store, and record the size and modification time of its file, so that it is not hashed
        again.
        """
        if clip.task.known is None or clip.file is None:
            raise ValueError(f"clip {clip.task.id!r} has no embeddings, and the store holds none of it.")
        record = replace(clip.task.known, file_size=clip.file[0], file_mtime_ns=clip.file[1])
        self.writer.confirm(record)
        self._note(clip.task, "reused", record)

    def _settle(self, task: ClipTask, record: ClipRecord, embeds: dict[str, torch.Tensor | None]) -> None:
        """Write a clip and note its outcome."""
        if record.status == "failed":
            kind = "failed"
            # A store that cannot take new records keeps the old one, which says that the clip failed, too.
            keeps = self.writer.lacking or not self.writer.is_writable
            if not _is_same_failure(record, task.known) and not (keeps and _is_failure(task.known)):
                self.writer.add(record)
        else:
            kind = "done"
            self._media_seconds += record.duration
            self.rows.update({modality: len(found) for modality, found in embeds.items() if found is not None})
            self.writer.add(record, **embeds)
        self._note(task, kind, record)

    def _note(self, task: ClipTask, kind: str, record: ClipRecord) -> None:
        self.outcomes[task.position] = Outcome(task.path, kind, record)
        self._bar.update()
        if self._on_progress is not None:
            self._on_progress(len(self.outcomes), self._total)

    def _show_rates(self) -> None:
        elapsed = time.perf_counter() - self._start
        frames = ", ".join(f"{count / elapsed:.0f} {modality}/s" for modality, count in self.rows.items())
        share = self._waited() / elapsed
        waits = f"decoding ({share:.0%}" if share > 0.5 else f"encoding ({1 - share:.0%}"
        self._bar.set_postfix_str(
            f"{self._media_seconds / elapsed:.1f} s of media/s, {frames}, waits for {waits} of the time)", refresh=False
        )


def _is_same_failure(record: ClipRecord, known: ClipRecord | None) -> bool:
    """Return whether the store already has this record of a failed clip."""
    if known is None:
        return False
    place = {"shard": "", "row": 0, "checksum": ""}
    return {**asdict(record), **place} == {**asdict(known), **place}


def _is_failure(known: ClipRecord | None) -> bool:
    return known is not None and known.status == "failed"


__all__ = ["ExtractionRun"]
