"""Sound to the log-mel windows that ImageBind's audio tower takes; torch only.

The filter bank is Kaldi's, with the settings of the original front end. Legend: n windows, M mel bins, F spectrogram
frames, C channels.
"""

import functools
import inspect
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
STEP_SECONDS = 0.020  # one time step of encoders of speech
SHORTEST_STEPS = 2  # of a sound window: their convolutions need 25 ms
WINDOWS_AT_A_TIME = 4  # bounds the memory of the framed signal; more at a time is slower: it leaves the cache

# Shares of the channels in the mono mix before they are scaled to a sum of one: ITU-R BS.775. The centre carries the
# speech; the channel of low-frequency effects is left out.
CHANNEL_LEVELS = {
    "FC": 1.0,
    "FL": 0.5**0.5,
    "FR": 0.5**0.5,
    "LFE": 0.0,
    **dict.fromkeys(("BL", "BR", "BC", "SL", "SR"), 0.5),
}
SILENCE = 10 ** (-70 / 20)  # peak of digital silence, -70 dBFS: ten steps of 16-bit sound
EMPTY_POWER = 1e-3  # a channel 30 dB below the loudest one only lowers the mix
# The mix of channels that have nothing to do with each other has the sum of their powers; a quarter of it is the work
# of opposite phases (a correlation below -0.75).
CANCELLED_POWER = 0.25


def mono_mix(channels: Sequence[str]) -> np.ndarray:
    """Return the share of each named channel in a mono mix.

    Stereo has equal shares; in surround sound the centre is loudest. The shares sum to one.

    Args:
        channels: FFmpeg's names of the channels ("FL", "FR", "FC", ...); with an unknown one among them, or with
            effects alone, all have equal shares.

    Returns:
        float32 (C,).
    """
    levels = np.array([CHANNEL_LEVELS.get(name, np.nan) for name in channels], dtype=np.float32)
    if not np.isfinite(levels).all() or levels.sum() == 0:
        levels = np.ones(len(channels), dtype=np.float32)
    return levels / levels.sum()


def mix_channels(
    sound: torch.Tensor, shares: np.ndarray | torch.Tensor | None = None, names: Sequence[str] = ()
) -> tuple[torch.Tensor, list[str]]:
    """Mix the channels of a sound to one, so that no voice is lost in the mix.

    An empty channel is left out: it would halve the level of a voice on the other one. Where the channels cancel each
    other out (opposite phase), the loudest one is used instead of the mix.

    Args:
        sound: float (C, samples).
        shares: Share of each channel as `mono_mix` returns it; None: equal shares.
        names: Names of the channels for the notes.

    Returns:
        The mix, (samples,), and phrases that say what was not the usual mix.
    """
    if len(sound) == 1 or not sound.shape[1]:
        return (sound[0] if len(sound) else sound.new_zeros(sound.shape[1])), []
    shares = sound.new_full((len(sound),), 1 / len(sound)) if shares is None else torch.as_tensor(shares).to(sound)
    names = [{"FL": "left", "FR": "right"}.get(name, name) for name in names]
    if len(set(names) - {"NONE"}) < len(sound):
        names = ["left", "right"] if len(sound) == 2 else [str(number + 1) for number in range(len(sound))]
    power = sound.var(dim=1, correction=0)  # (C,); a constant offset is not sound
    power[torch.tensor([is_silent(channel) for channel in sound])] = 0
    power[shares == 0] = 0
    heard = power > EMPTY_POWER * power.max()
    if not heard.any():
        return shares @ sound, []
    notes = []
    left_out = [name for name, there, share in zip(names, heard, shares) if not there and share > 0]
    if left_out:
        notes.append(f"the empty sound channel is left out ({', '.join(left_out)})")
    shares = torch.where(heard, shares, 0)
    shares = shares / shares.sum()
    mixed = shares @ sound  # (samples,)
    if mixed.var(correction=0) < CANCELLED_POWER * (shares.square() @ power):
        loudest = int(power.argmax())
        notes.append(f"the sound channels cancel each other out: only the louder one is used ({names[loudest]})")
        mixed = sound[loudest]
    return mixed, notes


def is_silent(sound: torch.Tensor) -> bool:
    """Return whether a sound (samples,) is digital silence: beside a constant offset nothing reaches -70 dBFS."""
    return not len(sound) or bool((sound - sound.mean()).abs().max() < SILENCE)


def _mel(frequency: torch.Tensor) -> torch.Tensor:
    return 1127.0 * torch.log1p(frequency / 700.0)


@functools.lru_cache(maxsize=8)
def mel_filters(num_mel_bins: int, sampling_rate: int, fft_size: int) -> torch.Tensor:
    """Return Kaldi's mel filters: triangles on the mel scale from 20 Hz to half the sampling rate.

    Returns:
        (fft_size / 2 + 1, M).
    """
    frequencies = torch.arange(fft_size // 2 + 1, dtype=torch.float64) * sampling_rate / fft_size
    bounds = _mel(torch.tensor([LOWEST_FREQUENCY, sampling_rate / 2], dtype=torch.float64))
    edges = torch.linspace(bounds[0], bounds[1], num_mel_bins + 2, dtype=torch.float64)
    rising = (_mel(frequencies)[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - _mel(frequencies)[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


def log_mel_filter_bank(waveforms: torch.Tensor, sampling_rate: int, num_mel_bins: int) -> torch.Tensor:
    """Compute Kaldi's log-mel filter bank energies of a batch, without dither and without padding at the edges.

    Frames of 25 ms every 10 ms: mean removed, pre-emphasis (0.97), symmetric Hann window; then power spectrum, mel
    triangles, natural logarithm floored at float32's epsilon.

    Args:
        waveforms: float (n, samples) in [-1, 1]; remove a large constant offset first, it costs digits.
        sampling_rate: In Hz.
        num_mel_bins: M.

    Returns:
        (n, F, M), F = 1 + (samples - 25 ms) // 10 ms, zero for a signal shorter than one frame.
    """
    length, hop = round(FRAME_SECONDS * sampling_rate), round(HOP_SECONDS * sampling_rate)
    if waveforms.shape[-1] < length:
        return waveforms.new_zeros(len(waveforms), 0, num_mel_bins)
    fft_size = 2 ** math.ceil(math.log2(length))
    # (x[t] - mu) - 0.97 (x[t - 1] - mu) = (x[t] - 0.97 x[t - 1]) - 0.03 mu: one pass over the signal instead of two
    # over its overlapping frames. The sample before a frame's first one does not matter: the window is zero there.
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
    """Return the windows as float32; raise ValueError for anything but mono sound in floating point."""
    if windows.ndim != ndim:
        raise ValueError(
            f"The windows have shape {tuple(windows.shape)}; expected mono sound: (n, samples), (samples,) or a list "
            "of (samples,). Mix the channels first."
        )
    if not windows.is_floating_point():
        raise ValueError(
            f"The windows hold {windows.dtype}; expected floating point samples in [-1, 1]. Divide 16-bit samples by "
            "32768."
        )
    return windows.float()


def _as_rows(windows) -> tuple[torch.Tensor, torch.Tensor]:
    """Return windows of any accepted form as rows padded with zeros (n, samples), and their lengths (n,)."""
    if isinstance(windows, torch.Tensor | np.ndarray):
        windows = torch.as_tensor(windows)
        rows = _check_windows(windows[None] if windows.ndim == 1 else windows, ndim=2)
        return rows, torch.full((len(rows),), rows.shape[1])
    parts = [_check_windows(torch.as_tensor(window), ndim=1) for window in windows]
    if not parts:
        return torch.zeros(0, 0), torch.zeros(0, dtype=torch.long)
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True), torch.tensor([len(part) for part in parts])


class ImageBindFeatureExtractor(FeatureExtractionMixin):
    """Feature extractor that turns windows of sound into `input_features`, equal to the original ImageBind's.

    The mean of each window is removed, then `log_mel_filter_bank` is applied. Frames after the first `num_mel_frames`
    are cut off, shorter windows (2 s have 198 of 204 frames) are padded with zeros, and then everything is normalised:
    (x - mean) / std. A window shorter than 25 ms is all padding.

    Args:
        sampling_rate: Sampling rate of the windows in Hz.
        num_mel_bins, num_mel_frames: Size of the result.
        mean, std: Mean and deviation of log-mel energies, the original's.
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
        """Compute log-mel windows.

        Args:
            windows: Mono sound in [-1, 1]: (n, samples), (samples,) for one window, or a list of 1-D windows of any
                lengths.
            sampling_rate: Sampling rate of these windows in Hz; must be the extractor's.
            return_tensors: "pt" or "np".

        Returns:
            `input_features`, float32 (n, 1, num_mel_bins, num_mel_frames).

        Raises:
            ValueError: If the sampling rate differs, or there is more than one channel, or samples are integers.
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
        """Compute normalised log-mel (n, F, M), at most num_mel_frames frames, of padded rows (n, samples)."""
        frame, hop = round(FRAME_SECONDS * self.sampling_rate), round(HOP_SECONDS * self.sampling_rate)
        means = rows.sum(dim=1, keepdim=True) / lengths.clamp(min=1)[:, None]
        rows = (rows - means)[:, : (self.num_mel_frames - 1) * hop + frame]  # later frames are cut off
        log_mel = log_mel_filter_bank(rows, self.sampling_rate, self.num_mel_bins)
        # The padding of a short row never enters its own frames: these end where the row does.
        counts = ((lengths - frame).div(hop, rounding_mode="floor") + 1).clamp(min=0)
        if (counts < log_mel.shape[1]).any():
            padding = torch.arange(log_mel.shape[1]) >= counts[:, None]  # (n, F)
            log_mel.masked_fill_(padding[..., None], 0.0)
        return log_mel.sub_(self.mean).div_(self.std)


def sound_inputs(
    feature_extractor, windows: Sequence[torch.Tensor], sampling_rate: int, num_samples: int
) -> torch.Tensor:
    """Turn sound windows into the inputs of an audio tower.

    Waveforms and Whisper's spectrograms are as long as the window, not as long as the front end would pad them (30 s
    for Whisper). A shorter window ends with its own sound, in steps of 20 ms; behind its end, where others of the same
    call go on, there is NaN, which `embed_batch` cuts off. Front ends of a fixed size (ImageBind, AST) pad with
    silence.

    Args:
        feature_extractor: ImageBindFeatureExtractor, or one of transformers for waveforms (HuBERT, WavLM) or
            spectrograms (Whisper, AST).
        windows: mono sound, float32 (samples,) each.
        sampling_rate: Hz of the windows; must be the feature extractor's.
        num_samples: of a full window; longer ones are cut.

    Returns:
        float32 (n, ...), as the tower takes it.
    """
    parameters = inspect.signature(feature_extractor.__call__).parameters
    if "windows" in parameters:
        return feature_extractor(windows, sampling_rate=sampling_rate)["input_features"]
    name = feature_extractor.model_input_names[0]
    windows = [torch.as_tensor(window, dtype=torch.float32)[:num_samples] for window in windows]
    padding = parameters["padding"].default if "padding" in parameters else None
    if padding is not False and padding != "max_length":
        sounds = [F.pad(window, (0, num_samples - len(window))).numpy() for window in windows]
        return feature_extractor(sounds, sampling_rate=sampling_rate, return_tensors="pt")[name]
    # A waveform extractor normalises the sound and then pads where a mask is requested; without one it pads first.
    step, hop = _steps_of(feature_extractor, sampling_rate)
    full = num_samples if hop == 1 else math.ceil(num_samples / step) * step
    made = feature_extractor(
        [window.numpy() if len(window) else np.zeros(1, dtype=np.float32) for window in windows],
        sampling_rate=sampling_rate,
        return_tensors="pt",
        padding="max_length",
        max_length=full,
        truncation=True,
        return_attention_mask=True,
    )[name]  # (n, samples), or (n, mel, frames)
    own = [min(full, max(SHORTEST_STEPS, math.ceil(len(window) / step)) * step) // hop for window in windows]
    for row, length in zip(made, own):
        row[..., length:] = torch.nan
    return made[..., : max(own, default=0)]


def _steps_of(feature_extractor, sampling_rate: int) -> tuple[int, int]:
    """Return the samples of a step in which windows are measured, and the samples of one value of the inputs.

    Whisper's encoder makes one step of two spectrogram frames; encoders of waveforms mostly make one of 20 ms.
    """
    hop = getattr(feature_extractor, "hop_length", None)
    return (2 * hop, hop) if hop else (round(STEP_SECONDS * sampling_rate), 1)


__all__ = [
    "ImageBindFeatureExtractor",
    "is_silent",
    "log_mel_filter_bank",
    "mel_filters",
    "mix_channels",
    "mono_mix",
    "sound_inputs",
]
