"""The paper's rows against figures typed from its tables, and the row that a run is compared with."""

from collections import Counter

import pytest

from datasets_scripts.loading import corpus_builder
from modeling_semanticmac.metrics.definitions import definition
from modeling_semanticmac.report.paper_figures import LANGUAGE_MODELS, all_paper_rows, paper_row, paper_rows


def figures(table: str, corpus: str, model: str):
    """Return the figures of one row."""
    (row,) = [row for row in all_paper_rows() if (row.table, row.corpus, row.model) == (table, corpus, model)]
    return row.metrics


def test_all_rows_are_there():
    assert Counter((row.table, row.corpus) for row in all_paper_rows()) == {
        ("III", "mosi"): 17, ("III", "mosei"): 17, ("IV", "ch_sims"): 13, ("IV", "ch_sims_v2"): 13, ("V", "mosei"): 8,
        ("VI", "iemocap"): 8, ("VII", "mosei"): 5, ("VIII", "iemocap"): 10, ("VIII", "meld"): 10,
        ("IX", "ur_funny"): 11, ("IX", "mustard"): 11,
    }  # fmt: skip


def test_figures_are_the_printed_ones_as_fractions_under_the_names_of_their_metrics():
    mosi = {"acc7": 0.458, "acc2_neg_pos": 0.849, "f1_neg_pos": 0.848, "mae": 0.731, "pearson": 0.785}
    assert figures("III", "mosi", "Self-MM") == mosi
    assert figures("III", "mosei", "SemanticMAC-XLNet") == {
        "acc7": 0.558, "acc2_neg_pos": 0.880, "f1_neg_pos": 0.880, "mae": 0.497, "pearson": 0.807,
    }  # fmt: skip
    assert figures("IV", "ch_sims", "EF-LSTM") == {
        "sims_acc5": 0.212, "sims_acc3": 0.543, "sims_acc2": 0.694, "sims_f1": 0.568, "sims_mae": 0.590,
        "sims_pearson": 0.006,
    }  # fmt: skip
    emotions = figures("V", "mosei", "MulT")
    assert (emotions["n_acc_tuned"], emotions["b_f1_tuned"]) == (0.654, 0.452)
    assert (emotions["n_acc_tuned_disgust"], emotions["b_f1_tuned_surprise"]) == (0.716, 0.256)
    assert figures("VI", "iemocap", "FE2E")["s_acc_tuned_excited"] == 0.891
    assert figures("VII", "mosei", "COGMEN")["w_f1_anger"] == 0.742
    assert figures("VIII", "iemocap", "DialogueRNN")["f1_sad"] == 0.782
    assert figures("VIII", "meld", "bc-LSTM") == {
        "f1_neutral": 0.761, "f1_surprise": 0.474, "f1_sadness": 0.214, "f1_joy": 0.531, "f1_anger": 0.404,
        "w_acc": 0.595, "w_f1": 0.569,
    }  # fmt: skip
    assert figures("VIII", "meld", "ICON") == {}  # printed as dashes
    assert figures("IX", "mustard", "SVM") == {"w_precision": 0.72, "w_recall": 0.716, "w_f1": 0.716}


@pytest.mark.parametrize("row", all_paper_rows(), ids=lambda row: f"{row.table}-{row.corpus}-{row.model}")
def test_every_figure_is_one_that_the_package_measures(row):
    task = corpus_builder(row.corpus).task_config(row.task).task
    classes = corpus_builder(row.corpus).task_config("emotion").task.label_names if row.task == "emotion" else ()
    for name, value in row.metrics.items():
        assert definition(name), name
        assert 0 <= value <= 1
        part = name.rpartition("_")[2]
        if part not in ("tuned", "f1", "acc", "pos", "mae", "pearson", "precision", "recall") and row.task == "emotion":
            assert part in classes, name
    assert row.task == task.name and row.language_model in (None, *LANGUAGE_MODELS)


def test_oddities_of_the_tables_are_noted():
    notes = {(row.table, row.corpus, row.model): row.note for row in all_paper_rows()}
    assert "constant prediction" in notes["IV", "ch_sims", "EF-LSTM"]
    assert "last incomplete batch" in notes["IX", "mustard", "SemanticMAC-BERT"]
    assert "not the support-weighted mean" in notes["VIII", "iemocap", "SemanticMAC"]
    assert "random split over utterances" in notes["VI", "iemocap", "MulT"]
    assert "not which layer" in notes["III", "mosi", "MulT"] and notes["III", "mosi", "SemanticMAC-BERT"] == ""


def test_the_papers_row_is_that_of_the_language_model():
    row, same = paper_row("mustard", "sarcasm", "FacebookAI/roberta-base")
    assert (row.language_model, row.metrics["w_acc"], same) == ("RoBERTa", 0.8125, True)
    row, same = paper_row("mustard", "sarcasm", "sentence-transformers/all-MiniLM-L6-v2")
    assert (row.language_model, same) == ("BERT", False)
    assert paper_row("meld", "emotion", "x/paraphrase-distilroberta-base-v1/")[1]  # is not roberta-base
    assert paper_row("mosi", "sentiment", "xlnet/xlnet-base-cased")[0].metrics["mae"] == 0.632
    assert paper_row("ch_sims", "sentiment", "google-bert/bert-base-chinese")[1]
    assert paper_row("mosi", "sentiment", None)[1] is False and paper_row("ravdess", "emotion", "x") == (None, False)


def test_a_comparison_system_has_its_own_row():
    bert = "google-bert/bert-base-uncased"
    row, same = paper_row("mosi", "sentiment", bert, architecture="lf_dnn")
    assert (row.model, row.metrics["mae"], same) == ("LF-DNN", 0.978, True)
    assert paper_row("mosi", "sentiment", bert, architecture="mag")[0].model == "MAG-BERT"
    row, same = paper_row("mustard", "sarcasm", "xlnet/xlnet-base-cased", architecture="mag")
    assert (row.model, same) == ("MAG-XLNet", True)
    assert paper_row("mosi", "sentiment", bert, architecture="mean_pooling") == (None, False)


def test_the_row_measured_the_same_with_as_much_context():
    """MOSEI emotions have a row of utterances (Table V) and one of conversations (Table VII)."""
    assert paper_row("mosei", "emotion", None, True)[0].table == "VII"
    assert paper_row("mosei", "emotion", None, False)[0].table == "V"
    assert paper_row("mosei", "emotion", None, True, {"n_acc_tuned"})[0].table == "V"  # has what the run measured
    assert paper_row("iemocap", "emotion", None, False, {"w_f1"})[0].table == "VIII"
    assert [row.model for row in paper_rows("mosei", "emotion")].count("MulT") == 1
