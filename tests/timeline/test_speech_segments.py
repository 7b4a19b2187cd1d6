"""The detector of pauses, on sound whose pauses are known."""

import numpy as np
import pytest

from modeling_semanticmac.media_decoding import MediaError, open_media
from modeling_semanticmac.timeline import speech_segments as module
from modeling_semanticmac.timeline.speech_segments import speech_segments
from tests.helpers.media_files import babble, write_media


def detect(tmp_path, sound, seconds, **options):
    path = write_media(tmp_path / "sound.wav", seconds, picture=None, sound=sound, sound_codec="pcm_s16le")
    with open_media(path, "pyav") as media:
        return [(segment.start, segment.end) for segment in speech_segments(media, **options)]


KNOWN = [(1.0, 3.0), (4.0, 4.7), (6.0, 9.5), (29.0, 31.0), (33.0, 39.98)]


@pytest.mark.parametrize("noise", [0.0, 0.0005, 0.005])
def test_known_pauses_are_found(tmp_path, noise):
    found = detect(tmp_path, babble(KNOWN, noise=noise), 40.0)
    # Each with a tenth of a second of the pause on each side, across the border of two blocks too.
    expected = np.array(KNOWN) + [-0.1, 0.1]
    np.testing.assert_allclose(found, np.minimum(expected, 40.0), atol=0.041)


def test_the_threshold_follows_the_noise(tmp_path):
    # The speech of the first half minute is as loud as the noise after it, which counts as speech for a minute.
    quiet, loud = babble([(2.0, 5.0)], level=0.02, noise=0.0005), babble([(64.0, 67.0)], level=0.5, noise=0.02)
    found = detect(tmp_path, lambda seconds: np.where(seconds < 30, quiet(seconds), loud(seconds)), 70.0)
    known = [stretch for stretch in found if not 29 < stretch[0] < 60]
    np.testing.assert_allclose(known, [(1.9, 5.1), (63.9, 67.1)], atol=0.041)


def test_a_short_quiet_does_not_end_a_segment_and_a_short_noise_is_none(tmp_path):
    sound = babble([(1.0, 2.0), (2.3, 3.0), (5.0, 5.1)])
    np.testing.assert_allclose(detect(tmp_path, sound, 7.0), [(0.9, 3.1)], atol=0.041)
    np.testing.assert_allclose(detect(tmp_path, sound, 7.0, pause=0.2), [(0.9, 2.1), (2.2, 3.1)], atol=0.041)
    found = detect(tmp_path, sound, 7.0, shortest=0.05)
    np.testing.assert_allclose(found, [(0.9, 3.1), (4.9, 5.2)], atol=0.041)


def test_a_long_segment_is_cut_at_its_quietest_moment(tmp_path):
    # Dips of 0.2 s, shorter than a pause, the deepest at 6.0 s.
    def sound(seconds):
        level = np.where((seconds >= 4.0) & (seconds < 4.2), 0.02, 1.0)
        level = np.where((seconds >= 6.0) & (seconds < 6.2), 0.005, level)
        return level * babble([(1.0, 9.0)])(seconds)

    found = detect(tmp_path, sound, 11.0, longest=6.0)
    assert len(found) == 2 and found[0][1] == found[1][0] and 6.0 <= found[0][1] <= 6.2
    assert all(end - start <= 6.0 for start, end in detect(tmp_path, sound, 11.0, longest=2.0))


def test_silence_and_even_noise_have_no_speech(tmp_path):
    assert detect(tmp_path, babble([], noise=0.0), 3.0) == []
    assert detect(tmp_path, babble([], noise=0.1), 3.0) == []


def test_a_margin_above_the_noise(tmp_path):
    sound = babble([(1.0, 2.0)], level=0.03, noise=0.005)  # 10 to 14 dB louder
    assert len(detect(tmp_path, sound, 4.0, margin=6.0)) == 1
    assert detect(tmp_path, sound, 4.0, margin=20.0) == []


def test_the_size_of_a_block_changes_nothing_while_the_noise_is_even(tmp_path, monkeypatch):
    whole = detect(tmp_path, babble(KNOWN, noise=0.0), 40.0)
    monkeypatch.setattr(module, "BLOCK_SECONDS", 10)
    assert detect(tmp_path, babble(KNOWN, noise=0.0), 40.0) == whole


def test_segments_come_while_the_sound_is_read(tmp_path):
    path = write_media(
        tmp_path / "sound.wav", 100.0, picture=None, sound=babble([(1.0, 3.0), (70.0, 72.0)]), sound_codec="pcm_s16le"
    )
    with open_media(path, "pyav") as media:
        read, waveform = [], media.waveform
        media.waveform = lambda start, end, rate: read.append(end - start) or waveform(start, end, rate)
        segments = speech_segments(media)
        next(segments)
        assert sum(read) <= 30
        assert len(list(segments)) == 1 and max(read) <= 30 and sum(read) == pytest.approx(100.0)


def test_a_file_without_sound(tmp_path):
    path = write_media(tmp_path / "mute.mp4", 1.0, sound=None)
    with open_media(path) as media, pytest.raises(MediaError, match="audio stream was requested"):
        next(speech_segments(media))


@pytest.mark.parametrize("options", [{"pause": 0.0}, {"shortest": 20.0}, {"longest": 0.5}, {"shortest": -1.0}])
def test_lengths_are_checked(plain, options):
    with open_media(plain) as media, pytest.raises(ValueError, match="expected seconds"):
        next(speech_segments(media, **options))
