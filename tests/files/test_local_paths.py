"""Folders of one machine taken out of texts and records."""

import pytest

from modeling_semanticmac.files.local_paths import hide_paths, local_paths, without_local_names, without_local_paths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/anna/my clips/x.mp4", "x.mp4"),
        ("--data_dir=/home/anna b/corpus/", "--data_dir=corpus"),
        ("~/clips", "clips"),
        ("~anna/clips", "clips"),
        ("C:\\Users\\Anna\\clips", "clips"),
        ("\\\\server\\share\\clips", "clips"),
        ('{"ids_file": "/home/anna/ids.csv"}', '{"ids_file": "ids.csv"}'),
        ("see `/home/anna/x.csv`, then (/srv/y)", "see `x.csv`, then (y)"),
    ],
)
def test_absolute_paths_keep_their_last_part(text, expected):
    assert without_local_paths(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/org/name",
        "[x](https://arxiv.org/abs/1)",
        "org/name",
        "corpora/mosi",
        "and/or",
        "1/2",
        "a / b",
        "</s>",
        "<br/>",
        "2024/1689",
        "http://127.0.0.1:8/x",
    ],
)
def test_everything_else_stays(text):
    assert without_local_paths(text) == text


def test_records_are_gone_through_and_numbers_stay():
    record = {"a": ["/x/y", 1, None, True], "b": {"c": "/home/anna/z w"}}
    assert without_local_paths(record) == {"a": ["y", 1, None, True], "b": {"c": "z w"}}
    assert local_paths({"a": ["--x=/p q/r", "word"], "b": {"c": "/s"}, "d": 3}) == {"/p q/r", "/s"}


def test_known_paths_with_blanks_are_found_in_text():
    text = "clips of /home/anna/my clips/a.mp4 in /home/anna/my clips"
    assert hide_paths(text, {"/home/anna/my clips"}) == "clips of my clips/a.mp4 in my clips"


def test_configurations_lose_names_of_files_but_no_tokens():
    config = {
        "name_or_path": "/home/anna/model",
        "vocab_file": "/x/vocab.txt",
        "eos_token": "</s>",
        "slash": "/a/b",
        "text_config": {"_name_or_path": "org/bert"},
    }
    assert without_local_names(config) == {
        "eos_token": "</s>",
        "slash": "/a/b",
        "text_config": {"_name_or_path": "org/bert"},
    }
    assert without_local_names([{"x_file": "~/y"}, 1]) == [{}, 1]
