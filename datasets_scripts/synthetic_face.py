"""The face of the synthetic corpus: a drawn head whose mouth, brows, eyes and posture carry a score.

Coordinates are those of the head: the origin is its middle, 1 is half its height, x points right, y down.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIZE = 160  # pixels, width and height of a frame
OVERSAMPLING = 2  # drawn larger and scaled down, for smooth edges

SKINS = ((236, 200, 172), (222, 178, 142), (196, 146, 108), (168, 118, 84), (245, 214, 190), (141, 98, 70))
HAIRS = ((52, 38, 30), (72, 50, 36), (30, 28, 30), (92, 62, 40))
SHIRT = (72, 82, 104)
_ANGLES = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)  # (40, 2)
_ACROSS = np.linspace(-1, 1, 17)


@dataclass(frozen=True)
class Head:
    """Colours and shape of a speaker; independent of the score."""

    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    width: float
    fringe: float
    eye_distance: float


@dataclass(frozen=True)
class Camera:
    """Background of a clip, position and size of the head; independent of the score."""

    background: tuple[int, int, int]
    x: float
    y: float
    scale: float
    tilt: float


@dataclass(frozen=True)
class Expression:
    """State of the face in one frame.

    Args:
        score: from -3 to 3. The mouth's corners go from down to up, the brows from low and knitted to high and arched,
            the lids open, the head goes from bowed (much hair, the face low) to raised, the body from leaning back
            (small) to leaning in (large).
        opening: opening of the mouth, 0 to 1.
        nod: rotation of the head in radians, and its rise.
        blink: whether the lids are closed.
    """

    score: float
    opening: float = 0.0
    nod: float = 0.0
    blink: bool = False


def draw_head(generator: np.random.Generator) -> Head:
    """Draw the head of a speaker from a generator."""
    skin, hair = SKINS[generator.integers(len(SKINS))], HAIRS[generator.integers(len(HAIRS))]
    return Head(
        skin, hair, *(float(generator.uniform(*bounds)) for bounds in ((0.78, 0.88), (0.55, 0.7), (0.34, 0.40)))
    )


def draw_camera(generator: np.random.Generator) -> Camera:
    """Draw the camera of a clip from a generator."""
    background = tuple(int(value) for value in 120 + generator.integers(-8, 9) + generator.integers(-4, 5, size=3))
    x, y = generator.uniform(-0.025, 0.025, size=2)
    return Camera(
        background, float(x), float(y), float(generator.uniform(0.42, 0.46)), float(generator.normal(0, 0.04))
    )


class _Canvas:
    """A picture with the coordinates of the head."""

    def __init__(self, camera: Camera, turn: float, rise: float, lean: float):
        side = SIZE * OVERSAMPLING
        self.image = Image.new("RGB", (side, side), camera.background)
        self._draw = ImageDraw.Draw(self.image)
        angle = camera.tilt + turn
        self._scale = side * (camera.scale + lean)
        rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        self._matrix = self._scale * rotation
        self._origin = side * np.array([0.5 + camera.x, 0.52 + camera.y - rise])

    def _place(self, points) -> list[float]:
        return (np.asarray(points) @ self._matrix + self._origin).ravel().tolist()

    def polygon(self, points, color) -> None:
        self._draw.polygon(self._place(points), fill=color)

    def ellipse(self, x, y, width, height, color) -> None:
        self.polygon(_CIRCLE * (width, height) + (x, y), color)

    def line(self, points, thickness, color) -> None:
        """Draw a stroke as a polygon: Pillow's curved joints would take most of the drawing time."""
        points = np.asarray(points, dtype=float)
        ahead = np.diff(points, axis=0, append=2 * points[-1:] - points[-2:-1])
        along = ahead + np.concatenate([ahead[:1], ahead[:-1]])
        across = 0.5 * thickness * along[:, ::-1] * (-1, 1) / np.hypot(*along.T)[:, None]
        self.polygon(np.concatenate([points + across, (points - across)[::-1]]), color)

    def frame(self) -> np.ndarray:
        return np.asarray(self.image.reduce(OVERSAMPLING))


def draw_frame(head: Head, camera: Camera, expression: Expression) -> np.ndarray:
    """Return one picture, uint8 (SIZE, SIZE, 3)."""
    score = expression.score / 3  # (-1, 1)
    canvas = _Canvas(camera, expression.nod, 0.015 * score + 0.1 * expression.nod, 0.07 * score)
    shift = -0.09 * score  # of the features within the head, which is raised or bowed
    shade = tuple(int(0.72 * value) for value in head.skin)
    canvas.polygon([(-1.3, 1.9), (-1.05, 1.1), (-0.4, 0.9), (0.4, 0.9), (1.05, 1.1), (1.3, 1.9)], SHIRT)
    canvas.ellipse(0, -0.12, head.width + 0.1, 1.0, head.hair)
    face = _CIRCLE * (head.width, 0.95) + (0, 0.05)
    face[:, 1] += np.where(face[:, 1] > 0, 0.08 * expression.opening * face[:, 1], 0)  # the jaw drops
    canvas.polygon(face, head.skin)
    hairline = -head.fringe - 0.3 * score + 0.5 * shift
    arc = np.linspace(np.pi, 2 * np.pi, 20)
    top = np.stack([np.cos(arc) * (head.width + 0.04), 0.02 + np.sin(arc) * 0.98], axis=1)
    canvas.polygon(np.concatenate([top[top[:, 1] < hairline], [(0.5, hairline), (-0.5, hairline)]]), head.hair)
    _draw_eyes(canvas, head, expression, score, shift, shade)
    canvas.line([(0.02, -0.05 + shift), (0.07, 0.18 + shift), (-0.05, 0.2 + shift)], 0.035, shade)
    _draw_mouth(canvas, expression.opening, score, 0.52 + shift, shade)
    return canvas.frame()


def _draw_eyes(canvas: _Canvas, head: Head, expression: Expression, score: float, shift: float, shade) -> None:
    """Draw eyes and brows: lids narrow and brows low and knitted at -1, wide and high and arched at 1."""
    for side in (-1, 1):
        x, y = side * head.eye_distance, -0.16 + shift
        if expression.blink:
            canvas.line([(x - 0.15, y), (x + 0.15, y)], 0.04, (40, 30, 30))
        else:
            height = 0.095 + 0.05 * score
            canvas.ellipse(x, y, 0.165, height, (248, 248, 246))
            canvas.ellipse(x, y, 0.075, min(0.085, height), (45, 38, 40))
        level = -0.42 - 0.10 * score + shift
        along = np.stack([x + side * 0.23 * _ACROSS, np.full_like(_ACROSS, level)], axis=1)  # from inner to outer end
        # The inner end drops when the score is low; the middle rises when it is high.
        along[:, 1] += 0.14 * score * _ACROSS * (score < 0) + 0.10 * max(score, 0) * (_ACROSS**2 - 0.5)
        canvas.line(along, 0.085, head.hair)
    if score < 0:  # frown lines
        for x in (-0.06, 0.06):
            canvas.line([(x, -0.42 + shift), (x * 0.8, -0.42 + 0.22 * -score + shift)], 0.03, shade)


def _draw_mouth(canvas: _Canvas, opening: float, score: float, y: float, shade) -> None:
    """Draw the mouth: corners down at -1, up at 1; wider and with more teeth in a smile; open in proportion to the
    loudness of the voice.
    """
    width = 0.42 + 0.10 * score
    curve = 0.30 * score * (0.4 - _ACROSS**2)  # y grows downward: the corners of a smile are above its middle
    round_off = 1 - _ACROSS**2
    gap = 0.05 + 0.05 * max(score, 0) + 0.20 * opening
    upper = np.stack([width * _ACROSS, y + curve - 0.3 * gap * round_off], axis=1)
    lower = np.stack([width * _ACROSS, y + curve + 0.7 * gap * round_off], axis=1)
    canvas.polygon(np.concatenate([upper, lower[::-1]]), (84, 24, 30))
    teeth = np.stack([width * _ACROSS, upper[:, 1] + 0.45 * gap * round_off], axis=1)
    canvas.polygon(np.concatenate([upper[2:-2], teeth[2:-2][::-1]]), (244, 240, 232))
    for lip in (upper, lower):
        canvas.line(lip, 0.07, (176, 72, 76))
    # Folds beside the mouth: cheeks that rise in a smile, corners that pull down without one.
    for side in (-1, 1):
        fold = [
            (side * 0.36, 0.12 + y - 0.52),
            (side * (width + 0.14), y - 0.12),
            (side * (width + 0.12), y + 0.05 - 0.15 * score),
        ]
        canvas.line(fold, 0.015 + 0.03 * abs(score), shade)
