"""What a machine can hold of a live clip: how long its towers take for a second of it."""

import time

import numpy as np
import torch

from ..clip_reading import as_frame
from ..pipeline_semanticmac import SemanticMACPipeline

SHAPE = (480, 640, 3)  # of the picture that is tried
NAMES = {"vision": "a frame", "audio": "a window of sound"}


def encoding_seconds(pipe: SemanticMACPipeline) -> dict[str, float]:
    """Return how many seconds each tower needs for one frame, or one window of sound, its front end included.

    Each is encoded twice, as the first time is slower.

    Returns:
        modality -> seconds; only those that the model reads.
    """
    processor, generator = pipe.processor, np.random.default_rng(0)
    frame = as_frame(generator.integers(0, 256, SHAPE, dtype=np.uint8))[None]

    def sound() -> torch.Tensor:
        samples = round(processor.audio_window * processor.feature_extractor.sampling_rate)
        return torch.from_numpy(0.1 * generator.standard_normal(samples).astype(np.float32))

    inputs = {
        "vision": lambda: processor.pixel_values_of(frame, None, processor.face_cropper(None, 1)),
        "audio": lambda: processor.input_features_of([sound()]),
    }
    found = {}
    for modality in pipe.readable:
        for _ in range(2):
            start = time.perf_counter()
            pipe.embed(modality, inputs[modality]()).cpu()
            found[modality] = time.perf_counter() - start
    return found


def capacity_words(seconds: dict[str, float], rate: float) -> str:
    """Return in a sentence whether the machine can hold a live clip.

    Args:
        seconds: of `encoding_seconds`.
        rate: frames, and windows, a second.
    """
    if not seconds:
        return "The model reads neither picture nor sound, so there is nothing to hold."
    parts = " and ".join(f"{NAMES[name]} takes {1000 * taken:.0f} ms" for name, taken in seconds.items())
    load = rate * sum(seconds.values())
    told = f"Here {parts} to encode; {rate:g} of each a second keep this machine busy for {load:.0%} of the time."
    if load <= 1:
        return told
    return f"{told} It cannot hold that, so only about one in {load:.1f} is used: take a GPU, or smaller towers."


__all__ = ["capacity_words", "encoding_seconds"]
