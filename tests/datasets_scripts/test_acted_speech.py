"""RAVDESS and CREMA-D: names as codes, layouts, folds by speaker, intended and perceived emotions."""

import csv
import shutil
from collections import Counter

import pytest

from datasets_scripts import load_corpus, task_specification
from datasets_scripts.acted_speech import fold_splits
from datasets_scripts.check import check_corpus
from datasets_scripts.crema_d import actor_groups
from datasets_scripts.ravdess import EMOTIONS, FOLDS
from tests.helpers.acted_folder import write_crema_d, write_ravdess


@pytest.fixture
def load(tmp_path):
    return lambda name, folder, *task, **options: load_corpus(name, folder, *task, cache_dir=tmp_path / "c", **options)


def by_id(corpus) -> dict:
    return {clip["id"]: clip for split in corpus.values() for clip in split}


def test_the_folds_of_ravdess_are_by_speaker():
    assert sorted(actor for fold in FOLDS for actor in fold) == list(range(1, 25))
    splits = fold_splits(FOLDS, 4)
    assert splits["test"] == {1, 4, 9, 22} and splits["validation"] == {2, 5, 14, 15, 16} and len(splits["train"]) == 15
    for fold in (-1, 5, True, "1"):
        with pytest.raises(ValueError, match="expected a whole number from 0 to 4"):
            fold_splits(FOLDS, fold)


def test_the_real_ravdess_against_its_table(shared, load):
    """Labels, sentences, speakers and the fold of a table that was written from the names by others."""
    folder = shared / "real/ravdess_speech"
    with open(folder / "clips.csv", newline="", encoding="utf-8") as file:
        expected = {row["id"][3:]: row for row in csv.DictReader(file)}
    corpus = load("ravdess", folder, fold=4)
    clips, names = by_id(corpus), corpus["train"].features["label"].names
    assert clips.keys() == expected.keys() and len(clips) == 1440
    for id, clip in clips.items():
        row = expected[id]
        assert (names[clip["label"]], clip["text"], clip["speaker"]) == (row["label"], row["text"], row["speaker"])
    splits = {id: split for split, found in corpus.items() for id in found["id"]}
    listed = {"train": "train", "valid": "validation", "validation": "validation", "val": "validation", "test": "test"}
    assert {id for id, split in splits.items() if split == "test"} == {
        id for id, row in expected.items() if listed[row["split"]] == "test"
    }
    assert Counter(names[clip["label"]] for clip in clips.values()) == {
        name: 96 if name == "neutral" else 192 for name in EMOTIONS
    }
    assert [len(found) for found in load("ravdess", folder).values()] == [840, 300, 300]
    assert clips["01-01-01-01-01-01"]["media"]["path"].endswith("01-01-01-01-01-01-01.mp4")  # the one with a picture


def test_ravdess_in_every_layout(tmp_path, load):
    folder = write_ravdess(tmp_path / "released")
    clips = by_id(load("ravdess", folder))
    assert all(clip["media"]["path"].endswith(".mp4") == clip["id"].endswith("-01") for clip in clips.values())
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in folder.rglob("*.*"):
        shutil.copy(path, flat / path.name)
    assert by_id(load("ravdess", flat)).keys() == clips.keys()
    assert "02-01-03-01-01-01-01" not in clips and not any(id.startswith("03-") for id in clips)  # a mute video; song
    strong = by_id(load("ravdess", folder, intensity="strong"))
    assert strong.keys() == {id for id in clips if id.split("-")[2] == "02"} and strong
    merged = load("ravdess", folder, "emotion_calm_merged")
    names = merged["train"].features["label"].names
    assert "calm" not in names and len(names) == 7
    for id, clip in by_id(merged).items():
        assert names[clip["label"]] == {"01": "neutral", "02": "neutral", "03": "happy"}[id.split("-")[1]]


def test_ravdess_says_what_it_cannot_use(tmp_path, load):
    with pytest.raises(FileNotFoundError, match="no speech of RAVDESS below .*Actor_01/03-01"):
        load("ravdess", tmp_path)
    folder = write_ravdess(tmp_path / "released")
    with pytest.raises(ValueError, match="fold is 5; expected a whole number from 0 to 4"):
        load("ravdess", folder, fold=5)
    with pytest.raises(ValueError, match="intensity is 'loud'; expected normal or strong"):
        load("ravdess", folder, intensity="loud")
    found = check_corpus("ravdess", folder, cache_dir=tmp_path / "c")
    assert found.expected == {"train": 840, "validation": 300, "test": 300} and not found.ok


def test_crema_d(tmp_path, load):
    folder = write_crema_d(tmp_path / "crema")
    corpus = load("crema_d", folder)
    clips, names = by_id(corpus), corpus["train"].features["label"].names
    assert names == ["anger", "disgust", "fear", "happy", "neutral", "sad"]
    clip = clips["1001_DFA_ANG_XX"]
    assert (names[clip["label"]], clip["text"], clip["speaker"]) == ("anger", "Don't forget a jacket.", "1001")
    assert clip["media"]["path"].endswith(".flv") and clips["1091_IEO_SAD_HI"]["media"]["path"].endswith(".wav")
    for fold in range(5):
        speakers = [set(found["speaker"]) for found in load("crema_d", folder, fold=fold).values()]
        assert len(set.union(*speakers)) == sum(map(len, speakers)) == 91
        assert len(speakers[2]) in (18, 19) and len(speakers[1]) in (18, 19)


def test_perceived_emotions_are_the_raters_votes(tmp_path, load):
    folder = write_crema_d(tmp_path / "crema")
    corpus = load("crema_d", folder, "emotion_perceived")
    clips, names = by_id(corpus), corpus["train"].features["label"].names
    assert names[clips["1001_DFA_ANG_XX"]["label"]] == "disgust"  # the raters saw something else
    checked = check_corpus("crema_d", folder, "emotion_perceived", cache_dir=tmp_path / "c")
    dropped = {finding.kind: finding.clips for finding in checked.findings}
    assert dropped["rows that are not clips: a tie of the raters' votes"] == ["1002_DFA_ANG_XX"]
    assert dropped["rows that are not clips: no vote"] == ["1003_DFA_ANG_XX"]
    table = folder / "processedResults/summaryTable.csv"
    table.write_text(table.read_text().replace("A:D", "Q"))
    with pytest.raises(ValueError, match="row 3: MultiModalVote is 'Q'; expected letters of A/D/F/H/N/S"):
        load("crema_d", folder, "emotion_perceived")
    table.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="expected FileName and MultiModalVote"):
        load("crema_d", folder, "emotion_perceived")


def test_the_groups_of_actors_are_drawn_by_the_seed():
    groups = actor_groups(0)
    assert sorted(sum(groups, [])) == [str(1001 + number) for number in range(91)]
    assert groups == actor_groups(0) != actor_groups(1)


def test_tasks_need_no_files():
    assert task_specification("ravdess").label_names == EMOTIONS
    assert len(task_specification("crema_d", "emotion_perceived").label_names) == 6
