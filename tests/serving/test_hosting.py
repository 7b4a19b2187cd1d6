"""The folders of a Space and of an Inference Endpoint: complete, without secrets and without folders of this machine;
the handler answers in a process of its own, by the code beside the weights.
"""

import base64
import configparser
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from transformers import pipeline

from modeling_semanticmac.baselines.model_classes import classes_of
from modeling_semanticmac.hub.responsible_use import NOTICE
from modeling_semanticmac.neighbor_bank import NeighborBank, bank_probe
from modeling_semanticmac.serving.endpoint_handler import MOST_CLIPS, EndpointHandler, as_clip
from modeling_semanticmac.serving.hosting import new_folder, requirements, write_endpoint
from modeling_semanticmac.training.kept_bank import save_bank
from semanticmac import main
from tests.helpers.card_metadata import FRONT_MATTER
from tests.helpers.project import PROJECT

TOKEN = "hf_" + "abcdefgh" * 4
# As the toolkit of the endpoints does: its folder is on the path, and the module is loaded from the file.
SERVE = """
import importlib.abc, importlib.util, json, sys
folder = sys.argv[1]
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "modeling_semanticmac":
            raise ModuleNotFoundError(f"{name} is refused here")
if sys.argv[2] == "alone":
    sys.meta_path.insert(0, Refuse())
sys.path.insert(0, folder)
spec = importlib.util.spec_from_file_location("handler", folder + "/handler.py")
handler = importlib.util.module_from_spec(spec)
spec.loader.exec_module(handler)
import torch
torch.set_num_threads(1)
endpoint, answers = handler.EndpointHandler(folder), []
for request in json.load(sys.stdin):
    try:
        answers.append(endpoint(request))
    except ValueError as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def run_folder(world, tmp_path_factory):
    """A run whose record holds a token."""
    folder = tmp_path_factory.mktemp("hosted") / "run"
    shutil.copytree(world["run"], folder, ignore=shutil.ignore_patterns("checkpoint-*", "embeddings"))
    record = json.loads((folder / "run.json").read_text())
    record["training"]["hub_token"] = TOKEN
    record["command"] += ["--hub_token", TOKEN]
    (folder / "run.json").write_text(json.dumps(record))
    (folder / ".env").write_text(f"HF_TOKEN={TOKEN}")
    return folder


def served(folder, mode: str, requests: list, tmp_path) -> list:
    """Return the answers of an endpoint's handler in a process of its own."""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVE, str(folder), mode]
    found = subprocess.run(
        command, input=json.dumps(requests), capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=240
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return json.loads(found.stdout.strip().splitlines()[-1])


def no_secret_and_no_folder(folder, machine) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert TOKEN.encode() not in content and str(machine).encode() not in content, path


def test_an_endpoint_answers_by_the_code_beside_its_weights(world, run_folder, tmp_path, capsys):
    assert main(["endpoint", str(run_folder), str(tmp_path / "out"), "--repo_id", "org/mine"]) == 0
    folder, clip = tmp_path / "out", world["clips"]["test"][0]
    assert "hf upload ORG/NAME" in capsys.readouterr().out
    no_secret_and_no_folder(folder, world["folder"])
    assert {"handler.py", "requirements.txt", "README.md", "config.json"} <= {path.name for path in folder.iterdir()}
    assert 'model="org/mine"' in (folder / "README.md").read_text() and not (folder / "modeling_semanticmac").exists()
    with open(clip["media"]["path"], "rb") as file:
        video = base64.b64encode(file.read()).decode()
    own = {"video": clip["media"]["path"], "text": clip["text"]}
    requests = [
        {"inputs": "I did not expect that."},
        {"inputs": {"video": f"data:video/mp4;base64,{video}", "text": clip["text"], "end": 0.5}},
        {"inputs": [{"video": video, "text": clip["text"]}, {"video": "AAAA"}], "parameters": {"abstain": False}},
        {"inputs": {"video": clip["media"]["path"]}},
        {"inputs": {"video": {"path": "/etc/passwd"}}},
        {"inputs": "Well.", "parameters": {"neighbors": 2}},
    ]
    model = pipeline("video-affect", model=str(world["run"]), device="cpu").model
    embeds = torch.randn(4, 3, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    present, labels = torch.ones(4, 3).bool(), torch.tensor([0.5, -1.0, 2.0, 0.0])
    save_bank(NeighborBank(model.config.task, list("abcd"), embeds, present, labels, bank_probe(model)), folder)
    words, cut, several, named, nested, bank = served(folder, "alone", requests, tmp_path)
    pipe = pipeline("video-affect", model=str(folder), device="cpu")
    for found, expected in ((words, {"text": "I did not expect that."}), (cut, {**own, "end": 0.5}), (several[0], own)):
        result = pipe(expected)
        assert found["score"] == pytest.approx(result["score"], abs=1e-5)
        assert found["modalities"] == result["modalities"]
    assert several[0]["media"]["path"] == "video" and several[1]["error"].startswith("video: this is not a video")
    assert "video is not base64" in named["error"] and "video is not base64" in nested["error"]
    (near,) = pipe({"text": "Well."}, neighbors=2)["neighbors"].values()
    assert bank["neighbors"] == {"text": [{**clip, "distance": pytest.approx(clip["distance"])} for clip in near]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "inputs is int; expected a text, a dict"),
        ({"file": "x"}, "inputs has 'file'; expected some of video, audio"),
        ({"video": "clip.mp4"}, "video is not base64"),
        ({"audio": 7}, "audio is not base64"),
    ],
)
def test_what_a_handler_cannot_use_is_a_sentence(given, message):
    with pytest.raises(ValueError, match=message):
        as_clip(given)


def test_a_handler_refuses_parameters_without_effect_and_too_many_clips():
    handler = object.__new__(EndpointHandler)
    with pytest.raises(ValueError, match="parameters has 'top_k'; expected some of modalities"):
        handler({"inputs": "Well.", "parameters": {"top_k": 1}})
    with pytest.raises(ValueError, match=f"inputs has {MOST_CLIPS + 1} clips"):
        handler({"inputs": ["Well."] * (MOST_CLIPS + 1)})
    assert as_clip(b"12") == {"video": {"path": "upload", "bytes": b"12"}}
    assert as_clip({"audio": "MTI=", "text": "Well."}) == {"audio": {"path": "audio", "bytes": b"12"}, "text": "Well."}


def test_a_comparison_system_brings_the_package(tmp_path):
    classes = classes_of("lf_dnn")
    classes.config(architecture="lf_dnn").save_pretrained(tmp_path / "model")
    write_endpoint(tmp_path / "model", tmp_path / "out")
    assert (tmp_path / "out/modeling_semanticmac/__init__.py").is_file()
    assert not list((tmp_path / "out").rglob("__pycache__"))


def test_a_space_is_complete(world, run_folder, tmp_path, capsys):
    """Its own copy of the package runs the page of its own copy of the checkpoint."""
    assert main(["space", str(run_folder), str(tmp_path / "space")]) == 0
    folder = tmp_path / "space"
    no_secret_and_no_folder(folder, world["folder"])
    text = (folder / "README.md").read_text(encoding="utf-8")
    settings = yaml.safe_load(FRONT_MATTER.match(text)[1])
    assert settings["sdk"] == "gradio" and settings["app_file"] == "app.py" and NOTICE in text
    assert "gradio>=6" in (folder / "requirements.txt").read_text().splitlines()
    script = (
        "import runpy, semanticmac, modeling_semanticmac\n"
        "semanticmac.main = lambda argv: print([*argv, modeling_semanticmac.__file__])\n"
        "runpy.run_path('app.py', run_name='__main__')"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MODEL")}
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr[-2000:]
    expected = ["app", str(folder / "model"), str(folder / "modeling_semanticmac" / "__init__.py")]
    assert found.stdout.strip() == str(expected)
    own = pipeline("video-affect", model=str(world["run"]), device="cpu")({"text": "Well."})
    assert pipeline("video-affect", model=str(folder / "model"), device="cpu")({"text": "Well."}) == own


def test_nothing_is_replaced_and_a_failure_leaves_nothing(run_folder, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for command in ("space", "endpoint"):
        assert main([command, str(run_folder), str(tmp_path / "full")]) == 1
        assert "is there already and is not replaced" in capsys.readouterr().err
        assert main([command, str(tmp_path / "full"), str(tmp_path / "out")]) == 1
        assert "no model can be read there" in capsys.readouterr().err
    config = json.loads((run_folder / "config.json").read_text())
    shutil.copytree(run_folder, tmp_path / "elsewhere")
    config["vision_encoder"] = {**config["vision_encoder"], "name_or_path": str(tmp_path), "subfolder": None}
    (tmp_path / "elsewhere" / "config.json").write_text(json.dumps(config))
    assert main(["space", str(tmp_path / "elsewhere"), str(tmp_path / "out")]) == 1
    assert "where nobody else can load it" in capsys.readouterr().err
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("")
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "full"]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]


def test_requirements_are_those_of_the_package():
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    base = setup["options"]["install_requires"].split()
    assert [line.replace(" ", "") for line in requirements()] == base
    assert requirements(["lora"])[-1].startswith("peft") and not any(
        "semanticmac" in line for line in requirements(["search"])
    )
