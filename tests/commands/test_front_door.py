"""Test the sub-commands of `semanticmac`: usage, errors, interruptions and closed pipes."""

import subprocess
import sys

import pytest

from semanticmac import COMMANDS, main
from tests.helpers.project import PROJECT


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_names_it(capsys, name):
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    out = capsys.readouterr().out
    assert left.value.code == 0 and out.startswith(f"usage: semanticmac {name} ")
    assert "run_mac" not in out and "python -m" not in out


@pytest.mark.parametrize("command", ["check", "prepare", "synthetic"])
def test_help_of_the_corpus_commands(capsys, command):
    with pytest.raises(SystemExit):
        main(["corpus", command, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: semanticmac corpus {command} ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is no COMMAND; expected one of predict, timeline"),
        (["preduct"], "unknown COMMAND 'preduct'; did you mean 'predict'?"),
        (["--corpus", "mosi"], "unrecognized arguments: --corpus"),
        (["train", "--corpsu", "mosi"], "error: unknown argument 'corpsu' on the command line. Did you mean 'corpus'?"),
        (["train", "mosi_sentiment_brt"], "no recipe of that name. Did you mean 'mosi_sentiment_bert'?"),
        (["recipes", "nothing"], "semanticmac recipes: error: there is no recipe or search space 'nothing'"),
        (["compare", "one"], "semanticmac compare: error: compare needs two runs or more"),
        (["timeline", "a.mp4", "--model", "m", "--pauses"], "the following arguments are required: --output_dir"),
        (["timeline", "a.mp4", "--model", "m", "--output_dir", "o"], "--output_dir needs one of --transcript"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_usage_exits_with_2(capsys, arguments, message):
    try:
        code = main(arguments)
    except SystemExit as left:
        code = left.code
    err = capsys.readouterr().err
    assert code == 2 and message in err and "Traceback" not in err


def test_own_errors_are_a_sentence_and_those_of_libraries_keep_their_traceback(capsys, monkeypatch, tmp_path):
    arguments = ["train", "synthetic_sentiment", "--output_dir", str(tmp_path / "run"), "--use_cpu"]
    assert main(arguments) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("semanticmac: --corpus and --data_dir say which")
    monkeypatch.setattr("modeling_semanticmac.commands.train.execute", lambda *_: int("a fault in a library"))
    with pytest.raises(ValueError, match="a fault in a library"):
        main(arguments)


def test_interruptions_and_other_missing_modules(capsys, monkeypatch):
    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr("modeling_semanticmac.commands.recipes.main", interrupted)
    assert main(["recipes"]) == 130 and capsys.readouterr().err == "semanticmac: interrupted\n"

    def incomplete(argv):
        raise ModuleNotFoundError("No module named 'modeling_semanticmac.nothing'", name="modeling_semanticmac.nothing")

    monkeypatch.setattr("modeling_semanticmac.commands.recipes.main", incomplete)
    with pytest.raises(ModuleNotFoundError):  # a fault of this package: no extra would help
        main(["recipes"])


def test_recipes_lists_and_prints(capsys):
    assert main(["recipes"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["mosi_sentiment_bert", "mosi", "sentiment", "google-bert/bert-base-uncased"] in lines
    assert ["mustard_sarcasm_text", "mustard", "sarcasm", "sentence-transformers/all-MiniLM-L6-v2"] in lines
    for name, folder in (("mosi_sentiment_bert", "training/recipes"), ("paper", "search/spaces")):
        assert main(["recipes", name]) == 0
        assert capsys.readouterr().out == (PROJECT / "modeling_semanticmac" / folder / f"{name}.yaml").read_text()


@pytest.mark.slow
def test_a_pipe_that_is_closed_early_is_no_error_message():
    """Close the pipe as `semanticmac recipes | head -0` does."""
    command = [sys.executable, "-m", "modeling_semanticmac", "recipes"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait(60) == 1
