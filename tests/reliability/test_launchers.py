"""`run_mac.py` through its launchers, `accelerate launch` and torchrun, and in two processes (gloo)."""

import json
import shutil

import pytest

from modeling_semanticmac.commands import train as train_command
from tests.helpers.processes import TWO, run_python, run_two
from tests.helpers.project import RECIPE
from tests.helpers.runs import CLIPS, rows

pytestmark = pytest.mark.slow


def launch(words: list[str]) -> str:
    found = run_python(words)
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stderr


def results(folder) -> dict:
    found = json.loads((folder / "all_results.json").read_text())
    timing = ("runtime", "per_second", "flos")
    return {name: value for name, value in found.items() if not name.endswith((*timing, "opened"))}


def test_accelerate_launch_equals_a_plain_start(world, tmp_path):
    words = ["--num_train_epochs", "2", "--label_start_epoch", "1", "--output_dir", str(tmp_path)]
    start = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    launch([*start, "run_mac.py", RECIPE, *world["common"], *world["models"], *words])
    assert results(tmp_path) == pytest.approx(results(world["run"]), rel=1e-5)


def test_two_processes_predict_what_one_does(world, tmp_path):
    """Five clips in batches of two per process: the last round is uneven, and every clip counts once."""
    words = ["--model_name_or_path", str(world["run"]), "--do_predict", "--per_device_eval_batch_size", "2"]
    run_two(["run_mac.py", *world["common"], *words, "--output_dir", tmp_path])
    expected = rows(world["run"] / "predictions_test.csv")
    assert len(expected) == CLIPS["test"]
    for found, row in zip(rows(tmp_path / "predictions_test.csv"), expected, strict=True):
        assert found["id"] == row["id"] and float(found["prediction"]) == pytest.approx(
            float(row["prediction"]), abs=1e-5
        )
    once = {name: value for name, value in results(world["run"]).items() if name.startswith("test_")}
    assert {name: results(tmp_path)[name] for name in once} == pytest.approx(once, rel=1e-5)


def test_two_processes_train_and_write_once(world, tmp_path):
    """Each process ends without threads that could abort it."""
    words = ["--num_train_epochs", "2", "--label_start_epoch", "1", "--per_device_train_batch_size", "4"]
    script = [*TWO, "-m", "tests.helpers.worker", "run_mac.py", RECIPE]
    log = launch([*script, *world["common"], *world["models"], *words, "--output_dir", str(tmp_path)])
    assert len(rows(tmp_path / "predictions_test.csv")) == CLIPS["test"] and "labels/weight_S" in log + str(
        json.loads((tmp_path / "trainer_state.json").read_text())["log_history"]
    )


def test_two_processes_resume_what_two_processes_made(world, tmp_path):
    """Both compare the settings, one holds the folder; a single process is refused. Resumed equals never stopped."""
    words = ["--num_train_epochs", "2", "--label_start_epoch", "1", "--per_device_train_batch_size", "3"]
    command = ["run_mac.py", RECIPE, *world["common"], *world["models"], *words, "--output_dir", str(tmp_path)]
    run_two(command)
    expected, predictions = results(tmp_path), rows(tmp_path / "predictions_test.csv")
    made = json.loads((tmp_path / "checkpoint-4/made_with.json").read_text())
    assert made["arguments"]["processes"] == 2
    # As after a kill in the second epoch.
    shutil.rmtree(tmp_path / "checkpoint-4")
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**record, "state": "running"}))
    with pytest.raises(ValueError, match="was saved by 2 processes"):
        train_command.main([*command[1:], "--resume_from_checkpoint", "last"])
    run_two([*command, "--resume_from_checkpoint", "last"])
    assert rows(tmp_path / "predictions_test.csv") == predictions
    ignored = {"train_loss"}  # of the steps since the resume alone
    assert {k: v for k, v in results(tmp_path).items() if k not in ignored} == {
        k: v for k, v in expected.items() if k not in ignored
    }
