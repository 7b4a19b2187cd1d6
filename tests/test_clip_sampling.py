"""Hand-computed times, and cuts of files whose every frame and sample is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_semanticmac.clip_sampling import BLOCK_SECONDS, MediaClip, frame_times, window_starts
from modeling_semanticmac.media_decoding import MediaError
from tests.helpers.media_files import cut, noisy, read_number, tone, write_media


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """4 s with 25 numbered frames per second and an exact tone."""
    return write_media(tmp_path_factory.mktemp("clips") / "plain.mkv", seconds=4.0, sound_codec="flac")


@pytest.mark.parametrize(
    "duration, times",
    [
        (0.0, [0.0]),
        (0.04, [0.039]),
        (0.5, [0.25]),
        (0.6, [0.25, 0.599]),
        (2.1, [0.25, 0.75, 1.25, 1.75, 2.099]),
        (2.0005, [0.25, 0.75, 1.25, 1.75]),  # half a millisecond is no further frame
    ],
)
def test_frame_times(duration, times):
    assert frame_times(duration) == pytest.approx(times)


def test_frame_times_at_another_rate_and_of_a_fixed_number():
    assert frame_times(1.0, frames_per_second=4.0) == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert frame_times(10.0, num_frames=5) == pytest.approx([1, 3, 5, 7, 9])
    assert frame_times(0.04, num_frames=3) == pytest.approx([0.04 / 6, 0.02, 0.2 / 6])


@pytest.mark.parametrize(
    "duration, starts",
    [(0.04, [0.0]), (1.2, [0.0, 0.0, 0.0]), (2.0, [0.0] * 4), (3.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])],
)
def test_window_starts(duration, starts):
    assert window_starts(duration) == pytest.approx(starts)


def test_window_starts_of_another_window_and_of_a_fixed_number():
    assert window_starts(2.0, window=1.0) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert window_starts(10.0, num_frames=5) == pytest.approx([0, 2, 4, 6, 8])
    assert window_starts(10.0, num_frames=1) == [4.0]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(duration=st.floats(0.04, 7200), rate=st.sampled_from([1.0, 2.0, 3.7]), number=st.none() | st.integers(1, 100))
def test_times_rise_and_lie_in_the_clip(duration, rate, number):
    times, starts = frame_times(duration, rate, number), window_starts(duration, 2.0, rate, number)
    assert len(times) == len(starts)
    if number is None:
        assert duration * rate - 0.01 <= len(times) < duration * rate + 1.01
    assert all(before < after for before, after in zip(times, times[1:])) and 0 <= times[0] and times[-1] < duration
    assert all(before <= after for before, after in zip(starts, starts[1:])) and starts[0] >= 0
    assert starts[-1] + 2.0 <= max(duration, 2.0) + 1e-6


def test_a_cut_counts_from_its_start(plain):
    with MediaClip({"path": str(plain), "start": 1.0, "end": 2.5, "crop": None}) as clip:
        assert (clip.start, clip.end, clip.duration) == (1.0, 2.5, 1.5)
        (frames,) = clip.iter_frames([0.0, 0.42, 1.499, 9.0], chunk=8)
        assert [read_number(frame) for frame in frames] == [25, 35, 62, 62]
        windows = list(clip.iter_windows([0.0, 0.5, 1.2], 0.5, 16000))
    assert [len(window) for window in windows] == [8000, 8000, 4800]
    for start, window in zip((1.0, 1.5, 2.2), windows):
        expected = 0.5 * np.sin(2 * np.pi * 440 * (start + np.arange(len(window)) / 16000))
        assert np.allclose(window, expected, atol=2e-4)


def test_a_start_before_the_file_and_an_end_behind_it(plain):
    with MediaClip({"path": str(plain), "start": -0.49, "end": 9.0}) as clip:
        assert clip.start == 0.0 and clip.end == pytest.approx(4.0, abs=0.01)
        assert any("ends at 9.00 s" in note for note in clip.notes)
    with MediaClip({"path": str(plain), "start": None, "end": None}) as clip:
        assert clip.duration == pytest.approx(4.0, abs=0.01) and not clip.notes


def test_an_end_alone_is_a_limit(plain):
    with MediaClip({"path": str(plain), "end": 9.0}) as clip:
        assert clip.duration == pytest.approx(4.0, abs=0.01) and not clip.notes
    with MediaClip({"path": str(plain), "end": 1.5}) as clip:
        assert clip.duration == 1.5


@pytest.mark.parametrize("start, end, at", [(2.0, 2.0, 2.0), (-0.3, 0.0, 0.0)])
def test_a_cut_of_no_length_is_one_frame(plain, start, end, at):
    """Some annotations have such cuts; training and prediction treat them alike."""
    with MediaClip({"path": str(plain), "start": start, "end": end}) as clip:
        assert (clip.start, clip.duration) == (at, pytest.approx(0.04))
        assert len(frame_times(clip.duration)) == 1 and "no length: one frame is taken" in clip.notes[0]


@pytest.mark.parametrize(
    "start, end, found",
    [(3.0, 1.0, "ends before it begins"), (0.0, -0.5, "ends before it begins"), (4.5, 6.0, "begins at 4.5 s")],
)
def test_empty_cuts(plain, start, end, found):
    with pytest.raises(MediaError, match=found) as caught:
        MediaClip({"path": str(plain), "start": start, "end": end})
    assert caught.value.reason == "zero length" and str(plain) in str(caught.value)


def test_a_cut_behind_the_place_where_a_file_was_cut_off(tmp_path):
    whole = write_media(tmp_path / "whole.mp4", 4.0, picture=noisy, options={"movflags": "faststart"})
    path = cut(whole, tmp_path / "cut.mp4")
    with pytest.raises(MediaError, match="cut off there") as caught:
        MediaClip({"path": path, "start": 3.5, "end": 4.0})
    assert caught.value.reason == "truncated"


def test_a_stream_outside_the_cut_is_absent(tmp_path):
    path = write_media(tmp_path / "late.mkv", 3.0, sound_codec="flac", sound_delay=2.0)
    with MediaClip({"path": path, "start": 0.0, "end": 1.5}) as clip:
        assert clip.has("video") and not clip.has("audio")
    with MediaClip({"path": path, "start": 3.2, "end": 4.5}) as clip:
        assert not clip.has("video") and clip.has("audio")


def test_wrong_fields(plain):
    with pytest.raises(ValueError, match="fields path, begin; expected a path"):
        MediaClip({"path": plain, "begin": 1.0})
    with pytest.raises(ValueError, match="expected a path"):
        MediaClip({"start": 1.0})
    with pytest.raises(ValueError, match='crop is \'top\'; expected "left", "right" or None'):
        MediaClip({"path": plain, "crop": "top"})


def test_long_sound_comes_in_blocks_without_a_seam(tmp_path):
    seconds = BLOCK_SECONDS + 60
    path = write_media(
        tmp_path / "long.wav", seconds, picture=None, sound=tone(25.0), sound_codec="pcm_s16le", sampling_rate=1000
    )
    starts = window_starts(seconds, num_frames=40)
    asked = []
    with MediaClip(path) as clip:
        original = clip.media.waveform
        clip.media.waveform = lambda start, end, rate: asked.append(end - start) or original(start, end, rate)
        windows = list(clip.iter_windows(starts, 2.0, 1000))
    assert len(asked) == 2 and max(asked) <= BLOCK_SECONDS + 2.0
    for start, window in zip(starts, windows):
        moments = (torch.arange(2000, dtype=torch.float64) + round(start * 1000)) / 1000
        assert torch.allclose(window.double(), 0.5 * torch.sin(2 * torch.pi * 25 * moments), atol=0.15)  # half a sample
