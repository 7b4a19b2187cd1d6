"""The front ends against what one would take otherwise: transformers' `audio_utils` for the spectrogram, Pillow for the
pictures.

    python -m pytest tests/benchmarks/bench_front_ends.py -o python_files='bench_*.py'

One core, as in a worker process. Each figure is the median of ratios of times measured in turns.
"""

import statistics
import time

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from modeling_semanticmac.feature_extraction_imagebind import ImageBindFeatureExtractor
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor

ROUNDS = 9
MEAN, STD = -4.268, 9.138
SIZES = {"360p": (360, 640), "720p": (720, 1280), "upright": (640, 360)}


def compare(record, title: str, one, two, count: int) -> float:
    """How much faster the first way is than the second: the median of the ratios of neighbouring measurements."""
    seconds = []
    for _ in range(ROUNDS):
        pair = []
        for way in (one, two):
            start = time.perf_counter()
            way()
            pair.append((time.perf_counter() - start) / count)
        seconds.append(pair)
    ratio = statistics.median(other / own for own, other in seconds)
    own, other = (1000 * min(column) for column in zip(*seconds))
    record.row("front_ends", what=title, this_package=f"{own:.2f} ms", other=f"{other:.2f} ms", ratio=f"{ratio:.1f} x")
    record.ratio(title, f"{own:.2f} ms", f"{other:.2f} ms", ratio)
    return ratio


def test_log_mel_against_audio_utils(record):
    """64 windows of two seconds; the same values (float64 there) at least eight times as fast."""
    windows = torch.randn(64, 32000, generator=torch.Generator().manual_seed(0)) * 0.1
    extractor = ImageBindFeatureExtractor()
    filters = mel_filter_bank(257, 128, 20.0, 8000.0, 16000, mel_scale="kaldi", triangularize_in_mel_space=True)
    window = window_function(400, "hann", periodic=False)

    def library() -> torch.Tensor:
        rows = []
        for row in windows.numpy():
            log_mel = spectrogram(
                row - row.mean(), window, 400, 160, 512, power=2.0, center=False, preemphasis=0.97, mel_filters=filters,
                log_mel="log", mel_floor=np.finfo(np.float32).eps, remove_dc_offset=True,
            )  # fmt: skip
            padded = np.pad(log_mel, ((0, 0), (0, 204 - log_mel.shape[1])))
            rows.append(torch.from_numpy((padded - MEAN) / STD).float())
        return torch.stack(rows)[:, None]  # (n, 1, M, F)

    def own() -> torch.Tensor:
        return extractor(windows, 16000)["input_features"]

    assert (own() - library()).abs().max() < 1e-3
    title = "log-mel of a 2 s window, compared with transformers' `audio_utils`"
    assert compare(record, title, own, library, len(windows)) >= 4  # 6 to 8.5 on the processors that were tried


@pytest.mark.parametrize("kind", SIZES)
def test_frames_against_pillow(record, kind):
    """16 frames; the same values but for single ones that are one grey level off, at least three times as fast."""
    height, width = SIZES[kind]
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / 9 + shift) * np.cos(columns / 13 - shift) for shift in (0, 1, 2)]
    grain = np.random.default_rng(0).normal(0, 6, (16, height, width, 3))
    frames = (127 + 110 * np.stack(waves, axis=-1) + grain).clip(0, 255).astype(np.uint8)
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()  # as a decoder gives them
    processor = ImageBindImageProcessor()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (processor.image_mean, processor.image_std))
    short = min(height, width)
    size = (224 * width // short, 224 * height // short)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)

    def pillow() -> torch.Tensor:
        rows = []
        for frame in frames:
            picture = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
            picture = np.array(picture.crop((left, top, left + 224, top + 224)))
            rows.append((torch.from_numpy(picture).permute(2, 0, 1) / 255 - mean) / std)
        return torch.stack(rows)

    def own() -> torch.Tensor:
        return processor(tensor)["pixel_values"]

    difference = (own() - pillow()).abs()
    assert difference.max() < 2 / 255 / std.min() and (difference > 1e-4).float().mean() < 0.01
    assert (
        compare(
            record, f"frame of {width} x {height} to `pixel_values`, compared with Pillow", own, pillow, len(frames)
        )
        >= 3
    )
