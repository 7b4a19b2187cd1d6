"""Secrets are recognised by name, by place and by value; counts of tokens and ordinary text stay as they are."""

import json

import pytest

from modeling_semanticmac.files.secrets import HIDDEN, hide_secrets, is_secret_name
from modeling_semanticmac.training.run_arguments import argument_readers

SECRET = "qJ7.x-Marked_1"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://user:{SECRET}@host/db",
        f"postgresql://user:a/b@c{SECRET}@host/db",
        f"https://{SECRET}@huggingface.co/org/name",
        f"postgresql://host/db?user=u&password={SECRET}&x=1",
        f"host=h password={SECRET} dbname=d",
        f'{{"api_key": "{SECRET}", "fold": 0}}',
        f"--hub_token {SECRET} --seed 1",
        f"run_mac.py '--hub-token={SECRET}' --seed 1",
        f"Authorization: Bearer {SECRET}",
        "hf_" + "aB3" * 10,
    ],
)
def test_texts(text):
    hidden = hide_secrets(text)
    assert SECRET not in hidden and "aB3aB3" not in hidden and HIDDEN in hidden
    assert hide_secrets(hidden) == hidden


def test_what_is_around_a_secret_stays():
    assert hide_secrets(f"postgresql://user:{SECRET}@host:5/db?x=1") == f"postgresql://{HIDDEN}@host:5/db?x=1"
    assert hide_secrets(f"a?password={SECRET}&x=1") == f"a?password={HIDDEN}&x=1"
    assert json.loads(hide_secrets(f'{{"token": "{SECRET}", "fold": 0}}')) == {"token": HIDDEN, "fold": 0}


def test_a_command_line_and_values_that_repeat_a_secret():
    command = [
        "run.py",
        "--hub_token",
        SECRET,
        "--hub-token=" + SECRET,
        "--hub_model_id",
        f"org/{SECRET}",
        "--seed",
        "1",
    ]
    expected = [
        "run.py",
        "--hub_token",
        HIDDEN,
        "--hub-token=" + HIDDEN,
        "--hub_model_id",
        f"org/{HIDDEN}",
        "--seed",
        "1",
    ]
    assert hide_secrets(command) == expected
    record = {
        "training": {"hub_token": SECRET, "run_name": f"with {SECRET}"},
        "command": [SECRET],
        "n": 3,
        "none": None,
    }
    assert SECRET not in json.dumps(hide_secrets(record))


def test_values_of_the_environment(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false-positive")
    assert hide_secrets({"name": f"x{SECRET}y", "other": "false-positive"}) == {
        "name": f"x{HIDDEN}y",
        "other": "false-positive",
    }


@pytest.mark.parametrize(
    "value",
    [
        {
            "num_bridge_tokens": "4",
            "tokenizer_class": "BertTokenizer",
            "include_num_input_tokens_seen": "no",
            "use_token": True,
        },
        ["--num_bridge_tokens", "4", "--use_bridge_tokens", "true", "--hub_token", "none", "--output_dir", "a"],
        "the tokens: 12; http://host:80/a/b, user@host, https://huggingface.co/org/name",
        {"hub_token": None, "seed": 3, "path": "/a/b c"},
    ],
)
def test_what_is_not_a_secret_stays(value):
    assert hide_secrets(value) == value


def test_every_argument_of_the_command_with_such_a_name():
    """The names in this list are those that the command has; a new one shows here."""
    assert {name for name in argument_readers() if is_secret_name(name)} == {"hub_token"}
    assert {name for name in argument_readers() if "token" in name and not is_secret_name(name)} == {
        "num_bridge_tokens",
        "use_bridge_tokens",
        "text_tokens",
        "average_tokens_across_devices",
        "include_num_input_tokens_seen",
    }
