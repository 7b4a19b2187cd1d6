"""Joined files, whose clock falls back, and files with one key frame: nothing mixed up, nothing decoded twice."""

import av
import numpy as np
import pytest
import torch

from modeling_semanticmac.clip_sampling import MediaClip
from modeling_semanticmac.media_decoding import open_media
from modeling_semanticmac.media_index import index_media
from modeling_semanticmac.media_torchcodec import TorchcodecFrames
from tests.helpers.media_files import joined, numbered, read_number, sine, tone, write_media

# Joined files


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Two transport streams: 4 s of frames from 0 with a tone of 440 Hz, 3 s of frames from 128 with one of 700 Hz."""
    folder = tmp_path_factory.mktemp("parts")
    first = write_media(folder / "first.ts", 4.0)
    second = write_media(folder / "second.ts", 3.0, picture=lambda number: numbered(128 + number), sound=tone(700))
    return first, second


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["longer first", "shorter first"])
def test_joined_files_are_not_mixed(parts, tmp_path, order):
    first, second = (parts[place] for place in order)
    path = joined([first, second], tmp_path / "joined.ts")
    with open_media(path, "pyav") as media, open_media(first, "pyav") as alone:
        assert media.info.duration == pytest.approx(alone.info.duration, abs=1e-6)
        (note,) = media.info.notes
        assert note.startswith("the clock falls back by ") and "as in files that were joined" in note
        lost = 3.0 if order == (0, 1) else 4.0
        assert f"what follows ({lost:.1f} s) is left out" in note
        times = [0.01 + 0.04 * number for number in range(int(alone.info.duration * 25))]
        for chosen in (times, times[::-7], [times[-1]], [times[5]]):
            assert torch.equal(media.frames(chosen), alone.frames(chosen))
        for start, end in ((0.0, None), (1.0, 2.0), (0.2, 0.7)):
            assert torch.allclose(media.waveform(start, end), alone.waveform(start, end), atol=1e-6)


def test_a_short_first_part_is_noticed_too(parts, tmp_path):
    short = write_media(tmp_path / "short.ts", 1.0)
    with open_media(joined([short, parts[1]], tmp_path / "joined.ts"), "pyav") as media:
        assert "(3.0 s) is left out" in media.info.notes[0] and media.info.video.end == pytest.approx(1.064, abs=0.01)
        assert read_number(media.frames([9.0])[0]) == 24


def test_a_file_joined_thrice_and_one_joined_by_its_sound_alone(parts, tmp_path):
    with open_media(joined([*parts, parts[0]], tmp_path / "three.ts"), "pyav") as media:
        assert media.info.duration == pytest.approx(4.0, abs=0.15) and "(7.0 s)" in media.info.notes[0]
    sounds = [write_media(tmp_path / f"{hertz}.ts", 3.0, picture=None, sound=tone(hertz)) for hertz in (440, 700)]
    with open_media(joined(sounds, tmp_path / "sounds.ts"), "pyav") as media:
        assert "the clock falls back" in media.info.notes[0] and media.info.duration == pytest.approx(3.0, abs=0.15)
        begin = media.info.audio.begin
        spectrum = torch.fft.rfft(media.waveform(begin + 0.2, begin + 2.2)).abs()
        assert int(spectrum.argmax()) == 880 and spectrum[1400] < 0.01 * spectrum[880]


def test_a_recording_that_goes_on_is_whole(tmp_path):
    """A clock that only goes on, B-frames, few frames a second and a single wrong time are not a second file."""
    slow = write_media(tmp_path / "slow.mkv", times=[5.0 * number for number in range(40)], sound=None)
    with open_media(slow, "pyav") as media:
        assert not media.info.notes and media.info.duration > 195
        assert [read_number(frame) for frame in media.frames([0.0, 51.0, 194.9])] == [0, 10, 38]


def test_a_real_joined_recording(shared):
    with open_media(shared / "cases" / "joined.ts", "pyav") as media:
        assert media.info.duration == pytest.approx(6.09, abs=0.01)
        assert media.info.notes == [
            "the clock falls back by 6.0 s, as in files that were joined; what follows (3.0 s) is left out"
        ]


# One reader that goes forward


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A minute as a browser records it: WebM without length and index, with a single key frame."""
    path = tmp_path_factory.mktemp("recorded") / "recorded.webm"
    options = {"g": "9999", "keyint_min": "9999", "deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0"}
    return write_media(
        path, 60.0, 10, codec="libvpx", codec_options=options, sound=tone(50), sound_codec="libopus",
        sampling_rate=48000, options={"live": "1"},
    )  # fmt: skip


def counts(media) -> tuple[int, int]:
    """Return the numbers of pictures and sound packets decoded so far."""
    found = {"PyAVFrames": 0, "PyAVSound": 0}
    for kind, readers in media._readers.items():
        if kind.__name__ in found:
            found[kind.__name__] += sum(reader.decoded for reader in readers)
    return tuple(found.values())


def test_the_recording_is_what_it_should_be(recorded):
    index = index_media(recorded)
    assert index.video.keys.tolist() == [0] and len(index.video.pts) == 600
    assert not TorchcodecFrames.suits(index) or len(index.video.pts) <= 600
    with av.open(str(recorded)) as container:
        assert container.duration is None


@pytest.mark.parametrize("hop, most", [(2.0, 1.1), (1.0, 2.5)], ids=["one after the other", "overlapping by a half"])
def test_segments_of_one_file_are_decoded_in_one_pass(recorded, hop, most):
    """Linear, not quadratic: opened for each segment, the pictures would be decoded 15 (30) times."""
    window, starts = 2.0, np.arange(0.0, 58.5, hop)
    shown, heard = [], []
    with open_media(recorded, "pyav") as media:
        for start in starts:
            with MediaClip({"path": media, "start": float(start), "end": float(start) + window}) as clip:
                (frames,) = clip.iter_frames([0.25, 0.75, 1.25, 1.75], chunk=32)
                shown += [read_number(frame) for frame in frames]
                heard += list(clip.iter_windows([0.0], window, 16000))
        pictures, packets = counts(media)
    times = (starts[:, None] + np.array([0.25, 0.75, 1.25, 1.75])).flatten()
    assert shown == [int(time * 10 + 1e-6) % 256 for time in times]
    for start, sound in zip(starts[1:], heard[1:]):
        expected = sine(float(start) + torch.arange(32000) / 16000, 50)
        # The clock of Matroska counts milliseconds, 0.3 of a radian of the tone.
        assert float(torch.corrcoef(torch.stack([sound, expected]))[0, 1]) > 0.9
    assert pictures <= most * 600
    assert packets <= 4.5 * 3000  # a packet is 20 ms; each stretch has a second on both sides


def test_the_work_grows_with_the_length_and_not_with_its_square(recorded):
    work = []
    for seconds in (15, 30, 60):
        with open_media(recorded, "pyav") as media:
            for start in range(0, seconds - 1):
                media.frames([start + 0.25, start + 0.75])
                media.waveform(float(start), float(start + 1))
            work.append(counts(media))
    for kind in (0, 1):
        assert work[1][kind] < 2.5 * work[0][kind] and work[2][kind] < 2.5 * work[1][kind]


def test_joined_files_are_read_in_one_pass_too(parts, tmp_path):
    """Seeking could end in the second part, so they are read forward only, each reader going on where it was."""
    path = joined([parts[0], parts[1]], tmp_path / "joined.ts")
    with open_media(path, "pyav") as media, open_media(parts[0], "pyav") as alone:
        for start in np.arange(0.0, 3.6, 0.2):
            assert torch.equal(media.frames([start + 0.05, start + 0.15]), alone.frames([start + 0.05, start + 0.15]))
            sound, expected = (one.waveform(float(start), float(start) + 0.2) for one in (media, alone))
            assert torch.allclose(sound, expected, atol=3e-3)
        pictures, _ = counts(media)
    assert pictures <= 101


def test_the_sound_of_joined_files_is_read_forward_too(tmp_path):
    sounds = [write_media(tmp_path / f"{hertz}.ts", 40.0, picture=None, sound=tone(hertz)) for hertz in (440, 700)]
    with open_media(joined(sounds, tmp_path / "joined.ts"), "pyav") as media:
        for start in range(0, 39):
            spectrum = torch.fft.rfft(media.waveform(start + 0.2, start + 0.7)).abs()
            assert int(spectrum.argmax()) == 220
        _, packets = counts(media)
    # A packet is 64 ms; a stretch has up to 3.5 s with its margins. From the beginning each time: 12,000.
    assert packets <= 39 * 55 + 4 * 50


def test_going_back_returns_the_same(recorded):
    with open_media(recorded, "pyav") as media:
        forward = media.frames([10.0, 20.0, 30.0])
        sound = media.waveform(29.0, 30.0)
        assert torch.equal(media.frames([10.0])[0], forward[0]) and torch.equal(media.frames([20.0])[0], forward[1])
        media.waveform(5.0, 6.0)
        again = media.waveform(29.0, 30.0)
        assert torch.allclose(again, sound, atol=0.2)  # a millisecond of the tone
        assert max(map(len, media._readers.values())) <= 4


def test_a_clip_leaves_an_open_file_open_and_has_its_own_notes(recorded):
    with open_media(recorded, "pyav") as media:
        with MediaClip({"path": media, "start": 3.0, "end": 3.0}) as clip:
            media.info.notes.append("of this clip")
            assert len(clip.notes) == 2
        with MediaClip({"path": media, "start": 4.0, "end": 5.0}) as clip:
            assert clip.notes == []
            next(clip.iter_frames([0.5], 1))
        assert media._readers
        with pytest.raises(ValueError, match="the open file reads sound track None, not 1"):
            MediaClip({"path": media, "audio_stream": 1})
