"""Read clips in worker processes: the order of pieces does not depend on speed, their number is bounded, a crash names
the clip that caused it.

torch's DataLoader is not used: it raises the crash of a worker from a signal handler, whatever the main thread is
doing, which may be writing a shard, and it does not name the clip.
"""

import copy
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence

import torch
import torch.multiprocessing  # noqa: F401  (teaches pipes to pass tensors in shared memory)

from ..media_decoding import decoding_backend
from ..media_storage import is_member
from .clip_decoding import STEPS, ClipReader, ClipTask, Piece

AHEAD = 2  # pieces that a worker may send before they are taken
SHARED_MEMORY = "/dev/shm"
ORPHANED_SECONDS = 2.0  # how often a waiting worker checks that its parent is alive


class WorkerDied(RuntimeError):
    """A worker process crashed or was killed in the middle of a clip.

    Attributes:
        position: of the clip in the dataset.
    """

    def __init__(self, position: int, number: int):
        super().__init__(f"the decoding process died ({signal.Signals(number).name})")
        self.position = position


def read_pieces(reader: ClipReader, num_workers: int, start_method: str | None = None) -> Iterator[Piece]:
    """Yield the pieces of a reader, decoded in worker processes: each takes its `share_of` the clips, and they take
    turns piece by piece.

    Args:
        num_workers: number of processes; 0: decode in this one.
        start_method: "fork", "spawn" or "forkserver"; None: the platform's.

    Raises:
        WorkerDied: a worker crashed; the others are stopped.
        RuntimeError: a worker ended with an error of its own, which it printed.
    """
    decoding_backend()  # chosen here, so that it is logged once and not by each worker
    if not num_workers:
        yield from reader
        return
    context = multiprocessing.get_context(start_method)
    count = min(num_workers, len(reader.tasks))
    workers = []
    folder = tempfile.mkdtemp(prefix="mac-")
    try:
        for index in range(count):
            workers.append(_Worker(context, reader, index, count, folder))
        turns = deque(workers)
        while turns:
            worker = turns.popleft()
            piece = worker.next()
            if piece is not None:
                turns.append(worker)
                yield piece
    finally:
        for worker in workers:
            worker.stop()
        shutil.rmtree(folder, ignore_errors=True)


class _Worker:
    """A process that reads every n-th clip, seen from its parent."""

    def __init__(self, context, reader: ClipReader, index: int, count: int, folder: str):
        share = copy.copy(reader)
        share.tasks = share_of(reader.tasks, index, count)
        self._at = torch.tensor([share.tasks[0].position]).share_memory_()
        self._room, self._done = context.Semaphore(AHEAD), context.Event()
        self._pieces, sending = context.Pipe(duplex=False)
        arguments = (share, sending, self._at, self._room, self._done, os.getpid(), folder)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        sending.close()  # the worker has the only end now, so its death ends the pipe

    def next(self) -> Piece | None:
        """Return the next piece; None after the last."""
        try:
            piece = self._pieces.recv()
        except (EOFError, OSError, RuntimeError) as error:  # the last two: tensors whose owner is gone
            self._process.join(ORPHANED_SECONDS)
            if self._process.is_alive():
                raise
            code = self._process.exitcode
            if code >= 0:
                raise RuntimeError(
                    f"a decoding process ended with exit code {code}; its error is printed above."
                ) from error
            raise WorkerDied(int(self._at), -code) from error
        self._room.release()
        return piece

    def stop(self) -> None:
        """End the process at once."""
        self._done.set()
        self._process.terminate()
        self._process.join()
        self._pieces.close()


def share_of(tasks: Sequence[ClipTask], index: int, count: int) -> list[ClipTask]:
    """Return the clips of one of several workers: every n-th, or, of archives, a run of clips that follow each other,
    so that no two workers read through the same part of an archive.
    """
    if any(is_member(task.path) for task in tasks[:1]):
        return list(tasks[len(tasks) * index // count : len(tasks) * (index + 1) // count])
    return list(tasks[index::count])


def _work(reader: ClipReader, pieces, at: torch.Tensor, room, done, parent: int, folder: str) -> None:
    """Run a worker's process: send pieces while there is room, stay until they are taken, end when the parent does.

    Args:
        folder: for temporary files, the sockets that pass tensors on among them; a terminated process would leave one
            of its own behind.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not with the parent's handler
    tempfile.tempdir = multiprocessing.current_process()._config["tempdir"] = folder  # where multiprocessing.util looks
    try:
        _send(reader, pieces, at, room, done, parent)
    finally:
        if os.getppid() != parent:  # nobody else is left to do it
            shutil.rmtree(folder, ignore_errors=True)


def _send(reader: ClipReader, pieces, at: torch.Tensor, room, done, parent: int) -> None:
    try:
        for task in reader.tasks:
            at[0] = task.position
            for piece in reader.read(task):
                while not room.acquire(timeout=ORPHANED_SECONDS):
                    if os.getppid() != parent:
                        return
                pieces.send(piece)
        pieces.send(None)
    except BrokenPipeError:
        return
    while not done.wait(ORPHANED_SECONDS) and os.getppid() == parent:
        pass


def steps_that_fit(bytes_a_step: int, num_workers: int) -> int:
    """Return the time steps of a piece for which all pieces in flight fit into half of the shared memory (64 MiB in
    many containers).
    """
    if not num_workers or not os.path.isdir(SHARED_MEMORY):
        return STEPS
    pieces = num_workers * (AHEAD + 2)  # one is being made and one being taken
    return max(1, min(STEPS, shutil.disk_usage(SHARED_MEMORY).free // 2 // (pieces * bytes_a_step)))


__all__ = ["WorkerDied", "read_pieces", "steps_that_fit"]
