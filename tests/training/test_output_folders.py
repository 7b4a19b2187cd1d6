"""Commands and folders: a finished run is kept, and its figures never reach the report of a new one."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from modeling_semanticmac.commands import train as train_command
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.report import write_report
from modeling_semanticmac.runs.output_folder import OutputFolder, OutputFolderError
from modeling_semanticmac.training.trainer import SemanticMACTrainer
from tests.helpers.project import PROJECT, RECIPE
from tests.helpers.runs import content, record


@pytest.fixture
def command(world) -> list[str]:
    return [RECIPE, *world["common"], *world["models"][:2], "--modalities", "text", "--num_train_epochs", "1"]


def test_a_finished_run_is_kept(world, command, tmp_path):
    """A command that is refused, for whatever reason, leaves its record and its report as they are."""
    folder = shutil.copytree(world["run"], tmp_path / "run")
    before = content(folder)
    search = [
        "--do_search",
        "--search_trials",
        "1",
        "--do_train",
        "false",
        "--do_eval",
        "false",
        "--do_predict",
        "false",
    ]
    for more, message in (
        ([], "holds a finished run; give another --output_dir, or --overwrite_output_dir"),
        (["--resume_from_checkpoint", "last"], "holds a finished run"),
        (["--seeds", "1", "2"], "holds a run or a search"),
        (search, "holds a run; give the search another"),
        (["--overwrite_output_dir", "--task", "smell"], "smell"),
        (["--overwrite_output_dir", "--label_smoothing_factor", "0.1"], "no effect"),
    ):
        with pytest.raises(ValueError, match=message):
            train_command.main([*command, *more, "--output_dir", str(folder)])
        assert content(folder) == before, more


def test_a_new_run_reports_no_figure_of_the_run_before(world, command, tmp_path):
    folder = shutil.copytree(world["run"], tmp_path / "run")
    assert "mae` " in (folder / "report.md").read_text() and " on test" in (folder / "report.md").read_text()
    train_command.main([*command, "--overwrite_output_dir", "--do_predict", "false", "--output_dir", str(folder)])
    assert not [name for name in record(folder, "all_results.json") if name.startswith("test")]
    assert not (folder / "predictions_test.csv").exists() and not (folder / "media_test.json").exists()
    assert list(record(folder, "splits.json")) == ["train", "validation"]
    assert (
        " on test" not in (folder / "report.md").read_text() and " on validation" in (folder / "report.md").read_text()
    )
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-1"]
    assert (folder / "embeddings").exists() == (world["run"] / "embeddings").exists()


def test_an_interrupted_run_says_so(command, tmp_path, monkeypatch):
    """Its record is written when it begins; before it has a checkpoint the next run simply starts again."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SemanticMACTrainer, "training_step", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
        train_command.main([*command, "--output_dir", str(tmp_path)])
    assert record(tmp_path)["state"] == "running" and OutputFolder(tmp_path).state == "running"
    train_command.main([*command, "--output_dir", str(tmp_path)])
    assert record(tmp_path)["state"] == "finished"


def test_the_second_of_two_commands_is_refused(command, tmp_path):
    hold = "import sys; from modeling_semanticmac.runs.output_folder import OutputFolder\n"
    hold += "with OutputFolder(sys.argv[1]).held(): print('held', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    first = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], cwd=PROJECT, **pipes)
    assert first.stdout.readline() == "held\n"
    for more in ([], ["--seeds", "1", "2"]):
        with pytest.raises(OutputFolderError, match=rf"another command writes into .* pid {first.pid}"):
            train_command.main([*command, *more, "--output_dir", str(tmp_path)])
    first.kill()
    first.communicate()
    train_command.main([*command, "--output_dir", str(tmp_path)])
    assert record(tmp_path)["state"] == "finished"


@pytest.fixture
def without_vision(monkeypatch):
    """Let the store say that some clips have no vision."""
    status, absent = EmbeddingStore.status, set()

    def changed(self, clip):
        found = status(self, clip)
        return replace(found, vision=0) if clip in absent else found

    monkeypatch.setattr(EmbeddingStore, "status", changed)
    return absent


def test_a_modality_that_few_clips_have_is_told(world, without_vision, tmp_path, caplog):
    """Five of twelve training clips have vision, one of five test clips lacks it: 41 % and 80 %."""
    without_vision |= {*world["clips"]["train"]["id"][:7], world["clips"]["test"]["id"][0]}
    command = [RECIPE, *world["common"], *world["models"], "--num_train_epochs", "1", "--output_dir", str(tmp_path)]
    train_command.main(command)
    headline = re.search(r"^Predicts .*", (tmp_path / "report.md").read_text(), re.MULTILINE)[0]
    assert "from text, audio, vision (41 % of train, 80 % of test); language model" in headline
    assert "only 5 of 12 clips of train have vision (42 %)" in caplog.text
    assert record(tmp_path, "modalities.json")["train"] == {"clips": 12, "text": 12, "audio": 12, "vision": 5}
    # Nine of ten are enough.
    counts = {"train": {"clips": 10, "text": 10, "audio": 9, "vision": 10}}
    (tmp_path / "modalities.json").write_text(json.dumps(counts))
    assert "from text, audio, vision; language model" in write_report(tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_modality_that_no_clip_has_stops_the_run(world, without_vision, tmp_path, split):
    without_vision |= set(world["clips"][split]["id"])
    command = [RECIPE, *world["common"], *world["models"], "--num_train_epochs", "1", "--output_dir", str(tmp_path)]
    with pytest.raises(ValueError, match=rf"none of the \d+ clips of {split} has vision, .*--modalities text audio"):
        train_command.main(command)
    assert (tmp_path / "run.json").exists() == (split == "test")
