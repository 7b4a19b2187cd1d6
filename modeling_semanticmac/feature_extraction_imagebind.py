"""Sound to the log-mel windows that ImageBind's audio tower takes; torch only.

The filter bank is Kaldi's, with the settings of the original front end. Legend: n windows, M mel bins, F spectrogram frames.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F
from transformers import FeatureExtractionMixin
from transformers.feature_extraction_utils import BatchFeature

FRAME_SECONDS = 0.025
HOP_SECONDS = 0.010
PREEMPHASIS = 0.97
LOWEST_FREQUENCY = 20.0  # Hz; the highest is half the sampling rate
ENERGY_FLOOR = torch.finfo(torch.float32).eps
WINDOWS_AT_A_TIME = 4  # bounds the memory of the framed signal; more at a time is slower: it leaves the cache


def _mel(frequency: torch.Tensor) -> torch.Tensor:
    return 1127.0 * torch.log1p(frequency / 700.0)


@functools.lru_cache(maxsize=8)
def mel_filters(num_mel_bins: int, sampling_rate: int, fft_size: int) -> torch.Tensor:
    """Kaldi's mel filters: triangles on the mel scale from 20 Hz to half the sampling rate, (fft_size / 2 + 1, M)."""
    frequencies = torch.arange(fft_size // 2 + 1, dtype=torch.float64) * sampling_rate / fft_size
    bounds = _mel(torch.tensor([LOWEST_FREQUENCY, sampling_rate / 2], dtype=torch.float64))
    edges = torch.linspace(bounds[0], bounds[1], num_mel_bins + 2, dtype=torch.float64)
    rising = (_mel(frequencies)[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - _mel(frequencies)[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


def log_mel_filter_bank(waveforms: torch.Tensor, sampling_rate: int, num_mel_bins: int) -> torch.Tensor:
    """Kaldi's log-mel filter bank energies of a batch, without dither and without padding at the edges.

    Frames of 25 ms every 10 ms, each without its mean, pre-emphasised (0.97), under a symmetric Hann window; power spectrum, mel
    triangles, natural logarithm floored at float32's epsilon.

    Args:
        waveforms: (n, samples) float in [-1, 1]; a large constant offset costs digits, so take it off before.
        sampling_rate: Hz.
        num_mel_bins: M.

    Returns:
        (n, F, M), F = 1 + (samples - 25 ms) // 10 ms, zero for a signal shorter than one frame.
    """
    length, hop = round(FRAME_SECONDS * sampling_rate), round(HOP_SECONDS * sampling_rate)
    if waveforms.shape[-1] < length:
        return waveforms.new_zeros(len(waveforms), 0, num_mel_bins)
    fft_size = 2 ** math.ceil(math.log2(length))
    # (x[t] - mu) - 0.97 (x[t - 1] - mu) = (x[t] - 0.97 x[t - 1]) - 0.03 mu: one pass over the signal instead of two over its overlapping frames. What
    # stands before a frame's first sample does not matter: the window is zero there.
    means = waveforms.unfold(-1, length, hop).mean(dim=-1, keepdim=True)  # (n, F, 1)
    emphasised = F.pad(waveforms[:, 1:] - PREEMPHASIS * waveforms[:, :-1], (1, 0)).unfold(
        -1, length, hop
    )  # (n, F, length)
    window = torch.hann_window(length, periodic=False, dtype=waveforms.dtype, device=waveforms.device)
    spectrum = torch.fft.rfft(
        (emphasised - (1 - PREEMPHASIS) * means).mul_(window), n=fft_size
    )  # (n, F, fft_size / 2 + 1)
    power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
    filters = mel_filters(num_mel_bins, sampling_rate, fft_size).to(power)
    return (power @ filters).clamp_(min=ENERGY_FLOOR).log_()  # (n, F, M)


def _check_windows(windows: torch.Tensor, ndim: int) -> torch.Tensor:
    """The same windows as float32, or a ValueError for what is no mono sound in floating point."""
    if windows.ndim != ndim:
        raise ValueError(
            f"The windows have shape {tuple(windows.shape)}; expected mono sound: (n, samples), (samples,) or a list of (samples,). "
            "Mix the channels first."
        )
    if not windows.is_floating_point():
        raise ValueError(
            f"The windows hold {windows.dtype}; expected floating point samples in [-1, 1]. Divide 16-bit samples by 32768."
        )
    return windows.float()


def _as_rows(windows) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows of any accepted form to rows padded with zeros (n, samples) and their lengths (n,)."""
    if isinstance(windows, torch.Tensor | np.ndarray):
        windows = torch.as_tensor(windows)
        rows = _check_windows(windows[None] if windows.ndim == 1 else windows, ndim=2)
        return rows, torch.full((len(rows),), rows.shape[1])
    parts = [_check_windows(torch.as_tensor(window), ndim=1) for window in windows]
    if not parts:
        return torch.zeros(0, 0), torch.zeros(0, dtype=torch.long)
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True), torch.tensor([len(part) for part in parts])


class ImageBindFeatureExtractor(FeatureExtractionMixin):
    """Windows of sound to `input_features`, equal to the original ImageBind's.

    The mean of each window is taken off, then `log_mel_filter_bank`; windows with more than `num_mel_frames` frames lose the rest,
    shorter ones (2 s have 198 of 204) are padded with zeros, and only then everything is normalised: (x - mean) / std. A window shorter
    than 25 ms is all padding.

    Args:
        sampling_rate: Hz of the windows.
        num_mel_bins, num_mel_frames: size of the result.
        mean, std: of log-mel energies, the original's.
    """

    model_input_names = ["input_features"]

    def __init__(
        self,
        sampling_rate: int = 16000,
        num_mel_bins: int = 128,
        num_mel_frames: int = 204,
        mean: float = -4.268,
        std: float = 9.138,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.sampling_rate = sampling_rate
        self.num_mel_bins = num_mel_bins
        self.num_mel_frames = num_mel_frames
        self.mean = mean
        self.std = std

    def __call__(
        self,
        windows: torch.Tensor | np.ndarray | Sequence,
        sampling_rate: int,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Log-mel windows.

        Args:
            windows: mono sound in [-1, 1], (n, samples), (samples,) for one window, or a list of 1-D windows of any lengths.
            sampling_rate: Hz of these windows; must be the extractor's.
            return_tensors: "pt" or "np".

        Returns:
            `input_features`, float32 (n, 1, num_mel_bins, num_mel_frames).

        Raises:
            ValueError: another sampling rate, more than one channel, or integer samples.
        """
        if sampling_rate != self.sampling_rate:
            raise ValueError(
                f"The windows are sampled at {sampling_rate} Hz; expected {self.sampling_rate} Hz. Resample them first."
            )
        rows, lengths = _as_rows(windows)
        # Padding is a zero before the normalisation.
        features = torch.full((len(rows), 1, self.num_mel_bins, self.num_mel_frames), -self.mean / self.std)
        for start in range(0, len(rows), WINDOWS_AT_A_TIME):
            part = slice(start, start + WINDOWS_AT_A_TIME)
            log_mel = self._log_mel(rows[part], lengths[part])  # (n, F, M)
            features[part, 0, :, : log_mel.shape[1]] = log_mel.transpose(1, 2)
        return BatchFeature({"input_features": features}, tensor_type=return_tensors)

    def _log_mel(self, rows: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Padded rows (n, samples) and their lengths (n,) -> normalised log-mel (n, F, M), at most num_mel_frames frames."""
        frame, hop = round(FRAME_SECONDS * self.sampling_rate), round(HOP_SECONDS * self.sampling_rate)
        means = rows.sum(dim=1, keepdim=True) / lengths.clamp(min=1)[:, None]
        rows = (rows - means)[:, : (self.num_mel_frames - 1) * hop + frame]  # what later frames would see is not needed
        log_mel = log_mel_filter_bank(rows, self.sampling_rate, self.num_mel_bins)
        # The padding of a short row never enters its own frames: these end where the row does.
        counts = ((lengths - frame).div(hop, rounding_mode="floor") + 1).clamp(min=0)
        if (counts < log_mel.shape[1]).any():
            padding = torch.arange(log_mel.shape[1]) >= counts[:, None]  # (n, F)
            log_mel.masked_fill_(padding[..., None], 0.0)
        return log_mel.sub_(self.mean).div_(self.std)


__all__ = ["ImageBindFeatureExtractor", "log_mel_filter_bank", "mel_filters"]
