"""A saved model works where the package is not installed, through `trust_remote_code=True` (promise 11)."""

import json
import os
import subprocess
import sys

import pytest
import torch
from transformers import pipeline
from transformers.dynamic_module_utils import get_imports, get_relative_imports

from modeling_semanticmac import SemanticMACForAffect, SemanticMACModel, SemanticMACProcessor
from tests.helpers.media_files import write_media
from tests.helpers.project import PROJECT
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint

# Refuses the package by its name, so that only the code in the folder can answer.
SCRIPT = """
import importlib.abc, json, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "modeling_semanticmac":
            raise ModuleNotFoundError(f"{name} is refused here")
sys.meta_path.insert(0, Refuse())
import torch
torch.set_num_threads(1)
from transformers import AutoModel, AutoModelForVideoClassification, AutoProcessor, pipeline
folder = sys.argv[1]
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
inputs = processor(text="good day", waveform=torch.linspace(-1, 1, 20000).sin().numpy(), sampling_rate=16000,
                   frames=torch.arange(2 * 3 * 40 * 60).remainder(255).to(torch.uint8).reshape(2, 3, 40, 60))
with torch.no_grad():
    head = AutoModelForVideoClassification.from_pretrained(folder, trust_remote_code=True).eval()(**inputs)
    base = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()(**inputs)
clips = [{"video": sys.argv[2], "text": "good day"}, {"text": "bad"}]
pipe = pipeline(model=folder, trust_remote_code=True, device="cpu")  # the checkpoint names its task
pipe.save_pretrained(sys.argv[3])
again = pipeline("video-affect", model=sys.argv[3], trust_remote_code=True, device="cpu")
assert not type(pipe).__module__.startswith("modeling_semanticmac") and again(clips) == pipe(clips)
alone = AutoModel.from_pretrained(sys.argv[4], trust_remote_code=True).eval()(**inputs)  # saved as a base model
torch.testing.assert_close(alone.multimodal_embeds, base.multimodal_embeds, atol=1e-6, rtol=1e-5)
again.model.base_model.save_pretrained(sys.argv[5])  # and by the code beside a head
print(json.dumps({"pipeline": pipe(clips, batch_size=2), "logits": head.logits.flatten().tolist(),
                  "subtasks": head.subtask_logits.flatten().tolist(),
                  "multimodal": base.multimodal_embeds.flatten().tolist()}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Save a complete tiny checkpoint: head, processor, towers, code."""
    return save_tiny_checkpoint(tmp_path_factory.mktemp("remote"))


def answers(folder):
    inputs = SemanticMACProcessor.from_pretrained(folder)(
        text="good day",
        waveform=torch.linspace(-1, 1, 20000).sin().numpy(),
        sampling_rate=16000,
        frames=torch.arange(2 * 3 * 40 * 60).remainder(255).to(torch.uint8).reshape(2, 3, 40, 60),
    )
    with torch.no_grad():
        head = SemanticMACForAffect.from_pretrained(folder).eval()(**inputs)
        base = SemanticMACModel.from_pretrained(folder).eval()(**inputs)
    assert head.modality_mask.all()
    return {"logits": head.logits, "subtasks": head.subtask_logits, "multimodal": base.multimodal_embeds}


def check_code(folder, classes: set[str]) -> None:
    """Check that every class that the configuration names lies beside it, and that it names no pipeline."""
    config = json.loads((folder / "config.json").read_text())
    assert set(config["auto_map"]) == classes and "custom_pipelines" not in config
    assert all((folder / f"{name.partition('.')[0]}.py").is_file() for name in config["auto_map"].values())


@pytest.mark.slow
def test_the_folder_answers_without_the_package(folder, tmp_path):
    clip = write_media(tmp_path / "clip.mp4")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    SemanticMACForAffect.from_pretrained(folder).base_model.save_pretrained(tmp_path / "base", include_encoders=True)
    folders = [str(folder), str(clip), *(str(tmp_path / name) for name in ("again", "base", "base again"))]
    found = subprocess.run(
        [sys.executable, str(script), *folders],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    for name in ("base", "base again"):
        check_code(tmp_path / name, {"AutoConfig", "AutoModel"})
    there = json.loads(found.stdout.strip().splitlines()[-1])
    results = pipeline("video-affect", model=str(folder), device="cpu")(
        [{"video": str(clip), "text": "good day"}, {"text": "bad"}]
    )
    for one, other in zip(there.pop("pipeline"), results, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        assert {**one, "score": 0, "subtasks": 0} == {**other, "score": 0, "subtasks": 0}
        assert list(one["subtasks"]) == list(other["subtasks"])
    for name, expected in answers(folder).items():
        torch.testing.assert_close(torch.tensor(there[name]), expected.flatten(), atol=1e-6, rtol=1e-5)


def test_a_complete_folder_refers_to_itself(folder):
    config = json.loads((folder / "config.json").read_text())
    assert (
        config["vision_encoder"]["name_or_path"] is None and config["vision_encoder"]["subfolder"] == "vision_encoder"
    )
    assert config["auto_map"].keys() == {"AutoConfig", "AutoModel", "AutoModelForVideoClassification"}
    assert str(folder.parent) not in (folder / "config.json").read_text()
    kept = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert kept <= {".json", ".safetensors", ".py", ".jinja", ".txt"}


def test_towers_are_kept_by_reference_unless_asked(folder, tmp_path):
    model = SemanticMACForAffect.from_pretrained(folder)
    model.save_pretrained(tmp_path)
    assert not (tmp_path / "vision_encoder").exists()
    assert not any("encoder." in name and "language_model" not in name for name in model.state_dict())


def test_other_weights_than_the_named_are_refused(folder, tmp_path):
    model = SemanticMACForAffect.from_pretrained(folder)
    model.config.vision_encoder = {**model.config.vision_encoder, "weights_hash": "0" * 64}
    with pytest.raises(ValueError, match="was made with"):
        model.semanticmac.get_encoder("vision")


def third_party(start: str) -> set[str]:
    """Return what transformers requires before it runs a file beside a checkpoint: the imports of it and siblings."""
    waiting, seen, found = [str(PROJECT / "modeling_semanticmac" / f"{start}.py")], set(), set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            found |= set(get_imports(path)) - set(sys.stdlib_module_names)
            waiting += [str(PROJECT / "modeling_semanticmac" / f"{name}.py") for name in get_relative_imports(path)]
    assert len(seen) > 5
    return found


def test_the_code_asks_for_no_package_that_its_users_may_lack():
    """A model on embeddings and words needs what transformers needs; the package's requirements cover the rest."""
    needed = {"torch", "transformers", "huggingface_hub", "safetensors", "tokenizers", "numpy", "PIL"}
    assert third_party("affect_heads") <= needed
    assert third_party("processing_semanticmac") <= needed
