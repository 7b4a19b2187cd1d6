"""Sound to log-mel windows, against the original's recorded front end and Kaldi's; lengths, batches, refused input."""

import kaldi_native_fbank
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor

from modeling_semanticmac.configuration_imagebind import ImageBindAudioConfig
from modeling_semanticmac.feature_extraction_imagebind import ImageBindFeatureExtractor, log_mel_filter_bank

PADDING = 4.268 / 9.138  # what a zero of the log-mel becomes when it is normalised


@pytest.fixture(scope="module")
def goldens(shared):
    return load_file(shared / "goldens" / "imagebind_tiny_a" / "fbank.safetensors")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def features(windows, **fields) -> torch.Tensor:
    return ImageBindFeatureExtractor(**fields)(windows, sampling_rate=16000)["input_features"]


@pytest.mark.parametrize("name", ["synthetic", "speech"])
def test_equals_the_original(goldens, name):
    found = features(goldens[f"{name}.waveform"])
    difference = (found[0] - goldens[f"{name}.mel"]).abs()
    assert found.shape == (1, 1, 128, 204) and found.dtype == torch.float32
    assert difference.max() <= 1e-3
    assert difference.mean() <= 2e-5


def kaldi_filter_bank(waveform: np.ndarray, num_mel_bins: int) -> np.ndarray:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.window_type = "hanning"
    options.mel_opts.num_bins = num_mel_bins
    options.mel_opts.low_freq = 20
    kaldi = kaldi_native_fbank.OnlineFbank(options)
    kaldi.accept_waveform(16000, waveform.tolist())
    kaldi.input_finished()
    return np.stack([kaldi.get_frame(i) for i in range(kaldi.num_frames_ready)])


@pytest.mark.parametrize("num_mel_bins", [23, 64, 100])
@pytest.mark.parametrize("kind", ["noise", "sine", "silence"])
def test_equals_kaldi(num_mel_bins, kind):
    """Kaldi itself refuses 128 bins at this transform size: one filter between two frequencies would be empty."""
    seconds = torch.arange(20000) / 16000
    waveform = {
        "noise": noise(20000),
        "sine": 0.5 * torch.sin(2 * torch.pi * 440 * seconds),
        "silence": torch.zeros(20000),
    }[kind]
    expected = kaldi_filter_bank(waveform.numpy(), num_mel_bins)
    found = log_mel_filter_bank(waveform[None], 16000, num_mel_bins)[0].numpy()
    assert found.shape == expected.shape == (123, num_mel_bins)
    # A pure tone leaves almost empty bins, where float32 is less exact: this filter bank in float64 differs from
    # Kaldi's by as much.
    assert np.abs(found - expected).max() < (5e-3 if kind == "sine" else 1e-3)
    assert np.abs(found - expected).mean() < (2e-4 if kind == "sine" else 1e-5)


def test_a_constant_offset_costs_no_digits():
    """The mean of a window is removed before anything is multiplied."""
    window = 0.01 * noise(1, 32000)
    assert (features(window + 0.5) - features(window)).abs().max() < 1e-3


def test_padding_before_normalising():
    """2 s have 198 frames; the other 6 hold the normalised zero."""
    found = features(noise(1, 32000))
    assert found[..., 198:].sub(PADDING).abs().max() < 1e-6
    assert found[..., 197].sub(PADDING).abs().min() > 1e-6


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(0, 0), (1, 0), (399, 0), (400, 1), (559, 1), (560, 2), (640, 2), (33040, 204), (48000, 204)],
)
def test_windows_of_any_length(samples, frames):
    """From 25 ms on there is one more frame every 10 ms; those after the first 204 are cut off."""
    found = features([noise(samples)])
    is_padding = (found[0, 0] - PADDING).abs().amax(dim=0) < 1e-6
    assert found.shape == (1, 1, 128, 204)
    assert is_padding.tolist() == [False] * frames + [True] * (204 - frames)


def test_a_long_window_is_cut_at_its_end():
    """203 hops of 10 ms and one frame of 25 ms: later samples do not count."""
    window = noise(64000)
    assert (features(window) - features(window[: 203 * 160 + 400])).abs().max() < 1e-4


def test_windows_of_different_lengths_do_not_see_each_other():
    windows = [noise(samples, seed=samples) for samples in (32000, 8000, 399, 64000, 8000, 559, 400, 12345, 32000, 1)]
    together = features(windows)
    alone = torch.cat([features(window) for window in windows])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_forms_of_input_agree():
    windows = noise(3, 8000)
    expected = features(windows)
    for form in (windows.numpy(), list(windows), list(windows.numpy()), windows.double()):
        torch.testing.assert_close(features(form), expected, rtol=0, atol=1e-5)
    as_array = ImageBindFeatureExtractor()(windows, 16000, return_tensors="np")["input_features"]
    assert isinstance(as_array, np.ndarray) and np.array_equal(as_array, expected.numpy())


def test_no_windows():
    assert features([]).shape == features(torch.zeros(0, 32000)).shape == (0, 1, 128, 204)


@pytest.mark.parametrize(
    ("windows", "rate", "message"),
    [
        (noise(2, 32000), 44100, "sampled at 44100 Hz; expected 16000 Hz"),
        (noise(2, 2, 32000), 16000, r"shape \(2, 2, 32000\); expected mono"),
        ([noise(2, 32000)], 16000, r"shape \(2, 32000\); expected mono"),
        ([noise(10), np.zeros(800, dtype=np.int16)], 16000, "hold torch.int16; expected floating point"),
    ],
)
def test_what_is_no_window_is_refused(windows, rate, message):
    with pytest.raises(ValueError, match=message):
        ImageBindFeatureExtractor()(windows, sampling_rate=rate)


def test_saved_and_loaded(tmp_path):
    AutoFeatureExtractor.register(ImageBindAudioConfig, ImageBindFeatureExtractor, exist_ok=True)
    extractor = ImageBindFeatureExtractor(num_mel_bins=32, num_mel_frames=46, mean=-3.0, std=4.0)
    extractor.save_pretrained(tmp_path)
    for loaded in (ImageBindFeatureExtractor.from_pretrained(tmp_path), AutoFeatureExtractor.from_pretrained(tmp_path)):
        assert type(loaded) is ImageBindFeatureExtractor
        assert loaded.to_dict() == extractor.to_dict()
        window = noise(1, 8000)
        assert torch.equal(loaded(window, 16000)["input_features"], extractor(window, 16000)["input_features"])
    assert loaded(noise(1, 8000), 16000)["input_features"].shape == (1, 1, 32, 46)
