"""What a request about a clip may hold: limits of the server, the token, the form.

Uploads are read into memory.
"""

import hmac
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import File, Form, Request, UploadFile

from ..configuration_semanticmac import MODALITIES


@dataclass(frozen=True)
class ServerOptions:
    """What the server accepts.

    Args:
        batch_size, wait_seconds: of a batch, see `BatchPredictor`.
        most_waiting: requests that may wait; more get 503.
        most_bytes: of an upload; more get 413.
        max_seconds: of a clip; a timeline may be longer.
        timeout: seconds until a request that has no result gets 503, and without a byte of an upload until 408.
        token: that a client sends as `Authorization: Bearer TOKEN`; None: nobody is asked.
        allow_download: whether a client may name an http(s) address in place of an upload.
        most_streams: live streams at a time.
        modalities: those that are used.
    """

    batch_size: int = 16
    wait_seconds: float = 0.01
    most_waiting: int = 64
    most_bytes: int = 100_000_000
    max_seconds: float = 60.0
    timeout: float = 120.0
    token: str | None = None
    allow_download: bool = False
    most_streams: int = 4
    modalities: tuple[str, ...] = MODALITIES


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        message: what was found, what was expected and what to do.
    """

    def __init__(self, status: HTTPStatus, message: str):
        super().__init__(message)
        self.status, self.message = status, message


def is_authorized(headers, token: str) -> bool:
    """Return whether a request carries the token; the comparison takes the same time wherever it differs."""
    return hmac.compare_digest(headers.get("authorization", "").encode(), f"Bearer {token}".encode())


@dataclass
class ClipForm:
    """The fields of a request about one clip.

    Args:
        clip: as the pipeline takes it.
        options: arguments of the pipeline.
        data: bytes of the upload; None without one.
    """

    clip: dict
    options: dict
    data: bytes | None


async def clip_form(
    request: Request,
    file: Annotated[UploadFile | None, File(description="a video or sound file")] = None,
    url: Annotated[str | None, Form(description="an http(s) address, where the server allows it")] = None,
    text: Annotated[str | None, Form(description="what is said")] = None,
    context: Annotated[list[str] | None, Form(description="earlier utterances, oldest first")] = None,
    start: Annotated[float | None, Form(description="seconds")] = None,
    end: Annotated[float | None, Form(description="seconds")] = None,
    modalities: Annotated[str | None, Form(description="those of text, audio, vision to use, with commas")] = None,
    abstain: Annotated[bool, Form(description="no decision where a calibrated model is not sure")] = False,
) -> ClipForm:
    """Return the fields of a form as a clip.

    Raises:
        Refused: 415 for a body that is no form, 422 for fields that do not fit each other.
    """
    options = request.app.state.options
    kind = request.headers.get("content-type", "")
    if not kind.startswith(("multipart/form-data", "application/x-www-form-urlencoded")):
        message = f"the body is {kind or 'of no stated type'}; send a form, e.g. curl -F file=@clip.mp4 -F text='Well.'"
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
    clip: dict = {"text": text, "context": context or [], "start": start, "end": end}
    data = None
    if file is not None:
        data = await file.read()
        await file.close()
        clip["video"] = {"path": Path(file.filename or "upload").name, "bytes": data}
    elif url is not None:
        if not options.allow_download or not url.startswith(("http://", "https://")):
            allowed = "only http:// and https:// addresses are downloaded"
            message = f"url: {allowed if options.allow_download else 'this server downloads nothing; upload the file'}."
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, message)
        clip["video"] = url
    asked = tuple(part.strip() for part in modalities.split(",")) if modalities else options.modalities
    if unknown := sorted(set(asked) - set(options.modalities)):
        message = f"modalities has {unknown[0]!r}; expected some of {', '.join(options.modalities)}."
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, message)
    if not (text or "video" in clip):
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "there is neither a file nor text; send file, text or both.")
    arguments = {"modalities": asked, "allow_download": options.allow_download, "abstain": abstain}
    return ClipForm(clip, arguments, data)


__all__ = ["ClipForm", "Refused", "ServerOptions", "clip_form", "is_authorized"]
