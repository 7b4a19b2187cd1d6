"""Faces in frames by OpenCV's YuNet: an optional package, and a small file of weights by reference."""

import functools
import hashlib
import importlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from huggingface_hub import hf_hub_download

from .encoders import commit_of

REPOSITORY, FILE = "opencv/face_detection_yunet", "face_detection_yunet_2026may.onnx"
SAVED_FILE = "face_detector.onnx"  # a detector of a folder, copied beside a saved processor
LEAST_SCORE = 0.7
OVERLAP = 0.3  # of two boxes that are taken for one face
LONG_SIDE = 640  # pixels of a frame when faces are looked for: YuNet finds faces of 10 to 300
_ONE_AT_A_TIME = threading.Lock()  # a network keeps the size of its input
PROCEDURE = 1  # raise it when the same detector gives other crops, so that stores do not mix


class FaceDetectorError(ValueError):
    """Faces cannot be looked for: OpenCV or the detector's file is missing, or the file is another one."""


class Face(NamedTuple):
    """A face in a frame, in pixels of the frame.

    Args:
        left, top, width, height: its box.
        points: float32 (5, 2): the eyes, the nose, the corners of the mouth.
    """

    left: float
    top: float
    width: float
    height: float
    points: np.ndarray

    @property
    def area(self) -> float:
        """The area of the box."""
        return self.width * self.height

    @property
    def centre(self) -> np.ndarray:
        """The centre of the box, (x, y)."""
        return np.array([self.left + self.width / 2, self.top + self.height / 2])


def detector_reference(name_or_path: str | os.PathLike | None = None, revision: str | None = None) -> dict[str, Any]:
    """Return how a processor names its face detector: repository or file, revision, SHA-256 of the weights.

    Args:
        name_or_path: an ONNX file of YuNet, or a repository on the Hub, also with the file in it
            (`org/name/file.onnx`); None: OpenCV's own repository.
        revision: of the repository.

    Raises:
        FaceDetectorError: OpenCV is not installed, there is no such file, or it is no YuNet detector.
    """
    name = str(name_or_path or REPOSITORY)
    if os.path.isfile(name):
        reference = {"name_or_path": os.path.abspath(name), "revision": None, "file": None}
    elif name.endswith(".onnx") and name.count("/") != 2:
        raise FaceDetectorError(
            f"there is no face detector {name}; give an ONNX file of YuNet, or a repository on the Hub."
        )
    else:
        parts = name.split("/", 2)
        reference = {
            "name_or_path": "/".join(parts[:2]),
            "revision": commit_of("/".join(parts[:2]), revision) or revision,
            "file": parts[2] if len(parts) > 2 else FILE,
        }
    reference["hash"] = _file_hash(locate_detector(reference))
    load_detector(reference)
    return reference


def locate_detector(
    reference: Mapping[str, Any], home: str | os.PathLike | None = None, home_revision: str | None = None
) -> str:
    """Return the path of a detector's file, downloaded where it lies on the Hub.

    Args:
        reference: as `detector_reference` returns it; without a name the file lies beside the processor.
        home: folder or repository of the processor.
        home_revision: revision of that repository.

    Raises:
        FaceDetectorError: the file cannot be found.
    """
    name, file, revision = reference.get("name_or_path"), reference.get("file"), reference.get("revision")
    if name is None:
        name, revision = home, home_revision
    if name is None:
        raise FaceDetectorError("this processor crops faces, but it does not say where its detector lies.")
    path = os.path.join(name, file) if file and os.path.isdir(name) else str(name)
    if os.path.isfile(path):
        return path
    if file is None or os.path.isdir(name) or os.path.isabs(name):
        raise FaceDetectorError(
            f"the face detector {path} is not there, and this processor crops faces with it. Put the file back "
            f"(SHA-256 {reference.get('hash')})."
        )
    try:
        return hf_hub_download(str(name), file, revision=revision)
    except Exception as error:  # each library below raises errors of its own
        raise FaceDetectorError(
            f"the face detector {file} of {name} cannot be loaded ({type(error).__name__}). Check the name and the "
            "connection, or give the ONNX file of YuNet itself (--face_detector FILE)."
        ) from error


def load_detector(
    reference: Mapping[str, Any], home: str | os.PathLike | None = None, home_revision: str | None = None
) -> Callable:
    """Return a detector: a frame, uint8 (3, H, W), to the list of its faces, the largest first.

    Args:
        reference, home, home_revision: as `locate_detector` takes them.

    Raises:
        FaceDetectorError: OpenCV is not installed, the file cannot be found, or is another one than the reference says.
    """
    return _load(locate_detector(reference, home, home_revision), reference.get("hash"))


@functools.lru_cache(maxsize=4)
def _load(path: str, expected: str | None) -> Callable:
    found = _file_hash(path)
    if expected is not None and found != expected:
        raise FaceDetectorError(
            f"the face detector at {path} has SHA-256 {found}; this processor was made with {expected}. Use that file, "
            "or extract the embeddings and train again."
        )
    return functools.partial(find_faces, create_network(path))


def create_network(path: str):
    """Return OpenCV's network of an ONNX file.

    Raises:
        FaceDetectorError: OpenCV is not installed, or the file is no YuNet detector.
    """
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        raise FaceDetectorError(
            "face crops need OpenCV, which is not installed: pip install semanticmac[faces] (or "
            "opencv-python-headless). Without it a model that was trained with face crops cannot see."
        ) from error
    if multiprocessing.parent_process() is not None:
        cv2.setNumThreads(1)  # of many processes that decode, each would take all cores
    try:
        return cv2.FaceDetectorYN.create(path, "", (LONG_SIDE, LONG_SIDE), LEAST_SCORE, OVERLAP)
    except cv2.error as error:
        raise FaceDetectorError(
            f"OpenCV {cv2.__version__} cannot read {path} as a YuNet face detector; name the ONNX file that fits this "
            f"version ({FILE} for OpenCV 5)."
        ) from error


def find_faces(network, frame: torch.Tensor) -> list[Face]:
    """Return the faces of a frame, uint8 (3, H, W), the largest first."""
    height, width = frame.shape[-2:]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = frame[None].float()
    if scale < 1:
        small = torch.nn.functional.interpolate(small, size=size, mode="bilinear", antialias=True)
    # OpenCV's channels: blue, green, red.
    picture = small[0].flip(0).permute(1, 2, 0).round().to(torch.uint8).contiguous().numpy()
    with _ONE_AT_A_TIME:
        network.setInputSize((size[1], size[0]))
        rows = network.detect(picture)[1]
    rows = np.zeros((0, 15), dtype=np.float32) if rows is None else np.asarray(rows, dtype=np.float32)
    ratio = np.array([width / size[1], height / size[0]], dtype=np.float32)
    faces = []
    for row in rows[(rows[:, 2] > 0) & (rows[:, 3] > 0)]:
        left, top, box_width, box_height = (row[:4] * np.tile(ratio, 2)).tolist()
        faces.append(Face(left, top, box_width, box_height, row[4:14].reshape(5, 2) * ratio))
    return sorted(faces, key=lambda face: (-face.area, face.left, face.top))


def _file_hash(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = [
    "Face",
    "FaceDetectorError",
    "create_network",
    "detector_reference",
    "find_faces",
    "load_detector",
    "locate_detector",
]
