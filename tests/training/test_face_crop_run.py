"""A run with crops of faces: the trained model crops as its training did, and says so where it cannot."""

import pytest
import torch
from transformers import AutoModelForVideoClassification, AutoProcessor, pipeline

from modeling_semanticmac import face_detection
from modeling_semanticmac.commands import train
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.face_detection import FaceDetectorError
from tests.helpers.face_stub import CentreNetwork, use_colour_faces
from tests.helpers.project import RECIPE
from tests.helpers.runs import record, rows


def test_a_trained_model_crops_as_its_training_did(world, tmp_path, monkeypatch):
    detector = use_colour_faces(monkeypatch, tmp_path, CentreNetwork)
    run, store = tmp_path / "run", tmp_path / "store"
    arguments = [*world["common"], "--output_dir", str(run), "--num_train_epochs", "1", "--embeddings_dir", str(store)]
    crops = ["--vision_crop", "frame_and_face", "--face_detector", str(detector)]
    train.main([RECIPE, *arguments, *world["models"], *crops])
    assert record(run, "config.json")["num_crops"] == 2 and (run / "face_detector.onnx").is_file()
    whole = EmbeddingStore(world["folder"] / "embeddings")
    for name in world["clips"]["test"]["id"]:
        cropped, frames = EmbeddingStore(store)[name][1], whole[name][1]
        assert len(cropped) == 2 * len(frames)
        torch.testing.assert_close(cropped[::2], frames, rtol=2e-3, atol=2e-3)
        assert not torch.allclose(cropped[1::2].float(), frames.float(), rtol=0.05)
    detector.unlink()
    model, processor = (auto.from_pretrained(run) for auto in (AutoModelForVideoClassification, AutoProcessor))
    for clip, row in zip(world["clips"]["test"], rows(run / "predictions_test.csv")):
        with torch.no_grad():
            found = model.eval()(**processor(text=clip["text"], media=clip["media"]))
        assert found.logits.item() == pytest.approx(float(row["prediction"]), abs=5e-3)
    # Without OpenCV nothing is predicted from the picture, and the reason is said.
    monkeypatch.undo()
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    face_detection._load.cache_clear()
    pipe, clip = pipeline("video-affect", model=str(run), device="cpu"), world["clips"]["test"][0]
    with pytest.raises(FaceDetectorError, match="face crops need OpenCV"):
        pipe({"video": clip["media"]["path"], "text": clip["text"]})
    assert "score" in pipe({"text": clip["text"]})


def test_crops_without_pictures_are_refused(world, tmp_path, monkeypatch):
    detector = use_colour_faces(monkeypatch, tmp_path, CentreNetwork)
    arguments = [RECIPE, *world["common"], *world["models"], "--modalities", "text", "audio"]
    with pytest.raises(ValueError, match="--vision_crop crops the frames of videos; leave it out"):
        train.main(
            [
                *arguments,
                "--output_dir",
                str(tmp_path / "run"),
                "--vision_crop",
                "face",
                "--face_detector",
                str(detector),
            ]
        )
