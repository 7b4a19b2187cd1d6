"""MUStARD: its splits, its damaged texts, its pickle."""

import json
import pickle
from collections import Counter

import numpy as np
import pytest

from datasets_scripts import load_corpus, task_specification
from datasets_scripts.mustard import Mustard, read_folds, repair_text
from datasets_scripts.restricted_pickle import load_restricted
from datasets_scripts.stratified_split import stratified_parts
from tests.helpers.mustard_folder import REPAIRED, write_mustard
from tests.helpers.pickles import Malicious


@pytest.fixture
def corpus(shared, tmp_path):
    """Load the real annotation files with a cache of this test's own."""
    return lambda **options: load_corpus("mustard", shared / "corpora/mustard", cache_dir=tmp_path, **options)


@pytest.fixture
def entries(shared):
    return json.loads((shared / "corpora/mustard/sarcasm_data.json").read_text(encoding="utf-8"))


def sizes(splits) -> list[int]:
    return [len(clips) for clips in splits.values()]


def ids(splits) -> list[str]:
    return [clip for clips in splits.values() for clip in clips["id"]]


def test_the_seeded_split(corpus, entries):
    splits = corpus()
    assert sizes(splits) == [554, 68, 68] == list(Mustard.TABLE_II["sarcasm"].values()) and set(ids(splits)) == set(
        entries
    )
    assert [sum(clips["label"]) for clips in splits.values()] == [277, 34, 34]
    assert all(clip["label"] == entries[clip["id"]]["sarcasm"] for clip in splits["train"])
    assert ids(corpus(split_seed=1)) != ids(splits) == ids(corpus(split_seed=0))


@pytest.mark.parametrize("fold", range(5))
def test_the_official_folds(corpus, entries, shared, fold):
    """Against the authors' lists exported to JSON."""
    expected = json.loads((shared / "corpora/mustard/derived/split_indices.json").read_text())[fold]
    splits, keys = corpus(fold=fold), list(entries)
    assert splits["test"]["id"] == [keys[index] for index in expected["test"]]
    assert set(splits["train"]["id"]) | set(splits["validation"]["id"]) == {keys[index] for index in expected["train"]}
    assert sizes(splits) == [497, 55, 138] and abs(sum(splits["validation"]["label"]) - 27.5) < 1


def test_the_speaker_independent_split(corpus, entries):
    splits = corpus(speaker_independent=True)
    assert sizes(splits) == [334 - 33, 33, 356] and sum(splits["test"]["label"]) == 152
    assert {entries[clip]["show"] for clip in splits["test"]["id"]} == {"FRIENDS"}
    assert "FRIENDS" not in {entries[clip]["show"] for split in ("train", "validation") for clip in splits[split]["id"]}


def test_texts_are_repaired_and_have_context(corpus, entries):
    splits = corpus()
    clips = {clip["id"]: clip for split in splits.values() for clip in split}
    assert (
        clips["2_35"]["text"].startswith("Oh no don\u2019t go.") and clips["2_272"]["text"] == "We\u2019re not peeking?"
    )
    assert "Who touched my\u2026" in clips["1_1484"]["context"]
    everything = "".join(text for clip in clips.values() for text in [clip["text"], *clip["context"]])
    assert set(filter(lambda character: not character.isascii(), everything)) == {"\u2019", "\u2026"}
    assert all(len(clip["context"]) == len(entries[key]["context"]) for key, clip in clips.items())
    assert clips["1_60"]["context"][1] == "My apologies. What's your plan?" and clips["1_60"]["speaker"] == "SHELDON"
    assert all(clip["context_speakers"] == entries[key]["context_speakers"] for key, clip in clips.items())
    without = corpus(context=False)["test"]
    assert not any(without["context"]) and not any(without["context_speakers"])


def test_repair():
    damaged = "We\u2019re\u2026".encode().decode("cp1252") + " don\u00d5t  "
    assert repair_text(damaged) == "We\u2019re\u2026 don\u2019t"
    assert repair_text("na\u00efve caf\u00e9 \u2026\u2026") == "na\u00efve caf\u00e9 \u2026\u2026"


def test_the_task():
    task = task_specification("mustard")
    assert task.label_names == ("not_sarcastic", "sarcastic") and task.is_binary and task.metrics == "weighted"


def test_folds_as_json_or_pickle_and_clips_in_place(tmp_path):
    folder = write_mustard(tmp_path / "mustard")
    splits = load_corpus("mustard", folder, "sarcasm", cache_dir=tmp_path / "cache", fold=1)
    assert splits["test"]["id"] == ["1_1", "1_6", "1_11", "1_16"] and sizes(splits) == [14, 2, 4]
    clips = {clip["id"]: clip for split in splits.values() for clip in split}
    # Neither the clips of the context nor litter, and none for the one that is missing.
    place = folder / "mmsd_raw_data/utterances_final"
    assert {id: clip["media"]["path"] for id, clip in clips.items()} == {
        id: str(place / f"{id}.mp4") if id != "1_0" else "" for id in clips
    }
    assert [clips[f"1_{index}"]["text"] for index in REPAIRED] == list(REPAIRED.values())
    (folder / "split_indices.json").unlink()
    assert ids(load_corpus("mustard", folder, cache_dir=tmp_path / "cache", fold=1)) == ids(splits)


def test_the_seeded_split_of_another_number_of_clips(tmp_path):
    """In the proportions of 554 / 68 / 68, by hand: 20 * 68 / 690 = 1.97."""
    splits = load_corpus("mustard", write_mustard(tmp_path / "mustard"), cache_dir=tmp_path / "cache")
    assert sizes(splits) == [16, 2, 2] and sum(splits["validation"]["label"]) == sum(splits["test"]["label"]) == 1


def test_a_list_of_ids_as_the_split(corpus, entries, tmp_path):
    keys = list(entries)
    listed = {"train": keys[::2], "dev": keys[1:300:2], "test": keys[301::2]}
    path = tmp_path / "ids.json"
    path.write_text(json.dumps(listed))
    splits = corpus(ids_file=str(path))
    assert [splits[split]["id"] for split in ("train", "validation", "test")] == list(listed.values())


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"fold": 5}, ValueError, "fold is 5; expected a whole number from 0 to 4"),
        ({"fold": 0, "speaker_independent": True}, ValueError, "give one"),
        ({"fold": 0}, FileNotFoundError, "no folds of the speaker-dependent setting: looked in .* split_indices.p"),
    ],
)
def test_splits_that_cannot_be_made(tmp_path, options, error, message):
    folder = write_mustard(tmp_path / "mustard")
    for suffix in ("json", "p"):
        (folder / f"split_indices.{suffix}").unlink()
    with pytest.raises(error, match=message):
        load_corpus("mustard", folder, cache_dir=tmp_path / "cache", **options)


def test_a_malicious_pickle_does_not_run(tmp_path):
    target, path = tmp_path / "written", tmp_path / "split_indices.p"
    path.write_bytes(pickle.dumps([Malicious(target)]))
    with pytest.raises(ValueError, match="requests _?io.open; only containers, numbers, strings and numpy arrays"):
        read_folds(path, 10)
    assert not target.exists()
    pickle.loads(path.read_bytes())  # it would have run
    assert target.exists()


def test_pickled_arrays_of_any_protocol_are_read(tmp_path):
    path = tmp_path / "x.p"
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps([(np.arange(4), {"a": "b"})], protocol=protocol))
        try:
            ((array, rest),) = load_restricted(path)
        except ValueError as error:
            pytest.fail(f"protocol {protocol}: {error}")
        assert array.tolist() == [0, 1, 2, 3] and rest == {"a": "b"}


@pytest.mark.parametrize(
    "folds, message",
    [
        ([([0, 1], [2])] * 5, "fold 0 does not divide the 4 utterances"),
        ([([0, 1, 2], [3])] * 4, "holds 4 folds; expected 5"),
        ([([0.0, 1.0, 2.0], [3])] * 5, "fold 0 does not divide"),
    ],
)
def test_folds_that_do_not_fit(tmp_path, folds, message):
    path = tmp_path / "split_indices.p"
    path.write_bytes(pickle.dumps([tuple(map(np.array, fold)) for fold in folds], protocol=2))
    with pytest.raises(ValueError, match=message):
        read_folds(path, 4)


def test_stratified_parts():
    labels = ["a"] * 70 + ["b"] * 20 + ["c"] * 10
    parts = stratified_parts(labels, (50, 30, 20), seed=3)
    assert sorted(sum(parts, [])) == list(range(100)) and [len(part) for part in parts] == [50, 30, 20]
    for part, size in zip(parts, (50, 30, 20)):
        counts = Counter(labels[index] for index in part)
        assert all(abs(counts[label] - size * share) <= 1 for label, share in (("a", 0.7), ("b", 0.2), ("c", 0.1)))
    assert parts == stratified_parts(labels, (50, 30, 20), seed=3) != stratified_parts(labels, (50, 30, 20), seed=4)
    with pytest.raises(ValueError, match="make 99; there are 100"):
        stratified_parts(labels, (99,), seed=0)
