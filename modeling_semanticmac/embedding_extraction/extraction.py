"""Encode clips into an embedding store: worker processes decode while the towers encode; an interrupted run resumes.

semanticmac embed --corpus mosi --data_dir MOSI --vision_encoder V --audio_encoder A --embeddings_dir OUT
semanticmac embed --media clips/ --model RUN --embeddings_dir OUT
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from accelerate.utils import gather_object
from torch import nn
from transformers.utils import logging

from ..embedding_store import EmbeddingStore, read_fingerprint
from ..embedding_store.fingerprint import FingerprintError, lacking_message, lacking_modalities, make_fingerprint
from ..embedding_store.writer import StoreWriter, is_writable
from ..media_storage import is_address
from ..tower_precision import choose_dtype, dtype_name, dtype_named
from .clip_decoding import ClipTask
from .clip_encoder import ClipEncoder, encoded_rows, media_fields
from .content_identity import kind_of_reuse
from .engines import Engine
from .report import SHOWN, ExtractionReport, Outcome, report_path
from .run import ExtractionRun
from .termination import Termination

logger = logging.get_logger(__name__)

MOST_WORKERS = 8
ASKED_AT_ONCE = 32  # objects of a storage


def extract_embeddings(
    dataset,
    processor,
    encoders: dict[str, nn.Module | None],
    folder: str | os.PathLike,
    *,
    batch_size: int = 32,
    num_workers: int | None = None,
    shard_clips: int = 256,
    max_seconds: float | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExtractionReport:
    """Encode every clip that the store does not hold with its present content, and report on all of them.

    As `store_clips` with a `ClipEncoder` of these towers.

    Args:
        dataset, folder, shard_clips, on_progress: as in `store_clips`.
        processor: a SemanticMACProcessor: front ends and sampling.
        encoders: "vision" and "audio" towers; one may be absent.
        batch_size: frames or windows encoded at once.
        num_workers: processes that decode; 0: this one; None: by the number of cores.
        max_seconds: longer clips fail as "over the length limit".
        dtype: number format of the encoders' matrix products; None: the store's own, else what the device is fastest in
            (`tower_precision.choose_dtype`).
        device: of the encoders; None: that of the process.

    Returns, raises: as `store_clips`.
    """
    workers = default_workers() if num_workers is None else num_workers
    encoder = ClipEncoder(
        processor=processor, encoders=encoders, device=device, dtype=dtype, batch_size=batch_size, num_workers=workers,
        max_seconds=max_seconds,
    )  # fmt: skip
    return store_clips(dataset, encoder, folder, shard_clips, on_progress=on_progress)


def store_clips(
    dataset,
    encoder: ClipEncoder,
    folder: str | os.PathLike,
    shard_clips: int = 256,
    engine: Engine | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExtractionReport:
    """Encode every clip that the store does not hold with its present content, and report on all of them.

    A clip that fails does not stop the others; it is tried again the next time. After a crash the next call continues
    behind the last shard; SIGTERM writes what is pending first. In a distributed run (`accelerate launch`) each process
    encodes its share and all return the same report, which is also written into the folder. A store that is complete
    need not be writable.

    Args:
        dataset: rows with a unique `id` and `media`, a path or an address, or {path, start, end, crop}.
        encoder: the towers.
        folder: of the store.
        shard_clips: most clips in a shard, which is what a crash can lose; a shard is also written after some minutes.
        engine: who encodes (`engines.make_engine`); None: this process, or all that were started.
        on_progress: called with (clips done, clips to do) of this process.

    Returns:
        The report, with every clip that failed.

    Raises:
        FingerprintError: the folder holds embeddings that were created with other encoders or settings, or of more
            modalities than new clips would have.
        OSError: new clips belong into a store that cannot be written.
        ValueError: two clips have the same id.
    """
    engine, start = engine or Engine(), time.perf_counter()
    state = engine.state(encoder.device)
    folder, device = Path(folder), engine.device(state, encoder.device)
    tasks = _tasks(dataset)
    named = dtype_named(encoder.dtype)
    fingerprint = make_fingerprint(encoder.processor, encoder.encoders, named and dtype_name(named))
    store = EmbeddingStore(folder, fingerprint) if read_fingerprint(folder) else None
    if store is not None:
        _require_extensible(store, fingerprint, [task.id for task in tasks if task.id not in store])
        fingerprint["dtype"] = fingerprint["dtype"] or store.fingerprint["dtype"]
    fingerprint["dtype"] = fingerprint["dtype"] or dtype_name(choose_dtype(device, encoder.encoders.values()))
    # By position in the dataset, not among the missing clips: what is missing changes while other processes write.
    tasks, outcomes = _screen(tasks[state.process_index :: state.num_processes], store, encoder.max_seconds)
    rows, waited, faces = Counter(), encoder.waited, (0, 0)
    if tasks or store is None:
        dtype = getattr(torch, fingerprint["dtype"])
        with Termination() as termination, StoreWriter(folder, fingerprint, shard_clips) as writer:
            termination.writer = writer
            run = ExtractionRun(writer, termination, lambda: encoder.waited - waited)
            show = state.is_local_main_process and bool(tasks)
            run(tasks, lambda some, after: engine.encode(encoder, some, device, dtype, after), on_progress, show)
        outcomes, rows, faces = outcomes | run.outcomes, run.rows, run.faces
    state.wait_for_everyone()
    report = _gather(outcomes, rows, encoder.waited - waited, faces)
    report.wall_seconds = time.perf_counter() - start
    if state.is_main_process:
        _tell(report, report_path(folder, dataset))
    return report


def store_batches(batches: Iterable[Mapping], encoder: ClipEncoder, folder: str | os.PathLike) -> ExtractionReport:
    """Write what a `ClipEncoder` returned in some engine into a store.

    Args:
        batches: its columns, batch by batch: `dataset.iter(256)` of datasets, `iter_batches(batch_format="numpy")` of
            Ray, or those of Parquet files that an engine wrote.
        encoder: one with the same towers, sampling and dtype, which are recorded as what made the embeddings.
        folder: of the store.

    Returns:
        The report of these clips.

    Raises:
        FingerprintError: the folder holds embeddings that were created with other encoders or settings.
        ValueError: embeddings of another width than the towers'.
    """
    device, dtype = encoder.prepare()
    report, start = ExtractionReport(), time.perf_counter()
    with StoreWriter(folder, make_fingerprint(encoder.processor, encoder.encoders, dtype_name(dtype))) as writer:
        for columns in batches:
            tasks = {str(clip): ClipTask(place, str(clip), {}) for place, clip in enumerate(columns["id"])}
            for clip in encoded_rows(columns, tasks):
                if clip.record is None:
                    raise ValueError(f"clip {clip.task.id!r} was not encoded, since its embeddings were known.")
                writer.add(clip.record, **clip.embeds)
                report.rows.update({m: len(found) for m, found in clip.embeds.items() if found is not None})
                kind = "failed" if clip.record.status == "failed" else "done"
                report.add(Outcome(clip.task.path, kind, clip.record))
    report.wall_seconds = time.perf_counter() - start
    return report


def _tasks(dataset) -> list[ClipTask]:
    """Return the clips of a dataset with their media, in its order."""
    columns = dataset.select_columns(["id", "media"]) if hasattr(dataset, "select_columns") else dataset
    tasks, seen = [], set()
    for position, clip in enumerate(columns):
        if clip["id"] in seen:
            raise ValueError(
                f"two clips have the id {clip['id']!r}; the store keeps one clip for each id, so give every clip its "
                "own."
            )
        seen.add(clip["id"])
        tasks.append(ClipTask(position, clip["id"], media_fields(clip["media"])))
    return tasks


def _screen(
    tasks: list[ClipTask], store: EmbeddingStore | None, max_seconds: float | None
) -> tuple[list[ClipTask], dict[int, Outcome]]:
    """Return the clips that must be read, and the outcomes of those whose file has not changed since the store was
    written.
    """
    known = [store.status(task.id) if store is not None and task.id in store else None for task in tasks]
    asked = [(task.media, record, max_seconds) for task, record in zip(tasks, known)]
    if any(record is not None and is_address(media.get("path")) for media, record, _ in asked):
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:  # each asks the storage, and waits for its answer
            kinds = list(pool.map(lambda one: kind_of_reuse(*one), asked))
    else:
        kinds = [kind_of_reuse(*one) for one in asked]
    left, outcomes = [], {}
    for task, record, kind in zip(tasks, known, kinds):
        if kind is None:
            left.append(ClipTask(task.position, task.id, task.media, record))
        else:
            outcomes[task.position] = Outcome(task.path, kind, record)
    return left, outcomes


def _gather(
    outcomes: dict[int, Outcome], rows: dict[str, int], waited: float, faces: tuple[int, int]
) -> ExtractionReport:
    """Return the report of all processes, with the clips in the order of the dataset."""
    shares = gather_object([(outcomes, rows, waited, faces)])
    report = ExtractionReport(decode_wait_seconds=sum(share[2] for share in shares) / len(shares))
    everything = {position: outcome for share in shares for position, outcome in share[0].items()}
    for position in sorted(everything):
        report.add(everything[position])
    for share in shares:
        report.rows.update(share[1])
        report.faces.update({"looked for": share[3][0], "not found": share[3][1]})
    return report


def _tell(report: ExtractionReport, path: Path) -> None:
    """Write the report, and warn about clips that failed."""
    told = f"{path} names them"
    try:
        report.save(path)
    except OSError as error:  # a shared store may be read-only, which is enough where nothing is added
        logger.warning(f"the report could not be written to {path} ({error.strerror}).")
        told = ", ".join(clip["id"] for clip in report.clips if clip["status"] == "failed")
    if report.failed:
        found = ", ".join(f"{count} {reason}" for reason, count in sorted(report.failed.items()))
        logger.warning(f"{report.num_failed} of {report.total} clips could not be encoded ({found}); {told}.")


def _require_extensible(store: EmbeddingStore, fingerprint: dict, new: list[str]) -> None:
    """Check that clips can be added to a store, before anything is encoded.

    Raises:
        FingerprintError: the store holds modalities that would not be encoded.
        OSError: the store cannot be written.
    """
    if not new:
        return
    clips = f"{len(new)} new clips ({', '.join(new[:SHOWN])}{', ...' if len(new) > SHOWN else ''})"
    lacking = lacking_modalities(store.fingerprint, fingerprint)
    if lacking:
        raise FingerprintError(lacking_message(store.folder, lacking, clips))
    if not is_writable(store.folder):
        raise OSError(
            f"the embedding store at {store.folder} cannot be written, and {clips} are not in it; copy the store to "
            "another folder, or extract them from an account that may write."
        )


def default_workers() -> int:
    """Return the number of decoding processes for each process: one a core, less one for the encoder."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST_WORKERS, cores // processes - 1))


__all__ = ["default_workers", "extract_embeddings", "store_batches", "store_clips"]
