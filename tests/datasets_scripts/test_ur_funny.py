"""UR-FUNNY v2: its pickles, their export to JSON, and what is refused."""

import json
import pickle

import numpy as np
import pytest

from datasets_scripts import load_corpus, task_specification
from datasets_scripts.restricted_pickle import load_restricted
from datasets_scripts.ur_funny import UrFunny, main
from tests.helpers.pickles import Malicious, write_pickle
from tests.helpers.ur_funny_folder import FOLDS, HUMOROUS, entry, write_ur_funny

SPLITS = {"train": "train", "validation": "dev", "test": "test"}


@pytest.fixture
def folder(tmp_path):
    return write_ur_funny(tmp_path / "ur_funny")


@pytest.fixture
def load(tmp_path):
    """Load UR-FUNNY with a cache of this test's own."""
    return lambda folder, **options: load_corpus("ur_funny", folder, cache_dir=tmp_path / "cache", **options)


def test_the_clips_of_the_pickles(folder, load):
    corpus = load(folder)
    assert {split: corpus[split]["id"] for split in SPLITS} == {
        split: [str(id) for id in FOLDS[fold]] for split, fold in SPLITS.items()
    }
    clips = {int(clip["id"]): clip for split in corpus.values() for clip in split}
    assert {id for id, clip in clips.items() if clip["label"]} == HUMOROUS
    assert (clips[7]["text"], clips[7]["context"]) == ("so i said caf\u00e9", ["first", "second one"])
    assert (clips[12]["text"], clips[12]["context"]) == ("it was not", ["i looked up", "and"])
    assert clips[9]["context"] == [] and clips[10]["context"] == ["context 10"]
    assert clips[101]["media"]["path"] == str(folder / "urfunny2_videos/101.mp4")
    assert not any(load(folder, context=False)["train"]["context"])


def test_the_task():
    task = task_specification("ur_funny", "humor")
    assert task.label_names == ("not_humorous", "humorous") and task.is_binary and task.metrics == "weighted"
    assert sum(UrFunny.EXPECTED["humor"].values()) == 9588  # the total that the release states


def test_the_export_is_read_in_the_place_of_the_pickles(folder, load, capsys):
    before = load(folder)
    assert main([str(folder)]) == 0
    written = [folder / f"sdk_features/{name}.json" for name in ("data_folds", "humor_label_sdk", "language_sdk")]
    assert capsys.readouterr().out.split() == [str(path) for path in written]
    language = json.loads(written[2].read_text(encoding="utf-8"))
    assert all(set(words) == {"punchline_sentence", "context_sentences"} for words in language.values())
    assert sorted(path.name for path in written[0].parent.iterdir()) == sorted(
        f"{path.stem}{suffix}" for path in written for suffix in (".json", ".pkl")
    )
    for path in written:
        path.with_suffix(".pkl").write_bytes(b"no pickle")
    after = load(folder)
    assert all(after[split][:] == before[split][:] for split in SPLITS)
    language["10"]["punchline_sentence"] = "corrected by hand"
    written[2].write_text(json.dumps(language), encoding="utf-8")
    assert "corrected by hand" in load(folder)["test"]["text"]


def test_ids_that_the_other_files_lack_are_dropped_with_a_reason(folder, load, tmp_path):
    path = folder / "sdk_features/humor_label_sdk.pkl"
    write_pickle(path, {id: 1 for id in (101, 7, 3000, 5, 66, 9, 10, 11)})
    language = {id: entry(id) for ids in FOLDS.values() for id in ids if id != 66}
    write_pickle(folder / "sdk_features/language_sdk.pkl", language)
    assert load(folder)["train"]["id"] == ["101", "7", "3000"] and load(folder)["validation"]["id"] == ["5"]
    builder = UrFunny(None, folder, tmp_path / "cache")
    assert builder.dropped_clips("train") == {"12": "in data_folds but not in humor_label_sdk"}
    assert builder.dropped_clips("validation") == {"66": "in data_folds but not in language_sdk"}
    assert builder.dropped_clips("test") == {}


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("data_folds", {"train": [1], "test": [2]}, "has the splits train, test; expected train, dev and test"),
        ("data_folds", {"train": [1], "dev": [1], "test": [2]}, "1 ids occur twice, such as 1"),
        ("data_folds", [1], "holds list; expected a mapping"),
        ("humor_label_sdk", {101: 2}, "101 has the label 2; expected 0 or 1"),
        ("language_sdk", {101: {"punchline_features": [1]}}, "101 has punchline_features; expected punchline_sentence"),
        ("language_sdk", {101: entry(101) | {"punchline_sentence": 5}}, "the sentence 5; expected a string or a list"),
    ],
)
def test_what_cannot_be_right_is_named(folder, name, content, message, capsys):
    write_pickle(folder / f"sdk_features/{name}.pkl", content)
    with pytest.raises(SystemExit):
        main([str(folder)])
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(folder.rglob("*.json"))


def test_the_first_version_is_refused(tmp_path, load):
    folder = tmp_path / "ted_humor_sdk_v1"
    write_pickle(folder / "data_folds.pkl", FOLDS)
    write_pickle(folder / "humor_label_sdk.pkl", {})
    write_pickle(folder / "word_embedding_indexes_sdk.pkl", {})
    with pytest.raises(
        ValueError, match="first version of UR-FUNNY, which has neither words nor videos; get version 2"
    ):
        load(folder)
    (folder / "word_embedding_indexes_sdk.pkl").unlink()
    with pytest.raises(
        FileNotFoundError, match="no language of UR-FUNNY v2: .*language_sdk.pkl.*it holds data_folds.pkl"
    ):
        load(folder)


def test_a_malicious_pickle_does_not_run(folder, load, tmp_path):
    target = tmp_path / "written"
    path = write_pickle(folder / "sdk_features/language_sdk.pkl", {101: Malicious(target)})
    with pytest.raises(ValueError, match="requests .*io.open; only containers, numbers, strings and numpy arrays"):
        load(folder)
    assert not target.exists()
    pickle.loads(path.read_bytes())  # it would have run
    assert target.exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "bytearray"])
@pytest.mark.parametrize("module", ["builtins", "__builtin__"])
def test_only_named_containers_of_the_builtins_are_read(tmp_path, module, name):
    path = tmp_path / "x.pkl"
    path.write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(ValueError, match=f"requests {module}.{name}; only containers"):
        load_restricted(path)


def test_sets_and_single_numbers_of_numpy_are_read(tmp_path):
    value = {"ids": {1, 2}, "number": np.float32(0.5), "id": np.int64(7), "words": np.array(["a", "bc"])}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / f"{protocol}.pkl"
        path.write_bytes(pickle.dumps(value, protocol=protocol))
        found = load_restricted(path)
        assert found["ids"] == {1, 2} and found["number"] == 0.5 and found["id"] == 7
        assert found["words"].tolist() == ["a", "bc"]


def test_strings_of_python_2_are_read(tmp_path):
    """Bytes of Python 2, which had no other strings: U for a short one, S for one in quotes."""
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02}q\x00U\x04textq\x01U\x05caf\xe9!q\x02s.")
    assert load_restricted(path) == {"text": "caf\u00e9!"}
