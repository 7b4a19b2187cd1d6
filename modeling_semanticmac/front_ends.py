"""Front ends of any kind by one way of calling: pictures for a vision tower, sound windows for an audio tower.

ImageBind's own take halves of pictures and windows of any length; those of other encoders in transformers are called as that library calls them.
"""

import inspect
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from .image_processing_imagebind import cut_side


def picture_inputs(image_processor, frames, side: str | None = None) -> torch.Tensor:
    """uint8 frames to the inputs of a vision tower.

    Args:
        image_processor: ImageBindImageProcessor, or any image processor of transformers that gives one picture a frame.
        frames: (n, 3, H, W), or a list of frames as the image processor takes them.
        side: "left" or "right" first cuts that half of the picture.

    Returns:
        float32 (n * crops, 3, height, width).

    Raises:
        ValueError: the image processor gives something else than pictures.
    """
    if "side" in inspect.signature(image_processor.__call__).parameters:
        return image_processor(frames, side=side, return_tensors="pt")["pixel_values"]
    if side is not None:
        frames = [cut_side(torch.as_tensor(frame), side) for frame in frames]
    pixel_values = image_processor(images=list(frames), return_tensors="pt")["pixel_values"]
    if pixel_values.ndim != 4:
        raise ValueError(
            f"{type(image_processor).__name__} gives pixel_values of shape {tuple(pixel_values.shape)}; expected one picture a frame, "
            "(n, 3, height, width). Use the image processor of an image encoder."
        )
    return pixel_values


def sound_inputs(
    feature_extractor, windows: Sequence[torch.Tensor], sampling_rate: int, num_samples: int
) -> torch.Tensor:
    """Sound windows to the inputs of an audio tower.

    Args:
        feature_extractor: ImageBindFeatureExtractor, or one of transformers for waveforms (HuBERT, WavLM) or spectrograms (AST).
        windows: mono sound, float32 (samples,) each.
        sampling_rate: Hz of the windows; must be the feature extractor's.
        num_samples: of a full window; shorter ones are followed by silence, so that all inputs have one shape.

    Returns:
        float32 (n, ...), as the tower takes it.
    """
    parameters = inspect.signature(feature_extractor.__call__).parameters
    if "windows" in parameters:
        return feature_extractor(windows, sampling_rate=sampling_rate)["input_features"]
    name = feature_extractor.model_input_names[0]
    windows = [torch.as_tensor(window, dtype=torch.float32)[:num_samples] for window in windows]
    options = {}
    if "padding" in parameters and parameters["padding"].default is False:
        # A waveform extractor: with a mask asked for it normalises what is there and then pads; without one, silence and all.
        options = {
            "padding": "max_length",
            "max_length": num_samples,
            "truncation": True,
            "return_attention_mask": True,
        }
    else:
        windows = [F.pad(window, (0, num_samples - len(window))) for window in windows]
    sounds = [window.numpy() for window in windows]
    return feature_extractor(sounds, sampling_rate=sampling_rate, return_tensors="pt", **options)[name]


__all__ = ["picture_inputs", "sound_inputs"]
