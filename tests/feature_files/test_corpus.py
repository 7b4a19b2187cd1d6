"""The corpus `features`: clips, texts, labels and splits of a feature file itself."""

import pickle

import pytest

from datasets_scripts import load_corpus, task_specification
from datasets_scripts.check import split_counts
from modeling_semanticmac.training.argument_groups import DataArguments
from tests.helpers import feature_files as written

IDS = {"train": ["a_b_1", "c_1"], "valid": ["d_1"], "test": ["e_1"]}


def load(path, cache, task=None, **options):
    return load_corpus("features", path, task, cache_dir=cache, **options)


def test_mmsa(tmp_path):
    written.write_mmsa(tmp_path / "f.pkl", IDS)
    corpus = load(tmp_path / "f.pkl", tmp_path / "cache", like="mosi")
    assert {split: clips["id"][:] for split, clips in corpus.items()} == {
        "train": ["a_b_1", "c_1"], "validation": ["d_1"], "test": ["e_1"],
    }  # fmt: skip
    row = corpus["train"][1]
    assert (row["text"], row["label"], row["label_text"], row["label_audio"]) == ("text of c_1", 3.0, 2.0, None)
    assert task_specification("features", data_dir=tmp_path / "f.pkl", like="mosi").metrics == "mosi"
    own = task_specification("features", data_dir=tmp_path / "f.pkl")
    assert (own.name, own.label_range) == ("sentiment", (-3.0, 3.0))
    assert split_counts("features", tmp_path / "f.pkl", None, tmp_path / "cache")["found"]["train"] == 2
    with pytest.raises(ValueError, match="unknown corpus 'sims'"):
        load(tmp_path / "f.pkl", tmp_path / "cache", like="sims")
    with pytest.raises(ValueError, match="has labels of sentiment, not of emotion"):
        load(tmp_path / "f.pkl", tmp_path / "cache", "emotion")


def test_scores_out_of_range(tmp_path):
    written.write_mmsa(tmp_path / "f.pkl", IDS)
    with pytest.raises(ValueError, match="clip .* has the label -?3.0; task 'sentiment' expects a score from -1 to 1"):
        load(tmp_path / "f.pkl", tmp_path / "cache", like="ch_sims")
    content = pickle.loads((tmp_path / "f.pkl").read_bytes())
    content["train"]["regression_labels"] = content["train"]["regression_labels"] * 2
    (tmp_path / "g.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="has scores from -6 to 6; expected them within -3 and 3, or the option label"):
        task_specification("features", data_dir=tmp_path / "g.pkl")
    assert task_specification("features", data_dir=tmp_path / "g.pkl", label_range=(-6, 6)).label_range == (-6.0, 6.0)


@pytest.mark.parametrize(
    "form, label, speaker", [("iemocap", "sad", "F"), ("meld", "surprise", "1"), ("meld_visual", "surprise", "1")]
)
def test_conversations(tmp_path, form, label, speaker):
    """Class ids have the names of their corpus; validation is drawn by dialogue, and here there is only one."""
    written.write_conversations(tmp_path / "f.pkl", form, dialogues=4)
    corpus = load(tmp_path / "f.pkl", tmp_path / "cache")
    names = corpus["test"].features["label"]
    row = corpus["test"][1]
    assert (names.int2str(row["label"]), row["speaker"]) == (label, speaker)
    assert len(row["context"]) == 1 and row["context"][0].startswith("s0 of")
    dialogues = {split: {clip.rsplit("_", 1)[0] for clip in clips["id"]} for split, clips in corpus.items()}
    assert [len(dialogues[split]) for split in ("train", "validation", "test")] == [2, 1, 1]
    assert not dialogues["train"] & dialogues["validation"]
    again = load(tmp_path / "f.pkl", tmp_path / "cache", split_seed=3)
    assert again["test"]["id"][:] == corpus["test"]["id"][:] and again["train"]["id"][:] != corpus["train"]["id"][:]


def test_hkt(tmp_path):
    written.write_hkt(tmp_path / "f.pkl")
    corpus = load(tmp_path / "f.pkl", tmp_path / "cache", "sarcasm")
    assert corpus["test"]["text"][:] == ["punch line 0", "punch line 1"]
    assert corpus["train"].features["label"].int2str(corpus["train"]["label"][1]) == "sarcastic"
    with pytest.raises(ValueError, match="has labels 0 and 1; say what they mean with --task humor or sarcasm"):
        load(tmp_path / "f.pkl", tmp_path / "cache")


def test_mult(tmp_path):
    written.write_mult(tmp_path / "f.pkl")
    corpus = load(tmp_path / "f.pkl", tmp_path / "cache")
    assert corpus["validation"]["label"][:] == [0.0, 1.0, 2.0, 3.0] and corpus["validation"]["text"][0] == ""
    written.write_mult(tmp_path / "g.pkl", classes=4)
    task = task_specification("features", data_dir=tmp_path / "g.pkl")
    assert task.is_multi_label and task.label_names == ("neutral", "happy", "sad", "angry")
    assert load(tmp_path / "g.pkl", tmp_path / "cache")["test"]["label"][1] == [0, 1, 0, 0]


def test_files_without_labels_are_refused(tmp_path):
    (tmp_path / "au.csv").write_text("clip,x\na,1\n")
    with pytest.raises(ValueError, match="has no labels and splits of its own; name the corpus with --corpus"):
        load(tmp_path / "au.csv", tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="no feature file at"):
        load(tmp_path / "none.pkl", tmp_path / "cache")


def test_a_run_without_data_dir_takes_the_file():
    """The corpus of a recipe then says what is predicted; doing it twice changes nothing."""
    found = DataArguments(corpus="mosi", features=["vision=x/f.pkl"])
    assert (found.corpus, found.data_dir, found.options) == ("features", "x/f.pkl", {"like": "mosi"})
    again = DataArguments(found.corpus, found.data_dir, corpus_options=found.corpus_options, features=found.features)
    assert again.options == found.options
    assert DataArguments(corpus="mosi", data_dir="MOSI", features=["f.pkl"]).corpus == "mosi"
