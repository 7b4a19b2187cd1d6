"""A live clip over a web socket.

The client sends JSON messages with any of:

    {"text": "what is being said"}                                       words; those before become context
    {"frame": BASE64 of a JPEG or PNG, "time": SECONDS}                  a picture, times since the recording began
    {"sound": BASE64 of 16-bit PCM, mono, "sampling_rate": 16000}        the next samples, without a gap

and receives a result, as `LiveClip.result` returns it, whenever a frame or a window of sound was new, or
{"error": sentence} where a message cannot be used. The words alone are answered too.
"""

import asyncio
import base64
import binascii
import io

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from PIL import Image, UnidentifiedImageError

from ..pipeline_semanticmac import SemanticMACPipeline
from .live import LiveClip

FIELDS = {"text", "frame", "time", "sound", "sampling_rate"}


async def serve_stream(socket: WebSocket, pipe: SemanticMACPipeline) -> None:
    """Answer the messages of one client until it goes away."""
    await socket.accept()
    try:
        live = LiveClip(pipe)
    except ValueError as error:
        await socket.send_json({"error": str(error)})
        await socket.close(1003)
        return
    try:
        while True:
            try:
                message = await socket.receive_json()
                result = await asyncio.to_thread(take, live, message)
            except (ValueError, KeyError) as error:  # json.JSONDecodeError is a ValueError
                await socket.send_json({"error": _sentence(error)})
                continue
            if result is not None:
                await socket.send_json(result)
    except WebSocketDisconnect:
        return


def take(live: LiveClip, message) -> dict | None:
    """Give a message to the clip; return the new result, None where nothing is new.

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
        time = message.get("time")
        if not isinstance(time, int | float) or not 0 <= time < float("inf"):
            raise ValueError(f"time is {time!r}; expected the seconds of the frame since the recording began.")
        is_new |= live.push_frame(_picture(message["frame"]), time)
    if "sound" in message:
        rate = message.get("sampling_rate")
        if not isinstance(rate, int):
            raise ValueError(f"sampling_rate is {rate!r}; expected the samples a second of the sound.")
        samples = np.frombuffer(_decoded("sound", message["sound"]), dtype="<i2").astype(np.float32) / 32768
        is_new |= bool(live.push_sound(samples, rate))
    return live.result() if is_new else None


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


def _sentence(error: Exception) -> str:
    return f"the message is not JSON: {error}" if type(error).__name__ == "JSONDecodeError" else str(error)


__all__ = ["serve_stream", "take"]
