"""Clips of one's own: every column, the forms of the table, the tasks, the drawn split, and messages that name the
cell.
"""

import csv
import json
import re
from collections import Counter

import pytest
from transformers import pipeline

from datasets_scripts import load_corpus, task_specification
from datasets_scripts.clip_table import Row
from datasets_scripts.stratified_split import grouped_parts
from examples.tiny_models import save_tiny_language_model, save_tiny_towers
from modeling_semanticmac.commands import train as train_command
from tests.helpers.media_files import numbered, tone, write_media
from tests.helpers.project import PROJECT
from tests.helpers.video_folder_folder import ROWS, csv_bytes, labelled, write_table, write_video_folder


@pytest.fixture
def load(tmp_path):
    """Load somebody's own clips with a cache of this test's own."""
    return lambda folder, task="sentiment", **options: load_corpus(
        "video_folder", folder, task, cache_dir=tmp_path / "cache", **options
    )


@pytest.fixture
def fail(tmp_path, load):
    """The message of the error that a table gives."""

    def message(rows, task="sentiment", name="clips.csv", **options):
        folder = write_table(tmp_path / "clips", rows, name)
        with pytest.raises(ValueError) as caught:
            load(folder, task, **options)
        return str(caught.value)

    return message


def by_id(corpus) -> dict:
    return {clip["id"]: clip for split in corpus.values() for clip in split}


@pytest.mark.parametrize("name", ["clips.csv", "metadata.jsonl", "my table.CSV", "x.jsonl"])
def test_every_column_in_every_form(tmp_path, load, name):
    folder = write_table(tmp_path / "clips", labelled(), name.replace("CSV", "csv"))
    if name.endswith("CSV"):
        (folder / name.replace("CSV", "csv")).rename(folder / name)
    (folder / "._litter.csv").touch()
    clips = by_id(load(folder))
    assert set(clips) == {"a_0", "a_0.4", "b", "more/c", "last", "row_6", "e"}
    assert [clips[id]["label"] for id in ("a_0", "b", "more/c", "last")] == [2.5, 0.0, -1.5, -3.0]
    assert clips["a_0"]["media"] == {"path": str(folder / "a.mp4"), "start": 0.0, "end": 0.4, "crop": None}
    assert clips["b"]["media"] == {"path": str(folder / "b.mp4"), "start": None, "end": None, "crop": "left"}
    assert clips["a_0.4"]["text"] == "so much" and clips["a_0.4"]["context"] == ["I love it, really"]
    assert clips["more/c"]["text"] == "caf\u00e9?" and clips["more/c"]["context"] == ["one", "two"]
    assert clips["last"]["text"] == "" and clips["row_6"]["media"]["path"] == ""
    assert clips["a_0"]["video_id"] == clips["a_0.4"]["video_id"] == "a.mp4" and clips["row_6"]["speaker"] == "Eve"
    assert not by_id(load(folder, context=False))["more/c"]["context"]


def test_scores_of_single_modalities(tmp_path, load):
    rows = [{**row, "label_text": "-1", "label_vision": "0.5"} for row in labelled()]
    clip = by_id(load(write_table(tmp_path / "clips", rows)))["b"]
    assert (clip["label_text"], clip["label_audio"], clip["label_vision"]) == (-1.0, None, 0.5)


def test_several_emotions_a_clip_or_none(tmp_path, load):
    folder = write_table(tmp_path / "clips", labelled("emotion"))
    task = task_specification("video_folder", "emotion", data_dir=folder)
    assert task.is_multi_label and task.label_names == ("anger", "joy", "surprise")
    labels = {id: clip["label"] for id, clip in by_id(load(folder, "emotion")).items()}
    assert labels["a_0"] == [0, 1, 0] and labels["a_0.4"] == [0, 1, 1] and labels["b"] == [0, 0, 0]
    (tmp_path / "lists").mkdir()
    lists = [{**row, "label": [word for word in row["label"].split("|") if word]} for row in labelled("emotion")]
    folder = write_table(tmp_path / "lists", lists, "clips.jsonl")
    assert {id: clip["label"] for id, clip in by_id(load(folder, "emotion")).items()} == labels


@pytest.mark.parametrize(
    "labels, names",
    [
        (["joy", "anger", "joy", "fear", "anger", "fear", "joy"], ("anger", "fear", "joy")),
        ([10, 2, 10, 2, 33, 2, 10], ("2", "10", "33")),
        (["1.0", "0", "1", "0.0", "1", "2", "0"], ("0", "1", "2")),
    ],
)
def test_one_emotion_a_clip(tmp_path, load, labels, names):
    rows = [{**row, "label": label} for row, label in zip(labelled(), labels)]
    folder = write_table(tmp_path / "clips", rows)
    task = task_specification("video_folder", "emotion", data_dir=folder)
    assert task.problem_type == "single_label_classification" and task.label_names == names
    assert task.metrics == "conversation"
    corpus = load(folder, "emotion")
    assert corpus["train"].features["label"].names == list(names)
    assert by_id(corpus)["more/c"]["label"] == names.index(str(labels[3]).removesuffix(".0"))


def test_classes_in_an_order_of_ones_own(tmp_path, load):
    """A table with other classes than the one that a model was trained on can still be given to it."""
    rows = [{**row, "label": "joy"} for row in labelled()]
    folder = write_table(tmp_path / "clips", rows)
    names = ["neutral", "joy", "anger"]
    options = {"label_names": names, "multi_label": False}
    assert task_specification("video_folder", "emotion", **options).label_names == tuple(names)
    assert set(load(folder, "emotion", **options)["train"]["label"]) == {1}
    options["multi_label"] = True
    assert load(folder, "emotion", **options)["train"][0]["label"] == [0, 1, 0]


@pytest.mark.parametrize(
    "task, yes, no", [("humor", "humorous", "Not humorous"), ("sarcasm", "SARCASTIC", "not-sarcastic")]
)
def test_yes_and_no_in_every_form(tmp_path, load, task, yes, no):
    words = ["1", "true", yes, "0", "FALSE", no, "1.0"]
    rows = [{**row, "label": word} for row, word in zip(labelled(), words)]
    clips = by_id(load(write_table(tmp_path / "clips", rows), task))
    order = ["a_0", "a_0.4", "b", "more/c", "last", "row_6", "e"]
    assert [clips[id]["label"] for id in order] == [1, 1, 1, 0, 0, 0, 1]
    assert task_specification("video_folder", task).is_binary
    values = [True, False, 1, 0, True, False, 1]
    rows = [{**row, "label": value} for row, value in zip(labelled(), values)]
    clips = by_id(load(write_table(tmp_path / "json", rows, "clips.jsonl"), task))
    assert [clips[id]["label"] for id in order] == [int(value) for value in values]


def test_the_range_of_scores(tmp_path, load, fail):
    folder = write_table(tmp_path / "wide", [{**row, "label": 40 + index} for index, row in enumerate(labelled())])
    task = task_specification("video_folder", "sentiment", data_dir=folder, label_range=[0, 100])
    assert task.label_range == (0.0, 100.0) and task.metrics == "scores" and task.scale_scores
    assert by_id(load(folder, label_range=[0, 100]))["e"]["label"] == 46.0
    assert task_specification("video_folder", label_range=[-1, 1]).metrics == "sims"
    assert task_specification("video_folder").metrics == "mosi"
    assert "row 2, column label: found '40'; expected a number from -3 to 3 (option label_range)" in fail(
        [{**row, "label": 40} for row in labelled()]
    )
    assert "label_range is (1, -1)" in fail(labelled(), label_range=[1, -1])
    assert "the option label_range belongs to the task sentiment" in fail(labelled(), "humor", label_range=[0, 1])


def test_the_split_of_the_table(tmp_path, load):
    words = ["train", "Training", "val", "dev", "test", "valid", "test"]
    corpus = load(write_table(tmp_path / "clips", [{**row, "split": w} for row, w in zip(labelled(), words)]))
    assert {split: clips["id"] for split, clips in corpus.items()} == {
        "train": ["a_0", "a_0.4"], "validation": ["b", "more/c", "row_6"], "test": ["last", "e"],
    }  # fmt: skip


def test_a_table_of_test_clips_alone(tmp_path, load):
    folder = write_table(tmp_path / "clips", [{**row, "split": "test"} for row in labelled()])
    corpus = load(folder)
    assert {split: len(clips) for split, clips in corpus.items()} == {"train": 0, "validation": 0, "test": len(ROWS)}
    assert corpus["train"].features == corpus["test"].features == load(folder)["validation"].features


def test_a_drawn_split_divides_no_speaker(tmp_path, load):
    rows = [
        {"file": f"{index}.mp4", "label": "0", "speaker": f"s{index % 23}", "text": f"t{index}"} for index in range(200)
    ]
    folder = write_table(tmp_path / "clips", rows)
    corpus = load(folder)
    speakers = [set(clips["speaker"]) for clips in corpus.values()]
    assert len(set.union(*speakers)) == sum(map(len, speakers)) == 23
    assert [len(clips) for clips in corpus.values()] == pytest.approx([160, 20, 20], abs=9)
    assert by_id(load(folder, split_seed=0)).keys() == by_id(corpus).keys()
    assert set(load(folder, split_seed=1)["test"]["speaker"]) != speakers[2]


def test_without_speakers_it_divides_no_video(tmp_path, load):
    rows = [
        {"file": f"{index // 4}.mp4", "label": "0", "start": str(index % 4), "end": str(index % 4 + 1)}
        for index in range(40)
    ]
    rows[0]["speaker"] = "named in one row only"
    corpus = load(write_table(tmp_path / "clips", rows))
    videos = [set(clips["video_id"]) for clips in corpus.values()]
    assert [len(group) for group in videos] == [8, 1, 1] and len(set.union(*videos)) == 10
    rows = [{**row, "video": f"film {index // 8}"} for index, row in enumerate(rows)]
    corpus = load(write_table(tmp_path / "films", rows))
    assert [len(set(clips["video_id"])) for clips in corpus.values()] == [3, 1, 1]


def test_a_list_of_ids_as_the_split(tmp_path, load):
    folder = write_table(tmp_path / "clips", labelled()[:3])  # too few to draw one
    (tmp_path / "ids.json").write_text(json.dumps({"train": ["b"], "valid": [], "test": ["a_0.4"]}))
    corpus = load(folder, ids_file=str(tmp_path / "ids.json"))
    assert {split: clips["id"] for split, clips in corpus.items()} == {
        "train": ["b"],
        "validation": [],
        "test": ["a_0.4"],
    }


def test_too_few_to_draw_a_split(fail):
    assert "different values of speaker, of which none goes into two splits; give the column split" in fail(
        labelled()[:3]
    )


def test_grouped_parts():
    groups = ["a"] * 50 + ["b"] * 30 + ["c"] * 10 + ["d"] * 6 + ["e"] * 4
    parts = grouped_parts(groups, (0.8, 0.1, 0.1), seed=5)
    assert sorted(sum(parts, [])) == list(range(100))
    # By hand: a and b fill train (80); c goes to validation, then d and e to test, which lacks 10 and 4.
    assert [Counter(groups[index] for index in part) for part in parts] == [
        {"a": 50, "b": 30},
        {"c": 10},
        {"d": 6, "e": 4},
    ]
    assert [len(part) for part in grouped_parts("abc", (0.8, 0.1, 0.1), 0)] == [1, 1, 1]
    assert grouped_parts(list(range(30)), (0.8, 0.1, 0.1), 1) != grouped_parts(list(range(30)), (0.8, 0.1, 0.1), 2)
    with pytest.raises(ValueError, match="2 groups cannot make 3 parts"):
        grouped_parts("ab", (0.8, 0.1, 0.1), 0)


@pytest.mark.parametrize(
    "task, row, cells, message",
    [
        ("sentiment", 1, {"label": ""}, "row 3, column label: found an empty cell; expected a number from -3 to 3"),
        ("sentiment", 0, {"label": "nan"}, "row 2, column label: found 'nan'"),
        ("sentiment", 2, {"start": "0:12"}, "row 4, column start: found '0:12'; expected seconds from 0 on"),
        ("sentiment", 1, {"end": "0.1"}, "row 3, column end: found '0.1'; expected seconds from the start on"),
        ("sentiment", 0, {"file": "b.avi"}, "row 2, column file: found 'b.avi'; expected a file below"),
        (
            "sentiment",
            2,
            {"file": "../clips/b.mp4"},
            "row 4, column file: found '../clips/b.mp4'; expected a file below",
        ),
        ("sentiment", 5, {"text": ""}, "row 7, column file: found an empty cell; expected a media file, or else words"),
        ("sentiment", 2, {"crop": "middle"}, "row 4, column crop: found 'middle'; expected left, right or nothing"),
        (
            "sentiment",
            0,
            {"split": "train"},
            "row 3, column split: found an empty cell; expected train, validation or test",
        ),
        ("sentiment", 3, {"id": "last"}, "row 6, column id: found 'last'; expected another one than 'last', which"),
        (
            "sentiment",
            2,
            {"start": "0.4", "file": "a.mp4"},
            "row 4, column id: found an empty cell; expected another one",
        ),
        ("sentiment", 2, {"label_text": "7"}, "row 4, column label_text: found '7'; expected a number from -3 to 3"),
        ("humor", 0, {"label": "9" * 400}, "(402 characters); expected 0, 1, true, false or one of"),
        ("humor", 0, {"label": "funny"}, "row 2, column label: found 'funny'; expected 0, 1, true, false or one of"),
        ("humor", 0, {"label_text": "1"}, "row 2, column label_text: found '1'; expected nothing: humor has classes"),
    ],
)
def test_a_bad_cell_is_named(tmp_path, load, task, row, cells, message):
    rows = labelled() if task == "sentiment" else [{**row, "label": "1"} for row in labelled()]
    write_table(tmp_path / "clips", rows)  # the media files
    rows[row] = {**rows[row], **cells}
    missing = tmp_path / "clips" / "b.avi"
    folder = write_table(tmp_path / "clips", rows)
    missing.unlink(missing_ok=True)
    with pytest.raises(ValueError) as caught:
        load(folder, task)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "labels, options, message",
    [
        (["joy", "", "joy", "fear"], {}, "row 3, column label: found an empty cell; expected one of fear, joy"),
        (["joy", "a|b", "joy", "fear"], {"multi_label": False}, "row 3, column label: found 'a|b'; expected one of"),
        (
            ["joy", "rage", "joy"],
            {"label_names": ["joy", "fear"]},
            "row 3, column label: found 'rage'; expected one of joy, fear",
        ),
        (["joy", "joy|rage", "joy"], {"label_names": ["joy", "fear"]}, "found 'joy|rage'; expected some of joy, fear"),
        (["joy"] * 4, {}, "at least two label names"),
    ],
)
def test_a_bad_emotion_is_named(fail, labels, options, message):
    rows = [{"text": f"t{index}", "label": label} for index, label in enumerate(labels)]
    assert message in fail(rows, "emotion", **options)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "has no rows"),
        (b"file,text,label\n", "has no rows"),
        (b"file|text|label\na.mp4|x|1\n", "expected label, and file or text or both. Cells are parted by commas"),
        (b"file,text,lable\na.mp4,x,1\n", "has the column 'lable'; did you mean 'label'?"),
        (
            b"file,text,label\na.mp4,well, yes,1\n",
            "row 2 has 4 cells, the header 3; put text that holds a comma in quotes",
        ),
        (b'text,label\n"' + b"x" * 200_000 + b'",1\n', "line 2 is not CSV: field larger than field limit"),
        (b"text,label\n" + b"x,1," * 50_000, "cells, the header 2"),
        (b"file,label\n" + b"a" * 300 + b",1\n", "a ... (302 characters); expected a file below"),
        (b"text,label,label\nx,1,1\n", "expected names that differ"),
        ("text,label\ncaf\u00e9,1\n".encode("latin-1"), "is not UTF-8 at byte 14; save it as"),
    ],
)
def test_a_table_that_is_none(tmp_path, load, content, message):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/clips.csv").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        load(tmp_path / "clips")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"text": "x", "label": 1', "row 2 is not JSON"),
        ("[1]", "row 2 holds list; expected an object such as"),
        ('{"text": "\\ud800", "label": 1}', "row 2 is not JSON: .* surrogates not allowed"),
        ("[" * 100_000, "row 2 is not JSON: maximum recursion depth"),
        ('{"text": "x", "label": ' + "9" * 5_000 + "}", "row 2 is not JSON: Exceeds the limit"),
    ],
)
def test_json_lines_that_are_none(tmp_path, load, line, message):
    (tmp_path / "clips.jsonl").write_text(json.dumps({"text": "x", "label": 1}) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path)
    assert str(tmp_path / "clips.jsonl") in str(caught.value) and len(str(caught.value)) < 1_000


def test_a_number_that_no_float_holds_is_named():
    with pytest.raises(ValueError, match="row 2, column label: found 9+ ... .400 characters.; expected a score"):
        Row("clips.jsonl, row 2", {"label": 10**400 - 1}).number("label", "a score")


def test_which_table(tmp_path, load):
    folder = write_table(tmp_path / "clips", labelled(), "a.csv")
    (folder / "b.csv").write_bytes(csv_bytes(labelled()))
    with pytest.raises(ValueError, match="holds several tables, a.csv, b.csv; name the one with the clips clips.csv"):
        load(folder)
    (folder / "b.csv").rename(folder / "clips.csv")
    assert len(by_id(load(folder))) == len(ROWS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no table of clips: .* clips.csv, metadata.csv"):
        load(tmp_path / "empty")


def test_columns_of_ones_own_are_left_alone(tmp_path, load, caplog):
    caplog.set_level("INFO", "datasets_scripts")
    rows = [{**row, "rater": "me", "notes": "ok"} for row in labelled()]
    assert len(by_id(load(write_table(tmp_path / "clips", rows)))) == len(ROWS)
    assert "the columns rater, notes are not used" in caplog.text


def test_the_classes_need_the_table():
    assert task_specification("video_folder").label_range == (-3.0, 3.0)
    with pytest.raises(ValueError, match="the classes of emotion are in the table; give data_dir"):
        task_specification("video_folder", "emotion")


def test_an_edited_table_is_seen(tmp_path, load):
    folder = write_video_folder(tmp_path / "clips", column="emotion")
    assert load(folder, "emotion")["train"].features["label"].length == 3
    path = folder / "clips.csv"
    path.write_bytes(path.read_bytes().replace(b"surprise", b"sadness"))
    assert task_specification("video_folder", "emotion", data_dir=folder).label_names == ("anger", "joy", "sadness")
    assert all(len(clips) for clips in load(folder, "emotion").values())


def test_the_walk_of_the_documentation(tmp_path):
    """The five clips of docs/corpora.md: table and media files, training, the saved model, a prediction."""
    table = re.search("```csv\n(.*?)```", (PROJECT / "docs/corpora.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    folder, run, tiny = tmp_path / "my_clips", tmp_path / "my_run", tmp_path / "tiny"
    folder.mkdir()
    (folder / "clips.csv").write_text(table, encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    for place, row in enumerate(rows):
        write_media(folder / row["file"], 0.6, 25, lambda number: numbered(number, 64, 48), tone(200 + 100 * place))
    vision, audio = save_tiny_towers(tiny)
    words = save_tiny_language_model(tiny / "words", table.splitlines())
    train_command.main(
        [
            str(PROJECT / "modeling_semanticmac/training/recipes/synthetic_sentiment.yaml"),
            "--corpus",
            "video_folder",
            "--task",
            "sentiment",
            "--data_dir",
            str(folder),
            "--output_dir",
            str(run),
            "--language_model",
            str(words),
            "--vision_encoder",
            str(vision),
            "--audio_encoder",
            str(audio),
            "--num_train_epochs",
            "1",
            "--extraction_workers",
            "0",
        ]
    )
    with open(run / "predictions_test.csv", newline="", encoding="utf-8") as file:
        (expected,) = csv.DictReader(file)
    (row,) = [row for row in rows if row["file"] == f"{expected['id']}.mp4"]
    predict = pipeline("video-affect", model=str(run), device="cpu")
    found = predict({"video": str(folder / row["file"]), "text": row["text"]})
    assert found["modalities"] == ["text", "audio", "vision"]
    # The store, which the run read, holds half precision.
    assert found["score"] == pytest.approx(float(expected["prediction"]), abs=0.02)
    assert float(expected["label"]) == float(row["label"])
