"""Test what a command line names as clips (tables, folders, pipes, times) and as a model."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import pipeline

from modeling_semanticmac.commands.clip_arguments import seconds
from semanticmac import main
from tests.helpers.media_files import write_media
from tests.helpers.project import PROJECT
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint")))


@pytest.fixture(scope="module")
def pipe(model):
    return pipeline("video-affect", model=model, device="cpu")


@pytest.fixture
def clips(tmp_path):
    """Return a folder with two different files, and the hidden files that macOS leaves in folders."""
    folder = tmp_path / "clips"
    folder.mkdir()
    write_media(folder / "a.mp4", seconds=2.0)
    write_media(folder / "b.mkv", seconds=1.0, sound=None)
    (folder / "._a.mp4").write_bytes(b"\0\5\26\7 attributes of a file, not media")
    (folder / ".DS_Store").write_bytes(b"Bud1")
    return folder


def predict(capsys, *arguments):
    """Return (exit code, results, standard error) of `semanticmac predict ... --json -`."""
    code = main(["predict", *map(str, arguments), "--device", "cpu", "--json", "-"])
    out, err = capsys.readouterr()
    results = json.loads(out) if out else []
    for result in results:
        result.pop("timings", None)
    return code, results, err


def expected(pipe, *clips):
    return [json.loads(json.dumps(pipe(clip))) for clip in clips]


TABLE = 'file,text,start,end,context\na.mp4,good day,0.5,1.5,what?|really\n,"words, alone",,,\nb.mkv,,,,\n'


def table_results(pipe, folder):
    return expected(
        pipe,
        {"video": str(folder / "a.mp4"), "text": "good day", "start": 0.5, "end": 1.5, "context": ["what?", "really"]},
        {"text": "words, alone"},
        {"video": str(folder / "b.mkv")},
    )


def test_a_table_without_labels_is_predicted(capsys, model, pipe, clips, monkeypatch):
    """Each row, with its text, cut and context, has the result of the pipeline for the same clip."""
    (clips / "mine.csv").write_text(TABLE)
    code, results, _ = predict(capsys, "--table", clips / "mine.csv", "--model", model)
    assert code == 0 and results == table_results(pipe, clips)
    whole = expected(pipe, {"video": str(clips / "a.mp4")})[0]
    assert results[0]["score"] != pytest.approx(whole["score"], abs=1e-6)  # the text and the cut do matter
    monkeypatch.chdir(clips.parent)  # names are relative to the table, wherever the command runs
    (clips / "lines.jsonl").write_text(json.dumps({"file": str(clips / "a.mp4"), "text": "bad"}) + "\n")
    code, results, _ = predict(capsys, "--table", "clips/lines.jsonl", "--model", model)
    assert code == 0 and results == expected(pipe, {"video": str(clips / "a.mp4"), "text": "bad"})


def test_missing_files_are_skipped_on_request(capsys, model, pipe, clips):
    """One missing file among many stops the command, or is reported in its place."""
    (clips / "clips.csv").write_text("file,text\na.mp4,good\ngone.mp4,bad\nb.mkv,fine\n")
    wanted = expected(
        pipe,
        {"video": str(clips / "a.mp4"), "text": "good"},
        {"video": str(clips / "b.mkv"), "text": "fine"},
    )
    for arguments in (["--table", clips / "clips.csv"], [clips]):
        code, results, _ = predict(capsys, *arguments, "--model", model, "--on_error", "skip")
        assert code == 1 and [results[0], results[2]] == wanted
        assert results[1]["media"] == str(clips / "gone.mp4") and "there is no such file" in results[1]["error"]
        assert predict(capsys, *arguments, "--model", model)[:2] == (1, [])
    files = [clips / name for name in ("a.mp4", "gone.mp4")]
    code, results, _ = predict(capsys, *files, "--model", model, "--on_error", "skip")
    assert code == 1 and results[0] == expected(pipe, {"video": str(files[0])})[0] and "error" in results[1]


@pytest.mark.parametrize("name", ["clips.csv", "anything.csv"])
def test_the_table_of_a_folder_is_used(capsys, model, pipe, clips, name):
    write_media(clips / "unnamed.mp4", seconds=1.0)
    (clips / name).write_text(TABLE)
    code, results, err = predict(capsys, clips, "--model", model)
    assert code == 0 and results == table_results(pipe, clips)
    assert f"note: {clips / name} names 3 clips; not named and left out: 1 file(s), unnamed.mp4" in err


def test_tables_that_name_no_clips_are_named_and_left(capsys, model, pipe, clips):
    (clips / "openface.csv").write_text("frame,AU01\n1,0.5\n")
    files = [{"video": str(clips / name)} for name in ("a.mp4", "b.mkv")]
    code, results, err = predict(capsys, clips, "--model", model)
    assert code == 0 and results == expected(pipe, *files)
    assert f"note: {clips}: openface.csv: not used; --table FILE names a table of clips" in err
    (clips / "second.csv").write_text(TABLE)
    code, results, err = predict(capsys, clips, "--model", model)
    assert code == 0 and results == expected(pipe, *files) and "openface.csv, second.csv: not used" in err


def test_hidden_files_of_a_folder_are_passed_over(capsys, model, pipe, clips):
    code, results, err = predict(capsys, clips, "--model", model)
    assert code == 0 and results == expected(pipe, *({"video": str(clips / name)} for name in ("a.mp4", "b.mkv")))
    assert "._a.mp4" not in err


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,txt\na.mp4,good\n", "has the column 'txt'; did you mean 'text'?"),
        ("file,text\ngone.mp4,good\n", "row 2, column file: found 'gone.mp4'"),
        ("file,start,end\na.mp4,1.5,0.5\n", "row 2, column end: found '0.5'"),
        ("file,start,end\na.mp4,0,700000\n", "looks like milliseconds"),
        ("name,score\na.mp4,1\n", "expected file or text or both"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(capsys, model, clips, table, message):
    (clips / "clips.csv").write_text(table)
    for arguments in (["--table", clips / "clips.csv"], [clips]):
        code, results, err = predict(capsys, *arguments, "--model", model)
        assert code == 1 and not results and message in err.splitlines()[-1] and "Traceback" not in err
    code, _, err = predict(capsys, "--table", clips / "none.csv", "--model", model)
    assert code == 1 and "none.csv: there is no such table" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.mp4", "--table", "t.csv"], "a.mp4 does not go with --table"),
        (["--text", "x", "--table", "t.csv"], "--text does not go with --table"),
        (["--table", "t.csv", "--timeline", "out", "--pauses"], "a timeline is of one video file; found 0"),
        (["a.mp4", "--start", "1:90"], "'1:90' is not a time; expected seconds (63.5), or 00:01:03.5"),
    ],
)
def test_arguments_that_do_not_fit_a_table(capsys, arguments, message):
    with pytest.raises(SystemExit) as left:
        main(["predict", *arguments, "--model", "none"])
    assert left.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [("63.5", 63.5), ("0", 0.0), ("1:03", 63.0), ("00:01:03", 63.0), ("01:01:03,25", 3663.25), ("90:00", 5400.0)],
)
def test_times(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize(
    "text", ["", "-1", "nan", "inf", "1:60", "1:60:00", "1:-3", "1:2:3:4", "a:3", "1:1e3", "1.5:03"]
)
def test_what_is_not_a_time(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a time"):
        seconds(text)


def test_a_cut_in_hours_and_minutes(capsys, model, pipe, clips):
    code, results, _ = predict(capsys, clips / "a.mp4", "--start", "00:00:00.5", "--end", "0:01.5", "--model", model)
    assert code == 0 and results == expected(pipe, {"video": str(clips / "a.mp4"), "start": 0.5, "end": 1.5})


@pytest.mark.slow
def test_pipes_and_standard_input(model, pipe, clips):
    """Decoders read a file twice, which a pipe does not allow; an empty pipe is an error in a sentence."""
    content = (clips / "a.mp4").read_bytes()
    (wanted,) = expected(pipe, content)
    fifo = clips / "pipe"
    os.mkfifo(fifo)
    writer = subprocess.Popen(["cp", str(clips / "a.mp4"), str(fifo)])
    command = [
        sys.executable,
        "-m",
        "modeling_semanticmac",
        "predict",
        "-",
        str(fifo),
        "--device",
        "cpu",
        "--json",
        "-",
    ]
    found = subprocess.run([*command, "--model", model], cwd=PROJECT, input=content, capture_output=True, timeout=120)
    assert writer.wait(10) == 0 and found.returncode == 0, found.stderr.decode()
    for result in json.loads(found.stdout):
        del result["timings"]
        assert result == wanted
    found = subprocess.run([*command[:4], "/dev/stdin", "--model", model], cwd=PROJECT, input=b"", capture_output=True)
    assert found.returncode == 1 and b"Traceback" not in found.stderr and b"the file is empty" in found.stderr


def test_a_timeline_reads_no_pipe_and_writes_into_no_file(capsys, tmp_path, clips):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("precious")
    for video, out, message in (
        (tmp_path / "pipe", "out", "this is not a file; a timeline reads its video more than once"),
        (clips / "a.mp4", tmp_path / "file", "this is a file; name a folder for the timeline"),
    ):
        for arguments in (["timeline", video, "--output_dir", out], ["predict", video, "--timeline", out]):
            code = main([*map(str, arguments), "--window", "1", "--model", "none"])
            err = capsys.readouterr().err
            assert code == 1 and message in err and err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("option", ["--window", "--hop"])
def test_a_window_of_nothing_is_refused(capsys, tmp_path, clips, option):
    arguments = ["timeline", str(clips / "a.mp4"), "--output_dir", str(tmp_path / "out"), "--model", "none"]
    code = main([*arguments, "--window", "1", option, "0"])
    assert code == 1
    assert f"{option[2:]} is 0.0; expected a positive number of seconds" in capsys.readouterr().err


def test_files_of_a_model_stand_for_its_folder(capsys, model, pipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("config.json", "model.safetensors"):
        code, results, _ = predict(capsys, "--text", "good", "--model", Path(model) / name)
        assert code == 0 and results == expected(pipe, {"text": "good"})
    (tmp_path / "notes.txt").write_text("no model")
    code, _, err = predict(capsys, "--text", "good", "--model", "notes.txt")
    assert code == 1 and "notes.txt: this is a file; expected the folder of a run" in err
    assert main(["info", f"{model}/config.json"]) == 0


def test_a_training_checkpoint_predicts_from_another_folder(capsys, world, tmp_path, monkeypatch):
    """Its towers were given by a path relative to the folder where training ran."""
    from modeling_semanticmac.commands import train
    from tests.helpers.project import RECIPE

    models = [os.path.relpath(word, world["folder"]) if os.path.isdir(word) else word for word in world["models"]]
    monkeypatch.chdir(world["folder"])
    out = [
        "--output_dir",
        str(tmp_path / "run"),
        "--num_train_epochs",
        "1",
        "--label_start_epoch",
        "1",
        "--save_strategy",
        "epoch",
    ]
    train.main([RECIPE, *world["common"], *models, *out])
    checkpoint = next((tmp_path / "run").glob("checkpoint-*"))
    clip = world["clips"]["test"][0]
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    code, results, err = predict(capsys, clip["media"]["path"], "--text", clip["text"], "--model", checkpoint)
    assert code == 0 and set(results[0]["modalities"]) == {"text", "audio", "vision"}, err
    code, again, _ = predict(capsys, clip["media"]["path"], "--text", clip["text"], "--model", tmp_path / "run")
    assert code == 0
    assert json.loads((checkpoint / "config.json").read_text())["vision_encoder"]["name_or_path"] == str(
        world["folder"] / "towers" / "vision"
    )
    shutil.rmtree(tmp_path / "run")
