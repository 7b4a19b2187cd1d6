"""`ClipEncoder`: clips to embeddings, with the towers loaded once; the one mechanism of every engine."""

import contextlib
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers.utils import logging

from ..clip_input import is_nan
from ..configuration_semanticmac import MEDIA_MODALITIES
from ..embedding_store import ClipRecord
from ..image_processing_imagebind import picture_inputs
from ..tower_precision import choose_dtype, dtype_named, prepare_encoder
from .clip_decoding import ClipReader, ClipTask, Piece
from .frame_packing import Clip, FramePacker
from .towers import TowerChoice
from .worker_processes import WorkerDied, read_pieces, steps_that_fit

logger = logging.get_logger(__name__)

KNOWN = "known"  # status of a clip whose embeddings the caller has already
# Fields of a record that a batch returns beside the embeddings.
COLUMNS = ("content_hash", "file_size", "file_mtime_ns", "status", "reason", "note", "duration")


class EncodedClip(NamedTuple):
    """The outcome of one clip.

    Attributes:
        task: The clip.
        record: Its outcome; None where its content is that of `task.known`, whose embeddings are not made again.
        file: Without a record: bytes and time of change (ns) of its file.
        embeds: Modality -> half-precision (T, D), None where the modality is missing.
        faces: Time steps in which a face was looked for, and those without one.
    """

    task: ClipTask
    record: ClipRecord | None
    file: tuple[int, int] | None
    embeds: dict[str, torch.Tensor | None]
    faces: tuple[int, int]


class ClipEncoder:
    """Encoder of batches of clips: media to the embeddings of frozen towers, which are loaded once.

        encode = ClipEncoder("org/semanticmac-mosei")
        encode({"id": ["a"], "media": ["a.mp4"]})      # {"id", "audio", "vision", "duration", "status", "reason", ...}
        dataset.map(encode, batched=True, batch_size=32, with_rank=True)
        ray.data.read_parquet(...).map_batches(ClipEncoder, fn_constructor_args=("org/semanticmac-mosei",),
                                               batch_size=64, num_gpus=1, compute=ActorPoolStrategy(size=8))

    It pickles by the name of its model: each process loads the towers when it encodes its first clip.
    `extract_embeddings` and every engine of `semanticmac embed` use this class.

    Args:
        model: Name or folder of a saved model, or a `TowerChoice` of towers and sampling.
        processor, encoders: Instead of a model: a SemanticMACProcessor and the "vision" and "audio" towers.
        modalities: Which of "audio" and "vision" to encode; None: those that have a tower.
        device: Of the towers; None: a GPU where there is one, with `with_rank` the one of that number.
        dtype: Number format of the towers' matrix products: "auto" (what the device is fastest in,
            `tower_precision.choose_dtype`), "float32", "bfloat16" or "float16".
        batch_size: Frames or windows that a tower sees at once.
        num_workers: Processes that decode; 0: this one, as in the processes of `datasets.map`.
        max_seconds: Longer clips fail.

    Attributes:
        rows: Modality -> frames or windows encoded so far.
        waited: Seconds that the towers waited for decoding so far.

    Raises:
        ValueError: If neither or both of a model and of towers are given.
    """

    def __init__(
        self,
        model: "str | TowerChoice | None" = None,
        *,
        processor=None,
        encoders: Mapping[str, nn.Module | None] | None = None,
        modalities: Sequence[str] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = "auto",
        batch_size: int = 32,
        num_workers: int = 0,
        max_seconds: float | None = None,
    ):
        if (model is None) == (processor is None or encoders is None):
            raise ValueError("give either a model, or a processor and encoders.")
        self.choice = TowerChoice(model=model) if isinstance(model, str) else model
        self._given = processor, encoders
        self.modalities, self.device, self.dtype = modalities, device, dtype
        self.batch_size, self.num_workers, self.max_seconds = batch_size, num_workers, max_seconds
        self._forget()

    def _forget(self) -> None:
        self._loaded: tuple[Any, dict[str, nn.Module]] | None = None
        self._prepared: dict[tuple[torch.device, torch.dtype], dict[str, nn.Module]] = {}
        self.rows: Counter[str] = Counter()
        self.waited = 0.0

    def __getstate__(self) -> dict:
        names = ("choice", "_given", "modalities", "device", "dtype", "batch_size", "num_workers", "max_seconds")
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._forget()

    @property
    def processor(self):
        """The front ends and the sampling."""
        return self._load()[0]

    @property
    def encoders(self) -> dict[str, nn.Module]:
        """The towers by modality, in single precision."""
        return self._load()[1]

    def _load(self) -> tuple[Any, dict[str, nn.Module]]:
        if self._loaded is None:
            processor, encoders = self._given if self.choice is None else self.choice.load()
            wanted = MEDIA_MODALITIES if self.modalities is None else self.modalities
            present = {m: encoders[m] for m in encoders if encoders[m] is not None and m in wanted}
            lacking = [m for m in wanted if m not in present] if self.modalities is not None else []
            if lacking or set(wanted) - set(MEDIA_MODALITIES):
                raise ValueError(
                    f"modalities are {list(wanted)}; there are towers for {', '.join(encoders) or 'none'}."
                )
            self._loaded = processor, present
        return self._loaded

    def prepare(
        self, device: torch.device | str | None = None, dtype: torch.dtype | str | None = None
    ) -> tuple[torch.device, torch.dtype]:
        """Load the towers to a device; return it and the number format in which they compute there.

        Args:
            device, dtype: instead of the encoder's own.
        """
        device = device if device is not None else self.device
        if device is None:
            device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
        device, named = torch.device(device), dtype_named(dtype if dtype is not None else self.dtype)
        found = choose_dtype(device, self.encoders.values()) if named is None else named
        if (device, found) not in self._prepared:
            prepared = {modality: prepare_encoder(tower, device, found) for modality, tower in self.encoders.items()}
            self._prepared[device, found] = prepared
        return device, found

    def __call__(self, batch: Mapping[str, Sequence], rank: int | None = None) -> dict[str, list]:
        """Encode a batch of clips.

        Args:
            batch: `id` and `media` of each clip: a path or an address, bytes, or {"path", "bytes", "start", "end",
                "crop", "audio_stream"} with some of them. With `known_hash`, clips of this content are not encoded:
                their status is "known".
            rank: number of the process, by which it takes one of several GPUs (`with_rank` of `datasets.map`).

        Returns:
            In the order of the batch: `id`; `audio` (T, D) and `vision` (T, D), float16, T = 0 where the clip lacks it;
            `status` ("ok", "partial", "failed" or "known"), `reason`, `note`, `duration` in seconds, and
            `content_hash`, `file_size`, `file_mtime_ns`, `faces_looked_for`, `faces_not_found`.
        """
        tasks = [
            ClipTask(place, str(clip), media_fields(media), _known(str(clip), known))
            for place, (clip, media, known) in enumerate(
                zip(batch["id"], batch["media"], batch.get("known_hash", [""] * len(batch["id"])), strict=True)
            )
        ]
        device = self.device
        if device is None and rank is not None and torch.cuda.is_available():
            device = f"cuda:{rank % torch.cuda.device_count()}"
        found = {clip.task.position: clip for clip in self.encode(tasks, device)}
        return _columns([found[place] for place in range(len(tasks))])

    def encode(
        self,
        tasks: Sequence[ClipTask],
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        on_piece: Callable[[], None] | None = None,
    ) -> Iterator[EncodedClip]:
        """Encode clips and yield each when it is complete, not in order.

        A clip that fails does not stop the others. Where a decoder crashes its whole process, its clip is tried once
        more, alone.

        Args:
            tasks: the clips.
            device, dtype: instead of the encoder's own.
            on_piece: called after each piece of a clip.
        """
        device, dtype = self.prepare(device, dtype)
        towers = self._prepared[device, dtype]
        left, known = list(tasks), {task.position: task for task in tasks}
        # A process of a pool may have no children.
        workers = 0 if multiprocessing.current_process().daemon else self.num_workers
        steps = steps_that_fit(self._bytes_a_step(), workers)
        while left:
            reader = ClipReader(left, self.processor, tuple(towers), self.max_seconds, steps, dtype)
            try:
                for clip in self._consume(reader, workers, towers, dtype, on_piece):
                    yield self._outcome(known.pop(clip.position), clip)
                return
            except WorkerDied as death:
                suspect, note = known[death.position], str(death)
            if len(left) == 1:
                record = ClipRecord(suspect.id, status="failed", reason="cannot decode", note=note)
                yield EncodedClip(suspect, record, None, {}, (0, 0))
                return
            logger.warning(f"{suspect.id}: {note}; it is tried again, alone.")
            del known[suspect.position]
            yield from self.encode([suspect], device, dtype, on_piece)
            left = [task for task in left if task.position in known]

    def _consume(
        self, reader: ClipReader, workers: int, towers: dict[str, nn.Module], dtype: torch.dtype, on_piece
    ) -> Iterator[Clip]:
        """Read pieces, collect them into batches, and yield the clips that are complete."""
        packers = {modality: FramePacker(modality, tower, self.batch_size, dtype) for modality, tower in towers.items()}
        clips: dict[int, Clip] = {}
        # Closing it ends its workers, also after an error.
        with contextlib.closing(read_pieces(reader, workers)) as pieces:
            since = time.perf_counter()
            while (piece := next(pieces, None)) is not None:
                self.waited += time.perf_counter() - since
                yield from _complete(self._take(piece, clips, packers), clips)
                if on_piece is not None:
                    on_piece()
                since = time.perf_counter()
        for packer in packers.values():
            yield from _complete(packer.finish(), clips)

    def _take(self, piece: Piece, clips: dict[int, Clip], packers: dict[str, FramePacker]) -> list[Clip]:
        """Hand a piece to the tower of its modality; return the clips that may be complete now."""
        clip = clips.setdefault(piece.position, Clip(piece.position))
        if piece.modality is None or piece.inputs is None:
            clip.end = piece
            return [clip]
        self.rows[piece.modality] += len(piece.inputs)
        return packers[piece.modality].put(clip, piece.inputs)

    def _outcome(self, task: ClipTask, clip: Clip) -> EncodedClip:
        end = clip.end
        if end.record is None:
            return EncodedClip(task, None, end.file, {}, end.faces)
        embeds = {modality: clip.take(modality) for modality in self.encoders}
        if end.record.status == "failed" or _is_broken(end.record, embeds):
            embeds = {}
        return EncodedClip(task, end.record, None, embeds, end.faces)

    def _bytes_a_step(self) -> int:
        """Return the bytes of a time step's frames, the largest tensor that a worker sends."""
        if "vision" not in self.encoders:
            return 1 << 20
        blank = picture_inputs(self.processor.image_processor, torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
        pictures = 2 if self.processor.vision_crop == "frame_and_face" else 1
        return 2 * pictures * blank.nbytes  # two frames with vision_window "clip"


def media_fields(media) -> dict:
    """Return the fields of a clip's media, with its bytes, where they are given, in place of a path."""
    if isinstance(media, Mapping):
        fields = {name: media.get(name) for name in ("path", "start", "end", "crop", "audio_stream")}
        fields["path"] = fields["path"] if media.get("bytes") is None else media["bytes"]
        return {name: value for name, value in fields.items() if name == "path" or not is_nan(value)}
    return {"path": media}


def _known(clip: str, content: str | None) -> ClipRecord | None:
    return ClipRecord(clip, content_hash=content) if content else None


def _complete(touched: Iterable[Clip], clips: dict[int, Clip]) -> Iterator[Clip]:
    for clip in touched:
        if clip.complete and clips.pop(clip.position, None):
            yield clip


def _columns(rows: list[EncodedClip]) -> dict[str, list]:
    columns: dict[str, list] = {"id": [row.task.id for row in rows]}
    for modality in MEDIA_MODALITIES:
        found = [row.embeds.get(modality) for row in rows]
        width = next((embeds.shape[1] for embeds in found if embeds is not None), 0)
        empty = np.zeros((0, width), dtype=np.float16)
        columns[modality] = [empty if embeds is None else embeds.numpy() for embeds in found]
    records = []
    for row in rows:
        known = ClipRecord(row.task.id, row.task.known.content_hash if row.task.known else "", status=KNOWN)
        if row.file is not None:
            known.file_size, known.file_mtime_ns = row.file
        records.append(row.record or known)
    columns |= {name: [getattr(record, name) for record in records] for name in COLUMNS}
    columns["faces_looked_for"] = [row.faces[0] for row in rows]
    columns["faces_not_found"] = [row.faces[1] for row in rows]
    return columns


def encoded_rows(columns: Mapping[str, Sequence], tasks: Mapping[str, ClipTask]) -> Iterator[EncodedClip]:
    """Yield the outcomes that a batch of `ClipEncoder` returned.

    Args:
        columns: what it returned, maybe by way of another process.
        tasks: the clips by id.
    """
    for place, clip in enumerate(columns["id"]):
        task, row = tasks[str(clip)], {name: columns[name][place] for name in columns}
        faces = int(row["faces_looked_for"]), int(row["faces_not_found"])
        if row["status"] == KNOWN:
            yield EncodedClip(task, None, (int(row["file_size"]), int(row["file_mtime_ns"])), {}, faces)
            continue
        fields = {name: row[name].item() if hasattr(row[name], "item") else row[name] for name in COLUMNS}
        embeds = {}
        for modality in MEDIA_MODALITIES:
            values = np.asarray(row[modality], dtype=np.float16)
            embeds[modality] = torch.from_numpy(values.copy()) if values.size else None
        yield EncodedClip(task, ClipRecord(task.id, **fields), None, embeds, faces)


def _is_broken(record: ClipRecord, embeds: dict[str, torch.Tensor | None]) -> bool:
    """Return whether embeddings hold infinities or NaN; the record then says that the clip failed."""
    broken = [modality for modality, found in embeds.items() if found is not None and not found.isfinite().all()]
    if broken:
        record.status, record.reason = "failed", "not finite"
        record.note = f"the {' and '.join(broken)} encoder returns values that half precision cannot hold"
    return bool(broken)


__all__ = ["COLUMNS", "KNOWN", "ClipEncoder", "EncodedClip", "encoded_rows", "media_fields"]
