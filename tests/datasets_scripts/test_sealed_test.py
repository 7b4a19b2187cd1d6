"""Promise 7: the test split cannot be opened while training or choosing."""

import json
import logging

import datasets
import pytest

from datasets_scripts.sealed_test import SealedCorpus, SealedTestError
from modeling_semanticmac.commands import train as train_command
from modeling_semanticmac.training.run import Run
from modeling_semanticmac.training.trainer import SemanticMACTrainer
from tests.helpers.project import RECIPE


@pytest.fixture
def corpus() -> SealedCorpus:
    clips = datasets.Dataset.from_dict({"id": ["a", "b"]})
    return SealedCorpus(datasets.DatasetDict(train=clips, validation=clips, test=clips))


def test_no_way_around_the_seal(corpus):
    assert list(corpus) == ["train", "validation", "test"] and len(corpus["train"]) == 2
    readers = (
        lambda: corpus["test"],
        lambda: list(corpus.values()),
        lambda: dict(corpus.items()),
        lambda: corpus.get("test"),
        lambda: {**corpus},
    )
    for read in readers:
        with pytest.raises(SealedTestError, match="sealed while a model is trained or chosen"):
            read()
    assert "test sealed" in repr(corpus)


def test_opened_it_says_why(corpus, caplog):
    with caplog.at_level(logging.INFO):
        corpus.open_test("checkpoint-3 is chosen")
    assert len(corpus["test"]) == 2 and corpus.opened == "checkpoint-3 is chosen"
    assert "the test split is opened: checkpoint-3 is chosen" in caplog.text


def test_a_run_opens_it_after_the_choice(world, tmp_path, monkeypatch):
    """Whatever asks for it while the model learns is stopped; afterwards the results say what was chosen and how."""
    events, make, learn = [], Run.split, SemanticMACTrainer.train
    runs = []

    def split(self, name, limit):
        events.append(name)
        runs.append(self)
        return make(self, name, limit)

    def train(self, **options):
        with pytest.raises(SealedTestError):
            make(runs[0], "test", None)
        found = learn(self, **options)
        events.append("trained")
        with pytest.raises(SealedTestError):
            runs[0].corpus["test"]
        return found

    monkeypatch.setattr(Run, "split", split)
    monkeypatch.setattr(SemanticMACTrainer, "train", train)
    arguments = ["--modalities", "text", "--num_train_epochs", "1", "--output_dir", str(tmp_path)]
    train_command.main([RECIPE, *world["common"], *world["models"][:2], *arguments])
    assert events == ["train", "validation", "trained", "test"]
    results = json.loads((tmp_path / "all_results.json").read_text())
    assert results["test_opened"].startswith("checkpoint-1 is chosen by validation loss")
