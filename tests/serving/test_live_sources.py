"""Files that are repeated, cameras and microphones as sources of a live clip."""

import itertools
import sys
import time
import types

import av
import numpy as np
import pytest
import torch

from modeling_semanticmac.serving import live_sources
from modeling_semanticmac.serving.live_capacity import capacity_words, encoding_seconds
from modeling_semanticmac.serving.live_sources import Camera, Microphone, device_pieces, file_pieces, in_time
from tests.helpers.media_files import numbered, read_number, sine, write_media

RATE = 16000


def test_a_file_is_repeated_without_a_gap(tmp_path):
    """A file of 2 s in pieces of 0.4 s: the sixth is its beginning again."""
    path = write_media(tmp_path / "clip.mkv", 2.0, sound_codec="pcm_s16le")
    pieces = list(itertools.islice(file_pieces(path, 0.4), 7))
    assert [piece.end for piece in pieces] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8])
    numbers = [read_number(torch.from_numpy(piece.picture)) for piece in pieces]
    assert numbers == [5, 15, 25, 35, 45, 5, 15]  # at 25 a second, in the middle of each piece
    sound = np.concatenate([piece.sound for piece in pieces])
    expected = sine(torch.arange(7 * 6400) % (2 * RATE) / RATE).numpy()
    assert len(sound) == 7 * 6400 and np.abs(sound - expected).max() < 1e-3


def test_a_sound_file_has_no_pictures_and_a_long_file_is_refused(tmp_path, monkeypatch):
    path = write_media(tmp_path / "voice.wav", 1.0, picture=None, sound_codec="pcm_s16le")
    piece = next(file_pieces(path, 0.5))
    assert piece.picture is None and len(piece.sound) == RATE // 2
    monkeypatch.setattr("modeling_semanticmac.serving.live_sources.LONGEST", 0.5)
    with pytest.raises(ValueError, match="lasts 1 s"):
        next(file_pieces(path, 0.5))


def test_pieces_that_were_due_meanwhile_are_joined(tmp_path, monkeypatch):
    """Pieces of 0.5 s; the caller is busy for 1.2 s after the first, and for no time after the others."""
    clock = [100.0]
    fake = types.SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda taken: clock.__setitem__(0, clock[0] + taken))
    monkeypatch.setattr(live_sources, "time", fake)
    path = write_media(tmp_path / "clip.mkv", 4.0, sound_codec="pcm_s16le")
    whole = list(itertools.islice(file_pieces(path, 0.5), 5))
    found = in_time(file_pieces(path, 0.5))
    first = next(found)
    assert first.end == 0.5 and clock[0] == 100.5
    clock[0] += 1.2
    second, third = next(found), next(found)
    assert (second.end, third.end) == (1.5, 2.0) and clock[0] == 102.0
    assert second.picture_time == whole[2].picture_time and np.array_equal(second.picture, whole[2].picture)
    assert np.array_equal(second.sound, np.concatenate([whole[1].sound, whole[2].sound]))


class FakeCamera:
    """OpenCV's camera: 50 pictures a second that show their number, in blue, green, red."""

    number = 0

    def __init__(self, name):
        self.name = name

    def isOpened(self):  # noqa: N802
        return self.name == 0

    def read(self):
        time.sleep(0.02)
        self.number += 1
        return self.number <= 40, numbered(self.number)[..., ::-1]

    def release(self):
        pass


def test_a_camera_gives_its_latest_picture_until_it_ends(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(VideoCapture=FakeCamera))
    with Camera(0) as camera:
        first = camera()
        time.sleep(0.3)
        numbers = [read_number(torch.from_numpy(picture.copy()).movedim(-1, 0)) for picture in (first, camera())]
        assert numbers[0] < 5 <= numbers[1]
        assert first[-1, 0].tolist() == [255, 0, 0]  # red is first
        pieces = list(device_pieces(camera, None, 0.1))
    assert 2 <= len(pieces) < 20 and all(piece.sound is None for piece in pieces)
    with pytest.raises(ValueError, match="--camera 1: OpenCV finds no such camera"):
        Camera(1)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match="needs OpenCV"):
        Camera(0)


@pytest.mark.skipif("lavfi" not in av.formats_available, reason="this FFmpeg has no lavfi device to test with")
def test_a_microphone_gives_the_samples_since_the_last_call():
    """A device of FFmpeg that plays a tone of 300 Hz as fast as a clock."""
    with Microphone("lavfi:sine=frequency=300:sample_rate=44100,arealtime") as microphone:
        pieces = list(itertools.islice(device_pieces(None, microphone, 0.3), 3))
    sound = np.concatenate([piece.sound for piece in pieces])
    assert 0.3 * RATE < len(sound) < 2 * RATE
    spectrum = np.abs(np.fft.rfft(sound))
    assert np.argmax(spectrum) * RATE / len(sound) == pytest.approx(300, abs=RATE / len(sound))
    for piece in pieces:
        assert piece.sound_time == pytest.approx(max(0.0, piece.end - len(piece.sound) / RATE))


def test_a_microphone_that_is_not_there_is_said():
    for name in ("default", "nothing:default"):
        with pytest.raises(ValueError, match="expected FORMAT:DEVICE"):
            Microphone(name)
    with pytest.raises(ValueError, match="cannot be opened"):
        Microphone("lavfi:no_such_filter")


def test_what_a_machine_can_hold_is_said(pipe):
    seconds = encoding_seconds(pipe)
    assert set(seconds) == {"vision", "audio"} and all(taken > 0 for taken in seconds.values())
    told = capacity_words({"vision": 0.1, "audio": 0.05}, 2.0)
    assert "a frame takes 100 ms and a window of sound takes 50 ms" in told and "busy for 30%" in told
    assert "cannot hold" not in told
    told = capacity_words({"vision": 3.2}, 2.0)
    assert "busy for 640%" in told and "about one in 6.4 is used" in told
    assert "neither" in capacity_words({}, 2.0)
