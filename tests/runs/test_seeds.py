"""`--seeds`: every seed in its own folder, finished ones kept, mean and deviation, the best by validation."""

import json
import statistics

import pytest

from modeling_semanticmac.commands import train as train_command
from modeling_semanticmac.runs.seeds import SeedRun, summarize
from modeling_semanticmac.training import seed_runs
from tests.helpers.project import RECIPE


def test_seeds(world, tmp_path, monkeypatch, capsys):
    arguments = [
        RECIPE,
        *world["common"],
        *world["models"][:2],
        "--modalities",
        "text",
        "--num_train_epochs",
        "2",
        "--output_dir",
        str(tmp_path),
    ]
    started, once = [], seed_runs.run_once

    def counted(*arguments):
        started.append((arguments[2].seed, arguments[2].resume_from_checkpoint))
        if arguments[2].seed == 8 and len(started) == 2:
            raise KeyboardInterrupt  # somebody stops it before the second seed
        return once(*arguments)

    monkeypatch.setattr(seed_runs, "run_once", counted)
    with pytest.raises(KeyboardInterrupt):
        train_command.main([*arguments, "--seeds", "7", "8"])
    train_command.main([*arguments, "--seeds", "7", "8"])
    assert [seed for seed, _ in started] == [7, 8, 8]
    told = capsys.readouterr().out
    summary = json.loads((tmp_path / "seeds.json").read_text())
    results = [json.loads((tmp_path / f"seed_{seed}" / "all_results.json").read_text()) for seed in (7, 8)]
    values = [found["test_mae"] for found in results]
    assert values[0] != values[1] and summary["results"]["test_mae"]["values"] == values
    assert summary["results"]["test_mae"]["mean"] == pytest.approx(statistics.fmean(values))
    assert summary["results"]["test_mae"]["std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert "test_runtime" not in summary["results"] and "| test_mae | " in told
    best = min((7, 8), key=lambda seed: results[(7, 8).index(seed)]["eval_loss"])
    assert summary["best_seed"] == best and f"seed {best} (`seed_{best}`)" in told
    with pytest.raises(ValueError, match="finished run with other arguments; give another --output_dir"):
        train_command.main([*arguments, "--seeds", "7", "8", "--learning_rate", "0.5"])


def test_the_best_seed_is_never_chosen_by_the_test_split(tmp_path):
    """The seed with the better validation loss is taken, or, for classes, with the higher weighted F1."""
    runs = []
    for seed, (validation, test) in {1: (0.5, 0.9), 2: (0.4, 2.0)}.items():
        run = SeedRun(seed, tmp_path / str(seed), ("a=1",))
        run.folder.mkdir()
        (run.folder / "all_results.json").write_text(json.dumps({"test_mae": test, "train_loss": 1.0}))
        run.finish("loss", validation, greater_is_better=False)
        runs.append(run)
    assert summarize(runs, tmp_path)["best_seed"] == 2
    for run, validation in zip(runs, (0.5, 0.4)):
        run.finish("w_f1", validation, greater_is_better=True)
    found = summarize(runs, tmp_path)
    assert found["best_seed"] == 1 and found["results"].keys() == {"test_mae"}
    assert all(run.is_finished() for run in runs) and not SeedRun(3, tmp_path / "3", ("a=1",)).is_finished()
