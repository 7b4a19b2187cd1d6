"""Video frames to the pictures that ImageBind's vision tower takes; torch only.

Legend: n frames, H height, W width in pixels.
"""

import functools
import inspect
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
ONE_COLOUR = 4  # grey levels; a picture whose colours differ by no more shows nothing

# High dynamic range: ITU-R BT.2100. One fixed curve for all files, so that training and prediction see the same.
HLG_PEAK = 1000.0  # cd/m2 of a full HLG signal
HDR_WHITE = 600.0  # cd/m2 shown as SDR's white; brighter light is compressed into the last part of the scale
KNEE, HEADROOM = 0.3, 10.0  # the curve is a line up to the knee, above a Moebius function that reaches white at 10
SDR_GAMMA = 2.4  # BT.1886
BT2020_LUMA = (0.2627, 0.6780, 0.0593)
BT2020_TO_BT709 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
ROWS_AT_A_TIME = 256  # bounds the memory of a conversion


@functools.cache
def _light(colours: str) -> torch.Tensor:
    """Return the light of each 16-bit colour value, relative to white; float32 (65536,)."""
    value = torch.arange(65536, dtype=torch.float64, device="cpu") / 65535
    if colours == "PQ":
        root = value ** (32 / 2523)
        light = ((root - 0.8359375).clamp(min=0) / (18.8515625 - 18.6875 * root)) ** (16384 / 2610)
        light = light * 10_000 / HDR_WHITE
    elif colours == "HLG":  # of the scene; the screen's part depends on all three colours
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = torch.where(value <= 0.5, value**2 / 3, (torch.exp((value - c) / a) + b) / 12)
    else:
        light = value**SDR_GAMMA
    return light.float()


def as_bt709(picture: torch.Tensor, colours: str) -> torch.Tensor:
    """Convert a picture with the primaries of BT.2020 to the colours of BT.709.

    The light of a screen is computed (for HLG one of 1000 cd/m2), its primaries are changed, and what is brighter than
    0.3 of HDR_WHITE is compressed by a fixed curve, all three colours by the same factor.

    Args:
        picture: Integers from 0 to 65535, (H, W, 3), red, green and blue.
        colours: "HLG", "PQ", or "BT.2020" for a picture of standard dynamic range.

    Returns:
        uint8 (H, W, 3).
    """
    table, shown = _light(colours), torch.empty_like(picture, dtype=torch.uint8)
    luma, primaries = (torch.tensor(values, device="cpu") for values in (BT2020_LUMA, BT2020_TO_BT709))
    slope, offset = -(KNEE**2) * (HEADROOM - 1), KNEE**2 - 2 * KNEE * HEADROOM + HEADROOM
    slope, offset = slope / (KNEE**2 - 2 * KNEE + HEADROOM), offset / (HEADROOM - 1)
    for start in range(0, len(picture), ROWS_AT_A_TIME):
        rows = picture[start : start + ROWS_AT_A_TIME]
        light = table.index_select(0, rows.reshape(-1)).view(rows.shape)
        if colours == "HLG":
            light = light * ((light @ luma).clamp(min=1e-6) ** 0.2 * (HLG_PEAK / HDR_WHITE))[..., None]
        light = (light @ primaries.T).clamp(min=0)
        if colours != "BT.2020":
            brightest = light.amax(dim=-1, keepdim=True).clamp(min=1e-6)
            curve = (offset + KNEE) ** 2 / (offset - slope) * (brightest + slope) / (brightest + offset)
            light = light * torch.where(brightest <= KNEE, 1, curve / brightest)
        shown[start : start + ROWS_AT_A_TIME] = (light.clamp(max=1) ** (1 / SDR_GAMMA) * 255).round()
    return shown


def is_one_colour(frames: torch.Tensor) -> bool:
    """Return whether each of some frames, uint8 (..., 3, H, W), is of one colour, such as a black picture."""
    spread = frames.amax(dim=(-2, -1)).int() - frames.amin(dim=(-2, -1)).int()  # (..., 3)
    return bool((spread <= ONE_COLOUR).all())


class ImageBindImagesKwargs(ImagesKwargs, total=False):
    """Settings that `from_pretrained` may override, beside the library's own names."""

    num_crops: int


def _as_frame(frame: Image.Image | np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return a picture of any accepted form as uint8 (3, H, W)."""
    if isinstance(frame, Image.Image):
        frame = np.array(frame.convert("RGB"))
    return _channels_first(torch.as_tensor(frame), ndim=3)


def _channels_first(frames: torch.Tensor, ndim: int) -> torch.Tensor:
    """Return uint8 frames (..., 3, H, W) from these or from (..., H, W, 3)."""
    if frames.ndim == ndim and frames.shape[-3] != 3 and frames.shape[-1] == 3:
        frames = frames.movedim(-1, -3)  # (..., 3, H, W)
    if frames.ndim != ndim or frames.shape[-3] != 3:
        raise ValueError(
            f"The frames have shape {tuple(frames.shape)}; expected RGB frames (n, 3, H, W), one RGB picture "
            "(3, H, W) or (H, W, 3), or a list of PIL images or (3, H, W) arrays."
        )
    if frames.dtype != torch.uint8:
        raise ValueError(f"The frames hold {frames.dtype}; expected uint8 from 0 to 255, before any scaling.")
    if min(frames.shape[-2:]) == 0:
        raise ValueError(f"The frames have shape {tuple(frames.shape)}: there is no pixel in them.")
    return frames


def frame_groups(images: torch.Tensor | np.ndarray | Image.Image | Sequence) -> list[torch.Tensor]:
    """Return images of any form that ImageBindImageProcessor accepts, in order, as frames uint8 (n, 3, H, W).

    Returns:
        One group, or one for each frame where their sizes differ.
    """
    if isinstance(images, Image.Image) or getattr(images, "ndim", None) == 3:
        images = [images]
    if isinstance(images, torch.Tensor | np.ndarray):
        return [_channels_first(torch.as_tensor(images), ndim=4)]
    frames = [_as_frame(frame) for frame in images]
    same_size = len({frame.shape for frame in frames}) == 1
    return [torch.stack(frames)] if same_size else [frame[None] for frame in frames]


def cut_side(frames: torch.Tensor, side: str | None) -> torch.Tensor:
    """Return the left or right half of frames, (..., H, W) -> (..., H, W // 2), or the whole for None."""
    if side not in SIDES:
        raise ValueError(f'side is {side!r}; expected "left", "right" or None.')
    half = max(1, frames.shape[-1] // 2)
    return {"left": frames[..., :half], "right": frames[..., -half:], None: frames}[side]


def resize_short_side(frames: torch.Tensor, size: int, resample: int) -> torch.Tensor:
    """Resize frames so that the short side has `size` pixels; the long side is truncated to whole pixels.

    Bicubic is what the original uses for still pictures: antialiased, on uint8, and the result is again uint8.
    Rounding inside the kernel differs from Pillow's: fewer than 1 % of the values of a photograph are off, nearly all
    by one grey level. Bilinear is what the original uses for video: on floats from 0 to 1, without antialiasing.

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
    """Return where the crops begin along the long side: centre; both ends; both ends and the centre.

    The original rounds a centre between two pixels to the even one for still pictures (one crop) and up for video
    (three crops).
    """
    end = length - size
    return {1: [round(end / 2)], 2: [0, end], 3: [0, math.ceil(end / 2), end]}[num_crops]


class ImageBindImageProcessor(BaseImageProcessor):
    """Image processor that turns frames into `pixel_values`, equal to the original ImageBind's.

    The short side is resized to `size`, square crops are cut, and CLIP's mean and deviation are applied.

    Args:
        size: Height and width of the result in pixels.
        num_crops: Crops of each frame along its long side: 1 (centre), 2 (both ends) or 3 (both ends and the centre).
        resample: `PILImageResampling.BICUBIC` (the original's still pictures) or `PILImageResampling.BILINEAR` (its
            video clips).
        image_mean, image_std: Mean and deviation of red, green and blue in [0, 1].

    Raises:
        ValueError: If num_crops or resample has another value.
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

    def __call__(  # type: ignore[override]  # fewer options than the library's: the towers fix the others
        self,
        images: torch.Tensor | np.ndarray | Image.Image | Sequence,
        side: str | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Prepare pictures for the vision tower.

        Args:
            images: RGB from 0 to 255: one picture as a PIL image or uint8 (H, W, 3) or (3, H, W); n frames as uint8
                (n, 3, H, W) or (n, H, W, 3); or a list of PIL images and uint8 arrays of any sizes.
            side: "left" or "right" first cuts out that half of the picture (two speakers side by side).
            return_tensors: "pt" or "np".

        Returns:
            `pixel_values`, float32 (n * num_crops, 3, size, size), the crops of one frame next to each other.

        Raises:
            ValueError: If the images are not RGB or not uint8, or the side is unknown.
        """
        groups = frame_groups(images)
        pixel_values = torch.empty(sum(map(len, groups)) * self.num_crops, 3, self.size, self.size)
        done = 0
        for group in groups:
            pictures = pixel_values[done : done + len(group) * self.num_crops]
            self._prepare(cut_side(group, side), pictures.unflatten(0, (len(group), self.num_crops)))
            done += len(pictures)
        return BatchFeature({"pixel_values": pixel_values}, tensor_type=return_tensors)

    def _prepare(self, frames: torch.Tensor, pictures: torch.Tensor) -> None:
        """Write uint8 frames (n, 3, H, W) into float32 pictures (n, num_crops, 3, size, size)."""
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


def picture_inputs(image_processor, frames, side: str | None = None) -> torch.Tensor:
    """Turn uint8 frames into the inputs of a vision tower.

    Args:
        image_processor: ImageBindImageProcessor, or any image processor of transformers that returns one picture a
            frame.
        frames: (n, 3, H, W), or a list of frames as the image processor takes them.
        side: "left" or "right" first cuts that half of the picture.

    Returns:
        float32 (n * crops, 3, height, width).

    Raises:
        ValueError: the image processor does not return one picture a frame.
    """
    if "side" in inspect.signature(image_processor.__call__).parameters:
        return image_processor(frames, side=side, return_tensors="pt")["pixel_values"]
    if side is not None:
        frames = [cut_side(torch.as_tensor(frame), side) for frame in frames]
    pixel_values = image_processor(images=list(frames), return_tensors="pt")["pixel_values"]
    if pixel_values.ndim != 4:
        raise ValueError(
            f"{type(image_processor).__name__} returned pixel_values of shape {tuple(pixel_values.shape)}; expected "
            "one picture a frame, (n, 3, height, width). Use the image processor of an image encoder."
        )
    return pixel_values


__all__ = [
    "ImageBindImageProcessor",
    "as_bt709",
    "crop_offsets",
    "cut_side",
    "frame_groups",
    "is_one_colour",
    "picture_inputs",
    "resize_short_side",
]
