"""Limits on the bytes of a request, counted while they arrive, and on how long they keep the server waiting."""

import asyncio
import contextlib
from collections.abc import Callable
from http import HTTPStatus

from starlette.responses import JSONResponse

LINGER, LINGER_SECONDS = 4, 30.0  # times the limit, and seconds, that a refused body is read on


class BadBody(Exception):
    """The body of a request is too large, or does not arrive.

    Args:
        status: of HTTP.
        message: what was found and what to do.
    """

    def __init__(self, status: HTTPStatus, message: str):
        super().__init__(message)
        self.status, self.message = status, message


class BodyLimit:
    """ASGI middleware that answers 413 to a request whose body is too large, and 408 to one that does not arrive.

    The size that a client states is not believed: what arrives is counted too.

    Args:
        app: the application.
        most_bytes: of a body.
        timeout: seconds to wait for the next part of a body.
    """

    def __init__(self, app: Callable, most_bytes: int, timeout: float):
        self.app, self.most_bytes, self.timeout = app, most_bytes, timeout

    async def __call__(self, scope, receive, send) -> None:
        """Pass a request on, unless it is too large."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if stated.isdigit() and int(stated) > self.most_bytes:
            await _refuse(self._too_large(), scope, receive, send, LINGER * self.most_bytes)
            return
        arrived, complete, started = 0, False, False
        refused: BadBody | None = None

        async def counted():
            """Return the next message of the request; raise BadBody where its body is too long or late."""
            nonlocal arrived, complete, refused
            if complete:  # what follows is that the client goes away, for which the application may wait
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self.timeout)
            except TimeoutError:
                text = f"nothing of the request arrived for {self.timeout:g} s; send it again."
                refused = BadBody(HTTPStatus.REQUEST_TIMEOUT, text)
                raise refused from None
            arrived += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if arrived > self.most_bytes:
                refused = self._too_large()
                raise refused
            return message

        async def watched(message):
            nonlocal started
            if refused is None or started:
                started = True
                await send(message)

        # The application may answer the error that it gets while it reads with one of its own, which is dropped.
        with contextlib.suppress(BadBody):
            await self.app(scope, counted, watched)
        if refused is not None and not started:
            # Of a body that has arrived whole there is nothing left to wait for.
            await _refuse(refused, scope, receive, send, 0 if complete else LINGER * self.most_bytes)

    def _too_large(self) -> BadBody:
        text = f"the request is larger than {self.most_bytes / 1e6:g} MB; send a shorter clip, or a smaller picture."
        return BadBody(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)


async def _refuse(error: BadBody, scope, receive, send, most_bytes: int) -> None:
    """Answer with the error, and close the connection.

    What the client still sends is read first, up to `most_bytes`: a connection that is closed while it sends is reset,
    and the client never sees the answer.
    """
    message = {"more_body": error.status != HTTPStatus.REQUEST_TIMEOUT}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while message.get("more_body", False) and most_bytes > 0:
                message = await receive()
                most_bytes -= len(message.get("body", b""))
    response = JSONResponse({"error": error.message}, error.status, {"connection": "close"})
    await response(scope, receive, send)


__all__ = ["BodyLimit"]
