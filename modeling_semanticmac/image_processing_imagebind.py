"""Video frames to the pictures that ImageBind's vision tower takes; torch only.

Legend: n frames, H height, W width in pixels.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, PILImageResampling
from transformers.processing_utils import ImagesKwargs

SIDES = (None, "left", "right")


class ImageBindImagesKwargs(ImagesKwargs, total=False):
    """What `from_pretrained` may override, on top of the library's own names."""

    num_crops: int


def _as_frame(frame: Image.Image | np.ndarray | torch.Tensor) -> torch.Tensor:
    """A picture in any accepted form -> uint8 (3, H, W)."""
    if isinstance(frame, Image.Image):
        frame = np.array(frame.convert("RGB"))
    return _channels_first(torch.as_tensor(frame), ndim=3)


def _channels_first(frames: torch.Tensor, ndim: int) -> torch.Tensor:
    """uint8 frames (..., 3, H, W) from these or from (..., H, W, 3)."""
    if frames.ndim == ndim and frames.shape[-3] != 3 and frames.shape[-1] == 3:
        frames = frames.movedim(-1, -3)  # (..., 3, H, W)
    if frames.ndim != ndim or frames.shape[-3] != 3:
        raise ValueError(
            f"The frames have shape {tuple(frames.shape)}; expected RGB frames (n, 3, H, W), or a list of PIL images or (3, H, W) arrays."
        )
    if frames.dtype != torch.uint8:
        raise ValueError(f"The frames hold {frames.dtype}; expected uint8 from 0 to 255, before any scaling.")
    if min(frames.shape[-2:]) == 0:
        raise ValueError(f"The frames have shape {tuple(frames.shape)}: there is no pixel in them.")
    return frames


def cut_side(frames: torch.Tensor, side: str | None) -> torch.Tensor:
    """The left or the right half of the picture, (..., H, W) -> (..., H, W // 2); all of it for None."""
    if side not in SIDES:
        raise ValueError(f'side is {side!r}; expected "left", "right" or None.')
    half = max(1, frames.shape[-1] // 2)
    return {"left": frames[..., :half], "right": frames[..., -half:], None: frames}[side]


def resize_short_side(frames: torch.Tensor, size: int, resample: int) -> torch.Tensor:
    """Frames whose short side is `size` pixels; the long side is truncated to whole pixels.

    Bicubic is the original's way for still pictures: antialiased, on uint8, the result again uint8. Rounding inside the kernel differs
    from Pillow's: fewer than 1 % of the values of a photograph are off, nearly all by one grey level. Bilinear is the original's way for video:
    on floats from 0 to 1, without antialiasing.

    Args:
        frames: uint8 (n, 3, H, W).

    Returns:
        uint8 (bicubic) or float32 in [0, 1] (bilinear), (n, 3, size, W') or (n, 3, H', size).
    """
    height, width = frames.shape[-2:]
    short = min(height, width)
    shape = (size * height // short, size * width // short)
    if resample == PILImageResampling.BILINEAR:
        return F.interpolate(frames.float() / 255, size=shape, mode="bilinear", align_corners=False)
    return F.interpolate(frames, size=shape, mode="bicubic", antialias=True, align_corners=False)


def crop_offsets(length: int, size: int, num_crops: int) -> list[int]:
    """Where the crops begin along the long side: centre; both ends; both ends and the centre.

    The original rounds a centre between two pixels to the even one for still pictures (one crop) and up for video (three crops).
    """
    end = length - size
    return {1: [round(end / 2)], 2: [0, end], 3: [0, math.ceil(end / 2), end]}[num_crops]


class ImageBindImageProcessor(BaseImageProcessor):
    """Frames to `pixel_values`, equal to the original ImageBind's: short side to `size`, square crops, CLIP's mean and deviation.

    Args:
        size: height and width of the result in pixels.
        num_crops: crops of each frame along its long side: 1 centre, 2 both ends, 3 both ends and the centre.
        resample: `PILImageResampling.BICUBIC` (the original's still pictures) or `PILImageResampling.BILINEAR` (its video clips).
        image_mean, image_std: of red, green and blue in [0, 1].

    Raises:
        ValueError: another number of crops or resampling.
    """

    valid_kwargs = ImageBindImagesKwargs
    model_input_names = ["pixel_values"]

    def __init__(
        self,
        size: int = 224,
        num_crops: int = 1,
        resample: int = PILImageResampling.BICUBIC,
        image_mean: Sequence[float] = OPENAI_CLIP_MEAN,
        image_std: Sequence[float] = OPENAI_CLIP_STD,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_crops not in (1, 2, 3):
            raise ValueError(
                f"num_crops is {num_crops}; expected 1 (centre), 2 (both ends) or 3 (both ends and centre)."
            )
        if resample not in (PILImageResampling.BICUBIC, PILImageResampling.BILINEAR):
            raise ValueError(f"resample is {resample}; expected PILImageResampling.BICUBIC (3) or BILINEAR (2).")
        self.size = size
        self.num_crops = num_crops
        self.resample = int(resample)
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)

    def __call__(
        self,
        frames: torch.Tensor | np.ndarray | Image.Image | Sequence,
        side: str | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Pictures for the vision tower.

        Args:
            frames: RGB from 0 to 255: uint8 (n, 3, H, W) or (n, H, W, 3); one PIL image; or a list of PIL images and uint8 arrays of any sizes.
            side: "left" or "right" first cuts that half of the picture (two speakers side by side).
            return_tensors: "pt" or "np".

        Returns:
            `pixel_values`, float32 (n * num_crops, 3, size, size), the crops of one frame next to each other.

        Raises:
            ValueError: no RGB frames, not uint8, or an unknown side.
        """
        if isinstance(frames, torch.Tensor | np.ndarray):
            groups = [_channels_first(torch.as_tensor(frames), ndim=4)]
        else:
            frames = [frames] if isinstance(frames, Image.Image) else frames
            frames = [_as_frame(frame) for frame in frames]
            same_size = len({frame.shape for frame in frames}) == 1
            groups = (
                [torch.stack(frames)] if same_size else [frame[None] for frame in frames]
            )  # (n, 3, H, W) or n of (1, 3, H, W)
        pixel_values = torch.empty(sum(map(len, groups)) * self.num_crops, 3, self.size, self.size)
        done = 0
        for group in groups:
            pictures = pixel_values[done : done + len(group) * self.num_crops]
            self._prepare(cut_side(group, side), pictures.unflatten(0, (len(group), self.num_crops)))
            done += len(pictures)
        return BatchFeature({"pixel_values": pixel_values}, tensor_type=return_tensors)

    def _prepare(self, frames: torch.Tensor, pictures: torch.Tensor) -> None:
        """uint8 frames (n, 3, H, W) into float32 pictures (n, num_crops, 3, size, size)."""
        if not len(frames):
            return
        resized = resize_short_side(frames.cpu(), self.size, self.resample)  # the uint8 kernel exists on the CPU only
        axis = -2 if resized.shape[-2] > resized.shape[-1] else -1
        for crop, offset in enumerate(crop_offsets(resized.shape[axis], self.size, self.num_crops)):
            pictures[:, crop] = resized.narrow(axis, offset, self.size)
        # x / (full * std) - mean / std: one multiplication and one subtraction in place.
        full = 255 if resized.dtype == torch.uint8 else 1
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.image_mean, self.image_std))
        pictures.mul_(1 / (full * std)).sub_(mean / std)


__all__ = ["ImageBindImageProcessor", "crop_offsets", "cut_side", "resize_short_side"]
