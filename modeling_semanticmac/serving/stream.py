"""A live clip over a web socket.

The client sends JSON messages with any of:

    {"text": "what is being said"}                                       words; those before become context
    {"frame": BASE64 of a JPEG or PNG, "time": SECONDS}                  a picture, times since the recording began
    {"sound": BASE64 of 16-bit PCM, mono, "sampling_rate": 16000}        the next samples, without a gap, or with their
                                                                         time as "sound_time"

and receives a result, as `LiveClip.result` returns it, whenever a frame or a window of sound was new, or
{"error": sentence} where a message cannot be used. The words alone are answered too.
"""

import asyncio
import base64
import binascii
import contextlib
import io
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from PIL import Image, UnidentifiedImageError

from ..pipeline_semanticmac import SemanticMACPipeline
from .live import LiveClip

FIELDS = {"text", "frame", "time", "sound", "sampling_rate", "sound_time"}
MOST_WAITING = 100  # messages; with more, the client has to wait
LATEST_WINDOWS = 2


async def serve_stream(
    socket: WebSocket,
    pipe: SemanticMACPipeline,
    answer: Callable[[dict], dict] = dict,
    lock: contextlib.AbstractContextManager | None = None,
    keep_up: bool = False,
) -> None:
    """Answer the messages of one client until it goes away.

    Args:
        socket: of the client, not yet accepted.
        pipe: the pipeline.
        answer: makes the message to the client of a result.
        lock: held while a message is taken and predicted.
        keep_up: take all messages that wait together, of their frames the latest, and of the windows of sound the
            latest two, so that a machine that is too slow for all does not fall behind.
    """
    await socket.accept()
    try:
        live = LiveClip(pipe)
    except ValueError as error:
        await socket.send_json({"error": str(error)})
        await socket.close(1003)
        return
    lock = lock or contextlib.nullcontext()
    inbox: asyncio.Queue = asyncio.Queue(MOST_WAITING)
    reader = asyncio.create_task(_read(socket, inbox))
    try:
        while (texts := [await inbox.get()]) != [None]:
            while keep_up and not inbox.empty() and texts[-1] is not None:
                texts.append(inbox.get_nowait())
            for found in await asyncio.to_thread(_answers, live, texts, lock, keep_up):
                await socket.send_json(found if "error" in found else answer(found))
            if texts[-1] is None:
                return
    except WebSocketDisconnect:
        return
    finally:
        reader.cancel()


async def _read(socket: WebSocket, inbox: asyncio.Queue) -> None:
    """Put the texts of a client into the inbox, and None when it has gone away."""
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        await inbox.put(message.get("text") or "")
    await inbox.put(None)


def _answers(live: LiveClip, texts: Sequence[str | None], lock, keep_up: bool) -> list[dict]:
    """Return the errors of messages that wait together, and the new result, if there is one."""
    errors, messages = [], []
    for text in texts:
        try:
            messages += [] if text is None else [json.loads(text)]
        except json.JSONDecodeError as error:
            errors.append({"error": f"the message is not JSON: {error}"})
    if keep_up:
        _keep_latest_frame(messages)
    is_new = False
    with lock:
        for message in messages:
            try:
                is_new |= push(live, message, LATEST_WINDOWS if keep_up else None)
            except ValueError as error:
                errors.append({"error": str(error)})
        result = live.result() if is_new else None
    return errors if result is None else [*errors, result]


def _keep_latest_frame(messages: Sequence) -> None:
    """Take the frames out of all messages but the last one that has one."""
    with_frame = [message for message in messages if isinstance(message, dict) and "frame" in message]
    for message in with_frame[:-1]:
        del message["frame"]


def push(live: LiveClip, message, most_windows: int | None = None) -> bool:
    """Give a message to the clip; return whether something is new, so that there is a new result.

    Args:
        live: the clip.
        message: of the client, decoded.
        most_windows: as `LiveClip.push_sound` takes it.

    Raises:
        ValueError: an unknown or unusable field.
    """
    if not isinstance(message, dict) or not message or set(message) - FIELDS:
        found = ", ".join(map(str, message)) if isinstance(message, dict) else type(message).__name__
        raise ValueError(f"the message has {found or 'nothing'}; expected some of {', '.join(sorted(FIELDS))}.")
    is_new = False
    if "text" in message:
        live.say(message["text"])
        is_new = bool(message["text"])
    if "frame" in message:
        time = _seconds(message, "time")
        is_new |= live.push_frame(_picture(message["frame"]), time)
    if "sound" in message:
        rate = message.get("sampling_rate")
        if not isinstance(rate, int):
            raise ValueError(f"sampling_rate is {rate!r}; expected the samples a second of the sound.")
        samples = np.frombuffer(_decoded("sound", message["sound"]), dtype="<i2").astype(np.float32) / 32768
        time = _seconds(message, "sound_time") if "sound_time" in message else None
        is_new |= bool(live.push_sound(samples, rate, time, most_windows))
    return is_new


def _seconds(message: Mapping, name: str) -> float:
    """Return a time of a message."""
    time = message.get(name)
    if not isinstance(time, int | float) or not 0 <= time < float("inf"):
        raise ValueError(f"{name} is {time!r}; expected seconds since the recording began.")
    return time


def _decoded(name: str, value) -> bytes:
    """Return the bytes of a field in base64."""
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError(f"{name} is not base64.") from None


def _picture(value) -> Image.Image:
    """Return the picture of a field."""
    try:
        return Image.open(io.BytesIO(_decoded("frame", value))).convert("RGB")
    except (UnidentifiedImageError, OSError):
        raise ValueError("frame is not a picture; expected a JPEG or PNG in base64.") from None


__all__ = ["push", "serve_stream"]
