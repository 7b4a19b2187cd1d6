"""Figures over folds and seeds, differences to the first row and the files of the table, from run folders."""

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from modeling_semanticmac.benchmark.pictures import best_at_each_cost
from modeling_semanticmac.benchmark.plan import planned_runs, read_plan
from modeling_semanticmac.benchmark.results import Results
from modeling_semanticmac.benchmark.run_state import Purpose
from modeling_semanticmac.benchmark.tables import latex_text, write_tables
from modeling_semanticmac.configuration_semanticmac import TaskSpecification
from modeling_semanticmac.files.atomic_files import write_json, write_text
from modeling_semanticmac.runs.record import finish_run_record
from tests.helpers.run_folders import one_hot, write_run

MELD = TaskSpecification("emotion", "single_label_classification", ("a", "b", "c"), None, "conversation")
PLAN = """
title: Two systems
seeds: [1, 2]
folds: 2
arguments: {corpus: meld, data_dir: DATA, modalities: [text], language_model: MODEL}
rows:
  - {name: first, published: bc-LSTM, note: "a & b"}
  - {name: second}
published:
  - {name: another, metrics: {w_acc: 0.7}, source: a journal, note: other clips}
"""


def make(folder: Path, plan_text: str = PLAN, skipped: str = "none"):
    """Write run folders of a plan with random predictions; return plan, runs, and (row, fold, seed) -> (y, p)."""
    path = folder / "plan.yaml"
    path.write_text(plan_text, encoding="utf-8")
    plan = read_plan(path)
    runs, told = planned_runs(plan, folder / "out"), {}
    generator = np.random.default_rng(5)
    labels = {"fold_0": generator.integers(0, 3, 40), "fold_1": generator.integers(0, 3, 25)}
    for run in runs:
        if run.name == skipped:
            continue
        y = labels[run.fold]
        p = np.where(generator.random(len(y)) < (0.5 if run.row.name == "first" else 0.8), y, 0)
        ids = [f"{run.fold}-{place}" for place in range(len(y))]
        results = {"eval_w_acc": 0.25, "train_runtime": 5.0}
        results |= {"test_w_acc": accuracy_score(y, p), "test_w_f1": f1_score(y, p, average="weighted")}
        arguments = ("--corpus", "meld", "--language_model", "MODEL", "--modalities", "text", "--use_context", "true")
        write_run(run.folder, MELD, y, one_hot(p, 3), ids, results, arguments)
        write_json(run.folder / "costs.json", {"parameters": {"trained": 1234}})
        Purpose({}, [], seconds=120.0).write(run.folder)
        finish_run_record(run.folder)
        told[run.row.name, run.fold, run.seed] = (y, p)
    return plan, runs, told


def test_mean_and_deviations_are_over_folds_and_seeds(tmp_path):
    plan, runs, told = make(tmp_path)
    figure = Results(plan, runs, {}).of_setting("")[1].figures("test")["w_acc"]
    values = {key[1:]: accuracy_score(*pair) for key, pair in told.items() if key[0] == "second"}
    folds = [statistics.fmean([values[f"fold_{fold}", seed] for seed in (1, 2)]) for fold in (0, 1)]
    seeds = [statistics.fmean([values[f"fold_{fold}", seed] for fold in (0, 1)]) for seed in (1, 2)]
    assert figure.mean == pytest.approx(statistics.fmean(folds))
    assert (figure.over_folds, figure.over_seeds) == pytest.approx((statistics.stdev(folds), statistics.stdev(seeds)))
    assert figure.values["fold_1"][2] == pytest.approx(values["fold_1", 2])


def test_the_difference_is_over_the_clips_of_all_folds_seeds_pooled(tmp_path):
    """Against a bootstrap written out here: clips of both folds drawn together, the mean over the seeds."""
    plan, runs, told = make(tmp_path)
    found = Results(plan, runs, {}).differences("", resamples=200)["second"]["w_acc"]

    def right(row: str) -> np.ndarray:
        # The clips of fold_0 come first, sorted by id within a fold.
        columns = []
        for fold in ("fold_0", "fold_1"):
            y = told[row, fold, 1][0]
            order = np.argsort([f"{fold}-{place}" for place in range(len(y))])
            columns.append(np.mean([told[row, fold, seed][1] == y for seed in (1, 2)], axis=0)[order])
        return np.concatenate(columns)

    gain = right("second") - right("first")
    assert found["difference"] == pytest.approx(gain.mean())
    generator = np.random.default_rng(0)
    draws = [gain[generator.integers(0, 65, 65)].mean() for _ in range(200)]
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])))
    assert found["significant"] and found["low"] > 0


def test_the_table_has_splits_costs_published_rows_and_notes(tmp_path):
    plan, runs, _ = make(tmp_path)
    text = write_tables(plan, runs, tmp_path / "out", {}, resamples=20)
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if "|" in line]
    lines = {row[1]: row for row in reversed(rows)}
    assert lines["system"][3:5] == ["w_acc, test", "validation"]
    assert lines["bc-LSTM, published"][3] == "0.595" and "Table VIII of arXiv 2408.07694" in text
    assert "published with audio and vision too" in text and "other audio and visual features" in text
    data = json.loads((tmp_path / "out/benchmark.json").read_text())
    first, second = data["settings"][""]
    assert (
        first["figures"]["validation"]["w_acc"]["mean"] == 0.25
        and first["figures"]["validation"]["w_acc"]["over_seeds"] == 0
    )
    assert first["costs"] == {"seconds": 120.0, "training_seconds": 5.0, "trained_parameters": 1234}
    assert first["published"]["metrics"]["f1_joy"] == 0.531 and data["published"][0]["source"] == "a journal"
    assert second["difference_to_first"]["w_acc"]["significant"] is True
    assert "2.0 min | 1,234 | a & b" in text and "65 test clips" in text and "20 draws" in text
    latex = (tmp_path / "out/benchmark.tex").read_text()
    assert r"w\_acc $\uparrow$" in latex and r"bc-LSTM (published) & 0.595 & 0.569 &" in latex
    assert latex.count(r"\textbf") == 2 and latex.count(r" \\") == 5  # header, two rows, two published
    assert (tmp_path / "out/benchmark.png").is_file() and (tmp_path / "out/benchmark.csv").read_text().count("\n") == 3
    assert (tmp_path / "out/benchmark_costs.png").is_file() and (tmp_path / "out/benchmark_costs.svg").is_file()
    assert (tmp_path / "out/benchmark_costs.csv").read_text().splitlines() == [
        "setting,row,seconds,w_acc,trained_parameters", *(
            f",{cell['row']},120.0,{cell['figures']['test']['w_acc']['mean']},1234" for cell in (first, second)
        )
    ]  # fmt: skip


def test_what_is_not_finished_is_shown_and_not_compared(tmp_path):
    plan, runs, _ = make(tmp_path, skipped="second / fold_1 / seed 2")
    write_text(tmp_path / "out/benchmark_costs.png", "of an earlier table")
    text = write_tables(plan, runs, tmp_path / "out", {"second / fold_1 / seed 2": "out of memory"}, resamples=20)
    assert "| second | 3 of 4 |" in text and "- second / fold_1 / seed 2: out of memory" in text and "1 failed" in text
    data = json.loads((tmp_path / "out/benchmark.json").read_text())
    second = data["settings"][""][1]
    assert second["difference_to_first"] is None
    assert second["figures"]["test"]["w_acc"]["over_seeds"] is None  # a seed lacks a fold
    assert set(second["figures"]["test"]["w_acc"]["values"]["fold_1"]) == {"1"}
    assert not list((tmp_path / "out").glob("benchmark_costs.*"))  # one finished row cannot be compared


def test_the_best_at_each_cost():
    seconds, values = [30.0, 10.0, 10.0, 20.0, 40.0], [0.8, 0.5, 0.6, 0.4, 0.8]
    assert best_at_each_cost(seconds, values, lower_is_better=False) == [2, 0]
    assert best_at_each_cost(seconds, values, lower_is_better=True) == [1, 3]


def test_one_reason_for_many_runs_is_told_once(tmp_path):
    plan, runs, _ = make(tmp_path)
    text = write_tables(plan, runs, tmp_path / "out", {run.name: "no space" for run in runs}, resamples=5)
    assert text.count("no space") == 1
    assert "- first / fold_0 / seed 1, first / fold_1 / seed 1, first / fold_0 / seed 2 and 5 more: no space" in text


def test_rows_on_other_clips_are_refused(tmp_path):
    plan, runs, _ = make(tmp_path)
    csv = next(run.folder for run in runs if run.name == "second / fold_0 / seed 1") / "predictions_test.csv"
    csv.write_text(csv.read_text().replace("fold_0-7,", "fold_0-77,"))
    with pytest.raises(ValueError, match="other clips"):
        write_tables(plan, runs, tmp_path / "out", {}, resamples=5)
    for run in runs:  # all seeds of the row on other clips
        if run.row.name == "second" and run.fold == "fold_0":
            path = run.folder / "predictions_test.csv"
            path.write_text(path.read_text().replace("fold_0-7,", "fold_0-77,"))
    with pytest.raises(ValueError, match="second predicted other test clips than first"):
        write_tables(plan, runs, tmp_path / "out", {}, resamples=5)


def test_an_empty_benchmark_has_a_table(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN, encoding="utf-8")
    plan = read_plan(path)
    text = write_tables(plan, planned_runs(plan, tmp_path / "out"), tmp_path / "out", {}, resamples=5)
    assert "| first | 0 of 4 |" in text


def test_latex_has_its_special_characters_escaped():
    assert latex_text(r"a_b & 5 % {c} \d ± e") == r"a\_b \& 5 \% \{c\} \textbackslash{}d $\pm$ e"
