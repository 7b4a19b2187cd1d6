"""Requests that arrive together are predicted together.

One thread owns the model. It takes what waits, up to a batch, and gives each request its result.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Busy(Exception):
    """As many requests wait as the server takes."""


@dataclass
class Waiting:
    """A clip that waits for its result, with the options of its request."""

    clip: Mapping
    options: Mapping
    answer: asyncio.Future
    loop: asyncio.AbstractEventLoop
    since: float = field(default_factory=time.monotonic)


class BatchPredictor:
    """Predicts clips of concurrent requests in batches, in a thread of its own.

    Args:
        pipe: SemanticMACPipeline; it is called from the thread alone.
        batch_size: clips that go through the model together at most.
        wait_seconds: how long the first request of a batch waits for others.
        most_waiting: requests that may wait; more are refused.

    Attributes:
        batches: sizes of the batches so far, number by size.
    """

    def __init__(self, pipe: Callable, batch_size: int = 16, wait_seconds: float = 0.01, most_waiting: int = 64):
        self.pipe, self.batch_size, self.wait_seconds, self.most_waiting = pipe, batch_size, wait_seconds, most_waiting
        self.batches: dict[int, int] = {}
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._pending = 0  # of the event loop's thread
        self._thread = threading.Thread(target=self._run, name="predictions", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """The number of requests without a result."""
        return self._pending

    async def predict(self, clip: Mapping, **options) -> dict:
        """Return the result of one clip, as the pipeline does with on_error="skip".

        Args:
            clip: as the pipeline takes it.
            options: arguments of the pipeline; clips with equal ones share a batch.

        Raises:
            Busy: too many requests wait.
            Exception: whatever the pipeline raised for the whole batch.
        """
        if self._pending >= self.most_waiting or not self._thread.is_alive():
            raise Busy
        loop = asyncio.get_running_loop()
        request = Waiting(clip, options, loop.create_future(), loop)
        self._pending += 1
        self._queue.put(request)
        try:
            return await request.answer
        finally:
            self._pending -= 1

    def close(self) -> None:
        """Predict what waits, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        """Predict batch after batch until `close`."""
        while True:
            first = self._queue.get()
            batch, closing = self._collect(first)
            groups: dict[str, list[Waiting]] = {}
            for request in batch:
                groups.setdefault(repr(sorted(request.options.items())), []).append(request)
            for group in groups.values():
                self._predict(group)
            if closing:
                return

    def _collect(self, first: Waiting | None) -> tuple[list[Waiting], bool]:
        """Return the requests of a batch that begins with `first`, and whether the thread shall end after it."""
        if first is None:
            return [], True
        batch, until = [first], first.since + self.wait_seconds
        while len(batch) < self.batch_size:
            try:
                request = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return batch, False
            if request is None:
                return batch, True
            batch.append(request)
        return batch, False

    def _predict(self, group: list[Waiting]) -> None:
        """Predict requests with equal options; a request whose client went away is left out."""
        group = [request for request in group if not request.answer.done()]
        if not group:
            return
        self.batches[len(group)] = self.batches.get(len(group), 0) + 1
        results: list[Any]
        try:
            clips = [request.clip for request in group]
            results = self.pipe(clips, batch_size=len(group), on_error="skip", **group[0].options)
        except Exception as error:
            results = [error] * len(group)
        for request, result in zip(group, results):
            request.loop.call_soon_threadsafe(_answer, request.answer, result)


def _answer(answer: asyncio.Future, result) -> None:
    """Give a request its result, unless its client went away."""
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)


__all__ = ["BatchPredictor", "Busy"]
