"""Frames to pixel_values, against the original's recorded front ends and Pillow; crops, halves, forms of input."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, PILImageResampling

from modeling_semanticmac.configuration_imagebind import ImageBindVisionConfig
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor, crop_offsets

GREY_LEVEL = 1 / 255 / min(OPENAI_CLIP_STD)  # the largest step that one level of a pixel makes


@pytest.fixture(scope="module")
def goldens(shared):
    return shared / "goldens" / "imagebind_tiny_a"


def picture(height: int, width: int) -> np.ndarray:
    """A smooth coloured picture with some grain, uint8 (H, W, 3)."""
    rows, columns = np.mgrid[0:height, 0:width]
    grain = np.random.default_rng(height * width).normal(0, 6, (height, width, 3))
    waves = np.stack([np.sin(rows / 9 + shift) * np.cos(columns / 13 - shift) for shift in (0, 1, 2)], axis=-1)
    return (127 + 110 * waves + grain).clip(0, 255).astype(np.uint8)


def test_equals_the_originals_still_picture(goldens):
    """All values are within 2e-3, except single pixels one grey level off: torch's kernel rounds inside."""
    expected = load_file(goldens / "vision_output.safetensors")["pixel_values"].float()
    found = ImageBindImageProcessor()(Image.open(goldens / "vision_input.png"))["pixel_values"]
    difference = (found - expected).abs()
    assert found.shape == (1, 3, 224, 224) and found.dtype == torch.float32
    assert difference.max() < GREY_LEVEL + 2e-3
    assert (difference > 2e-3).float().mean() < 0.005
    assert difference.mean() < 5e-4


def test_equals_the_originals_video_crops(goldens):
    golden = load_file(goldens / "video_frontend.safetensors")
    processor = ImageBindImageProcessor(size=56, num_crops=3, resample=PILImageResampling.BILINEAR)
    found = processor(golden["frames_uint8"])["pixel_values"].unflatten(0, (2, 3))  # (T, crops, 3, 56, 56)
    expected = golden["crops"].float().permute(2, 0, 1, 3, 4)  # (T, crops, 3, 56, 56)
    assert (found - expected).abs().max() <= 2e-3


@pytest.mark.parametrize(("height", "width"), [(360, 640), (480, 270), (224, 224), (225, 224), (97, 131), (300, 447)])
def test_equals_pillow(height, width):
    """Pillow's bicubic with the size and offset rules of torchvision: at most single pixels are off."""
    frame = picture(height, width)
    short = min(height, width)
    size = (int(224 * width / short), int(224 * height / short))
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    resized = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    expected = (np.asarray(resized) / 255 - OPENAI_CLIP_MEAN) / OPENAI_CLIP_STD
    found = ImageBindImageProcessor()([frame])["pixel_values"][0].permute(1, 2, 0).double()
    difference = (found - torch.from_numpy(expected)).abs()
    assert difference.max() < 2 * GREY_LEVEL + 1e-5
    assert (difference > 1e-5).float().mean() < 0.01


@pytest.mark.parametrize(
    ("length", "num_crops", "offsets"),
    [
        (279, 1, [28]),  # 27.5 -> 28 and 26.5 -> 26: half to even
        (277, 1, [26]),
        (280, 1, [28]),
        (224, 3, [0, 0, 0]),
        (279, 2, [0, 55]),
        (277, 3, [0, 27, 53]),  # 26.5 -> 27: up
    ],
)
def test_crop_offsets(length, num_crops, offsets):
    assert crop_offsets(length, 224, num_crops) == offsets


def plain_processor(**fields) -> ImageBindImageProcessor:
    """Pictures that already fit are only divided by 255, so crops can be checked by eye."""
    return ImageBindImageProcessor(size=8, image_mean=(0, 0, 0), image_std=(1, 1, 1), **fields)


@pytest.mark.parametrize("portrait", [False, True])
@pytest.mark.parametrize(("num_crops", "offsets"), [(1, [4]), (2, [0, 8]), (3, [0, 4, 8])])
def test_crops_of_one_frame_stand_together(num_crops, offsets, portrait):
    frames = torch.randint(0, 256, (2, 3, 8, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([frame[:, :, offset : offset + 8] / 255 for frame in frames for offset in offsets])
    if portrait:
        frames, expected = frames.transpose(-1, -2), expected.transpose(-1, -2)
    found = plain_processor(num_crops=num_crops)(frames)["pixel_values"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("side", "columns"), [("left", slice(0, 8)), ("right", slice(9, 17))])
def test_half_of_the_picture(side, columns):
    """17 pixels wide: each half has 8, the column between belongs to neither."""
    frames = torch.randint(0, 256, (2, 3, 8, 17), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = plain_processor()(frames, side=side)["pixel_values"]
    torch.testing.assert_close(found, frames[..., columns] / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize("resample", [PILImageResampling.BICUBIC, PILImageResampling.BILINEAR])
def test_forms_of_input_agree(resample):
    processor = ImageBindImageProcessor(size=28, resample=resample)
    frames = np.stack([picture(40, 50), picture(40, 50)[::-1]])
    expected = processor(torch.from_numpy(frames).permute(0, 3, 1, 2))["pixel_values"]
    pictures = [Image.fromarray(frame) for frame in frames]
    for form in (frames, list(frames), pictures, [torch.from_numpy(frame).permute(2, 0, 1) for frame in frames]):
        assert torch.equal(processor(form)["pixel_values"], expected)
    assert torch.equal(processor(pictures[0])["pixel_values"], expected[:1])
    as_array = processor(frames, return_tensors="np")["pixel_values"]
    assert isinstance(as_array, np.ndarray) and np.array_equal(as_array, expected.numpy())


def test_frames_of_several_sizes():
    processor = ImageBindImageProcessor(size=28, num_crops=3)
    frames = [picture(40, 50), picture(60, 30), picture(28, 28)]
    alone = torch.cat([processor([frame])["pixel_values"] for frame in frames])
    assert torch.equal(processor(frames)["pixel_values"], alone)


def test_grey_and_transparent_pictures_become_rgb():
    grey = Image.fromarray(picture(28, 28)[..., 0])
    values = plain_processor()([grey, grey.convert("RGBA")])["pixel_values"]
    assert torch.equal(values[0], values[1]) and torch.equal(values[0, 0], values[0, 2])


@pytest.mark.parametrize("frames", [[], torch.zeros(0, 3, 9, 9, dtype=torch.uint8)])
def test_no_frames(frames):
    assert ImageBindImageProcessor(num_crops=3)(frames)["pixel_values"].shape == (0, 3, 224, 224)


def test_one_picture_is_taken_as_other_image_processors_take_it():
    picture = torch.randint(0, 256, (20, 30, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    processor = ImageBindImageProcessor(size=16)
    expected = processor(picture.permute(2, 0, 1)[None])["pixel_values"]
    assert expected.shape == (1, 3, 16, 16)
    for one in (
        picture,
        picture.numpy(),
        picture.permute(2, 0, 1),
        Image.fromarray(picture.numpy()),
        [picture.numpy()],
    ):
        assert torch.equal(processor(one)["pixel_values"], expected)
        assert torch.equal(processor(images=one, return_tensors="pt").pixel_values, expected)


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        (torch.zeros(2, 3, 9, 9), {}, "hold torch.float32; expected uint8"),
        (torch.zeros(2, 1, 9, 9, dtype=torch.uint8), {}, r"shape \(2, 1, 9, 9\); expected RGB frames"),
        (torch.zeros(2, 9, 9, dtype=torch.uint8), {}, r"shape \(2, 9, 9\); expected RGB frames"),
        (torch.zeros(2, 3, 0, 9, dtype=torch.uint8), {}, "no pixel"),
        (torch.zeros(2, 3, 9, 9, dtype=torch.uint8), {"side": "top"}, "side is 'top'; expected"),
    ],
)
def test_what_is_no_frame_is_refused(frames, options, message):
    with pytest.raises(ValueError, match=message):
        ImageBindImageProcessor()(frames, **options)


@pytest.mark.parametrize("fields", [{"num_crops": 4}, {"resample": PILImageResampling.NEAREST}])
def test_unknown_settings_are_refused(fields):
    with pytest.raises(ValueError, match=f"{next(iter(fields))} is .*; expected"):
        ImageBindImageProcessor(**fields)


def test_saved_and_loaded(tmp_path):
    AutoImageProcessor.register(
        ImageBindVisionConfig,
        image_processor_classes={"pil": ImageBindImageProcessor, "torchvision": ImageBindImageProcessor},
        exist_ok=True,
    )
    processor = ImageBindImageProcessor(
        size=28, num_crops=2, resample=PILImageResampling.BILINEAR, image_mean=(0.1, 0.2, 0.3)
    )
    processor.save_pretrained(tmp_path)
    frames = [picture(40, 50)]
    for loaded in (ImageBindImageProcessor.from_pretrained(tmp_path), AutoImageProcessor.from_pretrained(tmp_path)):
        assert type(loaded) is ImageBindImageProcessor
        assert loaded.to_dict() == processor.to_dict()
        assert torch.equal(loaded(frames)["pixel_values"], processor(frames)["pixel_values"])
    assert ImageBindImageProcessor.from_pretrained(tmp_path, num_crops=3).num_crops == 3
