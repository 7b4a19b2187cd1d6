"""The HTTP interface: predictions and timelines of uploaded clips, health, metrics.

Uploads are kept in memory while they are predicted, and nowhere else.
"""

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, File, Form, Request, UploadFile, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from ..hub.responsible_use import NOTICE, stated_use
from ..media_decoding import Media, open_media
from ..timeline.rows import make_row
from ..timeline.segments import Segment, fixed_windows
from ..timeline.speech_segments import speech_segments
from ..timeline.transcripts import read_transcript
from .batching import BatchPredictor, Busy
from .body_limit import BodyLimit
from .clip_form import ClipForm, Refused, ServerOptions, clip_form, is_authorized
from .server_metrics import ServerMetrics
from .stream import serve_stream

AT_ONCE = 4  # segments of a timeline that wait together
OPEN = ("/health", "/docs", "/openapi.json")  # paths without a token


def create_application(pipe: Callable, options: ServerOptions | None = None) -> FastAPI:
    """Return the application that predicts with a pipeline.

    Args:
        pipe: SemanticMACPipeline.
        options: what it accepts.
    """
    options = options or ServerOptions()
    predictor = BatchPredictor(pipe, options.batch_size, options.wait_seconds, options.most_waiting)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI):
        yield
        await asyncio.to_thread(predictor.close)  # what waits is predicted

    description = " ".join(filter(None, (stated_use(pipe.model.config), NOTICE)))
    app = FastAPI(title="SemanticMAC", description=description, lifespan=lifespan, redoc_url=None)
    app.state.pipe, app.state.predictor, app.state.options = pipe, predictor, options
    app.state.metrics, app.state.streams = ServerMetrics(), 0
    _add_middleware(app, options)
    _add_routes(app)
    _add_state_routes(app)
    return app


def _add_middleware(app: FastAPI, options: ServerOptions) -> None:
    """Add errors as sentences, the limit on uploads, and around both the token and counts of requests."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused):
        return JSONResponse({"error": error.message}, error.status)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError):
        found = error.errors()[0]
        field = ".".join(map(str, found["loc"][1:]))
        return JSONResponse({"error": f"{field}: {found['msg']}"}, HTTPStatus.UNPROCESSABLE_ENTITY)

    app.add_middleware(BodyLimit, most_bytes=options.most_bytes, timeout=options.timeout)

    @app.middleware("http")
    async def counted(request: Request, call_next):
        """Ask for the token, answer the request and count it."""
        start, path = time.monotonic(), request.url.path
        if options.token is not None and path not in OPEN and not is_authorized(request.headers, options.token):
            error = "this server asks for a token; send the header Authorization: Bearer TOKEN."
            response = JSONResponse({"error": error}, HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})
        else:
            response = await call_next(request)
        known = path if path in {route.path for route in app.routes if hasattr(route, "path")} else "other"
        app.state.metrics.add(known, response.status_code, time.monotonic() - start)
        return response


def _add_routes(app: FastAPI) -> None:
    """Add the paths that predict."""
    state = app.state

    @app.post("/v1/predict")
    async def predict(
        form: Annotated[ClipForm, Depends(clip_form)],
        neighbors: Annotated[int, Form(ge=0, le=50, description="nearest training clips to name")] = 0,
    ):
        """Predict one clip: the result of the pipeline as JSON."""
        options = {**form.options, "max_seconds": state.options.max_seconds, "neighbors": neighbors}
        result = await predicted(app, form.clip, options)
        if "error" in result:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, result["error"])
        return result

    @app.post("/v1/timeline")
    async def timeline(
        form: Annotated[ClipForm, Depends(clip_form)],
        window: Annotated[float | None, Form(description="seconds of a segment; without it: pauses")] = None,
        transcript: Annotated[UploadFile | None, File(description="subtitles: segments and their words")] = None,
    ):
        """Predict a long clip segment by segment: one line of JSON each, as soon as it is there."""
        if form.data is None:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "a timeline needs an upload; send file.")
        words = None if transcript is None else await transcript.read()
        try:
            media = open_media(form.data, "pyav")
            segments = list(_segments(media, window, words))
        except ValueError as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        lines = timeline_lines(app, media, segments, {**form.options, "max_seconds": None})
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket):
        """Predict a clip while it is recorded, see `serve_stream`."""
        token = state.options.token
        if token is not None and not is_authorized(socket.headers, token):
            await socket.close(1008, "this server asks for a token")
        elif state.streams >= state.options.most_streams:
            await socket.close(1013, "too many live streams; try again later")
        else:
            state.streams += 1
            try:
                await serve_stream(socket, state.pipe)
            finally:
                state.streams -= 1


def _add_state_routes(app: FastAPI) -> None:
    """Add the paths that say how the server is."""
    state = app.state

    @app.get("/health")
    async def health():
        """Say whether the server predicts, with what model, and how many requests wait."""
        config = state.pipe.model.config
        found = {"status": "ok", "task": config.task_name, "labels": list(config.task.label_names)}
        found |= {"device": str(state.pipe.device), "waiting": state.predictor.waiting}
        return {**found, "intended_use": config.intended_use, "notice": NOTICE}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics():
        """Return counts and times in the text format of Prometheus."""
        return state.metrics.text(state.predictor.waiting, state.predictor.batches)


async def predicted(app: FastAPI, clip: dict, options: dict) -> dict:
    """Return the result of one clip.

    Raises:
        Refused: 503 where too many wait, or it takes too long; 422 for what the pipeline refuses.
    """
    limit = app.state.options.timeout
    try:
        return await asyncio.wait_for(app.state.predictor.predict(clip, **options), limit)
    except Busy:
        message = f"{app.state.options.most_waiting} requests wait already; try again later."
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, message) from None
    except TimeoutError:
        message = f"there was no result within {limit:g} s; send a shorter clip, or try again later."
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, message) from None
    except ValueError as error:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error


def _segments(media: Media, window: float | None, words: bytes | None) -> Iterator[Segment]:
    """Yield the segments of a timeline: of a transcript, of fixed length, or between pauses of speech."""
    if words is not None:
        with tempfile.TemporaryDirectory() as folder:  # the form of a transcript is told from a file
            path = Path(folder) / "transcript"
            path.write_bytes(words)
            yield from read_transcript(path, duration=media.info.duration)
    elif window is not None:
        yield from fixed_windows(media.info.duration, window)
    else:
        yield from speech_segments(media)


async def timeline_lines(app: FastAPI, media: Media, segments: list[Segment], options: dict) -> AsyncIterator[str]:
    """Yield the row of each segment as a line of JSON; the file is closed at the end, also if the client goes away."""
    try:
        for first in range(0, len(segments), AT_ONCE):
            part = segments[first : first + AT_ONCE]
            clips = [{"video": media, "start": s.start, "end": s.end, "text": s.text} for s in part]
            found = await asyncio.gather(*(predicted(app, clip, options) for clip in clips), return_exceptions=True)
            for segment, result in zip(part, found):
                if isinstance(result, Refused):
                    result = {"error": result.message}
                elif isinstance(result, BaseException):
                    raise result
                yield json.dumps(make_row(segment, result)) + "\n"
    finally:
        media.close()


__all__ = ["Refused", "ServerOptions", "create_application"]
