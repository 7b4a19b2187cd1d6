"""SIGTERM, by which schedulers of clusters end a job: what is pending is written before the process ends."""

import contextlib
import signal
import threading
from collections.abc import Iterator

EXIT_CODE = 128 + signal.SIGTERM


@contextlib.contextmanager
def kept_handler() -> Iterator[None]:
    """Put the handler of SIGTERM back at the end: libraries that start processes, such as Ray, set their own."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


class Termination:
    """Context in which SIGTERM raises SystemExit; a shard that is being written is finished first.

    In other threads than the main one, and where the program has a handler of its own, the context does nothing.

    Attributes:
        writer: the `StoreWriter` whose shards are finished.
        requested: whether SIGTERM came.
    """

    def __init__(self):
        self.writer, self.requested, self._installed = None, False, False

    def __enter__(self) -> "Termination":
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._handle)
            self._installed = True
        return self

    def __exit__(self, kind, *error) -> None:
        if self._installed:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise SystemExit if SIGTERM came, where it could not be raised at once."""
        if self.requested:
            raise SystemExit(EXIT_CODE)

    def _handle(self, number, frame) -> None:
        self.requested = True  # also where the exception is swallowed, as in a destructor
        if self.writer is None or not self.writer.is_flushing:
            raise SystemExit(EXIT_CODE)


__all__ = ["EXIT_CODE", "Termination", "kept_handler"]
