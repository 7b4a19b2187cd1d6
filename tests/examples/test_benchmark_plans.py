"""The plans of examples/benchmarks: every run of them has arguments that are known, every published row exists."""

from pathlib import Path

import pytest

from datasets_scripts.loading import BUILDERS
from examples.ablations import components
from modeling_semanticmac.baselines import SYSTEMS
from modeling_semanticmac.benchmark.plan import Row, planned_runs, read_plan, recipe_arguments
from modeling_semanticmac.benchmark.published import check_published, published_row
from modeling_semanticmac.commands import benchmark
from modeling_semanticmac.metrics.definitions import definition
from modeling_semanticmac.report.paper_figures import all_paper_rows
from modeling_semanticmac.training.argument_checks import check_arguments
from modeling_semanticmac.training.run_arguments import as_arguments, parse_arguments
from tests.helpers.mustard_folder import write_mustard
from tests.helpers.project import PROJECT

PLANS = sorted((PROJECT / "examples/benchmarks").glob("*.yaml"))


# Number of the table -> its corpora; the plan of each is table_<number>_<corpus>.
TABLES = {
    3: ("mosi", "mosei"), 4: ("ch_sims", "ch_sims_v2"), 5: ("mosei",), 6: ("iemocap",), 7: ("mosei",),
    8: ("iemocap", "meld"), 9: ("ur_funny", "mustard"), 10: ("mosei",), 11: ("mosei",), 12: ("mosei",),
}  # fmt: skip
OF_TABLES = {f"table_{number}_{corpus}": corpus for number, corpora in TABLES.items() for corpus in corpora}
CORPUS = {**OF_TABLES, "missing_modalities": "ravdess"}  # of the plans that are not named after it
ROMAN = {3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII", 8: "VIII", 9: "IX"}


def corpus_of(path: Path) -> str:
    """Return the corpus of a plan: by the name of its file, `<corpus>` or `<corpus>_text`, or as listed."""
    return CORPUS.get(path.stem, path.stem.removesuffix("_text"))


def test_there_is_a_plan_for_every_corpus_of_the_comparison_and_every_table_of_the_paper():
    assert CORPUS.keys() <= {path.stem for path in PLANS}
    corpora = {corpus_of(path) for path in PLANS if path.stem not in CORPUS}
    assert corpora == {"mosi", "mosei", "ch_sims", "ch_sims_v2", "iemocap", "meld", "ravdess"}
    assert {corpus_of(path) for path in PLANS} <= BUILDERS.keys()


@pytest.mark.parametrize("number", ROMAN)
def test_the_plan_of_a_table_has_every_row_of_it(number):
    """Each system under its printed name, with a recipe of its own; SMILE-LLaMA is not built."""
    for corpus in TABLES[number]:
        plan = read_plan(PROJECT / f"examples/benchmarks/table_{number}_{corpus}.yaml")
        printed = [row.model for row in all_paper_rows() if (row.table, row.corpus) == (ROMAN[number], corpus)]
        rows = {row.published: row for row in plan.rows if row.published}
        assert sorted(rows) == sorted(set(printed) - {"SMILE-LLaMA"})
        for name, row in rows.items():
            assert row.name == name and (row.simple == "svm" if name == "SVM" else row.recipe)
            if not name.startswith("SemanticMAC") and row.simple is None:
                architecture = recipe_arguments(row.recipe)["architecture"]
                assert row.recipe.endswith(architecture) or row.recipe.endswith("mag_xlnet")


def test_the_benchmark_of_missing_modalities_has_every_system_for_clips():
    """But for Self-MM, MTMD and MMIM, which need scores or two classes, and C-MFN, which needs a context."""
    plan = read_plan(PROJECT / "examples/benchmarks/missing_modalities.yaml")
    found = {row.arguments["architecture"] for row in plan.rows if "architecture" in row.arguments}
    clips = {name for name, system in SYSTEMS.items() if system.level == "clip" and "." not in system.place}
    assert found == clips - {"self_mm", "mtmd", "mmim", "c_mfn"}


def test_the_plan_of_table_ten_leaves_out_what_the_ablation_leaves_out():
    plan = read_plan(PROJECT / "examples/benchmarks/table_10_mosei.yaml")
    found = {
        row.name: [word.lower() for word in as_arguments(row.arguments)]
        for row in plan.rows
        if row.simple is None and row.arguments
    }
    assert found == {name: words for block in components.BLOCKS.values() for name, words in block.items()}


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
    assert all(definition(name) for name in plan.metrics or ())
    check_published(plan, runs)
    assert {row.simple for row in plan.rows} - {"svm"} == {None, "majority", "linear_probe"}


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


def test_a_feature_file_that_holds_a_corpus_has_the_rows_of_that_corpus(tmp_path):
    """`--corpus mosi --features FILE` without `--data_dir`: the clips are those of the file."""
    plan = read_plan(PROJECT / "examples/benchmarks/mosi.yaml")
    runs = planned_runs(plan, tmp_path, ["--corpus", "mosi", "--features", "aligned_50.pkl", "--use_cpu", "true"])
    assert parse_arguments(runs[0].argv)[1].corpus == "features"
    check_published(plan, runs)
    row = next(row for row in plan.rows if row.name == "MulT")
    found = published_row(row, "features", "sentiment", None, "x", options={"like": "mosi"})
    assert found.metrics["mae"] == 0.918 and found.note.endswith("clips and labels here are those of a feature file")
    with pytest.raises(ValueError, match="have no 'MulT' for features sentiment"):
        published_row(row, "features", "sentiment", None, "x")


def test_a_table_is_remade_on_a_small_corpus(models, tmp_path):
    """The support vector machine of Table IX, beside the paper's row."""
    write_mustard(tmp_path / "corpus", with_media=True)
    plan = str(PROJECT / "examples/benchmarks/table_9_mustard.yaml")
    data = [
        "--data_dir",
        str(tmp_path / "corpus"),
        "--output_dir",
        str(tmp_path / "bench"),
        *models,
        "--use_cpu",
        "true",
    ]
    quick = ["--extraction_workers", "0", "--disable_tqdm", "true"]
    benchmark.main([plan, *data, *quick, "--rows", "SVM", "majority"])
    table = next((tmp_path / "bench").glob("*.md")).read_text()
    assert "| SVM |" in table and "0.716" in table  # the published weighted F1
    (saved,) = (tmp_path / "bench").rglob("support_vectors.safetensors")
    assert (saved.parent / "predictions_test.csv").is_file()
