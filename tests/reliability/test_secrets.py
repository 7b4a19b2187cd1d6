"""A token on the command line or in the environment reaches no file, no log and no repository."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers import fake_hub
from tests.helpers.project import PROJECT, RECIPE

TOKEN, KEY, PASSWORD = "hf_markedTokenOfTheCommand", "markedKeyOfTheEnvironment", "markedPass/word@OfTheAddress"
MARKS = [b"marked"]


def run(world, hub, tmp_path, *more: str, expected: int = 0) -> str:
    """Run the command with its own caches; return what it printed."""
    environment = {
        **os.environ,
        **hub.environment(tmp_path / "home", TOKEN),
        "OMP_NUM_THREADS": "1",
        "SOME_API_KEY": KEY,
    }
    quick = ["--modalities", "text", "--num_train_epochs", "1"]
    command = [sys.executable, "run_mac.py", RECIPE, *world["common"], *world["models"][:2], *quick]
    found = subprocess.run([*command, *more], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240)
    assert found.returncode == expected, found.stderr[-3000:]
    return found.stdout + found.stderr


def written(folder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def uploaded(hub) -> dict[str, bytes]:
    return {
        f"{kind}/{name}/{path}": data
        for (kind, name), repository in hub.repositories.items()
        for _, files, _ in repository.commits
        for path, data in files.items()
    }


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(fake_hub, "TOKEN", TOKEN)
    with fake_hub.FakeHub() as hub:
        yield hub


def assert_unmarked(files: dict[str, bytes], text: str) -> None:
    assert "marked" not in text
    assert [name for name, data in files.items() if any(mark in data for mark in MARKS)] == []


def test_a_run_that_pushes(world, hub, tmp_path):
    """Spelt in each way that the parser takes, and again in arguments that are no secrets themselves."""
    out = tmp_path / "run"
    names = ["--run_name", f"try {KEY}", "--project", f"https://user:{PASSWORD}@host/name"]
    push = ["--push_to_hub", "--hub_model_id", "org/run", "--hub_token", TOKEN, f"--hub-token={TOKEN}"]
    text = run(world, hub, tmp_path, *names, *push, "--output_dir", str(out))
    assert_unmarked(written(out) | uploaded(hub), text)
    files = hub.files("org/run")
    assert {"run.json", "report.md", "report.json", "README.md", "model.safetensors"} <= set(files)
    record = json.loads(files["run.json"])
    command = record["command"]
    assert command[command.index("--hub_token") + 1] == "HIDDEN" and "--hub-token=HIDDEN" in command
    assert (
        record["training"]["run_name"] == "try HIDDEN" and record["training"]["project"] == "https://HIDDEN@host/name"
    )
    checkpoint = next(out.glob("checkpoint-*"))
    assert json.loads((checkpoint / "training_args.json").read_text())["run_name"] == "try HIDDEN"


def test_seeds_and_a_search(world, hub, tmp_path):
    """Also `finished.json` and the database of the trials; the recipe of the best trial has no token at all."""
    secrets = ["--hub_token", TOKEN, "--run_name", f"try {KEY}"]
    text = run(world, hub, tmp_path, *secrets, "--seeds", "1", "2", "--output_dir", str(tmp_path / "seeds"))
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
    text += run(world, hub, tmp_path, *secrets, *search, "--output_dir", str(tmp_path / "search"))
    assert_unmarked(written(tmp_path / "seeds") | written(tmp_path / "search"), text)
    recipe = (tmp_path / "search/best.yaml").read_text()
    assert "hub_token" not in recipe and "run_name: try HIDDEN" in recipe


def test_an_address_with_a_password_that_cannot_be_reached(world, hub, tmp_path):
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
    storage = ["--search_storage", f"postgresql://user:{PASSWORD}@localhost:1/trials"]
    text = run(world, hub, tmp_path, *search, *storage, "--output_dir", str(tmp_path / "search"), expected=1)
    assert_unmarked(written(tmp_path / "search"), text)
