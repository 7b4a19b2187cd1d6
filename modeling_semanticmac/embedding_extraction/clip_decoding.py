"""Clips to the inputs of the towers, in worker processes: pieces of a bounded size, then the record of each clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ..clip_sampling import CLIP_KEYS, MediaClip
from ..embedding_store import ClipRecord
from ..media_decoding import MediaError
from ..media_info import source_text
from .content_identity import content_hash, holds_embeddings

STEPS = 32  # most time steps of a clip in one piece
OVER_LIMIT = "over the length limit"


@dataclass(frozen=True)
class ClipTask:
    """A clip to encode.

    Args:
        position: Its position in the dataset.
        id: Its id.
        media: Its path, start, end, crop and, where it has one, audio_stream.
        known: The record that the store holds of it.
    """

    position: int
    id: str
    media: dict
    known: ClipRecord | None = None

    @property
    def path(self) -> str:
        """The media file or its address, "" where the clip has none."""
        return source_text(self.media.get("path") or "")


@dataclass
class Piece:
    """Part of a clip.

    Args:
        position: The clip's position in the dataset.
        modality: "vision" or "audio"; None for the end of the clip.
        inputs: Inputs of the tower, (n, ...).
        record: At the end: the outcome of the clip; None if the store holds this content already.
        missing: At the end: modalities that could not be read; earlier pieces of them do not count.
        file: At the end without a record: bytes and modification time (ns) of the file whose content the store holds.
        faces: At the end: time steps in which a face was looked for, and those without one.
    """

    position: int
    modality: str | None = None
    inputs: torch.Tensor | None = None
    record: ClipRecord | None = None
    missing: tuple[str, ...] = ()
    file: tuple[int, int] | None = None
    faces: tuple[int, int] = (0, 0)


class ClipReader:
    """Iterable over the pieces of clips. It can be pickled, so it works in other processes.

    Args:
        tasks: The clips.
        processor: Front ends and sampling.
        modalities: The modalities to read.
        max_seconds: Longer clips fail.
        steps: Time steps per piece.
        dtype: Number format of the inputs; the one to which the encoder casts them is less to move.
    """

    def __init__(
        self,
        tasks: Sequence[ClipTask],
        processor,
        modalities: Sequence[str],
        max_seconds: float | None = None,
        steps: int = STEPS,
        dtype: torch.dtype = torch.float32,
    ):
        self.tasks, self.processor, self.modalities = list(tasks), processor, tuple(modalities)
        self.max_seconds, self.steps, self.dtype = max_seconds, steps, dtype

    def __iter__(self) -> Iterator[Piece]:
        for task in self.tasks:
            yield from self.read(task)

    def read(self, task: ClipTask) -> Iterator[Piece]:
        """Yield the pieces of one clip; its record, at the end, says what is wrong with it."""
        record, missing, faces = ClipRecord(task.id), {}, (0, 0)
        try:
            record.content_hash, record.file_size, record.file_mtime_ns = content_hash(task.media)
            if holds_embeddings(task.known, self.max_seconds) and record.content_hash == task.known.content_hash:
                yield Piece(task.position, file=(record.file_size, record.file_mtime_ns))
                return
            fields = {name: value for name, value in task.media.items() if name in CLIP_KEYS}
            with MediaClip(fields, self.processor.audio_stream) as clip:
                record.duration = clip.duration
                if self.max_seconds is not None and clip.duration > self.max_seconds:
                    text = f"the clip lasts {clip.duration:.1f} s, the limit is {self.max_seconds:g} s"
                    raise MediaError(clip.media.info.path, OVER_LIMIT, text)
                for modality in self.modalities:
                    try:
                        yield from self._read_modality(task.position, modality, clip)
                    except MediaError as error:
                        missing[modality] = error
                record.note, faces = "; ".join(clip.notes), clip.faces
            _judge(record, missing, self.modalities)
        except MediaError as error:
            _fail(record, error)
        except Exception as error:  # one clip must not stop the others, whatever a decoder raises
            record.status, record.reason, record.note = "failed", "cannot decode", f"{type(error).__name__}: {error}"
        yield Piece(task.position, record=record, missing=tuple(missing), faces=faces)

    def _read_modality(self, position: int, modality: str, clip: MediaClip) -> Iterator[Piece]:
        read = {"vision": self.processor.iter_vision, "audio": self.processor.iter_audio}[modality]
        for inputs in read(clip, self.steps):
            yield Piece(position, modality, inputs.to(self.dtype))


def _judge(record: ClipRecord, missing: dict[str, MediaError], modalities: Sequence[str]) -> None:
    """Set status and reason of a clip that was opened."""
    errors = list(missing.values())
    if len(missing) == len(modalities):
        # A broken stream says more than an absent one.
        _fail(record, next((error for error in errors if not error.reason.startswith("no ")), errors[-1]))
    elif missing:
        record.status, record.reason = "partial", "; ".join(error.reason for error in errors)
        broken = [error.message for error in errors if not error.reason.startswith("no ")]
        record.note = "; ".join(filter(None, [record.note, *broken]))


def _fail(record: ClipRecord, error: MediaError) -> None:
    record.status, record.reason = "failed", error.reason
    record.note = "; ".join(filter(None, [record.note, error.message]))


__all__ = [
    "ClipReader",
    "ClipTask",
    "Piece",
]
