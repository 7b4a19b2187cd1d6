"""The voice of the synthetic corpus: a babble of vowels whose pitch, tempo, loudness and effort carry a score."""

from dataclasses import dataclass

import numpy as np

SAMPLING_RATE = 16000
# First three formants of five vowels, in Hz.
VOWELS = np.array([[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480], [570, 840, 2410]], float)
BANDWIDTHS = np.array([90.0, 120.0, 180.0])
MAX_HARMONICS = 40


@dataclass(frozen=True)
class Voice:
    """Features of a speaker's voice; independent of the score.

    Args:
        pitch: fundamental frequency at score 0, Hz.
        formant_scale: factor of all formants, set by the length of the vocal tract.
        gain: loudness relative to other speakers, dB.
    """

    pitch: float
    formant_scale: float
    gain: float


def draw_voice(generator: np.random.Generator) -> Voice:
    """Draw the voice of a speaker from a generator."""
    return Voice(generator.uniform(120, 190), generator.uniform(0.92, 1.1), generator.uniform(-1.5, 1.5))


def speak(score: float, voice: Voice, seconds: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the sound of a speaker with a planted score.

    From score -3 to 3 the pitch rises by 0.8 octaves, the tempo from 2 to 5.6 syllables a second, the loudness by 24
    dB, and the effort: the overtones fall off less. A constant noise at -62 dB stands for the room.

    Returns:
        Samples in [-1, 1], float32 (seconds * SAMPLING_RATE,), and the envelope in [0, 1] of the same length, which
        opens the mouth.
    """
    length = round(seconds * SAMPLING_RATE)
    sound, envelope = np.zeros(length), np.zeros(length)
    tempo = 3.8 + 0.6 * score
    pitch = voice.pitch * 2 ** (score * 0.8 / 6)
    tilt = 1.35 - 0.15 * score
    start, phase = generator.uniform(0.05, 0.2), 0.0
    while start < seconds - 0.15:
        slot = generator.uniform(0.85, 1.15) / tempo
        n = min(round(0.8 * slot * SAMPLING_RATE), length - round(start * SAMPLING_RATE))
        shape = np.sin(np.linspace(0, np.pi, n)) ** 0.7  # (n,)
        # Falling within the syllable and along the clip, and a little different each time.
        contour = pitch * generator.uniform(0.94, 1.06) * (1.06 - 0.08 * start / seconds) * np.linspace(1.05, 0.95, n)
        phases = phase + np.cumsum(2 * np.pi * contour / SAMPLING_RATE)  # (n,)
        formants = voice.formant_scale * VOWELS[generator.integers(len(VOWELS))]
        begin = round(start * SAMPLING_RATE)
        sound[begin : begin + n] = shape * _vowel(phases, float(contour.mean()), formants, tilt)
        envelope[begin : begin + n] = shape
        phase = float(phases[-1])
        start += slot if generator.random() > 0.12 else slot + generator.uniform(0.15, 0.35)  # sometimes a pause
    level = 10 ** ((-27 + 4 * score + voice.gain) / 20)
    sound *= level / max(1e-9, np.sqrt(np.mean(sound[envelope > 0] ** 2)))
    sound += 10 ** (-62 / 20) * generator.standard_normal(length)
    return np.tanh(sound).astype(np.float32), envelope


def _vowel(phases: np.ndarray, pitch: float, formants: np.ndarray, tilt: float) -> np.ndarray:
    """Return a vowel as a sum of harmonics k with the gain of three resonances and k^-tilt: phases of the fundamental
    (n,) -> (n,).
    """
    harmonics = np.arange(1, min(MAX_HARMONICS, int(0.45 * SAMPLING_RATE / pitch)) + 1)
    distance = (harmonics[:, None] * pitch - formants) / BANDWIDTHS  # (K, 3)
    gains = (0.05 + (1 / (1 + distance**2)).sum(axis=1)) * harmonics**-tilt  # (K,)
    # sin(k x) by the recurrence sin(k x) = 2 cos(x) sin((k-1) x) - sin((k-2) x): one multiplication a sample instead of
    # a sine.
    twice_cosine = 2 * np.cos(phases)
    before, current = np.zeros_like(phases), np.sin(phases)
    sound = gains[0] * current
    for gain in gains[1:]:
        before, current = current, twice_cosine * current - before
        sound += gain * current
    return sound
