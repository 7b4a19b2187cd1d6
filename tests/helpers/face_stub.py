"""A stand-in for OpenCV's face detector that finds rectangles of two colours, and clips with such faces."""

from pathlib import Path

import numpy as np

from modeling_semanticmac import face_detection

RED, GREEN = (220, 20, 20), (20, 220, 20)
HEIGHT, WIDTH = 96, 160


class ColourNetwork:
    """Find the box of the red and of the green pixels of a picture (H, W, blue-green-red), as YuNet returns faces."""

    def __init__(self):
        self.sizes = []

    def setInputSize(self, size):  # noqa: N802  (OpenCV's name)
        self.sizes.append(size)

    def detect(self, picture):
        assert self.sizes[-1] == (picture.shape[1], picture.shape[0]) and picture.dtype == np.uint8
        blue, green, red = (picture[..., channel].astype(int) for channel in range(3))
        rows = []
        for strong, weak in ((red, green), (green, red)):
            inside = (strong - weak > 90) & (strong - blue > 90)
            if inside.sum() >= 16:
                y, x = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
                rows.append(_row(x[0], y[0], x[-1] + 1 - x[0], y[-1] + 1 - y[0]))
        return len(rows), np.array(rows, dtype=np.float32) if rows else None


class CentreNetwork(ColourNetwork):
    """Find one face in the middle of every picture, a third of it wide and high."""

    def detect(self, picture):
        height, width = picture.shape[:2]
        return 1, np.array([_row(width / 3, height / 3, width / 3, height / 3)], dtype=np.float32)


def _row(left, top, width, height) -> list[float]:
    points = [(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.35, 0.75), (0.65, 0.75)]
    return [left, top, width, height, *(c for x, y in points for c in (left + x * width, top + y * height)), 0.9]


def use_colour_faces(monkeypatch, folder: Path, network: type = ColourNetwork) -> Path:
    """Put a stand-in in place of OpenCV's network; return a file that may be named as a detector."""
    path = folder / "colours.onnx"
    path.write_bytes(b"red and green")
    monkeypatch.setattr(face_detection, "create_network", lambda path: network())
    face_detection._load.cache_clear()
    return path


def faces_picture(red=None, green=None, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return a grey picture, uint8 (H, W, 3), with a red and a green rectangle (left, top, width, height)."""
    picture = np.full((height, width, 3), 120, dtype=np.uint8)
    picture[::8, ::8] = 60  # not of one colour
    for box, colour in ((red, RED), (green, GREEN)):
        if box is not None:
            left, top, box_width, box_height = box
            picture[top : top + box_height, left : left + box_width] = colour
    return picture
