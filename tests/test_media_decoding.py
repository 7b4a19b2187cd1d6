"""Decoding, against files whose every frame and sample is known and against plain decoding from the beginning."""

import bisect
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from modeling_semanticmac import media_index
from modeling_semanticmac.feature_extraction_imagebind import mono_mix
from modeling_semanticmac.media_decoding import open_media
from modeling_semanticmac.media_pyav import resample
from tests.helpers.media_files import (
    CONTAINERS,
    begin_later,
    click,
    read_number,
    rotate,
    sine,
    tone,
    with_cover,
    write_media,
)

IRREGULAR = list(np.cumsum([0.03, 0.05, 0.04, 0.1] * 18))


def sequential_frames(path: Path) -> list[tuple[float, torch.Tensor]]:
    """Return (time, frame) of each frame of the best stream, decoded in order from the beginning."""
    with av.open(str(path)) as container:
        stream, origin = container.streams.best("video"), (container.start_time or 0) / 1e6
        pictures = [
            (float(frame.pts * stream.time_base) - origin, torch.from_numpy(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(stream)
        ]
    return [(time, picture.permute(2, 0, 1)) for time, picture in pictures]


# Pictures


def test_each_time_gives_the_frame_that_is_shown_then(plain):
    times = [0.0, 0.0399, 0.04, 0.25, 1.75, 3.0, 3.9999]
    with open_media(plain, "pyav") as media:
        frames = media.frames(times)
    assert frames.dtype == torch.uint8 and frames.shape == (7, 3, 64, 96)
    assert [read_number(frame) for frame in frames] == [0, 0, 1, 6, 43, 75, 99]


def test_the_beginning_of_each_frame_is_its_own(plain):
    with open_media(plain, "pyav") as media:
        assert [read_number(frame) for frame in media.frames([number / 25 for number in range(100)])] == list(
            range(100)
        )


def test_times_in_any_order_twice_and_outside_the_stream(plain):
    with open_media(plain, "pyav") as media:
        frames = media.frames([9.0, 2.0, -1.0, 2.0, 0.5])
        assert [read_number(frame) for frame in frames] == [99, 50, 0, 50, 12]
        assert media.frames([]).shape[0] == 0


@pytest.mark.parametrize("ending", CONTAINERS)
def test_every_way_of_asking_gives_what_decoding_from_the_beginning_gives(tmp_path, ending):
    path = write_media(tmp_path / f"clip.{ending}", seconds=3.0, **CONTAINERS[ending])
    truth = sequential_frames(path)
    times = [time + 0.003 for time, _ in truth]
    order = np.random.default_rng(0).permutation(len(truth))[:12]
    with open_media(path, "pyav") as media:
        assert all(torch.equal(frame, picture) for frame, (_, picture) in zip(media.frames(times), truth))
        for position in [*order, *range(0, len(truth), 25)]:
            assert torch.equal(media.frames([times[position]])[0], truth[position][1])


def test_a_sparse_sampling_of_a_long_file_decodes_little_of_it(tmp_path):
    path = write_media(tmp_path / "long.mp4", seconds=60.0, sound=None, codec_options={"g": "25"})
    with open_media(path, "pyav") as media:
        frames = media.frames([5.1, 25.1, 45.1])
        ((reader,),) = media._readers.values()
        assert reader.decoded < 100 < 60 * 25
    assert [read_number(frame) for frame in frames] == [127, (25 * 25 + 2) % 256, (45 * 25 + 2) % 256]


def test_frames_in_chunks(plain):
    times = [0.25 + 0.5 * index for index in range(7)]
    with open_media(plain, "pyav") as media:
        chunks = list(media.iter_frames(times, chunk=3))
        assert [len(chunk) for chunk in chunks] == [3, 3, 1]
        assert torch.equal(torch.cat(chunks), media.frames(times))


def test_variable_frame_rate(odd):
    times = [0.25 + 0.5 * index for index in range(7)]
    shown = [bisect.bisect_right(IRREGULAR, time + 1e-6) - 1 for time in times]
    with open_media(odd["variable rate"], "pyav") as media:
        assert [read_number(frame) for frame in media.frames(times)] == shown


def test_frames_hidden_by_an_edit_list(tmp_path):
    whole = write_media(tmp_path / "whole.mp4", seconds=2.0, sound=None)
    with open_media(begin_later(whole, tmp_path / "later.mp4", 0.4), "pyav") as media:
        assert (media.info.video.begin, media.info.duration) == pytest.approx((0.0, 1.6))
        assert [read_number(frame) for frame in media.frames([-1.0, 0.0, 0.5, 1.5])] == [10, 10, 22, 47]
        assert [read_number(media.frames([time])[0]) for time in (1.5, 0.5, 0.0)] == [47, 22, 10]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation(tmp_path, degrees):
    upright = write_media(tmp_path / "upright.mp4", seconds=0.4, sound=None)
    with open_media(upright, "pyav") as media:
        expected = media.frames([0.2])[0].rot90(-degrees // 90, dims=(1, 2))  # rot90 turns counter-clockwise
    with open_media(rotate(upright, degrees), "pyav") as media:
        assert torch.equal(media.frames([0.2])[0], expected)


@pytest.mark.parametrize(
    "coding",
    [
        {"pixel_format": "yuvj420p"},
        {"pixel_format": "yuv444p"},
        {"codec_options": {"x264-params": "colormatrix=bt709"}},
        {"codec": "libx265", "pixel_format": "yuv420p10le", "codec_options": {"x265-params": "log-level=none"}},
    ],
    ids=["full range", "4:4:4", "BT.709 stated", "10 bit"],
)
def test_colours(tmp_path, coding):
    colour = (200, 60, 30)
    path = write_media(
        tmp_path / "colour.mp4",
        0.2,
        picture=lambda number: np.full((64, 96, 3), colour, np.uint8),
        sound=None,
        **coding,
    )
    with open_media(path, "pyav") as media:
        means = media.frames([0.1])[0].float().mean(dim=(1, 2))
    # The writer converts by BT.601: a stream that states BT.709 shows other colours, by the two standards' matrices.
    expected = bt709_seen(colour) if "codec_options" in coding and "codec" not in coding else colour
    assert means.tolist() == pytest.approx(expected, abs=5)


def bt709_seen(colour: tuple[int, int, int]) -> list[float]:
    """Return a colour that was written by the matrix of BT.601 and is read by that of BT.709."""

    def matrix(red: float, blue: float) -> np.ndarray:
        luma = np.array([red, 1 - red - blue, blue])
        return np.stack([luma, (np.eye(3)[2] - luma) / (2 - 2 * blue), (np.eye(3)[0] - luma) / (2 - 2 * red)])

    return list(np.linalg.inv(matrix(0.2126, 0.0722)) @ matrix(0.299, 0.114) @ np.array(colour))


# Sound


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("codec", ["pcm_s16le", "flac"])
def test_the_sound_is_the_function_that_was_written(tmp_path, rate, codec):
    path = write_media(tmp_path / "tone.mkv", 2.0, picture=None, sound_codec=codec, sampling_rate=rate)
    with open_media(path, "pyav") as media:
        sound = media.waveform(0.0, 2.0)
    assert sound.dtype == torch.float32 and sound.shape == (32000,)
    inner = slice(200, -200)  # the resampler's filter runs over the ends
    assert torch.allclose(sound[inner], sine(torch.arange(32000) / 16000)[inner], atol=2e-4)


def test_another_sampling_rate(plain):
    with open_media(plain, "pyav") as media:
        sound = media.waveform(1.0, 2.0, sampling_rate=22050)
    assert torch.allclose(sound, sine(1.0 + torch.arange(22050) / 22050), atol=0.03)  # AAC


@pytest.mark.parametrize("codec, tolerance", [("flac", 1e-6), ("aac", 3e-3)])  # AAC puts noise into what it leaves out
@pytest.mark.parametrize("stretch", [(0.0, 1.0), (0.7, 0.7), (0.731, 2.277), (3.2, 4.0), (3.99, 4.0)])
def test_a_stretch_has_the_samples_of_the_whole(tmp_path, stretch, codec, tolerance):
    start, end = stretch
    path = write_media(tmp_path / "clip.mp4", 4.0, picture=None, sound_codec=codec, sampling_rate=44100)
    with open_media(path, "pyav") as media:
        whole, part = media.waveform(), media.waveform(start, end)
    first = round(start * 16000)
    assert len(part) == round(end * 16000) - first
    assert torch.allclose(part, whole[first : first + len(part)], atol=tolerance)


def test_nothing_is_silent_before_and_behind_the_stream(plain):
    with open_media(plain, "pyav") as media:
        sound = media.waveform(-1.0, 6.0)
    assert sound.shape == (7 * 16000,)
    assert not sound[: 16000 - 20].any() and not sound[5 * 16000 + 400 :].any()
    assert torch.allclose(sound[20000:76000], sine(torch.arange(20000 - 16000, 76000 - 16000) / 16000), atol=0.03)


def test_picture_and_sound_stay_together_where_the_sound_begins_later(tmp_path):
    path = write_media(tmp_path / "late.mp4", 3.0, sound=click(at=1.0), sound_codec="aac", sound_delay=0.6)
    with open_media(path, "pyav") as media:
        sound, frame = media.waveform(), media.frames([1.6])[0]
        assert media.info.audio.begin == pytest.approx(0.6, abs=0.07)  # AAC writes a packet before the first sample
    loud = torch.nonzero(sound.abs() > 0.3).flatten() / 16000
    assert float(loud[0]) == pytest.approx(1.6, abs=0.005) and float(loud[-1]) == pytest.approx(1.62, abs=0.005)
    assert read_number(frame) == 40


def test_a_hole_between_packets_is_silence(tmp_path):
    path = tmp_path / "hole.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        for start, level in ((0, 8000), (32000, 16000)):
            frame = av.AudioFrame.from_ndarray(np.full((1, 16000), level, np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_media(path, "pyav") as media:
        sound = media.waveform()
    assert sound.view(3, 16000).mean(dim=1).tolist() == pytest.approx([8000 / 32768, 0.0, 16000 / 32768], abs=1e-3)


def test_stereo_is_the_mean_of_both_channels(tmp_path):
    both = [tone(300, 0.6), tone(500, 0.2)]
    path = write_media(tmp_path / "stereo.wav", 1.0, picture=None, sound=both, sound_codec="pcm_s16le", layout="stereo")
    seconds = torch.arange(16000) / 16000
    with open_media(path, "pyav") as media:
        assert torch.allclose(media.waveform(), 0.5 * (sine(seconds, 300, 0.6) + sine(seconds, 500, 0.2)), atol=1e-4)


def test_surround_sound_keeps_the_centre_and_drops_the_effects(tmp_path):
    frequencies = dict(zip(("FL", "FR", "FC", "LFE", "SL", "SR"), (300, 400, 500, 60, 700, 800)))
    channels = [tone(frequency, 0.4) for frequency in frequencies.values()]
    path = write_media(tmp_path / "six.mkv", 2.0, picture=None, sound=channels, sound_codec="flac", layout="5.1(side)")
    with open_media(path, "pyav") as media:
        spectrum = torch.fft.rfft(media.waveform()).abs() / 16000  # amplitude by half hertz
    amplitude = {name: float(spectrum[2 * frequency]) / 0.4 for name, frequency in frequencies.items()}
    total = 1 + 2 * 0.5**0.5 + 2 * 0.5
    assert amplitude["FC"] == pytest.approx(1 / total, abs=2e-3)
    assert [amplitude["FL"], amplitude["FR"]] == pytest.approx([0.5**0.5 / total] * 2, abs=2e-3)
    assert [amplitude["SL"], amplitude["SR"], amplitude["LFE"]] == pytest.approx(
        [0.5 / total, 0.5 / total, 0], abs=2e-3
    )


@pytest.mark.parametrize(
    "channels, shares",
    [
        (["FC"], [1]),
        (["FL", "FR"], [0.5, 0.5]),
        (["FL", "FR", "LFE"], [0.5, 0.5, 0]),
        (["LFE"], [1]),
        (["?", "FC"], [0.5, 0.5]),
    ],
)
def test_mono_mix(channels, shares):
    assert mono_mix(channels).tolist() == pytest.approx(shares)


def test_resampling_starts_at_the_same_moment_and_takes_any_pieces():
    signal = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100).astype(np.float32)
    whole = resample([signal], 44100, 16000)
    pieces = resample(np.array_split(signal, 37), 44100, 16000)
    assert torch.allclose(pieces, whole, atol=1e-6)
    assert torch.allclose(whole[200:-200], sine(torch.arange(16000) / 16000, 440, 1.0)[200:-200], atol=1e-4)
    assert len(resample([], 44100, 16000)) == 0


# What is in a file


def test_the_first_best_stream_without_covers(tmp_path):
    song = write_media(tmp_path / "song.mp3", 1.0, picture=None, sound_codec="mp3")
    with open_media(with_cover(song, tmp_path / "cover.mp3"), "pyav") as media:
        assert media.info.video is None and media.info.audio.codec in ("mp3", "mp3float")
        assert media.waveform().abs().max() > 0.3


def test_codec_padding_does_not_lengthen_a_clip(tmp_path):
    path = write_media(tmp_path / "clip.mkv", 2.0)  # Matroska states no end of the sound, AAC fills its last packet
    with open_media(path, "pyav") as media:
        assert media.info.audio.end > 2.0
        assert media.info.duration == pytest.approx(2.0, abs=2e-3)


def test_sound_that_runs_on_counts(tmp_path):
    path = tmp_path / "runs_on.mkv"
    write_media(path, 2.0, sound_delay=0.5)
    with open_media(path, "pyav") as media:
        assert media.info.duration == pytest.approx(2.55, abs=0.05)
        assert read_number(media.frames([2.4])[0]) == 49  # the last frame stays


def test_bytes_are_as_good_as_a_file(plain):
    with open_media(plain, "pyav") as file, open_media(plain.read_bytes(), "pyav") as memory:
        assert torch.equal(file.frames([1.0, 3.0]), memory.frames([1.0, 3.0]))
        assert torch.equal(file.waveform(0.5, 1.5), memory.waveform(0.5, 1.5))
        assert memory.info.duration == file.info.duration and "bytes" in memory.info.path


def test_a_closed_file_opens_again(plain):
    media = open_media(plain, "pyav")
    before = media.frames([1.0])
    media.close()
    assert torch.equal(media.frames([1.0]), before)
    media.close()


@pytest.mark.parametrize(
    "name, duration, picture, sound",
    [  # from ffprobe
        ("googlework_short.mp4", 35.07, (180, 320, 29.97), 44100),
        ("lbbc2a.mpg", 3.0, (288, 360, 25), 44100),
        ("again.mkv", 2.57, (480, 640, 30), None),
        ("face_noface.mov", 6.40, (540, 960, 26.4), 44100),
        ("nasa_13013.mp4", 13.01, (270, 480, 29.97), 16000),
        ("video_90.mov", 0.1, (568, 320, 30), None),
        ("jfk.wav", 11.0, None, 16000),
        ("multi.wav", 5.155, None, 44100),
    ],
)
def test_real_files(shared, name, duration, picture, sound):
    with open_media(shared / "media" / name, "pyav") as media:
        assert media.info.duration == pytest.approx(duration, abs=0.05)
        assert not [note for note in media.info.notes if "sound tracks" not in note]  # one of them has two
        assert (media.info.video is None, media.info.audio is None) == (picture is None, sound is None)
        if picture:
            frames = media.frames([duration * share for share in (0.0, 0.4, 0.99)])
            assert frames.shape == (3, 3, *picture[:2])
            assert media.info.video.rate == pytest.approx(picture[2], rel=2e-3)
            assert frames.float().std() > 10
        if sound:
            assert media.info.audio.rate == sound
            level = media.waveform().square().mean().sqrt()
            assert 0.02 < level < 0.5


def test_sound_that_begins_within_a_packet(shared):
    with open_media(shared / "media" / "face_noface.mov", "pyav") as media:
        assert media.info.audio.begin == pytest.approx(107164 / 44100, abs=1e-6)  # ffprobe's start_pts


def test_clips_of_one_file_read_its_packets_once(tmp_path, monkeypatch):
    """A file that changed is read again, and the notes of one clip are not another's."""
    read, index = [], media_index._read_index
    monkeypatch.setattr(media_index, "_read_index", lambda source, track: read.append(source) or index(source, track))
    path = write_media(tmp_path / "film.mp4", 1.0)
    for _ in range(3):
        with open_media(path) as media:
            assert media.info.notes == []
            media.info.notes.append("of this clip")
    assert len(read) == 1
    write_media(path, 2.0)
    with open_media(path) as media:
        assert media.info.duration == pytest.approx(2.0, abs=0.05) and len(read) == 2
