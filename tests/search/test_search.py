"""`--do_search`: a trial is a plain run, the test split stays sealed, a killed search is resumed, several
processes share one.
"""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import yaml

from modeling_semanticmac.commands import train
from modeling_semanticmac.search import search as module
from modeling_semanticmac.search.search import SearchTrainer
from modeling_semanticmac.training.run import Run
from tests.helpers.processes import run_script
from tests.helpers.project import PROJECT, RECIPE

SPACE = """
hidden_size: [16, 32]
num_latents: [2, 3, 4]
num_neighbors: {low: 1, high: 6}
dropout: {low: 0.0, high: 0.3}
learning_rate: {low: 1e-4, high: 1e-2, log: true}
language_model_learning_rate: {low: 1e-4, high: 1e-2, log: true}
per_device_train_batch_size: [4, 8]
warmup_epochs: [0, 1]
"""


def words(world, folder, trials: int, *more: str, space: str = SPACE) -> list[str]:
    """Return the arguments of a search, with text alone unless `more` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.parent / "space.yaml"
    path.write_text(space, encoding="utf-8")
    command = [RECIPE, *world["common"], *world["models"], "--num_train_epochs", "2", "--label_start_epoch", "1"]
    search = ["--do_search", "--search_space", str(path), "--search_trials", str(trials), "--search_heartbeat", "1"]
    return [*command, *search, "--output_dir", str(folder), "--modalities", "text", *more]


def environment() -> dict[str, str]:
    """Return the environment of a process that runs this checkout on one thread."""
    path = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def result(folder) -> dict:
    return json.loads((folder / "search.json").read_text(encoding="utf-8"))


def plain_loss(folder) -> float:
    return json.loads((folder / "all_results.json").read_text(encoding="utf-8"))["eval_loss"]


@pytest.fixture(scope="module")
def searched(world, tmp_path_factory):
    """Three trials with all modalities, and the splits that were read."""
    folder = tmp_path_factory.mktemp("searched") / "search"
    opened, split = [], Run.split
    patch = pytest.MonkeyPatch()
    patch.setattr(Run, "split", lambda self, name, limit: opened.append(name) or split(self, name, limit))
    train.main(words(world, folder, 3, "--modalities", "text", "audio", "vision"))
    patch.undo()
    return {"folder": folder, "opened": opened, **result(folder)}


@pytest.mark.slow
def test_the_best_recipe_gives_the_best_score(world, searched, tmp_path):
    best = min(searched["trials"], key=lambda trial: trial["score"])
    assert searched["best"] == best and len({trial["score"] for trial in searched["trials"]}) == 3
    recipe = searched["folder"] / "best.yaml"
    train.main([str(recipe), "--data_dir", str(world["folder"] / "corpus"), "--output_dir", str(tmp_path / "run")])
    assert plain_loss(tmp_path / "run") == pytest.approx(best["score"], abs=1e-6)
    assert (tmp_path / "run/predictions_test.csv").is_file()  # the recipe that was searched with asks for it
    told = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    assert best["parameters"].items() <= told.items() and told["corpus_options"]["train"] == 12
    assert not {"data_dir", "output_dir", "do_search", "search_trials"} & told.keys()


def test_every_trial_is_a_plain_run(world, searched, tmp_path):
    """A trial inherits nothing from the one before: weights, random state, labels, implied arguments."""
    last = searched["trials"][-1]
    changed = [f"--{name}={value}" for name, value in last["parameters"].items()]
    command = [RECIPE, *world["common"], *world["models"], "--num_train_epochs", "2", "--label_start_epoch", "1"]
    train.main([*command, *changed, "--do_predict", "false", "--output_dir", str(tmp_path)])
    assert plain_loss(tmp_path) == pytest.approx(last["score"], abs=1e-6)


def test_the_test_split_stays_sealed_and_no_checkpoints_pile_up(searched):
    assert searched["opened"] == ["train", "validation"]  # each once, for all trials
    assert searched["scored_on"].startswith("validation loss, the lowest")
    assert searched["test_opened"] is None
    left = list(searched["folder"].iterdir())
    assert {"best.yaml", "run.json", "search.db", "search.json", "search.md", "splits.json"} <= {
        path.name for path in left
    }
    assert all(path.is_file() and path.suffix in (".lock", ".db", ".json", ".md", ".yaml") for path in left)
    assert json.loads((searched["folder"] / "splits.json").read_text()).keys() == {"train", "validation"}


def test_the_table(searched):
    text = (searched["folder"] / "search.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and "complete" in line]
    scores = sorted(trial["score"] for trial in searched["trials"])
    assert [row[2] for row in rows] == [f"{score:.4f}" for score in scores]
    assert f"Best: trial {searched['best']['trial']}, loss {scores[0]:.4f}" in text and "best.yaml" in text
    assert all(trial["seconds"] > 0 for trial in searched["trials"])


@pytest.mark.slow
def test_classes_are_scored_by_the_highest_f1(world, tmp_path):
    train.main(words(world, tmp_path / "search", 2, "--task", "sarcasm"))
    found = result(tmp_path / "search")
    assert found["metric"] == "w_f1" and found["best"]["score"] == max(trial["score"] for trial in found["trials"])
    assert all(0 <= trial["score"] <= 1 for trial in found["trials"])


def test_a_trial_is_scored_by_its_best_evaluation():
    def score(value, best, greater):
        args = SimpleNamespace(metric_for_best_model="mae", greater_is_better=greater)
        return SearchTrainer.score(
            SimpleNamespace(args=args, state=SimpleNamespace(best_metric=best)), {"eval_mae": value}
        )

    assert (score(0.5, None, False), score(0.5, 0.4, False), score(0.5, 0.6, False)) == (0.5, 0.4, 0.5)
    assert (score(0.5, 0.4, True), score(0.5, 0.6, True)) == (0.5, 0.6)
    with pytest.raises(ValueError, match="eval_mae is nan: the training has diverged"):
        score(float("nan"), 0.4, False)


@pytest.mark.slow
def test_values_that_the_model_refuses_are_replaced(world, tmp_path):
    """14 is not a multiple of the four heads."""
    train.main(words(world, tmp_path / "search", 3, space="hidden_size: [14, 16]\nnum_latents: {low: 1, high: 64}"))
    found = result(tmp_path / "search")
    states = {
        size: {t["state"] for t in found["trials"] if t["parameters"]["hidden_size"] == size} for size in (14, 16)
    }
    assert states == {14: {"failed"}, 16: {"complete"}}
    assert sum(trial["state"] == "complete" for trial in found["trials"]) == 3
    assert "Failed, with others drawn in their place" in (tmp_path / "search/search.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_processes_share_a_search_and_one_is_killed(world, searched, tmp_path):
    """Two at once; one is killed after the first trials, the other ends with exactly the requested number."""
    folder = tmp_path / "search"
    command = [sys.executable, str(PROJECT / "run_mac.py"), *words(world, folder, 5)]
    logs = [open(tmp_path / f"log_{index}", "w") for index in range(2)]
    first, second = (
        subprocess.Popen(command, env=environment(), stdout=log, stderr=subprocess.STDOUT, cwd=PROJECT) for log in logs
    )
    try:
        limit = time.monotonic() + 240
        while not (folder / "search.json").is_file() or not result(folder)["best"]:
            assert time.monotonic() < limit and first.poll() is None and second.poll() is None, logs
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        assert second.wait(timeout=300) == 0, (tmp_path / "log_1").read_text()
    finally:
        for process, log in zip((first, second), logs):
            process.kill()
            process.wait()
            log.close()
    trials = result(folder)["trials"]
    drawn = [trial["parameters"] for trial in trials if trial["state"] == "complete"]
    complete = {str(parameters) for parameters in drawn}
    assert len(drawn) == len(complete) == 5
    # One that was killed has been run again; it may have been killed before all of its values were drawn.
    stopped = [trial["parameters"] for trial in trials if trial["state"] == "stopped"]
    assert all(any(some.items() <= other.items() for other in drawn) for some in stopped)
    # The same space and seed in one process that was never killed.
    assert {str(trial["parameters"]) for trial in searched["trials"]} < complete


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--do_train"], "--do_train with --do_search: a search does not train or test a final model. Run .*best.yaml"),
        (["--do_predict", "true"], "--do_predict with --do_search"),
        (["--seeds", "1", "2"], "--seeds with --do_search"),
        (["--eval_strategy", "no", "--load_best_model_at_end", "false"], "needs an --eval_strategy"),
        (["--load_best_model_at_end", "false"], "needs an --eval_strategy"),
        (["--search_sampler", "grid"], "search_sampler is 'grid'; expected random or tpe"),
        (["--search_pruner", "mean"], "search_pruner is 'mean'; expected none or median"),
        (["--search_backend", "wandb"], "search_backend is 'wandb'; expected optuna or ray"),
        (["--search_trials", "0"], "search_trials is 0"),
        (["--search_backend", "ray", "--search_sampler", "tpe"], "supports only --search_sampler random"),
        (["--search_spaces", "x"], "unknown argument 'search_spaces'.*'search_space'"),
    ],
)
def test_commands_that_cannot_work_are_refused(world, tmp_path, more, message):
    with pytest.raises(ValueError, match=message):
        train.main([*words(world, tmp_path / "search", 2), *more])
    assert not (tmp_path / "search/run.json").exists()


def test_a_checkpoint_cannot_be_searched(world, tmp_path):
    command = [
        *world["common"],
        "--model_name_or_path",
        str(world["run"]),
        "--do_search",
        "--output_dir",
        str(tmp_path),
    ]
    with pytest.raises(ValueError, match="give --language_model, not --model_name_or_path"):
        train.main(command)


def test_a_training_without_an_evaluation_has_no_score(world, tmp_path):
    with pytest.raises(ValueError, match="2 trials failed, 1 were requested. The last: .* lower --eval_delay"):
        train.main(words(world, tmp_path / "search", 1, "--eval_delay", "9"))


def test_ray_is_asked_for_where_it_is_absent(world, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "is_ray_tune_available", lambda: False)
    with pytest.raises(ImportError, match=r"needs Ray Tune: pip install 'semanticmac\[scale\]'"):
        train.main(words(world, tmp_path / "search", 1, "--search_backend", "ray"))


def test_optuna_is_asked_for_where_it_is_absent(world, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"needs Optuna: pip install 'semanticmac\[search\]'"):
        train.main(words(world, tmp_path / "search", 1))


COMMANDS = """
import json, sys
from modeling_semanticmac.commands import train
for command in json.loads(sys.argv[2]):
    train.main(command)
"""


def test_trials_with_ray(world, tmp_path):
    """Trials in processes of a Ray cluster, after a training in the process that starts them; one that is refused does
    not stop the others; a plain run with the best arguments reaches the same figure.
    """
    space = SPACE.replace("hidden_size: [16, 32]", "hidden_size: [16, 15]")  # four heads cannot share a width of 15
    command = words(world, tmp_path / "search", 2, "--search_backend", "ray", space=space)
    quick = ["--modalities", "text", "--num_train_epochs", "1", "--output_dir", str(tmp_path / "before")]
    before = [RECIPE, *world["common"], *world["models"], *quick]
    run_script(COMMANDS, tmp_path, json.dumps([before, command]), processes=1)
    found = result(tmp_path / "search")
    widths = [trial["parameters"]["hidden_size"] for trial in found["trials"]]
    states = {16: "complete", 15: "failed"}
    assert set(widths) == {15, 16} and [trial["state"] for trial in found["trials"]] == [states[w] for w in widths]
    assert all("15" in trial["failure"] for trial in found["trials"] if trial["state"] == "failed")
    assert (tmp_path / "search/ray").is_dir() and not list((tmp_path / "search").glob("checkpoint-*"))
    best = str(tmp_path / "search/best.yaml")
    train.main([best, "--data_dir", str(world["folder"] / "corpus"), "--output_dir", str(tmp_path / "run")])
    assert plain_loss(tmp_path / "run") == pytest.approx(found["best"]["score"], abs=1e-6)
