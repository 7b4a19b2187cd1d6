"""A plan and its runs: names, the order in which arguments win, and what is refused."""

from pathlib import Path

import pytest

from modeling_semanticmac.benchmark.plan import planned_runs, read_plan, recipe_arguments
from modeling_semanticmac.training.run_arguments import parse_arguments

PLAN = """
title: A title
recipe: ravdess_emotion_minilm
seeds: [1, 2]
folds: 2
arguments: {data_dir: DATA, num_train_epochs: 5, dropout: 0.3, corpus_options: {intensity: strong}}
settings:
  voice: {modalities: [audio], dropout: 0.4}
  all: {}
rows:
  - name: SemanticMAC
  - name: no noise (0)
    arguments: {dropout: 0.0}
    settings: [voice]
    seeds: [3]
  - name: majority
    simple: majority
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_row_has_every_setting_fold_and_seed(tmp_path):
    runs = planned_runs(read_plan(write(tmp_path, PLAN)), tmp_path / "out")
    folders = [str(run.folder.relative_to(tmp_path / "out/runs")) for run in runs]
    assert len(folders) == len(set(folders)) == 2 * 2 * 2 + 2 + 2 * 2
    assert folders[:3] == [
        "SemanticMAC/voice/fold_0/seed_1", "majority/voice/fold_0/seed_1", "SemanticMAC/all/fold_0/seed_1",
    ]  # fmt: skip
    assert {folder for folder in folders if folder.startswith("no")} == {
        "no_noise_0/voice/fold_0/seed_3", "no_noise_0/voice/fold_1/seed_3",
    }  # fmt: skip
    assert not any("majority" in folder and "seed_2" in folder for folder in folders)
    assert runs[0].name == "SemanticMAC / voice / fold_0 / seed 1"


def test_the_row_wins_over_the_setting_over_the_plan_over_the_recipe(tmp_path):
    plan = read_plan(write(tmp_path, PLAN))
    runs = {run.name: run for run in planned_runs(plan, tmp_path / "out")}
    model, data, training = parse_arguments(runs["SemanticMAC / voice / fold_1 / seed 2"].argv)
    assert (model.dropout, data.modalities, training.num_train_epochs) == (0.4, ["audio"], 5)
    assert data.options == {"intensity": "strong", "fold": 1} and data.max_length == 32  # of the recipe
    assert (training.seed, training.output_dir) == (2, str(tmp_path / "out/runs/SemanticMAC/voice/fold_1/seed_2"))
    assert data.embeddings_dir == str(tmp_path / "out/embeddings") and data.data_dir == "DATA"
    assert parse_arguments(runs["no noise (0) / voice / fold_0 / seed 3"].argv)[0].dropout == 0
    extra = ["--dropout", "0.9", "--embeddings_dir", "STORE", "--corpus_options", '{"intensity": "normal"}']
    runs = {run.name: run for run in planned_runs(plan, tmp_path / "out", extra)}
    model, data, _ = parse_arguments(runs["no noise (0) / voice / fold_1 / seed 3"].argv)
    assert (model.dropout, data.embeddings_dir) == (0.9, "STORE")  # the command line wins, but for the fold
    assert data.options == {"intensity": "normal", "fold": 1}


def test_null_takes_back_what_the_recipe_gives(tmp_path):
    text = "recipe: ravdess_emotion_minilm\nrows: [{name: a}, {name: b, arguments: {dropout: null}}]"
    first, second = (parse_arguments(run.argv)[0] for run in planned_runs(read_plan(write(tmp_path, text)), tmp_path))
    assert first.dropout == recipe_arguments("ravdess_emotion_minilm")["dropout"] and second.dropout is None


def test_another_architecture_takes_what_it_can_of_the_recipe(tmp_path):
    text = "recipe: ravdess_emotion_minilm\nrows: [{name: a, arguments: {architecture: tfn}}, {name: b}]"
    first, second = (parse_arguments(run.argv) for run in planned_runs(read_plan(write(tmp_path, text)), tmp_path))
    recipe = recipe_arguments("ravdess_emotion_minilm")
    assert (first[0].architecture, first[0].dropout, second[0].dropout) == ("tfn", None, recipe["dropout"])
    assert first[2].num_train_epochs == second[2].num_train_epochs == recipe["num_train_epochs"]
    assert second[2].label_start_epoch != first[2].label_start_epoch == type(first[2]).label_start_epoch
    text = text.replace("architecture: tfn}", "architecture: tfn, dropout: 0.1}")
    with pytest.raises(ValueError, match="--dropout: an argument of SemanticMAC"):  # what the row gives is not left out
        parse_arguments(planned_runs(read_plan(write(tmp_path, text)), tmp_path)[0].argv)


def test_rows_and_settings_can_be_chosen(tmp_path):
    plan = read_plan(write(tmp_path, PLAN))
    runs = planned_runs(plan, tmp_path, rows=["SemanticMAC"], settings=["all"])
    assert {(run.row.name, run.setting) for run in runs} == {("SemanticMAC", "all")} and len(runs) == 4
    with pytest.raises(ValueError, match="no row 'x'"):
        planned_runs(plan, tmp_path, rows=["x"])
    with pytest.raises(ValueError, match="no setting 'x'"):
        planned_runs(plan, tmp_path, settings=["x"])


@pytest.mark.parametrize(("text", "message"), [
    ("rows: []", "expected a list of one row"),
    ("row: []", "unknown name 'row'. Did you mean 'rows'"),
    ("[1]", "found list; expected a mapping"),
    ("rows: [{name: a, recepe: b}]", "row 1: unknown name 'recepe'. Did you mean 'recipe'"),
    ("rows: [{name: a}, {name: a}]", "row 'a' has no name of its own"),
    ("rows: [{name: a b}, {name: a_b}]", "row 'a b' has no name of its own"),
    ("rows: [{name: '?'}]", "no name of its own"),
    ("rows: [{name: a, simple: forest}]", "simple is 'forest'; expected majority or linear_probe or svm"),
    ("rows: [{name: a, options: {C: 1}}]", "options are those of a simple system"),
    ("rows: [{name: a, settings: [x]}]", "unknown settings x"),
    ("rows: [{name: a, arguments: {seed: 3}}]", "sets seed itself"),
    ("rows: [{name: a}]\narguments: {output_dir: x}", "sets output_dir itself"),
    ("rows: [{name: a}]\nseeds: [1, 1]", "each once"),
    ("rows: [{name: a}]\nfolds: five", "folds is 'five'"),
])  # fmt: skip
def test_a_wrong_plan_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_plan(write(tmp_path, text))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no plan"):
        read_plan(tmp_path / "absent.yaml")
    plan = read_plan(write(tmp_path, "rows: [{name: a, recipe: ravdess_emotion_minilmm}]"))
    with pytest.raises(FileNotFoundError, match="Did you mean 'ravdess_emotion_minilm'"):
        planned_runs(plan, tmp_path)
    with pytest.raises(ValueError, match="--seed: the benchmark sets it itself"):
        planned_runs(read_plan(write(tmp_path, "rows: [{name: a}]")), tmp_path, ["--seed", "3"])
