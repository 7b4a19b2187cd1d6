"""A clip reader spread over processes: pieces in an order that does not depend on speed, a bounded number ahead, a death told by name.

torch's DataLoader is not used because it raises a worker's death from a signal handler, in whatever the main thread is doing, be it the writing of a
shard, and does not say at which clip it was.
"""

import copy
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import Iterator

import torch
import torch.multiprocessing  # noqa: F401  (teaches pipes to pass tensors in shared memory)

from ..media_decoding import decoding_backend
from .clip_decoding import STEPS, ClipReader, Piece

AHEAD = 2  # pieces that a worker has sent and nobody has taken
SHARED_MEMORY = "/dev/shm"
ORPHANED_SECONDS = 2.0  # how often a waiting worker looks whether its parent lives


class WorkerDied(RuntimeError):
    """A worker process was killed in the middle of a clip: by its decoder, or by the system.

    Attributes:
        position: of the clip in the dataset.
    """

    def __init__(self, position: int, number: int):
        super().__init__(f"the decoding process died ({signal.Signals(number).name})")
        self.position = position


def read_pieces(reader: ClipReader, num_workers: int, start_method: str | None = None) -> Iterator[Piece]:
    """The pieces of a reader, decoded in worker processes: worker i takes every n-th clip, and the workers have their turns piece by piece.

    Args:
        num_workers: 0: in this process.
        start_method: "fork", "spawn" or "forkserver"; None: the platform's.

    Raises:
        WorkerDied: a worker was killed; the others are stopped.
        RuntimeError: a worker ended by an error of its own, which it printed.
    """
    decoding_backend()  # chosen here, so that it is said once and not by each forked worker
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
    """A process that reads every n-th clip, as its parent sees it."""

    def __init__(self, context, reader: ClipReader, index: int, count: int, folder: str):
        share = copy.copy(reader)
        share.tasks = reader.tasks[index::count]
        self._at = torch.tensor([share.tasks[0].position]).share_memory_()
        self._room, self._done = context.Semaphore(AHEAD), context.Event()
        self._pieces, sending = context.Pipe(duplex=False)
        arguments = (share, sending, self._at, self._room, self._done, os.getpid(), folder)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        sending.close()  # the worker has the only end now, so its death ends the pipe

    def next(self) -> Piece | None:
        """The next piece; None after the last."""
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
        """End the process, whatever it is doing."""
        self._done.set()
        self._process.terminate()
        self._process.join()
        self._pieces.close()


def _work(reader: ClipReader, pieces, at: torch.Tensor, room, done, parent: int, folder: str) -> None:
    """Send pieces while there is room, stay until they are taken, end when the parent does; runs in the worker's process.

    Args:
        folder: for temporary files, the sockets that pass tensors on among them; a terminated process would leave one of its own behind.
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
    """Time steps a piece, so that all pieces on their way fit into half of the shared memory (64 MiB in many containers)."""
    if not num_workers or not os.path.isdir(SHARED_MEMORY):
        return STEPS
    pieces = num_workers * (AHEAD + 2)  # one that is made and one that is taken
    return max(1, min(STEPS, shutil.disk_usage(SHARED_MEMORY).free // 2 // (pieces * bytes_a_step)))


__all__ = ["WorkerDied", "read_pieces", "steps_that_fit"]
