"""Small real media for tests, written with PyAV: frames that show their number, sound that is a known function."""

import io
import math
import re
import struct
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

WIDTH, HEIGHT = 96, 64
BITS = 8  # of the frame's number, painted as black and white bars
HEVC = {"codec": "libx265", "pixel_format": "yuv420p10le", "codec_options": {"x265-params": "log-level=none"}}
CLOCK = 90_000  # units a second of the frames' times


# Every container that corpora come in, with pictures that refer to later ones (B-frames) where the codec has them.
CONTAINERS = {
    "mp4": {"codec_options": {"g": "12", "bf": "3"}},
    "mkv": {"codec_options": {"x264-params": "keyint=12:open-gop=1:bframes=3"}},
    "mov": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "avi": {"codec": "mpeg4", "codec_options": {"bf": "2"}, "sound_codec": "mp3"},
    "mpg": {"codec": "mpeg2video", "sound_codec": "mp2"},
    "ts": {},
    "webm": {"codec": "libvpx", "sound_codec": "libopus", "sampling_rate": 48000},
    "flv": {},
}


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return a picture, uint8 (H, W, 3): its number in eight bars, lowest bit left, white for one, above red."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    for bit in range(BITS):
        picture[:, bit * width // BITS : (bit + 1) * width // BITS] = 255 * (number >> bit & 1)
    picture[height * 3 // 4 :] = (255, 0, 0)
    return picture


def read_number(frame: torch.Tensor) -> int:
    """Return the number that a decoded frame of `numbered`, uint8 (3, H, W), shows."""
    row = frame[:, frame.shape[1] // 4].float().mean(dim=0)  # (W,)
    centres = [int((bit + 0.5) * len(row) / BITS) for bit in range(BITS)]
    return sum(int(row[centre] > 128) << bit for bit, centre in enumerate(centres))


def tone(frequency: float = 440.0, level: float = 0.5) -> Callable[[np.ndarray], np.ndarray]:
    """Return a sine as a function of the time in seconds."""
    return lambda seconds: level * np.sin(2 * np.pi * frequency * seconds)


def click(at: float, level: float = 0.9) -> Callable[[np.ndarray], np.ndarray]:
    """Return silence with a burst of 2 kHz and 20 ms at a time, as a function of the time in seconds."""
    return lambda seconds: level * np.sin(2 * np.pi * 2000 * seconds) * ((seconds >= at) & (seconds < at + 0.02))


def write_media(
    path: Path,
    seconds: float = 2.0,
    rate: int = 25,
    picture: Callable[[int], np.ndarray] | None = numbered,
    sound: Callable[[np.ndarray], np.ndarray] | Sequence[Callable] | None = tone(),  # noqa: B008
    *,
    times: Sequence[float] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    codec_options: dict | None = None,
    picture_settings: dict | None = None,
    sound_codec: str = "aac",
    sampling_rate: int = 16000,
    layout: str = "mono",
    sound_delay: float = 0.0,
    options: dict | None = None,
) -> Path:
    """Write a file; its name's ending says the container.

    Args:
        picture: uint8 (H, W, 3) by the number of the frame; None: no picture.
        sound: Samples by the time in seconds, one function, or one for each channel of `layout`; None: no sound.
        times: When each frame is shown (variable rate); None: `rate` per second for `seconds`.
        picture_settings: Attributes of the picture's codec context, such as {"sample_aspect_ratio": Fraction(64, 45)}.
        sound_delay: Seconds from the start of the container to the first sample, which is the sound's time 0.
        options: Options of the container, such as {"movflags": "faststart"}.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        video = audio = None
        if picture is not None:
            height, width = picture(0).shape[:2]
            video = container.add_stream(codec, rate=rate, options=codec_options or {})
            video.width, video.height, video.pix_fmt = width, height, pixel_format
            for name, value in (picture_settings or {}).items():
                setattr(video.codec_context, name, value)
            if times is not None:
                video.codec_context.time_base = Fraction(1, CLOCK)
        if sound is not None:
            audio = container.add_stream(sound_codec, rate=sampling_rate, layout=layout)
        if audio is not None:
            _write_sound(container, audio, sound, seconds, sound_delay)
        if video is not None:
            _write_pictures(container, video, picture, times, seconds, rate)
    return path


def _write_pictures(container, stream, picture, times, seconds: float, rate: int) -> None:
    for number in range(round(seconds * rate) if times is None else len(times)):
        frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
        if times is None:
            frame.pts, frame.time_base = number, Fraction(1, rate)
        else:
            frame.pts, frame.time_base = round(times[number] * CLOCK), Fraction(1, CLOCK)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _write_sound(container, stream, sound, seconds: float, delay: float) -> None:
    rate = stream.codec_context.sample_rate
    channels = [sound] if callable(sound) else list(sound)
    size = 1024
    for start in range(0, round(seconds * rate), size):
        moment = np.arange(start, min(start + size, round(seconds * rate))) / rate
        samples = np.stack([np.broadcast_to(channel(moment), moment.shape) for channel in channels]).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=stream.codec_context.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = rate, start + round(delay * rate), Fraction(1, rate)
        resampled = av.AudioResampler(
            stream.codec_context.format.name, stream.codec_context.layout.name, rate
        ).resample(frame)
        for part in resampled:
            container.mux(stream.encode(part))
    container.mux(stream.encode(None))


def rotate(path: Path, degrees: int) -> Path:
    """Set the rotation of an MP4's picture track (its first) to 90, 180 or 270 degrees clockwise, as a phone does."""
    data = bytearray(path.read_bytes())
    turn = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    a, b, c, d = (value << 16 for value in turn)
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = matrix
    path.write_bytes(data)
    return path


def cut(source: Path, path: Path, share: float = 0.6) -> Path:
    """Write the first part of a file's bytes, as an interrupted copy leaves it."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def random_bytes(path: Path, size: int = 20_000, seed: int = 0) -> Path:
    """Write a file of noise."""
    path.write_bytes(np.random.default_rng(seed).bytes(size))
    return path


def odd_media(folder: Path) -> dict[str, Path]:
    """Write one file of each of twelve kinds that real corpora have, broken ones among them; return them by their kind.

    Each lasts 4 s at 25 frames a second with a tone of 440 Hz, before anything is cut off.
    """
    folder.mkdir(parents=True, exist_ok=True)
    four = {"seconds": 4.0}
    faststart = {"options": {"movflags": "faststart"}, "picture": noisy}
    whole_mp4 = write_media(folder / "whole.mp4", **four, **faststart)
    whole_mkv = write_media(folder / "whole.mkv", **four, picture=noisy)
    surround = [tone(200 + 50 * channel, 0.1) for channel in range(6)]
    irregular = np.cumsum([0.03, 0.05, 0.04, 0.1] * 18)
    empty = folder / "zero_bytes.mp4"
    empty.write_bytes(b"")
    wrong = write_media(folder / "wrong.mkv", **four)
    kinds = {
        "zero bytes": empty,
        "random bytes": random_bytes(folder / "random_bytes.mp4"),
        "cut mp4": cut(whole_mp4, folder / "cut.mp4"),
        "cut mkv": cut(whole_mkv, folder / "cut.mkv"),
        "no audio": write_media(folder / "no_audio.mp4", **four, sound=None),
        "no video": write_media(folder / "no_video.mp4", **four, picture=None),
        "one frame": write_media(folder / "one_frame.mp4", seconds=0.04, sound=None),
        "variable rate": write_media(folder / "variable_rate.mp4", **four, times=irregular),
        "rotated": rotate(write_media(folder / "rotated.mp4", **four), 90),
        "10-bit HEVC": write_media(folder / "hevc.mp4", **four, **HEVC),
        "5.1 audio": write_media(folder / "surround.mp4", **four, sound=surround, layout="5.1", sampling_rate=48000),
        "wrong extension": wrong.rename(folder / "wrong_extension.wav"),
    }  # fmt: skip
    for whole in (whole_mp4, whole_mkv):
        whole.unlink()
    return kinds


def noisy(number: int) -> np.ndarray:
    """Return `numbered` with noise in the red part, so that the file's bytes are spread evenly over its time."""
    picture = numbered(number)
    noise = np.random.default_rng(number).integers(0, 256, (HEIGHT // 4, WIDTH, 3), dtype=np.uint8)
    picture[HEIGHT * 3 // 4 :] = noise
    return picture


def ffmpeg_links(folder: Path) -> list[str]:
    """Link the FFmpeg libraries that PyAV's wheel brings under the names that torchcodec looks for.

    Returns:
        Folders for LD_LIBRARY_PATH of a new process; empty where PyAV has no such libraries.
    """
    libraries = Path(av.__file__).parent.parent / "av.libs"
    if sys.platform != "linux" or not libraries.is_dir():
        return []
    for library in libraries.iterdir():
        name = re.fullmatch(r"(lib(?:av|sw)[a-z]+)-[0-9a-f]+\.so\.(\d+).*", library.name)
        if name:
            (folder / f"{name[1]}.so.{name[2]}").symlink_to(library)
    return [str(folder), str(libraries)]


def begin_later(source: Path, path: Path, seconds: float) -> Path:
    """Write an MP4 whose edit list hides the beginning of its picture, as cutting without encoding again leaves it."""
    options = {"avoid_negative_ts": "disabled", "use_editlist": "1"}
    with av.open(str(source)) as whole, av.open(str(path), "w", options=options) as container:
        stream = container.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                hidden = round(seconds / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - hidden, packet.dts - hidden, stream
                container.mux(packet)
    return path


def with_cover(source: Path, path: Path) -> Path:
    """Write an MP3 with a picture of its cover in front, as an ID3v2.3 tag."""
    jpeg = io.BytesIO()
    Image.fromarray(numbered(5)).save(jpeg, "JPEG")
    body = b"\0image/jpeg\0\x03\0" + jpeg.getvalue()
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + size + frame + source.read_bytes())
    return path


def joined(paths: Sequence[Path], path: Path) -> Path:
    """Write the bytes of files one after the other, as `cat` does."""
    path.write_bytes(b"".join(source.read_bytes() for source in paths))
    return path


def write_tracks(path: Path, sounds: Sequence[Callable], seconds: float = 2.0, rate: int = 16000) -> Path:
    """Write a Matroska file of several sound tracks, each a function of the time in seconds."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=rate, layout="mono") for _ in sounds]
        for stream, sound in zip(streams, sounds):
            _write_sound(container, stream, sound, seconds, 0.0)
    return path


def misread_media(folder: Path) -> dict[str, Path]:
    """Write files that decoders read wrongly without a word, and return them by what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    opposite, wav = [tone(), lambda seconds: -tone()(seconds)], {"picture": None, "sound_codec": "pcm_s16le"}
    parts = [write_media(folder / f"{number}.ts", 1.0 + number, sound=tone(440 + 200 * number)) for number in range(2)]
    hdr = {"color_trc": 18, "color_primaries": 9, "colorspace": 9}
    return {
        "opposite phase": write_media(folder / "opposite.wav", sound=opposite, layout="stereo", **wav),
        "ADPCM": write_media(folder / "adpcm.wav", 4.0, picture=None, sound_codec="adpcm_ima_wav"),
        "long pixels": write_media(folder / "pixels.mp4", picture_settings={"sample_aspect_ratio": Fraction(64, 45)}),
        "HLG": write_media(folder / "hlg.mp4", picture_settings=hdr),
        "joined": joined(parts, folder / "joined.ts"),
        "tracks": write_tracks(folder / "tracks.mkv", [tone(300), tone(700)]),
    }


def sine(seconds: torch.Tensor, frequency: float = 440.0, level: float = 0.5) -> torch.Tensor:
    """Return the samples of `tone` at times, float32."""
    return (level * torch.sin(2 * math.pi * frequency * seconds.double())).float()


def babble(stretches, level=0.3, noise=0.001, seed=0):
    """Return sound as a function of time: a trembling tone in the stretches, noise everywhere."""

    def sound(seconds):
        inside = np.zeros(seconds.shape, dtype=bool)
        for start, end in stretches:
            inside |= (seconds >= start) & (seconds < end)
        speech = level * np.sin(2 * np.pi * 220 * seconds) * (1 + 0.3 * np.sin(2 * np.pi * 4 * seconds)) / 1.3
        hiss = noise * np.random.default_rng([seed, len(seconds), int(seconds[0] * 1000)]).standard_normal(
            seconds.shape
        )
        return inside * speech + hiss

    return sound
