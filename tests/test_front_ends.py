"""Front ends of transformers by one way of calling, each against its own call."""

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from modeling_semanticmac.feature_extraction_imagebind import ImageBindFeatureExtractor, sound_inputs
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor, picture_inputs

SIZE = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


@pytest.fixture
def frames():
    return torch.randint(0, 256, (4, 3, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def windows():
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(length, generator=generator) + 0.3 for length in (8000, 16000, 500)]


@pytest.mark.parametrize("side", [None, "left", "right"])
def test_imagebind_pictures(frames, side):
    own = ImageBindImageProcessor(size=28, num_crops=3)
    expected = own(frames, side=side)["pixel_values"]
    assert torch.equal(picture_inputs(own, frames, side), expected) and len(expected) == 12


def test_clip_pictures(frames):
    other = CLIPImageProcessorPil(**SIZE)
    expected = other(images=[frame.permute(1, 2, 0).numpy() for frame in frames], return_tensors="pt")["pixel_values"]
    found = picture_inputs(other, frames)
    assert found.shape == (4, 3, 32, 32) and torch.equal(found, expected)
    # The left half alone: what stands in the right one changes nothing.
    left = picture_inputs(other, frames, "left")
    frames[..., 30:] = 0
    assert torch.equal(picture_inputs(other, frames, "left"), left) and not torch.equal(
        picture_inputs(other, frames), found
    )


def test_what_is_no_picture_a_frame_is_refused(frames):
    class Patches:
        def __call__(self, images, return_tensors):
            return {"pixel_values": torch.zeros(9 * len(images), 588)}

    with pytest.raises(
        ValueError, match=r"Patches returned pixel_values of shape \(36, 588\); expected one picture a frame"
    ):
        picture_inputs(Patches(), frames)


def test_imagebind_sounds(windows):
    own = ImageBindFeatureExtractor(num_mel_bins=32)
    assert torch.equal(sound_inputs(own, windows, 16000, 16000), own(windows, sampling_rate=16000)["input_features"])


def test_waveforms_are_normalised_before_silence_is_added(windows):
    """Silence fills the last 20 ms of a window (500 samples: 640); behind it there is nothing."""
    found = sound_inputs(Wav2Vec2FeatureExtractor(), windows, 16000, 16000)
    assert found.shape == (3, 16000)
    for row, window, end in zip(found, windows, (8000, 16000, 640)):
        sound = window.numpy()
        expected = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
        np.testing.assert_allclose(row[: len(sound)].numpy(), expected, rtol=1e-5, atol=1e-5)
        assert not row[len(sound) : end].any() and row[end:].isnan().all()


def test_windows_that_are_all_short_are_not_padded(windows):
    assert sound_inputs(Wav2Vec2FeatureExtractor(), [windows[0], windows[2]], 16000, 16000).shape == (2, 8000)
    assert sound_inputs(Wav2Vec2FeatureExtractor(), [torch.zeros(0)], 16000, 16000).shape == (1, 640)


@pytest.mark.parametrize("seconds", [1.0, 0.999, 30.0])
def test_whisper_gets_windows_as_long_as_asked(windows, seconds):
    """The spectrogram is the one that transformers makes of the padded 30 s, cut where the window ends.

    It is floored 80 dB below its loudest value, which is the same in both. A pair of frames is one step.
    """
    extractor = WhisperFeatureExtractor(feature_size=20)
    found = sound_inputs(extractor, windows, 16000, round(seconds * 16000))
    assert found.shape == (3, 20, 100)
    for row, window, frames in zip(found, windows, (50, 100, 4)):
        whole = extractor(window.numpy(), sampling_rate=16000, return_tensors="pt")["input_features"]
        assert whole.shape == (1, 20, 3000)
        torch.testing.assert_close(row[:, : frames - 2], whole[0, :, : frames - 2], rtol=1e-4, atol=1e-4)
        assert row[:, :frames].isfinite().all() and row[:, frames:].isnan().all()


@pytest.mark.parametrize("long", [16000, 20000])
def test_spectrograms_have_one_shape(windows, long):
    """A window that is longer than a full one is cut, so that a clip's inputs can be stacked."""
    extractor = ASTFeatureExtractor(max_length=100)
    windows[1] = torch.cat([windows[1], torch.ones(long - 16000)])
    found = sound_inputs(extractor, windows, 16000, 16000)
    sounds = [np.pad(window.numpy()[:16000], (0, max(0, 16000 - len(window)))) for window in windows]
    expected = torch.cat(
        [extractor(sound, sampling_rate=16000, return_tensors="pt")["input_values"] for sound in sounds]
    )
    assert found.shape == (3, 100, 128)
    torch.testing.assert_close(found, expected)
