"""Where a live clip comes from: a file that is repeated, or a camera and a microphone.

A source yields one `Piece` a tick: the picture at its middle, and its sound.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import av
import numpy as np

from ..media_decoding import open_media

LONGEST = 600.0  # seconds of a file that is repeated; its sound is in memory
SAMPLING_RATE = 16000


class Piece(NamedTuple):
    """What a source has for one tick.

    Args:
        end: seconds since the recording began.
        picture: uint8 (H, W, 3) or (3, H, W), and when it was taken; None: no picture.
        picture_time: seconds since the recording began.
        sound: float32 (samples,) at 16 kHz; None: no sound.
        sound_time: when its first sample was taken; None: it follows without a gap.
    """

    end: float
    picture: np.ndarray | None
    picture_time: float
    sound: np.ndarray | None
    sound_time: float | None = None


def file_pieces(path: str | os.PathLike, tick: float) -> Iterator[Piece]:
    """Yield the pieces of a file, again from its beginning after its end, without end and as fast as they are taken.

    Args:
        path: a video or sound file.
        tick: seconds of a piece.

    Raises:
        MediaError: the file cannot be used.
        ValueError: it is longer than ten minutes.
    """
    with open_media(path) as media:
        info = media.info
        if info.duration > LONGEST:
            raise ValueError(
                f"{os.fspath(path)}: the file lasts {info.duration:.0f} s; a file that is repeated may last "
                f"{LONGEST:.0f} s."
            )
        sound = media.waveform(0.0, info.duration, SAMPLING_RATE).numpy() if info.audio is not None else None
        for number in itertools.count():
            middle = (number + 0.5) * tick
            picture = None
            if info.video is not None:
                ((picture,),) = media.iter_frames([min(middle % info.duration, info.duration - 1e-3)], 1)
            piece = None
            if sound is not None and len(sound):
                first, last = round(number * tick * SAMPLING_RATE), round((number + 1) * tick * SAMPLING_RATE)
                piece = np.take(sound, np.arange(first, last), mode="wrap")
            yield Piece((number + 1) * tick, None if picture is None else picture.numpy(), middle, piece)


def in_time(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Yield the pieces of a file at the times at which a camera and a microphone would give them.

    Pieces that were due while the caller was busy are joined to one: the latest picture, and all of the sound.
    """
    begin = time.monotonic()
    piece = next(pieces)
    for following in pieces:
        time.sleep(max(0.0, begin + piece.end - time.monotonic()))
        if begin + following.end <= time.monotonic():
            parts = [part.sound for part in (piece, following) if part.sound is not None]
            piece = following._replace(sound=np.concatenate(parts) if parts else None)
        else:
            yield piece
            piece = following


def device_pieces(
    camera: Callable[[], np.ndarray | None] | None, microphone: Callable[[], np.ndarray] | None, tick: float
) -> Iterator[Piece]:
    """Yield what a camera and a microphone have, one piece a tick of the clock.

    Args:
        camera: returns the latest picture, uint8 (H, W, 3); None: there is none, and the recording ends.
        microphone: returns the samples since the last call, float32 (samples,) at 16 kHz.
        tick: seconds.
    """
    begin = time.monotonic()
    for number in itertools.count(1):
        time.sleep(max(0.0, begin + number * tick - time.monotonic()))
        picture = camera() if camera is not None else None
        now = time.monotonic() - begin
        if camera is not None and picture is None:
            return
        sound = microphone() if microphone is not None else None
        start = None if sound is None else max(0.0, now - len(sound) / SAMPLING_RATE)
        yield Piece(now, picture, now, sound, start)


class Camera:
    """A camera read by OpenCV in a thread, so that the latest picture is always the latest; a context manager.

    Args:
        name: number of the camera, or what OpenCV opens otherwise: an address, a file.

    Raises:
        ValueError: OpenCV is not installed, or cannot open the camera.
    """

    def __init__(self, name: int | str):
        try:
            import cv2
        except ImportError:
            raise ValueError(
                "a camera needs OpenCV, which is not installed; run pip install 'semanticmac[faces]', or give --file."
            ) from None
        self._capture = cv2.VideoCapture(name)
        if not self._capture.isOpened():
            raise ValueError(f"--camera {name}: OpenCV finds no such camera; try another number, or give --file.")
        self._picture: np.ndarray | None = None
        self._first, self._is_open = threading.Event(), True
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while self._is_open:
            there, picture = self._capture.read()
            self._picture = picture[..., ::-1] if there else None  # OpenCV's order is blue, green, red
            self._first.set()
            if not there:
                return

    def __call__(self) -> np.ndarray | None:
        """Return the latest picture, uint8 (H, W, 3); None where the camera gives none any more."""
        self._first.wait(10.0)
        return self._picture

    def __enter__(self) -> "Camera":
        return self

    def __exit__(self, *exception) -> None:
        self._is_open = False
        self._thread.join(5.0)
        self._capture.release()


class Microphone:
    """A sound device read by FFmpeg in a thread; a context manager.

    Args:
        name: FORMAT:DEVICE of FFmpeg: "alsa:default" on Linux, "avfoundation::0" on macOS, "dshow:audio=NAME" on
            Windows.

    Raises:
        ValueError: FFmpeg has no such format, or cannot open the device.
    """

    def __init__(self, name: str):
        kind, colon, device = name.partition(":")
        if not colon or kind not in av.formats_available:
            raise ValueError(
                f"--microphone {name}: expected FORMAT:DEVICE with a format that FFmpeg has here, such as alsa:default."
            )
        try:
            self._container = av.open(device, format=kind)
            self._stream = self._container.streams.audio[0]
        except (av.FFmpegError, IndexError) as error:
            raise ValueError(f"--microphone {name}: it cannot be opened ({error}).") from error
        self._lock, self._parts, self._is_open = threading.Lock(), [], True
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        resampler = av.AudioResampler("flt", "mono", SAMPLING_RATE)
        for frame in self._container.decode(self._stream):
            if not self._is_open:
                return
            samples = [part.to_ndarray()[0] for part in resampler.resample(frame)]
            with self._lock:
                self._parts += samples

    def __call__(self) -> np.ndarray:
        """Return the samples since the last call, float32 (samples,)."""
        with self._lock:
            parts, self._parts = self._parts, []
        return np.concatenate([*parts, np.zeros(0, dtype=np.float32)])

    def __enter__(self) -> "Microphone":
        return self

    def __exit__(self, *exception) -> None:
        self._is_open = False
        self._thread.join(5.0)
        self._container.close()


__all__ = ["Camera", "Microphone", "Piece", "device_pieces", "file_pieces", "in_time"]
