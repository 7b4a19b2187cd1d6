"""Figures that the paper reports, to compare with the metrics of a run: all rows of its tables III to IX.

`paper_tables.json` holds them as printed in arXiv 2408.07694, as fractions but for `mae` and `pearson`, under the names
of the functions in `metrics`. The figures of the paper's own model are means of five runs according to the paper.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("paper_tables.json")
# The paper's name of a language model -> the last part of its name on the Hub.
LANGUAGE_MODELS = {
    "BERT": "bert-base-uncased",
    "RoBERTa": "roberta-base",
    "sBERT": "paraphrase-distilroberta-base-v1",
    "XLNet": "xlnet-base-cased",
    "LLaMA": "llama",
}
CHINESE = {"BERT": "bert-base-chinese"}  # of the Chinese corpora
TITLES = {
    "ch_sims": "CH-SIMS",
    "ch_sims_v2": "CH-SIMS v2",
    "iemocap": "IEMOCAP",
    "meld": "MELD",
    "mosei": "CMU-MOSEI",
    "mosi": "CMU-MOSI",
    "mustard": "MUStARD",
    "ur_funny": "UR-FUNNY",
}
OWN_MODEL = "SemanticMAC"


@dataclass(frozen=True)
class PaperRow:
    """A row of a table of the paper, for one corpus.

    Args:
        table: the number of the table that holds it, e.g. "III".
        corpus, task: as the package names them.
        model: the system, as printed.
        language_model: the paper's name of the language model; None where the table does not name one.
        metrics: figures by the names of the functions in `metrics`; empty where the table has none for this corpus.
        use_context: whether the figures were measured with earlier utterances; None for a corpus without context.
        from_publication: whether the paper took the figures from the system's own publication (its dagger).
        note: what to consider before comparing.
    """

    table: str
    corpus: str
    task: str
    model: str
    language_model: str | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    use_context: bool | None = None
    from_publication: bool = False
    note: str = ""

    @property
    def architecture(self) -> str:
        """Return the name of the model in small letters and digits, without that of its language model."""
        return re.sub("[^a-z0-9]", "", self.model.removesuffix(f"-{self.language_model}").lower())

    @property
    def title(self) -> str:
        """Return corpus and table in words."""
        setting = {True: ", conversation", False: ", utterance"}.get(self.use_context) if self.task == "emotion" else ""
        return f"{TITLES[self.corpus]}{setting or ''} (Table {self.table})"

    def has_language_model(self, name: str | None) -> bool:
        """Return whether a language model, by its name or folder, is the one of this row."""
        known = LANGUAGE_MODELS | (CHINESE if self.corpus.startswith("ch_sims") else {})
        last = (name or "").rstrip("/").rpartition("/")[2]
        return self.language_model is not None and known[self.language_model] == last


@cache
def all_paper_rows() -> tuple[PaperRow, ...]:
    """Return every row of the tables III to IX, in their order."""
    return tuple(PaperRow(**row) for row in json.loads(FILE.read_text(encoding="utf-8")))


def paper_rows(corpus: str, task: str) -> list[PaperRow]:
    """Return the rows of a corpus and task, in the order of the tables."""
    return [row for row in all_paper_rows() if (row.corpus, row.task) == (corpus, task)]


def paper_row(
    corpus: str,
    task: str,
    language_model: str | None,
    use_context: bool | None = None,
    measured: Collection[str] | None = None,
    architecture: str = "semanticmac",
) -> tuple[PaperRow | None, bool]:
    """Return the row of a model to compare a run with, and whether it has the language model of the run.

    Args:
        corpus, task: names of the corpus and its task.
        language_model: name or folder of the run's language model; None where it is unknown.
        use_context: whether the run used earlier utterances: among rows with equally fitting language models, one
            that did the same comes first.
        measured: names of the run's metrics: rows without any of them are passed over; None: none is.
        architecture: of the run, by its name in the package: `lf_dnn` is the LF-DNN of the tables.

    Returns:
        The row with this language model, or the first row of the corpus and task; None where no row is known.
    """
    rows = [row for row in paper_rows(corpus, task) if row.architecture == architecture.replace("_", "")]
    rows = [row for row in rows if measured is None or set(row.metrics) & set(measured)]
    if not rows:
        return None, False
    best = min(
        rows, key=lambda row: (not row.has_language_model(language_model), row.use_context not in (None, use_context))
    )
    return best, best.has_language_model(language_model)


__all__ = ["LANGUAGE_MODELS", "OWN_MODEL", "PaperRow", "all_paper_rows", "paper_row", "paper_rows"]
