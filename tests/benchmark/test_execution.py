"""`semanticmac benchmark` from a plan to its table: processes of their own, restarts, changed settings, failures."""

import json
import shutil

import pytest

from modeling_semanticmac.benchmark.execution import last_words
from modeling_semanticmac.benchmark.plan import planned_runs, read_plan
from modeling_semanticmac.benchmark.run_state import Purpose
from modeling_semanticmac.commands import benchmark
from modeling_semanticmac.files.atomic_files import write_json
from modeling_semanticmac.runs.comparison import RunPredictions
from tests.helpers.project import RECIPE
from tests.helpers.runs import content, record

PLAN = f"""
recipe: {RECIPE}
seeds: [42]
arguments: {{num_train_epochs: 2, label_start_epoch: 1, language_model: LANGUAGE_MODEL}}
rows:
  - name: SemanticMAC
  - name: median
    simple: majority
  - name: probe
    simple: linear_probe
    options: {{C: 0.1}}
  - name: fails
    arguments: {{language_model: NOWHERE}}
  - name: refused
    arguments: {{num_neighbors: 0}}
"""
TRAINED = "runs/SemanticMAC/seed_42"


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """A benchmark whose runs have been done, two processes at once; its command and exit code.

    The trained run was interrupted before its end, with a checkpoint of its last epoch.
    """
    folder = tmp_path_factory.mktemp("benchmark")
    shutil.copytree(world["folder"] / "embeddings", folder / "embeddings")
    language_model, towers = world["models"][1], world["models"][2:]
    plan = folder / "plan.yaml"
    plan.write_text(PLAN.replace("LANGUAGE_MODEL", language_model), encoding="utf-8")
    arguments = [*world["common"], *towers, "--embeddings_dir", str(folder / "embeddings")]
    command = [str(plan), "--output_dir", str(folder / "out"), "--resamples", "20", "--jobs", "2", *arguments]
    run = folder / "out" / TRAINED
    shutil.copytree(world["run"], run)
    for name in ("predictions_test.csv", "all_results.json", "test_results.json", "report.md"):
        (run / name).unlink()
    write_json(run / "run.json", {**record(run), "state": "running"})
    (planned,) = planned_runs(read_plan(plan), folder / "out", arguments, ["SemanticMAC"])
    purpose = Purpose.of(planned)
    purpose.seconds = 1000.0
    purpose.write(run)
    assert benchmark.main([*command, "--max_minutes", "0"]) == 1  # time is up: nothing is started
    assert record(run)["state"] == "running" and table(folder / "out")["median"]["finished"] == 0
    return folder / "out", command, benchmark.main(command)


def table(folder) -> dict:
    """Return row -> its part of `benchmark.json`."""
    return {row["row"]: row for row in json.loads((folder / "benchmark.json").read_text())["settings"][""]}


def test_every_run_is_done_and_a_failure_stops_no_other(finished):
    folder, _, code = finished
    rows = table(folder)
    assert code == 1
    assert {name: row["finished"] for name, row in rows.items()} == {
        "SemanticMAC": 1, "median": 1, "probe": 1, "fails": 0, "refused": 0,
    }  # fmt: skip
    assert (
        "NOWHERE" in rows["fails"]["failures"]["fails / seed 42"]
        and "exit code 1" in (folder / "benchmark.md").read_text()
    )
    assert "num_neighbors is 0" in rows["refused"]["failures"]["refused / seed 42"]
    assert rows["probe"]["choices"] == ["C = 0.1, given"]
    trained = rows["SemanticMAC"]
    assert (
        trained["costs"]["trained_parameters"] > 1000
        and trained["costs"]["seconds"] > trained["costs"]["training_seconds"]
    )


def test_simple_systems_predict_the_same_clips_in_the_form_of_a_run(finished):
    folder, _, _ = finished
    runs = [RunPredictions.read(folder / "runs" / name / "seed_42") for name in ("SemanticMAC", "median", "probe")]
    assert runs[0].ids == runs[1].ids == runs[2].ids and runs[0].task == runs[2].task
    assert len(set(runs[1].predictions[0])) == 1
    assert table(folder)["probe"]["difference_to_first"]["mae"]["second"] == pytest.approx(
        table(folder)["probe"]["figures"]["test"]["mae"]["mean"]
    )
    told = record(folder / "runs/probe/seed_42")
    assert told["simple_system"]["C"] == 0.1 and told["state"] == "finished"
    assert "probe" in record(folder / "runs/probe/seed_42", "all_results.json")["test_opened"]


def test_finished_runs_are_kept_and_changed_settings_are_noticed(finished, capsys):
    folder, command, _ = finished
    kept = ["--rows", "SemanticMAC", "median", "probe"]
    before = content(folder / "runs")
    assert benchmark.main([*command, *kept]) == 0
    assert content(folder / "runs") == before
    assert benchmark.main([*command, *kept, "--label_start_epoch", "5"]) == 1
    assert content(folder / "runs") == before
    rows = table(folder)
    assert rows["SemanticMAC"]["finished"] == 0 and rows["probe"]["finished"] == 1  # has no pseudo labels
    assert "label_start_epoch was" in rows["SemanticMAC"]["failures"]["SemanticMAC / seed 42"]
    benchmark.main([*command, "--tables_only", "--label_start_epoch", "5"])  # does not show it either
    assert table(folder)["SemanticMAC"]["finished"] == 0
    assert "is 5; --replace_changed runs it again" in capsys.readouterr().out
    fewer = ["--rows", "median", "--max_train_samples", "3"]
    assert benchmark.main([*command, *fewer]) == 1 and table(folder)["median"]["finished"] == 0
    assert benchmark.main([*command, *fewer, "--replace_changed"]) == 0
    assert table(folder)["median"]["finished"] == 1 and table(folder)["probe"]["finished"] == 0
    assert benchmark.main([*command, "--rows", "median", "--replace_changed"]) == 0


def test_an_interrupted_run_is_resumed(world, finished):
    folder, _, _ = finished
    run = folder / TRAINED
    assert (run / "predictions_test.csv").read_bytes() == (world["run"] / "predictions_test.csv").read_bytes()
    assert record(run, "benchmark.json")["seconds"] > 1000  # both attempts
    assert "Resuming from" in run.with_name(f"{run.name}.log").read_text()
    assert (run / "model.safetensors").is_file() and not list(run.glob("checkpoint-*"))


def test_the_last_words_of_a_log(tmp_path):
    (tmp_path / "log").write_text("one\ntwo \n\n")
    assert last_words(tmp_path / "log") == "two" and last_words(tmp_path / "absent") == "it printed nothing"
