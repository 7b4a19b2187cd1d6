"""Figures that the paper prints for its own model, where they are known here: what a run's metrics are set beside.

From the tables of arXiv 2408.07694, as shares, not percent. A row that is not here was not at hand. The paper says that its figures are means of five runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

# What the paper calls a language model -> the last part of its name on the Hub.
LANGUAGE_MODELS = {
    "BERT": "bert-base-uncased",
    "RoBERTa": "roberta-base",
    "sBERT": "paraphrase-distilroberta-base-v1",
}
NOTE_DROPPED_BATCH = (
    "The printed figure is no share of the stated test clips: it fits an evaluation that left out the last incomplete batch. "
    "Here every test clip counts."
)


@dataclass(frozen=True)
class PaperRow:
    """A row of a table.

    Args:
        table: where it stands.
        language_model: the paper's word.
        metrics: by the names of `metrics.py`.
        use_context: the setting in which it was measured: with the earlier utterances or without; None: the corpus has none.
        note: what to know before comparing.
    """

    table: str
    language_model: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    use_context: bool | None = None
    note: str = ""


def _accuracy(share: float) -> dict[str, float]:
    return {"w_recall": share, "w_acc": share}  # one number under two names


# (corpus, task) -> rows; the first is the one to show where no row has the run's language model.
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
    """The row to set beside a run, and whether it has the run's language model.

    Args:
        corpus, task: names of the corpus and its task.
        language_model: name or folder of the run's; None where it is unknown.

    Returns:
        The row with this language model, or else the first of the corpus and task; None where no row is known.
    """
    rows = ROWS.get((corpus, task), ())
    name = (language_model or "").rstrip("/").rpartition("/")[2]
    for row in rows:
        if LANGUAGE_MODELS[row.language_model] == name:
            return row, True
    return (rows[0] if rows else None), False


__all__ = ["LANGUAGE_MODELS", "ROWS", "PaperRow", "paper_row"]
