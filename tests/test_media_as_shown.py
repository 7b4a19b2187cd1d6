"""Pictures as a screen shows them: HDR colours, pixels that are not square; against values computed by hand."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from modeling_semanticmac.image_processing_imagebind import as_bt709, is_one_colour
from modeling_semanticmac.media_decoding import open_media
from modeling_semanticmac.media_index import index_media
from modeling_semanticmac.media_torchcodec import TorchcodecFrames
from tests.helpers.media_files import numbered, read_number, rotate, write_media

TRANSFERS = {"HLG": 18, "PQ": 16, "BT.2020": 14}  # FFmpeg's numbers
PATCHES = ((0.5, 0.5, 0.5), (0.75, 0.75, 0.75), (0.7, 0.5, 0.4), (0.2, 0.1, 0.1), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def screen_light(signal: np.ndarray, colours: str) -> np.ndarray:
    """Return the light of red, green and blue in cd/m2 by ITU-R BT.2100 (BT.1886 for SDR, with a white of 600)."""
    if colours == "PQ":
        c1, c2, c3, m1, m2 = 3424 / 4096, 2413 / 128, 2392 / 128, 2610 / 16384, 2523 / 32
        root = signal ** (1 / m2)
        return 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    if colours == "BT.2020":
        return 600 * signal**2.4
    a, b = 0.17883277, 1 - 4 * 0.17883277
    c = 0.5 - a * np.log(4 * a)
    scene = np.array([value**2 / 3 if value <= 0.5 else (np.exp((value - c) / a) + b) / 12 for value in signal])
    return 1000 * (0.2627 * scene[0] + 0.6780 * scene[1] + 0.0593 * scene[2]) ** (1.2 - 1) * scene


def expected_rgb(signal: tuple, colours: str) -> np.ndarray:
    """Return the grey levels of red, green and blue in BT.709, in double precision."""
    primaries = {
        709: [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)],
        2020: [(0.708, 0.292), (0.170, 0.797), (0.131, 0.046)],
    }
    white = np.array([0.3127, 0.3290, 1 - 0.3127 - 0.3290]) / 0.3290
    to_xyz = {}
    for name, points in primaries.items():
        columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in points]).T
        to_xyz[name] = columns * np.linalg.solve(columns, white)
    light = np.linalg.solve(to_xyz[709], to_xyz[2020] @ screen_light(np.array(signal), colours)) / 600
    light = np.maximum(light, 0)
    if colours != "BT.2020" and light.max() > 0.3:
        # The Moebius function through (0.3, 0.3) with slope 1 there and through (10, 1).
        a, b = -0.09 * 9 / (0.09 - 0.6 + 10), (0.09 - 6 + 10) / 9
        light = light * ((b + 0.3) ** 2 / (b - a) * (light.max() + a) / (light.max() + b) / light.max())
    return 255 * np.minimum(light, 1) ** (1 / 2.4)


@pytest.mark.parametrize("grey, colours, value", [(0.5, "HLG", 91.1), (0.75, "HLG", 162.0), (0.5807, "PQ", 162.0)])
def test_greys_computed_by_hand(grey, colours, value):
    """HLG's 75 % and PQ's 58 % are 203 cd/m2, the white of graphics; HLG's 50 % is 50.7 cd/m2."""
    picture = torch.full((1, 1, 3), round(grey * 65535), dtype=torch.int32)
    assert as_bt709(picture, colours).flatten().tolist() == pytest.approx([value] * 3, abs=0.7)


@pytest.mark.parametrize("colours", TRANSFERS)
@pytest.mark.parametrize("signal", PATCHES)
def test_colours_follow_the_standard(colours, signal):
    picture = (torch.tensor(signal, dtype=torch.float64) * 65535).round().int().expand(600, 2, 3)  # several strips
    shown = as_bt709(picture.contiguous(), colours)
    assert shown.dtype == torch.uint8 and (shown == shown[0, 0]).all()
    assert shown[0, 0].tolist() == pytest.approx(expected_rgb(signal, colours), abs=1)


def write_deep(path: Path, signal: tuple, colours: str) -> Path:
    """Write ten frames of one colour, 10 bits deep and without loss, whose left half is darker by a half."""
    luma = np.array([0.2627, 0.6780, 0.0593])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv444p10le"
        settings = {"color_trc": TRANSFERS[colours], "color_primaries": 9, "colorspace": 9, "color_range": 1}
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        planes = np.empty((3, 32, 64), dtype=np.uint16)
        for columns, level in ((slice(0, 32), 0.5), (slice(32, 64), 1.0)):
            rgb = level * np.array(signal)
            y = luma @ rgb
            blue, red = (rgb[2] - y) / 1.8814, (rgb[0] - y) / 1.4746
            for plane, value in enumerate((64 + 876 * y, 512 + 896 * blue, 512 + 896 * red)):
                planes[plane, :, columns] = round(value)
        for number in range(10):
            frame = av.VideoFrame(64, 32, "yuv444p10le")
            for plane, values in zip(frame.planes, planes):
                plane.update(values.tobytes())
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("colours", TRANSFERS)
@pytest.mark.parametrize("backend", ["pyav", "torchcodec"])
def test_a_file_of_other_colours_is_shown_in_bt709(tmp_path, colours, backend):
    signal = (0.7, 0.5, 0.4)
    path = write_deep(tmp_path / "deep.mkv", signal, colours)
    with open_media(path, backend) as media:
        frame = media.frames([0.1])[0]
        assert media.info.notes == [f"{colours} colours are converted to BT.709"]
    assert not TorchcodecFrames.suits(index_media(path))
    assert frame[:, 16, 48].tolist() == pytest.approx(expected_rgb(signal, colours), abs=2)
    half = tuple(value / 2 for value in signal)
    assert frame[:, 16, 16].tolist() == pytest.approx(expected_rgb(half, colours), abs=2)


def test_a_real_hdr_recording(shared):
    means = {}
    for name in ("hlg.mov", "sdr3.mp4"):
        with open_media(shared / "cases" / name, "pyav") as media:
            means[name] = media.frames([0.25, 0.75, 1.25, 1.75, 2.25, 2.75]).float().mean(dim=(0, 2, 3))
    assert means["hlg.mov"].tolist() == pytest.approx([175, 160, 141], abs=8)  # FFmpeg's tone mapping
    assert means["sdr3.mp4"].tolist() == pytest.approx([167.6, 155.4, 139.3], abs=0.5)  # unchanged


# Pixels that are not square


@pytest.mark.parametrize("aspect, width", [(Fraction(64, 45), 137), (Fraction(3, 4), 72), (Fraction(1, 1), 96)])
def test_pixels_are_shown_square(tmp_path, aspect, width):
    settings = {"sample_aspect_ratio": aspect}
    path = write_media(tmp_path / "clip.mp4", 1.0, sound=None, picture_settings=settings)
    with open_media(path, "pyav") as media:
        frames = media.frames([0.0, 0.5, 0.9])
    assert frames.shape == (3, 3, 64, width) and [read_number(frame) for frame in frames] == [0, 12, 22]
    assert TorchcodecFrames.suits(index_media(path)) == (aspect == 1)


def test_rotation_turns_the_square_pixels(tmp_path):
    settings = {"sample_aspect_ratio": Fraction(3, 2)}
    path = rotate(write_media(tmp_path / "clip.mp4", 0.4, sound=None, picture_settings=settings), 90)
    with open_media(path, "pyav") as media:
        assert media.frames([0.2]).shape == (1, 3, 144, 64)


def test_impossible_pixels_are_damage(tmp_path):
    settings = {"sample_aspect_ratio": Fraction(8, 1)}
    path = write_media(tmp_path / "clip.mp4", 0.4, sound=None, picture_settings=settings)
    with open_media(path, "pyav") as media:
        assert media.frames([0.2]).shape == (1, 3, 64, 96)
        assert media.info.notes == ["pixels 8 times as wide as high are taken for square ones"]


def test_a_real_anamorphic_recording(shared):
    frames = {}
    for name in ("anamorphic.mp4", "base.mp4"):
        with open_media(shared / "cases" / name, "pyav") as media:
            frames[name] = media.frames([3.0])
    assert frames["anamorphic.mp4"].shape == (1, 3, 576, 1024)  # 720 x 576, 64:45
    small = torch.nn.functional.interpolate(frames["anamorphic.mp4"].float(), size=(180, 320), mode="area")
    assert (small - frames["base.mp4"].float()).abs().mean() < 6


# Pictures that show nothing


def test_one_colour():
    black, grey = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.full((2, 3, 8, 8), 200, dtype=torch.uint8)
    noisy = black.clone()
    noisy[0, 0, 0, 0] = 4  # what a codec makes of black
    speck = black.clone()
    speck[1, 2, 7, 7] = 40
    assert is_one_colour(black) and is_one_colour(grey) and is_one_colour(noisy) and not is_one_colour(speck)
    assert not is_one_colour(torch.from_numpy(numbered(5)).permute(2, 0, 1))
