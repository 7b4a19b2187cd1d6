"""CMU-MOSI in each of its layouts, and the real annotation."""

import csv

import pytest

from datasets_scripts import load_corpus
from datasets_scripts.loading import corpus_builder
from datasets_scripts.mosi import read_scores, read_transcript
from tests.helpers.cmu_folder import MOSI, write_mosi
from tests.helpers.real_corpora import SPLITS, rows_of, write_real_mosi


@pytest.fixture
def load(tmp_path):
    return lambda folder, **options: load_corpus("mosi", folder, cache_dir=tmp_path / "cache", **options)


@pytest.mark.parametrize("layout", ["mmsa", "segmented", "full", "csd"])
def test_every_layout_gives_the_same_clips(tmp_path, load, layout):
    corpus = load(write_mosi(tmp_path / "mosi", layout), media="required")
    assert [len(corpus[split]) for split in SPLITS] == [3, 2, 2]
    found = rows_of(corpus)
    for video, segment, start, end, score, text in MOSI:
        place = sorted(str(n) for v, n, *_ in MOSI if v == video).index(str(segment))
        row = found[f"{video}[{place}]" if layout == "csd" else f"{video}_{segment}"]
        assert row["label"] == pytest.approx(score) and row["video_id"] == video
        assert row["text"] == (text if end > start or layout != "csd" else "")
        media = row["media"]
        if layout in ("full", "csd"):
            assert media["path"].endswith(f"Full/{video}.mp4") and (media["start"], media["end"]) == (start, end)
        else:
            assert media["path"].endswith(f"{segment}.mp4") and media["start"] is media["end"] is None


def test_two_layouts_or_none_are_refused(tmp_path, load):
    write_mosi(tmp_path / "both", "mmsa")
    write_mosi(tmp_path / "both", "full")
    with pytest.raises(ValueError, match="two layouts of CMU-MOSI, label.csv and Raw/Labels/OpinionLevelSentiment.csv"):
        load(tmp_path / "both")
    (tmp_path / "none").mkdir()
    with pytest.raises(
        FileNotFoundError,
        match="looked in .*none for label.csv, MOSI/label.csv, .*Opinion_Labels.csd; it is empty|it is empty",
    ):
        load(tmp_path / "none")


def test_damaged_rows_are_named(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("0.0,1.0,video,1,0.5\n0.0,1.0,video,two,0.5\n")
    with pytest.raises(ValueError, match="scores.csv, row 2: .*expected start, end, video_id, segment number, score"):
        read_scores(path)
    path.write_text("0.0,1.0,video,1,3.5\n")
    with pytest.raises(ValueError, match="score is '3.5'; expected a score from -3 to 3"):
        read_scores(path)
    words = tmp_path / "v.annotprocessed"
    words.write_text("1_DELIM_FINE\nno delimiter\n")
    with pytest.raises(ValueError, match="line 2: 'no delimiter'; expected <n>_DELIM_<words>"):
        read_transcript(words)


def test_the_real_annotation(tmp_path, shared, load):
    """1,284 / 229 / 686 and every score, from real rows in MMSA's layout."""
    corpus = load(write_real_mosi(shared, tmp_path / "mosi"))
    assert {split: len(corpus[split]) for split in SPLITS} == {"train": 1284, "validation": 229, "test": 686}
    with open(shared / "corpora/cmu_mosi/derived/labels.tsv", newline="") as file:
        expected = {row["name"]: float(row["label"]) for row in csv.DictReader(file, delimiter="\t")}
    found = rows_of(corpus)
    assert found.keys() == expected.keys()
    assert all(found[name]["label"] == pytest.approx(value, abs=1e-6) for name, value in expected.items())
    assert (
        sum(label == 0 for label in corpus["test"]["label"]) == 30
        and found["03bSnISJMiM_1"]["text"] == "ANYHOW IT WAS REALLY GOOD"
    )
    assert corpus_builder("mosi").expected_counts("sentiment") == {split: len(corpus[split]) for split in SPLITS}
