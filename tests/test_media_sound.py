"""The sound of files whose plain mix or default track would lose the voice, against samples that are known."""

import types

import numpy as np
import pytest
import torch

from modeling_semanticmac import media_torchcodec
from modeling_semanticmac.clip_sampling import MediaClip
from modeling_semanticmac.feature_extraction_imagebind import is_silent, log_mel_filter_bank, mix_channels, mono_mix
from modeling_semanticmac.media_decoding import MediaError, open_media
from tests.helpers.media_files import sine, tone, write_media, write_tracks

SECONDS = torch.arange(16000) / 16000


def silence(seconds: np.ndarray) -> np.ndarray:
    """Return silence as a function of the time."""
    return np.zeros_like(seconds)


def inverted(seconds: np.ndarray) -> np.ndarray:
    """Return the opposite of the tone."""
    return -tone()(seconds)


def stereo(path, left, right, seconds: float = 1.0):
    """Write a WAV file of two channels."""
    return write_media(path, seconds, picture=None, sound=[left, right], sound_codec="pcm_s16le", layout="stereo")


# The mix


@pytest.mark.parametrize(
    "left, right, level, note",
    [
        (tone(), inverted, 0.5, "cancel each other out: only the louder one is used (left)"),
        (lambda s: 0.6 * tone()(s), inverted, -0.5, "cancel each other out: only the louder one is used (right)"),
        (tone(), silence, 0.5, "the empty sound channel is left out (right)"),
        (silence, tone(), 0.5, "the empty sound channel is left out (left)"),
        (tone(), lambda s: 1e-4 * np.sign(np.sin(9e3 * s)) + 0.2, 0.5, "the empty sound channel is left out (right)"),
        (tone(), lambda s: 0.01 * tone()(s), 0.5, "the empty sound channel is left out (right)"),
        (tone(), tone(), 0.5, None),
        (tone(), lambda s: -0.3 * tone()(s), 0.175, None),  # less, but not nothing
    ],
    ids=["opposite", "opposite and louder", "left only", "right only", "offset", "hiss", "equal", "partly opposite"],
)
def test_no_voice_is_lost_in_the_mix(tmp_path, left, right, level, note):
    with open_media(stereo(tmp_path / "stereo.wav", left, right), "pyav") as media:
        sound, notes = media.waveform(), media.info.notes
    assert torch.allclose(sound, sine(SECONDS, level=level), atol=1e-3)
    assert len(notes) == (note is not None) and all(note in found for found in notes)


def test_channels_that_are_independent_keep_their_mean(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 16000))
    path = stereo(tmp_path / "stereo.wav", *(lambda s, row=row: row[np.round(s * 16000).astype(int)] for row in noise))
    with open_media(path, "pyav") as media:
        sound, notes = media.waveform(), media.info.notes
    assert not notes and torch.allclose(sound, torch.from_numpy(noise.mean(axis=0)).float(), atol=1e-3)


def test_the_mix_of_each_stretch_is_its_own(tmp_path):
    """Two people, each on a channel: whoever speaks is as loud as on the channel."""
    first, second = (lambda s: tone(300)(s) * (s < 1)), (lambda s: tone(500)(s) * (s >= 1))
    with open_media(stereo(tmp_path / "two.wav", first, second, 2.0), "pyav") as media:
        assert torch.allclose(media.waveform(0.0, 1.0), sine(SECONDS, 300), atol=1e-3)
        assert torch.allclose(media.waveform(1.0, 2.0), sine(SECONDS + 1, 500), atol=1e-3)
        assert media.waveform(0.0, 2.0).abs().max() == pytest.approx(0.25, abs=1e-3)


def test_surround_sound_with_a_voice_in_the_centre_alone():
    sound = torch.zeros(6, 1000)
    sound[2] = sine(torch.arange(1000) / 16000)
    sound[3] = 0.9  # low-frequency effects do not count
    mixed, notes = mix_channels(
        sound, mono_mix(["FL", "FR", "FC", "LFE", "SL", "SR"]), ["FL", "FR", "FC", "LFE", "SL", "SR"]
    )
    assert torch.allclose(mixed, sound[2]) and notes == ["the empty sound channel is left out (left, right, SL, SR)"]


def test_all_channels_silent_and_no_samples():
    assert mix_channels(torch.zeros(2, 9))[0].tolist() == [0.0] * 9 and mix_channels(torch.zeros(2, 9))[1] == []
    assert mix_channels(torch.zeros(2, 0))[0].shape == (0,)


def test_a_recording_of_opposite_phase(shared):
    found = {}
    for name in ("antiphase.wav", "mono.wav"):
        with open_media(shared / "cases" / name, "pyav") as media:
            found[name] = media.waveform()[None], media.info.notes
    one, two = (log_mel_filter_bank(sound, 16000, 128) for sound, _ in found.values())
    assert 10 / np.log(10) * (one - two).abs().max() < 0.5  # dB
    assert "cancel" in found["antiphase.wav"][1][0] and not found["mono.wav"][1]


# Several tracks


def test_the_sound_track_can_be_chosen(tmp_path):
    path = write_tracks(tmp_path / "tracks.mkv", [silence, tone(440), tone(700)], 1.0)
    used = {}
    for number in (None, 0, 1, 2):
        with open_media(path, "pyav", audio_stream=number) as media:
            used[number] = media.waveform(0.0, 1.0)
            assert f"{number or 0} is used, audio_stream chooses another" in media.info.notes[0]
            assert "0 (pcm_s16le), 1 (pcm_s16le), 2 (pcm_s16le)" in media.info.notes[0]
    assert not used[None].any() and not used[0].any()
    assert torch.allclose(used[1], sine(SECONDS), atol=1e-3) and torch.allclose(used[2], sine(SECONDS, 700), atol=1e-3)
    with MediaClip({"path": path, "audio_stream": 2}) as own, MediaClip(path, audio_stream=1) as general:
        assert torch.equal(own.media.waveform(0.0, 1.0), used[2])
        assert torch.equal(general.media.waveform(0.0, 1.0), used[1])


def test_a_track_that_is_not_there(plain):
    with open_media(plain, "pyav", audio_stream=1) as media:
        assert media.info.notes == ["audio_stream 1 was requested, the file has 1 sound track (0 is the first)"]
        assert media.info.video is not None and media.info.audio is None
        with pytest.raises(MediaError, match="picture only"):
            media.waveform()
    for wrong in (-1, 1.0, True, "1"):
        with pytest.raises(ValueError, match="audio_stream is .*; expected None, or the number of a sound track"):
            open_media(plain, audio_stream=wrong)


def test_one_track_needs_no_note(plain):
    with open_media(plain, "pyav", audio_stream=0) as chosen, open_media(plain, "pyav") as media:
        assert torch.equal(chosen.waveform(), media.waveform()) and not chosen.info.notes


# Silence


@pytest.mark.parametrize("level, silent", [(0.0, True), (3.0e-4, True), (3.3e-4, False)])  # -70 dBFS is 3.16e-4
def test_silence_ends_at_70_decibels(level, silent):
    assert is_silent(sine(SECONDS, level=level) + 0.1) == silent  # a constant offset is not heard


# What came must cover what was requested


class ShortDecoder:
    """Stands for torchcodec's AudioDecoder, which lost most of ADPCM in WAV with FFmpeg 5."""

    def __init__(self, source, stream_index=None):
        self.source = source

    def get_samples_played_in_range(self, begin, end):
        """Return the first quarter."""
        samples = round((end - begin) * 16000 / 4)
        return types.SimpleNamespace(data=torch.full((1, samples), 0.25), pts_seconds=begin)


class WrongDecoder:
    """Stands for torchcodec's VideoDecoder, returning the frame before the requested one."""

    def __init__(self, source, **options):
        self.source = source

    def get_frames_played_at(self, times):
        """Return frames that are 0.04 s too early."""
        early = torch.tensor(times, dtype=torch.float64) - 0.06
        return types.SimpleNamespace(data=torch.zeros(len(times), 3, 64, 96, dtype=torch.uint8), pts_seconds=early)


def test_a_decoder_that_loses_sound_or_frames_is_not_trusted(plain, monkeypatch):
    fake = types.SimpleNamespace(AudioDecoder=ShortDecoder, VideoDecoder=WrongDecoder)
    monkeypatch.setattr(media_torchcodec, "_decoders", lambda: fake)
    with open_media(plain, "torchcodec") as media, open_media(plain, "pyav") as truth:
        taken = []
        media._take_over = lambda what, error: taken.append((what, str(error)))
        assert torch.equal(media.waveform(0.5, 3.5), truth.waveform(0.5, 3.5))
        assert torch.equal(media.frames([0.5, 1.0]), truth.frames([0.5, 1.0]))
    assert taken[0][0] == "sound" and taken[0][1].startswith("it returns 0.36 s of 4.")
    assert taken[1] == ("picture", "it returns other frames than the requested ones")


def test_adpcm_is_whole(shared):
    with open_media(shared / "cases" / "ima.wav") as media, open_media(shared / "cases" / "base.mp4", "pyav") as truth:
        sound, expected = media.waveform(sampling_rate=11025), truth.waveform(sampling_rate=11025)
        assert len(sound) == 67353 and not media.info.notes
    # The recording of base.mp4 begins some milliseconds later; the sound is the same.
    size = min(len(sound), len(expected)) - 600
    best = max(
        float(torch.corrcoef(torch.stack([sound[shift : shift + size], expected[300 : 300 + size]]))[0, 1])
        for shift in range(0, 600)
    )
    assert best > 0.99


def test_sound_that_the_decoder_cannot_return_is_said(tmp_path):
    """Packets of zeros in the middle of AAC: what is missing is silent, and a note says so."""
    path = write_media(tmp_path / "clip.mkv", 4.0, picture=None, sound_codec="flac")
    data = bytearray(path.read_bytes())
    start = len(data) // 2
    data[start : start + len(data) // 5] = bytes(len(data) // 5)
    with open_media(bytes(data), "pyav") as media:
        media.waveform()
        notes = " ".join(media.info.notes)
    assert "parts that cannot be decoded: it is silent there" in notes or "truncated" in notes or "stops early" in notes
