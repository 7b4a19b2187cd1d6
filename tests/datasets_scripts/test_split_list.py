"""Published lists of splits, and the options that every corpus has."""

import json

import pytest

from datasets_scripts import load_corpus
from datasets_scripts.corpus import CorpusBuilder
from datasets_scripts.split_list import deal_out, read_split_list
from tests.helpers.meld_folder import add_clip, make_meld

EXPECTED = {"train": ["a", "b"], "validation": ["c"], "test": ["-d", "81406"]}


@pytest.mark.parametrize("form", ["json", "csv", "folder"])
def test_every_form(tmp_path, form):
    if form == "json":
        path = tmp_path / "split.json"
        path.write_text(json.dumps({"train": ["a", "b"], "val": ["c"], "test": ["-d", 81406]}))
    elif form == "csv":
        path = tmp_path / "split.csv"
        path.write_text("split,id\ntrain,a\ntrain,b\ndev,c\ntest,-d\ntest,81406\n")
    else:
        path = tmp_path
        for name, ids in (("train_split", "a\nb\n"), ("valid_split", "c"), ("test_split", "-d\r\n81406\n")):
            (path / f"{name}.txt").write_text(ids)
        (path / "README.txt").write_text("not a list")
    assert read_split_list(path) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"train": ["a"], "rest": []}', "expected a JSON object of lists"),
        ("a.json", '{"train": ["a"], "test": ["a"]}', "id 'a' is listed twice"),
        ("a.csv", "name,split\na,train\n", "columns are .* expected id and split"),
        ("a.csv", "id,split\na,all\n", "line 2: split is 'all'"),
    ],
)
def test_bad_lists(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_split_list(tmp_path / name)


def test_lists_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no .*nowhere"):
        read_split_list(tmp_path / "nowhere")
    (tmp_path / "train.txt").write_text("a")
    with pytest.raises(FileNotFoundError, match="has not one .txt file for validation, test; it holds train.txt"):
        read_split_list(tmp_path)


@pytest.fixture
def load(tmp_path):
    folder = make_meld(tmp_path / "meld")
    return folder, lambda **options: load_corpus("meld", folder, cache_dir=tmp_path / "cache", **options)


def test_a_list_deals_the_clips_out_anew(tmp_path, load):
    """Across the corpus's own splits; clips that it does not name are left out; an edited list is seen."""
    folder, load = load
    ids = [id for split in load().values() for id in split["id"]]
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"train": [ids[-1], ids[0]], "dev": [ids[1]], "test": [ids[2]]}))
    found = load(ids_file=str(path))
    assert {split: clips["id"] for split, clips in found.items()} == {
        "train": [ids[-1], ids[0]],
        "validation": [ids[1]],
        "test": [ids[2]],
    }
    path.write_text(json.dumps({"train": [ids[0]], "dev": [ids[1]], "test": [ids[2]]}))
    assert load(ids_file=str(path))["train"]["id"] == [ids[0]]
    path.write_text(json.dumps({"train": [ids[0], "dia99"], "dev": [], "test": ["x"]}))
    with pytest.raises(ValueError, match="lists 2 ids that the corpus does not have: dia99, x; its ids are like"):
        load(ids_file=str(path))


def test_a_list_in_the_spelling_of_another_paper(tmp_path):
    """MMSA's lists part video and clip by `$_$`."""
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"train": ["v$_$1"], "valid": ["v_2"], "test": ["v_w$_$3_0"]}))
    clips = {id: {"id": id} for id in ("v_1", "v_2", "v_w_3_0", "v_4")}
    found = deal_out(path, clips, CorpusBuilder.normalize_id, {})
    assert {split: [clip["id"] for clip in part] for split, part in found.items()} == {
        "train": ["v_1"], "validation": ["v_2"], "test": ["v_w_3_0"],
    }  # fmt: skip
    path.write_text(json.dumps({"train": ["v$_$1"], "valid": ["v_2"], "test": ["v_1"]}))
    with pytest.raises(ValueError, match="'v._.1' and 'v_1' are both clip v_1; expected each once"):
        deal_out(path, clips, CorpusBuilder.normalize_id, {})
    path.write_text(json.dumps({"train": ["v_5"], "valid": ["v_6"]}))
    with pytest.raises(
        ValueError, match="lists 2 ids that the corpus does not have: v_5 .no label., v_6; its ids are like v_1, v_2"
    ):
        deal_out(path, clips, CorpusBuilder.normalize_id, {"v_5": "no label"})


def test_max_seconds_is_a_limit(load):
    folder, load = load
    add_clip(folder, "train_splits", "dia0_utt0")
    media = load(max_seconds=20.0)["train"]["media"]
    assert (media[0]["start"], media[0]["end"]) == (None, 20.0) and media[1]["end"] is None  # it has no file
    with pytest.raises(ValueError, match="max_seconds is -1"):
        load(max_seconds=-1)


def test_media_may_be_required(load):
    folder, load = load
    with pytest.raises(FileNotFoundError, match=r"meld: 8 of 8 clips have no media file \(train_dia0_utt0, .*complete"):
        load(media="required")
    with pytest.raises(ValueError, match="media is 'maybe'"):
        load(media="maybe")
