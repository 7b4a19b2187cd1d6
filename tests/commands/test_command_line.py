"""Test `semanticmac predict` and `info`: what they print for people and machines, and their error messages."""

import configparser
import importlib
import json
import os
import shutil
import subprocess
import sys

import pytest
from transformers import pipeline

from modeling_semanticmac.commands.result_text import result_text
from modeling_semanticmac.files.atomic_files import write_json
from semanticmac import main
from tests.helpers.media_files import random_bytes, write_media
from tests.helpers.project import PROJECT
from tests.helpers.tiny import EMOTIONS, classes
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint")))


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    write_media(folder / "both.mp4", seconds=2.0)
    write_media(folder / "silent.mkv", seconds=1.0, sound=None)
    return folder


def run(capsys, *arguments):
    """Return (exit code, standard output, standard error) of the command."""
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_one_clip_is_a_table_with_a_bar_for_each_view(capsys, model, media):
    code, out, err = run(
        capsys, "predict", media / "silent.mkv", "--text", "good day", "--model", model, "--device", "cpu"
    )
    expected = pipeline("video-affect", model=model, device="cpu")(
        {"video": str(media / "silent.mkv"), "text": "good day"}
    )
    assert code == 0
    assert (
        f"silent.mkv  0.00-1.00 s  (text, vision)\n  sentiment: {expected['polarity']} {expected['score']:+.2f}\n"
        in out
    )
    for view, key in (("what all share", "shared"), ("words alone", "text"), ("picture alone", "vision")):
        assert any(
            line.split("|")[0].split() == [*view.split(), f"{expected['subtasks'][key]['score']:+.2f}"]
            for line in out.splitlines()
        )
    assert "voice alone" not in out and "without audio: no audio stream" in out
    assert out.splitlines()[-1].startswith("time per stage: load ")
    assert all(stage in out.splitlines()[-1] for stage in ("decode ", "encode ", "model "))


def test_json_is_what_the_pipeline_gives(capsys, model, media, tmp_path):
    path, wanted = media / "both.mp4", tmp_path / "out.json"
    cut = ["--start", "0.5", "--end", "1.5", "--crop", "right", "--context", "what do you mean", "fine"]
    given = {"start": 0.5, "end": 1.5, "crop": "right", "context": ["what do you mean", "fine"], "text": "bad"}
    arguments = ["predict", path, "--text", "bad", *cut, "--audio", path, "--model", model, "--device", "cpu"]
    code, out, _ = run(capsys, *arguments, "--json", "-")
    (found,) = json.loads(out)
    assert code == 0 and found.pop("timings")
    assert found == pipeline("video-affect", model=model, device="cpu")(
        {"video": str(path), "audio": str(path), **given}
    )
    code, out, _ = run(capsys, *arguments, "--json", wanted)
    (written,) = json.loads(wanted.read_text())
    assert code == 0 and "sentiment: " in out and written.pop("timings") and written == found


def test_half_precision_and_chosen_modalities(capsys, model, media):
    half = ["--model", model, "--dtype", "bfloat16", "--device", "cpu"]
    code, out, _ = run(capsys, "predict", "--text", "good", *half)
    assert code == 0 and out.startswith("words alone  (text)\n") and "picture alone" not in out
    code, out, _ = run(capsys, "predict", media / "both.mp4", "--text", "good", *half, "--modalities", "text", "vision")
    assert code == 0 and "(text, vision)" in out and "without audio: left out as asked" in out


def test_folders_and_files_with_one_that_is_broken(capsys, model, media, tmp_path):
    broken = random_bytes(tmp_path / "broken.mp4")
    arguments = ["predict", media, broken, "--model", model, "--device", "cpu", "--batch_size", "2"]
    code, out, err = run(capsys, *arguments, "--on_error", "skip")
    assert code == 1 and out.count("sentiment: ") == 2
    assert out.index("both.mp4") < out.index("silent.mkv") < out.index(f"{broken}\n  cannot be used: ")
    wanted = tmp_path / "out.json"
    code, out, err = run(capsys, *arguments, "--json", wanted)
    assert code == 1 and err.strip().splitlines()[-1].startswith(f"semanticmac: {broken}: this is not a video")
    assert not wanted.exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["gone.mp4", "--model", "MODEL"], "gone.mp4: there is no such file; check the path."),
        (["--text", "x", "--model", "no_such_folder/model/x"], "no_such_folder/model/x: no model can be read there"),
        (["--text", "x", "--model", "OTHER"], "this is a model of type bert; expected a SemanticMAC model."),
        (["--text", "x", "--model", "MODEL", "--device", "cuda:99"], "--device cuda:99 cannot be used here"),
        (["--text", "x", "--model", "MODEL", "--device", "nonsense"], "--device nonsense cannot be used here"),
        (["http://127.0.0.1:9/x.mp4", "--model", "MODEL"], "nothing is downloaded unless"),
        (["http://127.0.0.1:9/x.mp4", "--model", "MODEL", "--allow_download"], "it cannot be downloaded"),
        (["--text", "x", "--model", "DAMAGED"], "the model cannot be loaded (SafetensorError"),
        (["--text", "x", "--model", "MISSHAPEN"], "config.json cannot be used (Validation error for field 'hid"),
        (["EMPTY", "--model", "MODEL"], "the folder holds no video or sound file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_errors_are_one_sentence(capsys, model, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    write_json(tmp_path / "other" / "config.json", {"model_type": "bert"})
    places = {
        "MODEL": model,
        "OTHER": tmp_path / "other",
        "DAMAGED": tmp_path / "damaged",
        "EMPTY": tmp_path / "empty",
        "MISSHAPEN": tmp_path / "misshapen",
    }
    write_json(tmp_path / "misshapen" / "config.json", {"model_type": "semanticmac", "hidden_size": "wide"})
    if "DAMAGED" in arguments:
        shutil.copytree(model, tmp_path / "damaged")
        (tmp_path / "damaged" / "model.safetensors").write_bytes(b"12345678 not weights")
    code, out, err = run(capsys, "predict", *(places.get(word, word) for word in arguments))
    assert code == 1 and out == "" and "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert last.startswith("semanticmac: ") and message in last


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "COMMAND"),
        (["predict", "--model", "x"], "nothing to predict"),
        (["predict", "--text", "x"], "--model"),
        (["predict", "FILE", "FILE", "--model", "x", "--text", "y"], "--text is of one clip, and there are 2 files"),
        (["predict", "FILE", "--model", "x", "--batch_size", "0"], "expected at least 1"),
    ],
)
def test_wrong_usage_leaves_with_2(capsys, media, arguments, message):
    with pytest.raises(SystemExit) as left:
        main([str(media / "both.mp4") if word == "FILE" else word for word in arguments])
    assert left.value.code == 2 and message in capsys.readouterr().err


def test_an_interruption_is_no_traceback(capsys, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("modeling_semanticmac.commands.info.model_info", interrupted)
    assert run(capsys, "info", "x") == (130, "", "semanticmac: interrupted\n")


def test_info_says_what_a_model_is(capsys, model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "run")
    write_json(
        folder / "run.json", {"data": {"corpus": "synthetic", "task": "sentiment", "modalities": ["text"]}, "seed": 7}
    )
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\ndatasets:\n- org/clips\n---\n# A model\n")
    code, out, _ = run(capsys, "info", folder, "--json", "-")
    found = json.loads(out)
    loaded = pipeline("video-affect", model=str(folder), device="cpu")
    assert code == 0 and found["sizes"]["parameters"] == loaded.model.num_parameters()
    assert found["intended_use"] is None
    assert found["task"] == {"name": "sentiment", "problem_type": "regression", "label_range": [-3, 3]}
    assert [part["role"] for part in found["parts"]] == ["language model", "vision tower", "audio tower"]
    assert found["sampling"]["max_length"] == loaded.processor.max_length
    assert found["training"]["corpus"] == "synthetic" and found["training"]["seed"] == 7
    assert found["card"] == {"license": "cc-by-4.0", "datasets": ["org/clips"]}
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "intended_use": "Research on drawn faces."})
    code, out, _ = run(capsys, "info", folder)
    assert [line.split(maxsplit=2)[2] for line in out.splitlines() if line.startswith("intended")] == [
        "Research on drawn faces."
    ]
    assert (
        code == 0 and "sentiment (regression from -3 to 3)" in out and "licence unknown" in out and "org/clips" in out
    )


def test_info_of_a_model_of_words_without_a_record(capsys, tmp_path):
    folder = save_tiny_checkpoint(tmp_path, EMOTIONS, modalities=())
    code, out, _ = run(capsys, "info", folder)
    assert code == 0 and "happy, sad, angry" in out
    assert [line.split(maxsplit=1)[-1] for line in out.splitlines() if line.startswith(("training", "card"))] == [
        "not recorded"
    ] * 2
    assert run(capsys, "info", tmp_path)[0] == 1


def test_classes_and_labels_as_tables():
    media = {"path": "x.mp4", "start": 0.0, "end": 2.0, "missing": {}, "notes": ["damaged video packets were left out"]}
    common = {"task": "emotion", "modalities": ["text"], "media": media}
    view = classes(joy=0.25, anger=0.75) | {"label": "anger", "score": 0.75}
    text = result_text({**common, **view, "subtasks": {"text": view}})
    assert text.splitlines()[1] == "  emotion: anger 0.75"
    assert [line.split("|")[0].split() for line in text.splitlines()[2:4]] == [["joy", "0.25"], ["anger", "0.75"]]
    assert [line.count("#") for line in text.splitlines()[2:4]] == [8, 22]  # of 30
    assert "words alone" in text.splitlines()[4] and text.endswith("note: damaged video packets were left out")
    binary = {**view, "probability": 0.75}
    text = result_text({**common, **binary, "subtasks": {"text": binary}})
    assert "probability of anger:" in text and text.count("0.75  |") == 2
    several = {"labels": [], "probabilities": {"joy": 0.25, "anger": 0.4}}
    text = result_text(
        {**common, **several, "media": None, "subtasks": {"text": {**several, "labels": ["joy", "anger"]}}}
    )
    assert "emotion: none of the labels" in text and "joy 0.25, anger 0.40" in text


@pytest.mark.slow
def test_it_is_the_console_script_and_the_module(tmp_path):
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    name, _, target = setup["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = target.partition(":")
    assert name == "semanticmac" and getattr(importlib.import_module(module), function) is main
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "modeling_semanticmac", "--help"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0 and "semanticmac predict clip.mp4" in found.stdout
