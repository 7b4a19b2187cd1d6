"""Exported graphs answer as the pipeline does, also with missing modalities, through the file that needs no torch."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import pipeline

from modeling_semanticmac.commands import export
from modeling_semanticmac.serving.export import _check


class ExportedTowerStub(torch.nn.Module):
    """Returns its input."""

    def forward(self, x):
        """Return x."""
        return (x,)


CALL = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from onnx_predictor import OnnxPredictor
assert "torch" not in sys.modules and "transformers" not in sys.modules
predictor = OnnxPredictor(sys.argv[1])
given = dict(np.load(sys.argv[2]))
for modality, name in (("vision", "pixel_values"), ("audio", "input_features")):
    embeds = predictor.embed(modality, given.pop(name))
    given |= {f"{modality}_embeds": embeds[None], f"{modality}_mask": np.ones((1, len(embeds)))}
words = {name: value for name, value in given.items() if name in ("input_ids", "attention_mask", "token_type_ids")}
print(json.dumps([predictor(**given)[0], predictor(**words)[0]]))
"""


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_graphs_answer_as_the_model(world, tmp_path, form, capsys):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    more = ["--head_only"] if form == "torch" else []  # the towers of both formats go the same way
    assert export.main([str(world["run"]), str(tmp_path / "out"), "--format", form, *more]) == 0
    found = json.loads((tmp_path / "out" / "export.json").read_text())
    assert len(found["files"]) == (1 if more else 3) and all(
        file["difference"] < 1e-4 for file in found["files"].values()
    )
    with pytest.raises(ValueError, match="not empty"):
        export.main([str(world["run"]), str(tmp_path / "out")])
    if form == "torch":
        return
    pipe, clip = pipeline("video-affect", model=str(world["run"]), device="cpu"), world["clips"]["test"][0]
    inputs = pipe.processor(text=clip["text"], media=clip["media"], return_tensors="np")
    kept = {name: value for name, value in inputs.items() if not name.endswith(("vision_mask", "audio_mask"))}
    kept |= {name: kept[name][0] for name in ("pixel_values", "input_features")}
    np.savez(tmp_path / "inputs.npz", **kept)
    arguments = [sys.executable, "-c", CALL, str(tmp_path / "out"), str(tmp_path / "inputs.npz")]
    whole, words = json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)
    expected = pipe([{"video": clip["media"]["path"], "text": clip["text"]}, {"text": clip["text"]}])
    assert [whole["score"], words["score"]] == pytest.approx([row["score"] for row in expected], abs=1e-4)


def test_a_graph_that_answers_otherwise_is_refused(tmp_path):
    """The tolerance is a ten-thousandth of the largest output, or of 1."""
    cases = [{"x": torch.tensor([2.0, 40.0])}]
    module = ExportedTowerStub()
    assert _check(module, lambda tensors: [np.array([2.0, 40.003])], cases, tmp_path / "head.onnx") == pytest.approx(
        0.003
    )
    for wrong in ([2.0, 40.005], [2.0, np.nan]):
        with pytest.raises(RuntimeError, match="head.onnx answers other than the model"):
            _check(module, lambda tensors, wrong=wrong: [np.array(wrong)], cases, tmp_path / "head.onnx")


def test_nothing_is_left_of_an_export_that_fails(world, tmp_path, monkeypatch):
    def fails(pipe, path, form):
        path.write_bytes(b"half")
        raise RuntimeError("head.onnx answers other than the model")

    monkeypatch.setattr("modeling_semanticmac.serving.export._export_head", fails)
    with pytest.raises(RuntimeError):
        export.main([str(world["run"]), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
