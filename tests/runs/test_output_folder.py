"""A finished run is kept, and two commands never share a folder."""

import json
import os
import subprocess
import sys

import pytest

from modeling_semanticmac.runs.output_folder import LOCK, OutputFolder, OutputFolderError
from tests.helpers.project import PROJECT

HOLDER = "import sys; from modeling_semanticmac.runs.output_folder import OutputFolder\n"
HOLDER += "with OutputFolder(sys.argv[1]).held(): print('held', flush=True); sys.stdin.read()"


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return OutputFolder(folder)


def holder(folder) -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], cwd=PROJECT, **pipes)
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_command_is_refused_and_told_who_holds_the_folder(tmp_path):
    process = holder(tmp_path / "run")
    with pytest.raises(OutputFolderError, match=rf"another command writes into .*pid {process.pid}\)") as refused:
        with OutputFolder(tmp_path / "run").held():
            pass
    assert "host" in str(refused.value) and "user" in str(refused.value)
    process.communicate("")
    with OutputFolder(tmp_path / "run").held():
        assert (tmp_path / "run" / LOCK).is_file()
    assert not (tmp_path / "run").exists()  # nothing was written


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    process = holder(tmp_path / "run")
    process.kill()
    process.communicate()
    assert (tmp_path / "run" / LOCK).is_file()
    with OutputFolder(tmp_path / "run").held():
        assert (tmp_path / "run" / LOCK).read_text().startswith(f"{os.getpid()}\n")


def test_states(tmp_path):
    assert OutputFolder(tmp_path / "absent").state == "empty"
    assert write(tmp_path / "running", run__json={"state": "running"}, all_results__json={}).state == "running"
    assert write(tmp_path / "finished", run__json={"state": "finished"}).state == "finished"
    assert write(tmp_path / "old", run__json={}, all_results__json={}).state == "finished"
    assert write(tmp_path / "old_running", run__json={}).state == "running"
    assert write(tmp_path / "search", run__json={"state": "search"}).state == "search"
    assert write(tmp_path / "seeds/seed_1", run__json={}) and OutputFolder(tmp_path / "seeds").state == "seeds"


def test_what_is_refused(tmp_path):
    finished = write(tmp_path / "finished", run__json={"state": "finished"})
    with pytest.raises(OutputFolderError, match="holds a finished run.*--overwrite_output_dir"):
        finished.refuse_unless_free()
    finished.refuse_unless_free(overwrite=True)
    running = write(tmp_path / "running", run__json={"state": "running"})
    running.refuse_unless_free()
    newest = tmp_path / "running/checkpoint-7"
    newest.mkdir()
    with pytest.raises(
        OutputFolderError, match="unfinished run with checkpoint-7; continue it with --resume_from_checkpoint last"
    ):
        running.refuse_unless_free(newest)
    with pytest.raises(OutputFolderError, match="unfinished run"):
        running.refuse_unless_free(newest, resumed=tmp_path / "finished/checkpoint-7")
    running.refuse_unless_free(newest, resumed=newest)
    running.refuse_unless_free(newest, overwrite=True)
    for name, content in (("search", {"state": "search"}), ("seeds/seed_1", {})):
        write(tmp_path / name, run__json=content)
        with pytest.raises(OutputFolderError, match=name.split("/")[0]):
            OutputFolder(tmp_path / name.split("/")[0]).refuse_unless_free(overwrite=True)
    with pytest.raises(OutputFolderError, match="holds a run; give the search another"):
        finished.refuse_unless_search()


def test_clear_leaves_a_folder_without_a_run_alone(tmp_path):
    write(tmp_path, README__md={}, config__json={}, report__json={}).clear()
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "config.json", "report.json"}


def test_clear_removes_what_a_run_writes_and_nothing_else(tmp_path):
    folder = write(
        tmp_path, run__json={}, all_results__json={}, predictions_test__csv={}, notes__txt={}, media_test__json={}
    )
    for name in ("checkpoint-3", "label_history", "report", "embeddings", "own"):
        (tmp_path / name).mkdir()
    folder.clear(keep_checkpoints=True)
    assert {path.name for path in tmp_path.iterdir()} == {
        "notes.txt",
        "checkpoint-3",
        "label_history",
        "embeddings",
        "own",
    }
    folder.clear()
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "embeddings", "own"}
