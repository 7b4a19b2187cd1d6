"""Damaged files, files that are not media, and the choice of the backend."""

import contextlib
import json
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling_semanticmac import media_decoding, media_torchcodec
from modeling_semanticmac.media_decoding import MediaError, decoding_backend, open_media
from modeling_semanticmac.media_index import index_media
from tests.helpers.media_files import (
    CONTAINERS,
    cut,
    ffmpeg_links,
    misread_media,
    random_bytes,
    read_number,
    sine,
    write_media,
)

# Damage


def assert_clear(error: MediaError, path, reason: str) -> None:
    """Check that an error is one sentence with the path, what was found and what to do."""
    message = str(error)
    assert error.reason == reason and error.path == str(path)
    assert message.startswith(f"{path}: ") and message.endswith(".") and "\n" not in message and ";" in message


def test_errors_of_files_that_are_no_media(tmp_path):
    text, folder, page = tmp_path / "text.mp4", tmp_path / "folder.mp4", tmp_path / "list.m3u8"
    text.write_text("this is not a video\n" * 30)
    folder.mkdir()
    page.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    empty, subtitles, song = tmp_path / "empty.mp4", tmp_path / "words.srt", tmp_path / "song.txt"
    empty.write_bytes(b"")
    subtitles.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    song.write_text("la la la\n" * 99)
    reasons = {tmp_path / "absent.mp4": "no file", folder: "no file", "http://127.0.0.1:9/x.mp4": "no file"}
    reasons |= dict.fromkeys([text, empty, subtitles, song, page, random_bytes(tmp_path / "noise.mp4")], "not media")
    for path, reason in reasons.items():
        with pytest.raises(MediaError) as caught:
            open_media(path, "pyav")
        assert_clear(caught.value, path, reason)


def test_a_play_list_opens_no_connection(tmp_path):
    asked = []

    def answer(server):
        with contextlib.suppress(OSError):  # until the server is closed
            while True:
                connection, _ = server.accept()
                asked.append(connection.recv(1000))
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=[server], daemon=True).start()
        path = tmp_path / "list.m3u8"
        address = f"http://127.0.0.1:{server.getsockname()[1]}/part.ts"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(MediaError) as caught:
            open_media(path, "pyav")
    assert_clear(caught.value, path, "not media")
    assert not asked


def test_an_mp4_cut_before_its_index(plain, tmp_path):
    path = cut(plain, tmp_path / "cut.mp4")
    with pytest.raises(MediaError, match="cut off") as caught:
        open_media(path, "pyav")
    assert_clear(caught.value, path, "truncated")


def test_absent_streams(odd):
    for kind, stream, ask in (
        ("no audio", "audio", lambda media: media.waveform()),
        ("no video", "video", lambda media: media.frames([0.0])),
    ):
        with open_media(odd[kind], "pyav") as media, pytest.raises(MediaError) as caught:
            ask(media)
        assert_clear(caught.value, odd[kind], f"no {stream} stream")


@pytest.mark.parametrize("kind", ["cut mp4", "cut mkv"])
def test_a_cut_file_gives_what_it_has_and_says_so(odd, kind):
    with open_media(odd[kind], "pyav") as media:
        assert 1.5 < media.info.duration < 3.0
        assert any("truncated at 2." in note for note in media.info.notes)
        assert [read_number(frame) for frame in media.frames([0.25, 0.75, 1.25])] == [6, 18, 31]
        assert 50 <= read_number(media.frames([3.9])[0]) < 75
        end = media.info.audio.end - 0.1
        assert torch.allclose(
            media.waveform(0.1, end), sine(0.1 + torch.arange(round(end * 16000) - 1600) / 16000), atol=2e-3
        )


def test_the_other_odd_kinds(odd):
    with open_media(odd["one frame"], "pyav") as media:
        assert media.info.duration == pytest.approx(0.04) and read_number(media.frames([0.02])[0]) == 0
    with open_media(odd["wrong extension"], "pyav") as media:
        assert read_number(media.frames([2.0])[0]) == 50 and media.info.audio is not None
    with open_media(odd["10-bit HEVC"], "pyav") as media:
        assert media.info.video.codec == "hevc" and read_number(media.frames([2.0])[0]) == 50
    with open_media(odd["5.1 audio"], "pyav") as media:
        assert media.waveform().abs().max() > 0.05
    for kind in ("zero bytes", "random bytes"):
        with pytest.raises(MediaError):
            open_media(odd[kind], "pyav")


def test_an_unknown_picture_codec_leaves_the_sound(plain, tmp_path):
    path = tmp_path / "unknown.mp4"
    path.write_bytes(plain.read_bytes().replace(b"avc1", b"zzzz"))
    with open_media(path, "pyav") as media:
        assert media.info.video is None and any("unknown" in note for note in media.info.notes)
        assert media.waveform().abs().max() > 0.3


def test_streams_of_noise_cannot_be_decoded(plain, tmp_path):
    data = bytearray(plain.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    path = tmp_path / "blank.mp4"
    path.write_bytes(data)
    with open_media(path, "pyav") as media:
        with pytest.raises(MediaError, match="no frame of the h264 stream") as caught:
            media.frames([0.5])
        assert_clear(caught.value, path, "cannot decode")


def test_damage_never_raises_anything_else(tmp_path):
    sources = [
        write_media(tmp_path / f"whole.{ending}", 0.6, **CONTAINERS[ending]) for ending in ("mp4", "mkv", "avi", "ts")
    ]
    random = np.random.default_rng(0)
    outcomes = set()
    for index in range(160):
        data = bytearray(sources[index % len(sources)].read_bytes())
        if index % 3 == 0:
            data = data[: random.integers(1, len(data))]
        else:
            for position in random.integers(0, len(data) if index % 3 == 1 else 1500, 8):
                data[position] = random.integers(256)
        for ask in (lambda media: media.frames([0.1, 0.5]), lambda media: media.waveform(0.0, 0.6)):
            try:
                with open_media(bytes(data), "pyav") as media:
                    assert torch.isfinite(ask(media).float()).all()
                outcomes.add("used")
            except MediaError as error:
                outcomes.add(error.reason)
    assert {"used", "truncated"} < outcomes


def test_a_clock_that_jumps_is_damage(tmp_path):
    """A second of media must not become weeks because one time is wrong; minutes without a frame are allowed."""
    shown = [0.0, 0.04, 0.08, 0.12]
    jumps = write_media(tmp_path / "jumps.mkv", 0.16, times=[*shown, 1000.0], sound=None)
    with open_media(jumps, "pyav") as media:
        assert media.info.duration == pytest.approx(0.16, abs=0.01)
        assert media.info.notes[0] == "the clock jumps by 1000 s, and what follows is left out"
        assert [read_number(frame) for frame in media.frames([0.0, 0.13, 999.0])] == [0, 3, 3]
    rests = write_media(tmp_path / "rests.mkv", 0.16, times=[*shown, 500.0], sound=None)
    with open_media(rests, "pyav") as media:
        assert media.info.duration > 500 and not media.info.notes
        assert read_number(media.frames([500.0])[0]) == 4


def test_errors_cross_process_borders():
    error = pickle.loads(pickle.dumps(MediaError("a.mp4", "no file", "there is none; look again.")))
    assert (error.path, error.reason, str(error)) == ("a.mp4", "no file", "a.mp4: there is none; look again.")


# Backends


def test_unknown_backend_and_backward_stretch(plain):
    with pytest.raises(ValueError, match="'ffmpeg'; expected None, 'torchcodec' or 'pyav'"):
        open_media(plain, "ffmpeg")
    with open_media(plain, "pyav") as media, pytest.raises(ValueError, match="ends before it begins"):
        media.waveform(2.0, 1.0)


@pytest.mark.parametrize("usable, backend", [(True, "torchcodec"), (False, "pyav")])
def test_the_backend_is_chosen_once_and_said_in_one_line(monkeypatch, caplog, usable, backend):
    asked = []
    monkeypatch.setattr(media_decoding, "is_torchcodec_usable", lambda decode: asked.append(decode) or usable)
    decoding_backend.cache_clear()
    with caplog.at_level(logging.INFO):
        assert decoding_backend() == decoding_backend() == backend
    decoding_backend.cache_clear()
    assert len(asked) <= 2 and len(caplog.records) == 1
    assert ("torchcodec, which is installed" if usable else "PyAV") in caplog.text


def test_torchcodec_is_left_out_where_it_would_read_a_long_file_for_a_short_cut(plain, monkeypatch):
    index = index_media(plain)
    assert media_torchcodec.TorchcodecFrames.suits(index)
    monkeypatch.setattr(media_torchcodec, "MOST_PACKETS", 99)
    assert not media_torchcodec.TorchcodecFrames.suits(index)
    sound = object.__new__(media_torchcodec.TorchcodecSound)  # without a decoder, which needs FFmpeg's libraries
    sound._index, sound._packets, sound.rate = index, index.audio, 1
    cuts = [(0, 600), (50, 60), (300, 400), (300, 310), (0, 601)]
    assert [sound.suits(*cut) for cut in cuts] == [True, True, True, False, False]


BOTH_BACKENDS = """
import json, sys, torch
from modeling_semanticmac.media_decoding import MediaError, decoding_backend, open_media

def decode(path, backend):
    found = {"frames": "", "sound": ""}
    taken = []
    with open_media(path, backend) as media:
        media._take_over = lambda what, error: taken.append(what)
        times = [0.1, *(0.25 + 0.5 * index for index in range(8)), media.info.duration]
        end = media.info.duration
        for name, ask in (("frames", lambda: media.frames(times[::-1])), ("sound", lambda: media.waveform(0.3, end))):
            try:
                found[name] = ask()
            except MediaError as error:
                found[name] = error.reason
    return found, taken

report = {"backend": decoding_backend(), "files": {}}
for path in json.load(open(sys.argv[1])):
    one, taken = decode(path, "torchcodec")
    two, _ = decode(path, "pyav")
    same = {}
    for name in one:
        if isinstance(one[name], str) or isinstance(two[name], str):
            same[name] = one[name] is two[name] or one[name] == two[name]
        else:
            same[name] = float((one[name].float() - two[name].float()).abs().max())
    report["files"][path] = {"difference": same, "taken over": taken}
print(json.dumps(report))
"""


@pytest.mark.slow
def test_both_backends_give_the_same(tmp_path, plain, odd):
    """Run in a new process with FFmpeg's libraries where torchcodec looks for them."""
    (tmp_path / "links").mkdir()
    folders = ffmpeg_links(tmp_path / "links")
    if not folders:
        pytest.skip("PyAV was not installed from a wheel with FFmpeg's libraries, so torchcodec cannot be given any")
    files = [str(plain), *(str(path) for kind, path in odd.items() if "bytes" not in kind)]
    files += [
        str(write_media(tmp_path / f"clip.{ending}", 2.0, **CONTAINERS[ending])) for ending in ("avi", "ts", "webm")
    ]
    real = Path(__file__).resolve().parent.parent.parent / "shared" / "media"
    files += [
        str(real / name)
        for name in ("face_noface.mov", "lbbc2a.mpg", "multi.wav", "nasa_13013.mp4", "video_90.mov")
        if real.is_dir()
    ]
    files += [str(path) for path in misread_media(tmp_path / "misread").values()]
    (tmp_path / "files.json").write_text(json.dumps(files))
    path = os.pathsep.join([*folders, os.environ.get("LD_LIBRARY_PATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", BOTH_BACKENDS, str(tmp_path / "files.json")],
        capture_output=True, text=True, cwd=Path(__file__).resolve().parent.parent,
        env={**os.environ, "LD_LIBRARY_PATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    report = json.loads(run.stdout.splitlines()[-1])
    if report["backend"] != "torchcodec":
        pytest.skip("torchcodec cannot be loaded next to this torch, even with FFmpeg's libraries")
    assert len(report["files"]) == len(files)
    for name, found in report["files"].items():
        assert found["difference"]["frames"] in (0.0, True), name
        assert found["difference"]["sound"] <= 1e-5 or found["difference"]["sound"] is True, name
    assert any(found["taken over"] for found in report["files"].values())  # the cut MP4
