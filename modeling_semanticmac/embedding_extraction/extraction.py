"""Encode clips into an embedding store: worker processes decode while the towers encode; an interrupted run resumes.

semanticmac embed --corpus mosi --data_dir MOSI --vision_encoder V --audio_encoder A --embeddings_dir OUT
semanticmac embed --media clips/ --model RUN --embeddings_dir OUT
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, parse_flag_from_env
from torch import nn
from transformers.utils import logging

from ..embedding_store import EmbeddingStore, read_fingerprint
from ..embedding_store.fingerprint import FingerprintError, lacking_message, lacking_modalities, make_fingerprint
from ..embedding_store.writer import StoreWriter, is_writable
from .clip_decoding import ClipTask, cut_name, holds_embeddings
from .frame_packing import prepare_encoder
from .report import SHOWN, ExtractionReport, Outcome, report_path
from .run import ExtractionRun
from .termination import Termination

logger = logging.get_logger(__name__)

MOST_WORKERS = 8


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

    A clip that fails does not stop the others; it is tried again the next time. After a crash the next call continues
    behind the last shard; SIGTERM writes what is pending first. In a distributed run (`accelerate launch`) each process
    encodes its share and all return the same report, which is also written into the folder. A store that is complete
    need not be writable.

    Args:
        dataset: rows with a unique `id` and `media`, a path or {path, start, end, crop}.
        processor: a SemanticMACProcessor: front ends and sampling.
        encoders: "vision" and "audio" towers; one may be absent.
        folder: of the store.
        batch_size: frames or windows encoded at once.
        num_workers: processes that decode; 0: this one; None: by the number of cores.
        shard_clips: most clips in a shard, which is what a crash can lose; a shard is also written after some minutes.
        max_seconds: longer clips fail as "over the length limit".
        dtype: number format of the encoders' matrix products; None: the store's own, else bfloat16 (float16 on older
            ones) on a GPU, float32 on a CPU.
        device: of the encoders; None: that of the process.
        on_progress: called with (clips done, clips to do) of this process.

    Returns:
        The report, with every clip that failed.

    Raises:
        FingerprintError: the folder holds embeddings that were created with other encoders or settings, or of more
            modalities than new clips would have.
        OSError: new clips belong into a store that cannot be written.
        ValueError: two clips have the same id.
    """
    state, start = _process_state(device), time.perf_counter()
    folder, device = Path(folder), state.device if device is None else torch.device(device)
    encoders = {modality: encoder for modality, encoder in encoders.items() if encoder is not None}
    tasks = _tasks(dataset)
    fingerprint = make_fingerprint(processor, encoders, dtype and _name(dtype))
    store = EmbeddingStore(folder, fingerprint) if read_fingerprint(folder) else None
    if store is not None:
        _require_extensible(store, fingerprint, [task.id for task in tasks if task.id not in store])
    fingerprint["dtype"] = fingerprint["dtype"] or (store.fingerprint["dtype"] if store else _usual_dtype(device))
    # By position in the dataset, not among the missing clips: what is missing changes while other processes write.
    tasks, outcomes = _screen(tasks[state.process_index :: state.num_processes], store, max_seconds)
    rows, waited, faces = {}, 0.0, (0, 0)
    if tasks or store is None:
        dtype = getattr(torch, fingerprint["dtype"])
        workers = _usual_workers(state.num_processes) if num_workers is None else num_workers
        with Termination() as termination, StoreWriter(folder, fingerprint, shard_clips) as writer:
            termination.writer = writer
            encoders = {modality: prepare_encoder(encoder, device, dtype) for modality, encoder in encoders.items()}
            run = ExtractionRun(processor, encoders, writer, batch_size, workers, max_seconds, dtype, termination)
            run(tasks, on_progress, show=state.is_local_main_process and bool(tasks))
        outcomes, rows, waited, faces = outcomes | run.outcomes, run.rows, run.waited, run.faces
    state.wait_for_everyone()
    report = _gather(outcomes, rows, waited, faces)
    report.wall_seconds = time.perf_counter() - start
    if state.is_main_process:
        _tell(report, report_path(folder, dataset))
    return report


def _process_state(device) -> PartialState:
    """Return the state of the process group.

    On CPUs accelerate sees several processes only where it is told to use CPUs.
    """
    only_cpu = str(device) == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    return PartialState(cpu=only_cpu)


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
        media = clip["media"] if isinstance(clip["media"], dict) else {"path": clip["media"]}
        tasks.append(ClipTask(position, clip["id"], media))
    return tasks


def _screen(
    tasks: list[ClipTask], store: EmbeddingStore | None, max_seconds: float | None
) -> tuple[list[ClipTask], dict[int, Outcome]]:
    """Return the clips that must be read, and the outcomes of those whose file has not changed since the store was
    written.
    """
    left, outcomes = [], {}
    for task in tasks:
        known = store.status(task.id) if store is not None and task.id in store else None
        kind = None
        if holds_embeddings(known, max_seconds) and known.content_hash.partition(":")[2] == cut_name(task.media):
            if not os.path.isfile(task.path):
                kind = "unchecked"
            else:
                stat = os.stat(task.path)
                kind = "reused" if (known.file_size, known.file_mtime_ns) == (stat.st_size, stat.st_mtime_ns) else None
        if kind is None:
            left.append(ClipTask(task.position, task.id, task.media, known))
        else:
            outcomes[task.position] = Outcome(task.path, kind, known)
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


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _usual_dtype(device: torch.device) -> str:
    if device.type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def _usual_workers(num_processes: int) -> int:
    """Return the number of decoding processes for each of `num_processes`: one a core, less one for the encoder."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(MOST_WORKERS, cores // num_processes - 1))
