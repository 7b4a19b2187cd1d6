"""Crops of faces: the square, the choice of the face, frames without one, pairs; with a stand-in for the detector."""

import hashlib
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor

from modeling_semanticmac import face_detection
from modeling_semanticmac.embedding_extraction.command import main as embed
from modeling_semanticmac.embedding_store import EmbeddingStore, FingerprintError
from modeling_semanticmac.face_crops import FaceCropper, face_options, face_square
from modeling_semanticmac.face_detection import Face, FaceDetectorError, detector_reference, find_faces, load_detector
from modeling_semanticmac.feature_extraction_imagebind import ImageBindFeatureExtractor
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor, picture_inputs
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor
from modeling_semanticmac.speaking_face import link_faces
from tests.helpers.extraction_cases import clip, extract, tiny_processor, tiny_towers
from tests.helpers.face_stub import ColourNetwork, faces_picture, use_colour_faces
from tests.helpers.media_files import tone, write_media
from tests.helpers.tiny import word_tokenizer

EXACT = {"codec": "ffv1", "pixel_format": "bgr0"}  # without loss


@pytest.fixture
def detector(monkeypatch, tmp_path):
    return use_colour_faces(monkeypatch, tmp_path)


def frames_of(*pictures: np.ndarray) -> torch.Tensor:
    return torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures])


def face(left, top, width, height) -> Face:
    return Face(left, top, width, height, np.zeros((5, 2), dtype=np.float32))


@pytest.mark.parametrize(
    ("box", "square"),
    [
        ((50, 30, 20, 20), (47, 27, 26)),  # 1.3 times 20, around the centre (60, 40)
        ((50, 20, 20, 40), (34, 14, 52)),  # the longer side counts
        ((0, 0, 20, 20), (0, 0, 26)),  # moved into the frame
        ((150, 80, 10, 10), (147, 78, 13)),
        ((20, 5, 90, 85), (17, 0, 96)),  # as large as the frame allows
    ],
)
def test_the_square_around_a_face(box, square):
    assert face_square(face(*box), 96, 160) == square


def test_boxes_of_large_frames_come_back_in_their_pixels():
    """The frame of 1280 x 768 is shown to the detector with 640 x 384."""
    network = ColourNetwork()
    picture = faces_picture(red=(200, 100, 160, 120), green=(800, 300, 320, 240), height=768, width=1280)
    found = find_faces(network, frames_of(picture)[0])
    assert network.sizes == [(640, 384)]
    assert [(f.left, f.top, f.width, f.height) for f in found] == [(800, 300, 320, 240), (200, 100, 160, 120)]
    np.testing.assert_allclose(found[0].points[3:], [(800 + 0.35 * 320, 480), (800 + 0.65 * 320, 480)])


def test_the_largest_face_of_each_frame_is_cut_out(detector):
    detect = load_detector(detector_reference(detector))
    frames = frames_of(
        faces_picture(red=(10, 10, 20, 20), green=(100, 40, 40, 40)),
        faces_picture(red=(10, 10, 60, 60), green=(100, 40, 40, 40)),
        faces_picture(),
    )
    cropper = FaceCropper(detect, "face")
    crops = cropper(frames[:2]) + cropper(frames[2:])
    assert torch.equal(crops[0], frames[0][:, 34:86, 94:146])
    assert torch.equal(crops[1], frames[1][:, 1:79, 1:79])
    assert torch.equal(crops[2], frames[2]) and (cropper.steps, cropper.without_face) == (3, 1)
    both = FaceCropper(detect, "frame_and_face")(frames)
    assert [picture.shape[-1] for picture in both] == [160, 52, 160, 78, 160, 160]
    assert torch.equal(both[2], frames[1]) and torch.equal(both[3], crops[1])
    # The half of the picture that the clip shows, and in it the face.
    left = FaceCropper(detect, "face", side="left")(frames[:1])
    assert torch.equal(left[0], frames[0][:, 7:33, 7:33])


def test_the_frames_of_a_pair_have_one_crop(detector):
    detect = load_detector(detector_reference(detector))
    frames = frames_of(faces_picture(), faces_picture(red=(10, 10, 20, 20)), faces_picture(), faces_picture())
    cropper = FaceCropper(detect, "face", group=2)
    crops = cropper(frames)
    assert torch.equal(crops[0], frames[0][:, 7:33, 7:33]) and torch.equal(crops[1], frames[1][:, 7:33, 7:33])
    assert torch.equal(crops[2], frames[2]) and (cropper.steps, cropper.without_face) == (2, 1)


@pytest.mark.parametrize("vision_window", ["image", "clip"])
@pytest.mark.parametrize("vision_crop", ["face", "frame_and_face"])
def test_pictures_of_a_file_and_of_its_frames(detector, tmp_path, vision_crop, vision_window):
    """Two seconds, four time steps; the face is there from 1.2 s on."""

    def picture(number):
        return faces_picture(red=(60, 20, 40, 40)) if number >= 30 else faces_picture()

    path = write_media(tmp_path / "x.mkv", 2.0, picture=picture, sound=None, **EXACT)
    options = face_options(vision_crop, None, str(detector))
    processor = tiny_processor(vision_window=vision_window, **options)
    encoded = processor.encode_media(str(path), ["vision"])
    assert encoded["report"]["notes"][-1] == "no face in 2 of 4 time steps: the whole frame is used"
    pixel_values = encoded["pixel_values"]
    tokens = 2 if vision_crop == "frame_and_face" else 1
    pair = (2,) if vision_window == "clip" else ()
    assert pixel_values.shape == (4 * tokens, 3, *pair, 28, 28)
    # By hand: what the image processor makes of the frame, and of the square of side 52 around the face.
    times = [0.25, 0.75, 1.25, 1.75]
    if vision_window == "clip":
        times = [time + offset for time in times for offset in (-0.25, 0.25)]
    shown = frames_of(*[picture(min(round(time * 25), 49)) for time in times])
    square = shown[:, :, 14:66, 54:106]
    own = ImageBindImageProcessor(size=28)
    whole, faces = (picture_inputs(own, part) for part in (shown, square))
    if vision_window == "clip":
        whole, faces = (part.unflatten(0, (-1, 2)).transpose(1, 2) for part in (whole, faces))
    expected = []
    for step in range(4):
        crop = faces[step] if step >= 2 else whole[step]
        expected += [whole[step], crop] if tokens == 2 else [crop]
    torch.testing.assert_close(pixel_values, torch.stack(expected), rtol=0, atol=0.02)
    # Frames as arrays give the same.
    given = shown.unflatten(0, (-1, 2)) if vision_window == "clip" else shown
    found = processor(text="good", frames=given)["pixel_values"][0]
    torch.testing.assert_close(found, pixel_values, rtol=0, atol=0.02)


def talking(number: int, loud, red=(10, 20, 60, 60), green=(110, 30, 30, 40)) -> np.ndarray:
    """The mouth of the small green face moves while it is loud, that of the large red one while it is quiet."""
    picture = faces_picture(red=red, green=green)
    for (left, top, width, height), moves in ((red, not loud), (green, loud)):
        y, x = top + round(0.7 * height), left + round(0.35 * width)
        shade = 160 if moves and number % 2 else 200
        part = picture[y : y + height // 6, x : x + width // 3]
        part[:] = np.where(part > 100, shade, part)
    return picture


def test_the_speaking_face_is_the_one_that_moves_with_the_sound(detector, tmp_path):
    def loud(seconds):
        return (np.asarray(seconds) % 1.0) < 0.5

    def sound(seconds):
        return tone(300.0)(seconds) * loud(seconds)

    def silent_film(number):
        return talking(number // 2, bool(loud(number / 25)))

    path = write_media(tmp_path / "x.mkv", 4.0, picture=silent_film, sound=sound, sound_codec="pcm_s16le", **EXACT)
    turned = write_media(
        tmp_path / "y.mkv", 4.0, picture=silent_film, sound=lambda s: tone(300.0)(s) * ~loud(s),
        sound_codec="pcm_s16le", **EXACT,
    )  # fmt: skip
    mute = write_media(tmp_path / "z.mkv", 4.0, picture=silent_film, sound=None, **EXACT)
    speaking = tiny_processor(**face_options("face", "speaking", str(detector)))
    largest = tiny_processor(**face_options("face", "largest", str(detector)))

    def seen(processor, path):
        """The channel that prevails in the middle of the crop."""
        pixel_values = processor.encode_media(str(path), ["vision"])["pixel_values"]
        assert len(pixel_values) == 8
        return {"red" if red > green else "green" for red, green, _ in pixel_values[:, :, 8:20, 8:20].mean(dim=(2, 3))}

    assert seen(speaking, path) == {"green"}
    assert seen(speaking, turned) == {"red"}
    assert seen(speaking, mute) == {"red"} == seen(largest, path)


def test_faces_are_linked_to_the_nearest_one_before():
    moving = [[face(10 + 5 * step, 10, 20, 20), face(100 - 5 * step, 10, 20, 20)] for step in range(3)]
    moving[1].reverse()
    moving.append([face(100, 60, 20, 20)])
    tracks = link_faces(moving)
    assert [{index: f.left for index, f in track.faces.items()} for track in tracks] == [
        {0: 10, 1: 15, 2: 20}, {0: 100, 1: 95, 2: 90}, {3: 100},
    ]  # fmt: skip
    assert tracks[0].near(3).left == 20 and link_faces([[], []]) == []


def test_extraction_counts_faces_and_keeps_the_detector_in_the_fingerprint(detector, tmp_path):
    with_face = write_media(
        tmp_path / "a.mkv", 2.0, picture=lambda n: faces_picture(red=(60, 20, 40, 40)), sound=None, **EXACT
    )
    without = write_media(tmp_path / "b.mkv", 1.0, picture=lambda n: faces_picture(), sound=None, **EXACT)
    clips, towers = [clip("a", with_face), clip("b", without)], {"vision": tiny_towers()["vision"]}
    options = face_options("frame_and_face", None, str(detector))
    report = extract(clips, tiny_processor(**options), towers, tmp_path / "store")
    assert (report.done, dict(report.faces)) == (2, {"looked for": 6, "not found": 2})
    assert [(row["id"], row["note"]) for row in report.clips if "face" in row["note"]] == [
        ("b", "no face in 2 of 2 time steps: the whole frame is used")
    ]
    assert re.search(r"no face found, the whole frame is used +2$", str(report), re.MULTILINE)
    store = EmbeddingStore(tmp_path / "store")
    assert len(store["a"][1]) == 8 and torch.equal(store["b"][1][0], store["b"][1][1])
    crop = store.fingerprint["vision"]["crop"]
    assert crop["detector"]["hash"] == hashlib.sha256(b"red and green").hexdigest()
    with pytest.raises(FingerprintError, match=r"vision.crop.*requested is None"):
        extract(clips, tiny_processor(), towers, tmp_path / "store")
    detector.write_bytes(b"another detector")
    face_detection._load.cache_clear()
    with pytest.raises(FingerprintError, match=r"vision.crop.detector.hash: it has"):
        extract(
            clips, tiny_processor(**face_options("frame_and_face", None, str(detector))), towers, tmp_path / "store"
        )


def test_the_detector_is_saved_with_the_processor(detector, tmp_path):
    processor = tiny_processor(**face_options("face", None, str(detector)))
    processor.save_pretrained(tmp_path / "one")
    saved = json.loads((tmp_path / "one" / "processor_config.json").read_text())
    assert saved["face_detector"] == {
        "name_or_path": None, "revision": None, "file": "face_detector.onnx", "hash": processor.face_detector["hash"],
    }  # fmt: skip
    detector.unlink()  # the original is not needed
    SemanticMACProcessor.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    again = AutoProcessor.from_pretrained(tmp_path / "two")
    again.save_pretrained(tmp_path / "two")
    frames = frames_of(faces_picture(red=(60, 20, 40, 40)))
    seen = pickle.loads(pickle.dumps(again))(text="good", frames=frames)["pixel_values"][0]  # as a worker gets it
    torch.testing.assert_close(seen, picture_inputs(ImageBindImageProcessor(size=28), frames[:, :, 14:66, 54:106]))
    (tmp_path / "two" / "face_detector.onnx").unlink()
    with pytest.raises(FaceDetectorError, match=r"face_detector.onnx is not there, and this processor crops faces"):
        again(text="good", frames=frames)
    assert again(text="good")["input_ids"].shape[0] == 1


def test_a_detector_that_was_replaced_is_refused(detector, tmp_path):
    tiny_processor(**face_options("face", None, str(detector))).save_pretrained(tmp_path / "one")
    (tmp_path / "one" / "face_detector.onnx").write_bytes(b"another")
    processor = SemanticMACProcessor.from_pretrained(tmp_path / "one")
    with pytest.raises(FaceDetectorError, match="this processor was made with"):
        processor(text="good", frames=frames_of(faces_picture()))


def test_without_opencv_a_model_with_crops_says_so(monkeypatch, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    face_detection._load.cache_clear()
    with pytest.raises(FaceDetectorError, match=r"face crops need OpenCV, .* pip install semanticmac\[faces\]"):
        detector_reference(path)


def test_opencv_reads_detectors_of_yunets_form(tmp_path):
    """`bright_squares.onnx` has YuNet's inputs and outputs and finds bright cells of 16 x 16 in pictures of 64 x 64.

    Its score is the squared brightness of a cell, and the points lie in the cell where those of a face do.
    """
    pytest.importorskip("cv2")
    path = Path(__file__).parent / "helpers" / "bright_squares.onnx"
    detect = load_detector(detector_reference(path))
    frame = torch.zeros(3, 64, 64, dtype=torch.uint8)
    frame[:, 16:32, 32:48] = 255
    frame[:, 48:, :16] = 160  # too dark: (160 / 255)^2 is under the least score
    (found,) = detect(frame)
    assert (found.left, found.top, found.width, found.height) == (32, 16, 16, 16)
    np.testing.assert_allclose(found.points, [(36.8, 20.8), (43.2, 20.8), (40, 24), (37.6, 28), (42.4, 28)], rtol=1e-5)
    assert detect(torch.zeros_like(frame)) == []
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"no network")
    with pytest.raises(FaceDetectorError, match="cannot read .*wrong.onnx as a YuNet face detector"):
        detector_reference(wrong)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vision_crop": "faces"}, "vision_crop is 'faces'; expected none, face, frame_and_face"),
        ({"vision_crop": "face"}, "there is no face_detector"),
        ({"face_choice": "first"}, "face_choice is 'first'; expected largest, speaking"),
    ],
)
def test_wrong_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        tiny_processor(**fields)


def test_settings_that_exclude_each_other_are_refused(detector, capsys, tmp_path):
    with pytest.raises(ValueError, match="takes the place of the 3 crops"):
        front_ends = ImageBindImageProcessor(num_crops=3), ImageBindFeatureExtractor()
        SemanticMACProcessor(*front_ends, word_tokenizer(), **face_options("face", None, str(detector)))
    with pytest.raises(ValueError, match="only used with --vision_crop"):
        face_options(None, "speaking")
    with pytest.raises(FaceDetectorError, match="there is no face detector nowhere.onnx"):
        face_options("face", None, "nowhere.onnx")
    tower = ["--media", str(tmp_path), "--audio_encoder", "x", "--embeddings_dir", str(tmp_path / "store")]
    assert embed([*tower, "--vision_crop", "face"]) == 1
    assert "--vision_crop needs --vision_encoder" in capsys.readouterr().err
