"""Figures that the paper reports for its model, to compare with the metrics of a run.

They come from the tables of arXiv 2408.07694, as fractions, and are means of five runs according to the paper. The list
is incomplete.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

# The paper's name of a language model -> the last part of its name on the Hub.
LANGUAGE_MODELS = {
    "BERT": "bert-base-uncased",
    "RoBERTa": "roberta-base",
    "sBERT": "paraphrase-distilroberta-base-v1",
}
NOTE_DROPPED_BATCH = (
    "The reported figure is not a fraction of the stated number of test clips: it fits an evaluation that left out the "
    "last incomplete batch. Here every test clip counts."
)


@dataclass(frozen=True)
class PaperRow:
    """A row of a table of the paper.

    Args:
        table: the table that holds it.
        language_model: the paper's name of the language model.
        metrics: figures by the names of the functions in `metrics`.
        use_context: whether the figures were measured with earlier utterances; None for a corpus without context.
        note: what to consider before comparing.
    """

    table: str
    language_model: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    use_context: bool | None = None
    note: str = ""


def _accuracy(share: float) -> dict[str, float]:
    """Return an accuracy under both of its names."""
    return {"w_recall": share, "w_acc": share}


# (corpus, task) -> rows; the first row is shown where none has the language model of the run.
ROWS: dict[tuple[str, str], tuple[PaperRow, ...]] = {
    ("mosi", "sentiment"): (
        PaperRow("CMU-MOSI", "BERT", {"acc7": 0.483, "f1_neg_pos": 0.864, "mae": 0.685, "pearson": 0.811}),
    ),
    ("mosei", "sentiment"): (
        PaperRow(
            "CMU-MOSEI sentiment",
            "BERT",
            {"acc7": 0.545, "acc2_neg_pos": 0.873, "f1_neg_pos": 0.872, "mae": 0.518, "pearson": 0.792},
        ),
    ),
    ("iemocap", "emotion"): (
        PaperRow("IEMOCAP, conversation (Table VIII)", "sBERT", {"w_acc": 0.704, "w_f1": 0.698}, use_context=True),
    ),
    ("meld", "emotion"): (
        PaperRow("MELD, conversation (Table VIII)", "sBERT", {"w_acc": 0.622, "w_f1": 0.614}, use_context=True),
    ),
    ("ur_funny", "humor"): (
        PaperRow("UR-FUNNY (Table IX)", "BERT", _accuracy(0.7448), True, NOTE_DROPPED_BATCH),
        PaperRow("UR-FUNNY (Table IX)", "RoBERTa", _accuracy(0.7560), True, NOTE_DROPPED_BATCH),
    ),
    ("mustard", "sarcasm"): (
        PaperRow("MUStARD (Table IX)", "BERT", _accuracy(0.7969), True, NOTE_DROPPED_BATCH),
        PaperRow("MUStARD (Table IX)", "RoBERTa", _accuracy(0.8125), True, NOTE_DROPPED_BATCH),
    ),
}


def paper_row(corpus: str, task: str, language_model: str | None) -> tuple[PaperRow | None, bool]:
    """Return the row to compare a run with, and whether it has the language model of the run.

    Args:
        corpus, task: names of the corpus and its task.
        language_model: name or folder of the run's language model; None where it is unknown.

    Returns:
        The row with this language model, or the first row of the corpus and task; None where no row is known.
    """
    rows = ROWS.get((corpus, task), ())
    name = (language_model or "").rstrip("/").rpartition("/")[2]
    for row in rows:
        if LANGUAGE_MODELS[row.language_model] == name:
            return row, True
    return (rows[0] if rows else None), False


__all__ = ["LANGUAGE_MODELS", "ROWS", "PaperRow", "paper_row"]
