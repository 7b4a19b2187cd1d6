"""Crops of the face in the frames of a clip: its settings in a processor, and the pictures that are made.

Legend: n frames, H height, W width in pixels.
"""

import os
import shutil
from collections.abc import Callable, Sequence

import torch

from .face_detection import SAVED_FILE, Face, detector_reference, load_detector, locate_detector
from .image_processing_imagebind import cut_side
from .speaking_face import Track

VISION_CROPS = ("none", "face", "frame_and_face")
FACE_CHOICES = ("largest", "speaking")
MARGIN = 1.3  # side of the crop by the longer side of the face's box


def crops_per_frame(image_processor, vision_crop: str) -> int:
    """Return the pictures that are made of each frame.

    Raises:
        ValueError: vision_crop is unknown, or the image processor cuts crops of its own out of what it gets.
    """
    if vision_crop not in VISION_CROPS:
        raise ValueError(f"vision_crop is {vision_crop!r}; expected {', '.join(VISION_CROPS)}.")
    own = getattr(image_processor, "num_crops", 1)
    if vision_crop == "none":
        return own
    if own != 1:
        raise ValueError(
            f"vision_crop {vision_crop!r} takes the place of the {own} crops (num_crops) of each frame; leave one out."
        )
    return 2 if vision_crop == "frame_and_face" else 1


def check_face_options(image_processor, vision_crop: str, face_choice: str, face_detector: dict | None) -> None:
    """Refuse settings of a processor that do not go together.

    Raises:
        ValueError: names the setting and what is expected.
    """
    crops_per_frame(image_processor, vision_crop)
    if face_choice not in FACE_CHOICES:
        raise ValueError(f"face_choice is {face_choice!r}; expected {', '.join(FACE_CHOICES)}.")
    if vision_crop != "none" and face_detector is None:
        raise ValueError(f"vision_crop is {vision_crop!r} but there is no face_detector; name one.")


def face_options(
    vision_crop: str | None = None,
    face_choice: str | None = None,
    detector: str | None = None,
    revision: str | None = None,
) -> dict:
    """Return the arguments of a processor that crops faces; none where it does not.

    Args:
        vision_crop, face_choice: as the processor takes them.
        detector, revision: as `detector_reference` takes them.

    Raises:
        FaceDetectorError: the detector cannot be used.
        ValueError: a detector or a choice without crops.
    """
    if vision_crop in (None, "none"):
        if face_choice or detector or revision:
            raise ValueError("a face detector is only used with --vision_crop face or frame_and_face; add it.")
        return {}
    reference = detector_reference(detector, revision)
    return {"vision_crop": vision_crop, "face_choice": face_choice or "largest", "face_detector": reference}


def face_square(face: Face, height: int, width: int) -> tuple[int, int, int]:
    """Return left, top and side of the square around a face: 1.3 times the longer side of its box, moved into the
    frame, and at most as large as the frame.
    """
    side = max(1, min(round(MARGIN * max(face.width, face.height)), height, width))
    left, top = (round(middle - side / 2) for middle in face.centre.tolist())
    return min(max(left, 0), width - side), min(max(top, 0), height - side), side


def crop_face(frame: torch.Tensor, face: Face) -> torch.Tensor:
    """Return the square around a face: (3, H, W) -> (3, side, side)."""
    left, top, side = face_square(face, *frame.shape[-2:])
    return frame[:, top : top + side, left : left + side]


class FaceCropper:
    """Turn the frames of one clip, in their order, into crops of its face; the whole frame where there is no face.

    Args:
        detect: a frame to its faces, the largest first, as `face_detection.load_detector` returns it.
        vision_crop: "face", or "frame_and_face" for the whole frame and the face after each other.
        side: half of the picture to use, as `cut_side` takes it.
        group: frames of one time step; they have the same crop.
        track: the face to follow; None: the largest of each time step.

    Attributes:
        steps, without_face: time steps so far, and those in which there was no face.
    """

    def __init__(
        self, detect: Callable, vision_crop: str, side: str | None = None, group: int = 1, track: Track | None = None
    ):
        self.detect, self.vision_crop, self.side, self.group, self.track = detect, vision_crop, side, group, track
        self.steps = self.without_face = 0

    def __call__(self, frames: Sequence[torch.Tensor] | torch.Tensor) -> list[torch.Tensor]:
        """Return the pictures of the next frames, uint8 (3, H, W) each: one or two a frame."""
        pictures = []
        for start in range(0, len(frames), self.group):
            step = [cut_side(torch.as_tensor(frame), self.side) for frame in frames[start : start + self.group]]
            face = self._face(step)
            self.steps += 1
            self.without_face += face is None
            for frame in step:
                crop = frame if face is None else crop_face(frame, face)
                pictures += [frame, crop] if self.vision_crop == "frame_and_face" else [crop]
        return pictures

    def _face(self, step: Sequence[torch.Tensor]) -> Face | None:
        """Return the face of a time step: of the first of its frames that has one."""
        if self.track is not None:
            known = range(self.steps * self.group, self.steps * self.group + len(step))
            return next((self.track.faces[index] for index in known if index in self.track.faces), None)
        return next((faces[0] for frame in step if (faces := self.detect(frame))), None)


class CropsFaces:
    """The part of a processor that finds its face detector: named in its settings, loaded on first use, and saved with
    it where it lies in a folder.
    """

    vision_crop: str
    face_choice: str
    face_detector: dict | None
    _home: tuple[str | None, str | None] = None, None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """Load as `ProcessorMixin.from_pretrained` does; a face detector may lie beside the processor."""
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        processor = loaded[0] if isinstance(loaded, tuple) else loaded
        processor._home = str(pretrained_model_name_or_path), kwargs.get("revision")
        return loaded

    def save_pretrained(self, save_directory, *args, **kwargs):
        """Save as `ProcessorMixin.save_pretrained` does; a face detector that lies in a folder is copied into it."""
        reference = self.face_detector
        if reference is None or not (reference["name_or_path"] is None or os.path.isabs(reference["name_or_path"])):
            return super().save_pretrained(save_directory, *args, **kwargs)
        source, target = locate_detector(reference, *self._home), os.path.join(save_directory, SAVED_FILE)
        os.makedirs(save_directory, exist_ok=True)
        if not os.path.exists(target) or not os.path.samefile(source, target):
            shutil.copyfile(source, target)
        try:
            self.face_detector = {**reference, "name_or_path": None, "revision": None, "file": SAVED_FILE}
            return super().save_pretrained(save_directory, *args, **kwargs)
        finally:
            self.face_detector = reference

    def load_face_detector(self):
        """Return the face detector, a frame to its faces; None where faces are not cropped.

        Raises:
            FaceDetectorError: It cannot be used here.
        """
        return None if self.vision_crop == "none" else load_detector(self.face_detector, *self._home)

    def face_cropper(self, side: str | None, group: int) -> FaceCropper | None:
        """Return what crops the faces of one clip, as `FaceCropper` says; None where faces are not cropped."""
        detect = self.load_face_detector()
        return None if detect is None else FaceCropper(detect, self.vision_crop, side, group)


__all__ = [
    "FACE_CHOICES",
    "VISION_CROPS",
    "CropsFaces",
    "FaceCropper",
    "check_face_options",
    "crop_face",
    "crops_per_frame",
    "face_options",
    "face_square",
]
