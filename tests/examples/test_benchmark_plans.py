"""The plans of examples/benchmarks: every run of them has arguments that are known, every published row exists."""

from pathlib import Path

import pytest

from datasets_scripts.loading import BUILDERS
from modeling_semanticmac.benchmark.plan import Row, planned_runs, read_plan
from modeling_semanticmac.benchmark.published import check_published, published_row
from modeling_semanticmac.metrics.definitions import definition
from modeling_semanticmac.training.argument_checks import check_arguments
from modeling_semanticmac.training.run_arguments import parse_arguments
from tests.helpers.project import PROJECT

PLANS = sorted((PROJECT / "examples/benchmarks").glob("*.yaml"))


def corpus_of(path: Path) -> str:
    """Return the corpus of a plan by the name of its file, `<corpus>` or `<corpus>_text`."""
    return path.stem.removesuffix("_text")


def test_there_is_a_plan_for_every_corpus_of_the_comparison():
    corpora = {corpus_of(path) for path in PLANS}
    assert corpora == {"mosi", "mosei", "ch_sims", "ch_sims_v2", "iemocap", "meld", "ravdess"}
    assert corpora <= BUILDERS.keys()


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_a_plan_can_be_run(path, tmp_path):
    plan = read_plan(path)
    runs = planned_runs(plan, tmp_path, ["--data_dir", "DATA", "--use_cpu", "true"])
    one_of_each = {(run.row.name, run.setting): run for run in runs}
    corpora = set()
    for run in one_of_each.values():
        model_args, data_args, training_args = parse_arguments(run.argv)
        check_arguments(model_args, data_args, training_args)
        assert training_args.do_train and training_args.do_eval and training_args.do_predict
        corpora.add(data_args.corpus)
    assert corpora == {corpus_of(path)}
    assert all(definition(name) for name in plan.metrics)
    check_published(plan, runs)
    assert {row.simple for row in plan.rows} == {None, "majority", "linear_probe"}


def test_the_row_beside_a_system_is_that_of_its_name_corpus_and_language_model(tmp_path):
    plan = read_plan(PROJECT / "examples/benchmarks/mosi.yaml")
    rows = {row.name: row for row in plan.rows}
    assert published_row(rows["MulT"], "mosi", "sentiment", None, "x").metrics["mae"] == 0.918
    own = published_row(rows["SemanticMAC"], "mosi", "sentiment", None, "xlnet/xlnet-base-cased", ["text"])
    assert own.metrics["mae"] == 0.632 and own.note.startswith("published with audio and vision too")
    row = Row("mine", published="DialogueRNN")
    assert published_row(row, "meld", "emotion", True, None).metrics["w_f1"] == 0.575
    with pytest.raises(ValueError, match="have no 'DialogueRNN' for mosi sentiment; they have EF-LSTM"):
        published_row(row, "mosi", "sentiment", None, None)
