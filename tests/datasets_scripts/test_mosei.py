"""CMU-MOSEI in each of its layouts, the joins of its label file, and the real annotation."""

import csv
import json
import shutil
import time

import h5py
import pytest

from datasets_scripts import load_corpus
from datasets_scripts.loading import corpus_builder
from datasets_scripts.mosei_labels import EMOTIONS, by_sorted_ids, read_transcript
from tests.helpers.cmu_folder import DASH, DIGITS, MOSEI, ONLY_IN_FILE, SPARSE, UNMATCHED, write_mosei
from tests.helpers.real_corpora import SPLITS, rows_of, write_real_mosei, write_real_mosei_csd


@pytest.fixture
def load(tmp_path):
    return lambda folder, task=None, **options: load_corpus(
        "mosei", folder, task, cache_dir=tmp_path / "cache", **options
    )


@pytest.mark.parametrize("layout", ["mmsa", "csd+transcripts", "full", "mturk"])
def test_sentiment_in_every_layout(tmp_path, load, layout):
    found = rows_of(load(write_mosei(tmp_path / "mosei", layout)))
    only = {f"{row[0]}_{row[1]}" for row in ONLY_IN_FILE} if layout in ("csd+transcripts", "full") else set()
    extra = {f"{UNMATCHED}_1"} if layout == "mmsa" else set()
    assert found.keys() == {f"{row[0]}_{row[1]}" for row in MOSEI} | only | extra
    assert f"{DIGITS}_0" in found and DASH.startswith("-")
    for video, clip, start, end, score, _, text in MOSEI:
        row = found[f"{video}_{clip}"]
        assert row["label"] == pytest.approx(score, abs=1e-4) and row["text"] == text and row["video_id"] == video
        media = row["media"]
        if layout == "full":
            assert media["path"].endswith(f"{video}.mp4")
            assert (media["start"], media["end"]) == (
                start,
                end,
            )  # the reader of media begins a negative start with the file
        else:
            assert media["path"].endswith(f"{clip}.mp4") and media["start"] is None


def test_without_words_and_table_clips_have_the_names_of_the_file(tmp_path, load):
    found = rows_of(load(write_mosei(tmp_path / "mosei", "csd")))
    assert len(found) == len(MOSEI) + len(ONLY_IN_FILE) and f"{DASH}[0]" in found
    assert found[f"{DASH}[0]"]["label"] == pytest.approx(-0.3333)  # "10" stands before "13" and "2"


@pytest.mark.parametrize("layout", ["mmsa+csd", "mmsa+csd+transcripts", "csd+transcripts", "mturk"])
def test_emotions_by_every_join(tmp_path, load, layout):
    """By sorted ids, by time, from the label file alone, from the workers' answers."""
    corpus = load(write_mosei(tmp_path / "mosei", layout), "emotion")
    found = rows_of(corpus)
    for video, clip, *_, emotions, _ in MOSEI:
        assert found[f"{video}_{clip}"]["label"] == [int(value > 0) for value in emotions], (video, clip)
    assert corpus["train"].features["label"].length == 6 and EMOTIONS[0] == "happy"
    assert found[f"{DASH}_13"]["label"] == [0] * 6
    assert f"{UNMATCHED}_1" not in found


def test_a_clip_without_emotions_is_told(tmp_path):
    builder = corpus_builder("mosei")("emotion", write_mosei(tmp_path / "mosei", "mmsa+csd"), tmp_path / "cache")
    assert builder.dropped_clips("train") == {f"{UNMATCHED}_1": "no emotion labels in the label file"}
    assert builder.dropped_clips("test") == {}


def test_more_entries_than_clips_are_told_apart_by_their_score(tmp_path, load):
    """The sparse video has three entries; its one clip is the second of them in order of ids, the first in order of its
    own ids.
    """
    found = rows_of(load(write_mosei(tmp_path / "mosei", "mmsa+csd"), "emotion", join="sorted_ids"))
    assert found[f"{SPARSE}_1"]["label"] == [0, 0, 1, 0, 1, 0]


def test_a_join_that_cannot_be_right_is_refused(tmp_path, load):
    """Entries in the order of time instead of text: other sentiments than label.csv has."""
    folder = write_mosei(tmp_path / "mosei", "mmsa+csd")
    with h5py.File(folder / "CMU_MOSEI_Labels.csd", "a") as file:
        data = file["All Labels/data"]
        for video in data:
            data[video]["features"][:] = data[video]["features"][:][::-1]
    with pytest.raises(ValueError, match="its sentiment differs from theirs for .* the option join is the wrong one"):
        load(folder, "emotion")
    with pytest.raises(ValueError, match='join is \'order\'; expected "time", "sorted_ids"'):
        load(folder, "emotion", join="order")


@pytest.mark.parametrize(
    ("layout", "join", "message"),
    [
        ("mmsa+csd", "time", "compares times with the transcripts, and there are none"),
        ("csd+transcripts", "sorted_ids", "sorts the clip ids of label.csv, and there is none"),
    ],
)
def test_a_join_without_its_files_is_refused(tmp_path, load, layout, join, message):
    with pytest.raises(FileNotFoundError, match=message):
        load(write_mosei(tmp_path / "mosei", layout), "emotion", join=join)


@pytest.mark.parametrize("layout", ["mturk", "full"])
def test_the_table_with_videos_in_the_other_layout(tmp_path, load, layout):
    """`label.csv` beside CMU's videos: clips of their own, or full videos cut by the times of the transcripts."""
    folder = write_mosei(tmp_path / "mosei", layout)
    shutil.copy(write_mosei(tmp_path / "table", "mmsa") / "label.csv", folder)
    found = rows_of(load(folder))
    assert found[f"{UNMATCHED}_1"]["media"]["path"] == "" and len(found) == len(MOSEI) + 1
    for video, clip, start, end, *_ in MOSEI:
        media = found[f"{video}_{clip}"]["media"]
        if layout == "full":
            assert media["path"].endswith(f"Full/Combined/{video}.mp4") and (media["start"], media["end"]) == (
                start,
                end,
            )
        else:
            assert media["path"].endswith(f"Segmented/Combined/{video}_{clip}.mp4") and media["start"] is None


def edit_answers(folder, row: int, column: str, value: str, workers: int = 3) -> None:
    """Write another answer of so many workers, from a row on."""
    path = folder / "Raw/Labels/Batch_1_batch_results.csv"
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    for place in range(row, row + workers):
        rows[place][rows[0].index(column)] = value
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize(
    ("task", "column", "value", "reason"),
    [
        ("emotion", "Answer.fear", "", "nobody rated fear"),
        ("emotion", "Answer.fear", "4", "fear 4 is out of range"),
        ("sentiment", "Answer.sentiment", "n/a", "nobody rated sentiment"),
        ("sentiment", "Answer.sentiment", "-3.5", "sentiment -3.5 is out of range"),
    ],
)
def test_answers_that_are_no_label_are_told(tmp_path, load, task, column, value, reason):
    folder = write_mosei(tmp_path / "mosei", "mturk")
    edit_answers(folder, 1, column, value)
    first = f"{MOSEI[0][0]}_{MOSEI[0][1]}"
    assert first not in rows_of(load(folder, task)) and first in rows_of(
        load(folder, "emotion" if task == "sentiment" else None)
    )
    builder = corpus_builder("mosei")(task, folder, tmp_path / "cache")
    assert builder.dropped_clips("train") == {first: reason}


@pytest.mark.parametrize("value", ["", "nan", "inf"])
def test_a_worker_without_an_answer_does_not_count(tmp_path, load, value):
    """The workers say 0.5, 1 and 1.5 of the first clip; without the first one the mean is 1.25."""
    folder = write_mosei(tmp_path / "mosei", "mturk")
    edit_answers(folder, 1, "Answer.sentiment", value, workers=1)
    assert rows_of(load(folder))[f"{MOSEI[0][0]}_{MOSEI[0][1]}"]["label"] == 1.25


def test_an_answer_about_no_clip_is_named(tmp_path, load):
    folder = write_mosei(tmp_path / "mosei", "mturk")
    edit_answers(folder, 4, "Input.CLIP", "ten")
    with pytest.raises(ValueError, match="Batch_1_batch_results.csv, line 5: Input.CLIP is 'ten'; expected the number"):
        load(folder)


def test_a_listed_clip_that_has_no_emotions(tmp_path, load):
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"train": [f"{UNMATCHED}_1"], "valid": [f"{DASH}_2"], "test": [f"{DASH}_10"]}))
    folder = write_mosei(tmp_path / "mosei", "mmsa+csd")
    assert load(folder, ids_file=str(path))["train"]["id"] == [f"{UNMATCHED}_1"]
    with pytest.raises(ValueError, match=f"lists 1 ids .*: {UNMATCHED}_1 .no emotion labels in the label file."):
        load(folder, "emotion", ids_file=str(path))


def test_emotions_need_a_file_that_has_them(tmp_path, load):
    with pytest.raises(FileNotFoundError, match="label.csv has none: looked in .* for CMU_MOSEI_Labels.csd"):
        load(write_mosei(tmp_path / "mosei", "mmsa"), "emotion")


def test_lines_of_transcripts(tmp_path):
    path = tmp_path / "_under_score_.txt"
    path.write_text("_under_score____3______-0.48___1.5_____said ___ this\n\n_under_score____4___2.0___3.0___\n")
    first, second = read_transcript(path)
    assert (first.clip, first.start, first.end, first.text) == ("3", -0.48, 1.5, "said ___ this")
    assert (second.clip, second.text) == ("4", "")
    path.write_text("_under_score____x___2.0___3.0___text\n")
    with pytest.raises(ValueError, match="line 1: .*expected video___clip___start___end___text"):
        read_transcript(path)


def test_ids_are_sorted_as_text():
    class Entries:
        features = [[0.0]] * 3

    assert by_sorted_ids(Entries, {"2": 0.0, "10": 0.0, "13": 0.0}) == {"10": 0, "13": 1, "2": 2}


@pytest.fixture(scope="module")
def real(tmp_path_factory, shared):
    folder = tmp_path_factory.mktemp("mosei")
    write_real_mosei(shared, folder)
    return folder, write_real_mosei_csd(shared, folder)


def test_the_real_annotation_and_its_speed(real, load):
    start = time.perf_counter()
    corpus = load(real[0])
    first = time.perf_counter() - start
    assert {split: len(corpus[split]) for split in SPLITS} == {"train": 16326, "validation": 1871, "test": 4659}
    assert {split: sum(label == 0 for label in corpus[split]["label"]) for split in SPLITS} == {
        "train": 3540,
        "validation": 433,
        "test": 1025,
    }
    assert sum(label > 0 for label in corpus["test"]["label"]) == 2284
    start = time.perf_counter()
    load(real[0])
    again = time.perf_counter() - start
    print(f"22,856 rows: {first:.2f} s, from the cache {again:.2f} s")
    assert first < 15 and again < 3  # 5 and 1 on a quiet machine


@pytest.mark.slow
def test_the_real_ids_get_16322_emotions(real, load):
    """Join by sorted ids, four videos by their scores; the four clips of a video without labels are dropped."""
    corpus = load(real[0], "emotion")
    assert {split: len(corpus[split]) for split in SPLITS} == {"train": 16322, "validation": 1871, "test": 4659}
    builder = corpus_builder("mosei")("emotion", real[0])
    assert sorted(id.rpartition("_")[0] for id in builder.dropped_clips("train")) == [UNMATCHED] * 4


def test_real_intervals_join_by_sorted_ids(real):
    """Every clip gets the entry that the published join of times gives it."""
    from pathlib import Path

    from datasets_scripts.mosei import _with_emotions, read_clips

    annotations = {"labels": Path(real[0]) / "label.csv", "csd": Path(real[0]) / "CMU_MOSEI_Labels.csd"}
    found = {clip.id: clip.emotions for clip in _with_emotions(read_clips(annotations, {}), annotations, {}, None)}
    assert all(found[id][0] == pytest.approx(value) for id, value in real[1].items())


@pytest.mark.parametrize("task", ["sentiment", "emotion"])
@pytest.mark.slow
def test_the_list_of_another_paper(real, shared, load, task):
    folder = shared / "corpora/cmu_mosei/mesm"
    corpus = load(real[0], task, ids_file=str(folder))
    assert {split: len(corpus[split]) for split in SPLITS} == {"train": 14524, "validation": 1765, "test": 4188}
    assert corpus["test"]["id"] == (folder / "test_split.txt").read_text().split()
