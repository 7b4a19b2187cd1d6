"""Runs that write speakers into the text, read the utterance alone, and predict in the same way."""

import logging

import pytest
from transformers import pipeline

from modeling_semanticmac.commands import predict, train
from modeling_semanticmac.commands.info import info_text, model_info
from modeling_semanticmac.training.run_arguments import parse_arguments
from modeling_semanticmac.training.run_texts import note_prefix
from tests.helpers.meld_folder import make_meld
from tests.helpers.project import RECIPE
from tests.helpers.runs import record


@pytest.fixture(scope="module")
def meld(tmp_path_factory):
    return make_meld(tmp_path_factory.mktemp("meld"))


@pytest.fixture(scope="module")
def run(meld, models, tmp_path_factory):
    """A run on the text of a small MELD with speakers and one earlier utterance."""
    folder = tmp_path_factory.mktemp("run") / "run"
    train.main([*command(meld, models, folder), "--use_speakers", "true", "--context_utterances", "1",
                "--text_tokens", "utterance"])  # fmt: skip
    return folder


def command(meld, models, folder, *more):
    arguments = ["--corpus", "meld", "--task", "emotion", "--data_dir", str(meld), "--modalities", "text", *models[:2]]
    quick = ["--num_train_epochs", "1", "--do_train", "--use_cpu", "--disable_tqdm", "true", "--eval_strategy", "no"]
    return [*arguments, *quick, "--load_best_model_at_end", "false", "--output_dir", str(folder), *more]


def test_a_run_predicts_as_it_was_trained(run):
    assert record(run, "config.json")["text_tokens"] == "utterance"
    pipe = pipeline("video-affect", model=str(run))
    given = {"text": "a good film", "context": ["no words", "a bad day"], "speaker": "Joey"}
    whole = pipe({**given, "context_speakers": ["Ann", "Bob"]})
    assert "notes" not in whole
    # The same words written out by hand, to a processor that adds nothing.
    pipe.processor.use_speakers, pipe.processor.context_utterances = False, None
    by_hand = pipe({"text": "Joey: a good film", "context": ["Bob: a bad day"]})
    assert by_hand["probabilities"] == whole["probabilities"]
    pipe.processor.use_speakers = True
    assert pipe(given)["notes"] == ["this model reads who speaks, and no context_speakers was given"]
    plain = pipe({"text": "a good film"})
    assert plain["notes"] == ["this model reads who speaks, and no speaker was given"]


def test_the_commands_say_so(run, capsys):
    predict.main(["--model", str(run), "--text", "a good film"])
    assert "note: this model reads who speaks, and no speaker was given" in capsys.readouterr().out
    predict.main(["--model", str(run), "--text", "a good film", "--speaker", "Joey"])
    assert "note:" not in capsys.readouterr().out
    told = " ".join(info_text(model_info(str(run))).split())
    assert "use_speakers True, context_utterances 1, text_tokens utterance" in told


def test_what_cannot_be_followed_is_refused(meld, models, world, run, tmp_path):
    asked = ["--use_speakers", "true"]
    for arguments, message in (
        (command(meld, models, tmp_path, *asked, "--architecture", "bc_lstm"), "and their speakers by itself"),
        (command(meld, models, tmp_path, "--context_utterances", "2", "--use_context", "false"), "no effect with"),
        (command(meld, models, tmp_path, "--corpus_options", '{"later_context": 1}', "--use_context", "false"),
         "the corpus option later_context has no effect with --use_context false"),
        (command(meld, models, tmp_path, "--corpus_options", '{"later_context": 1}', "--context_utterances", "2"),
         "keeps the end of the context, which is what was said later"),
        ([RECIPE, *world["common"], *world["models"], "--output_dir", str(tmp_path), "--text_tokens", "own"],
         "expected all or utterance"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            train.main(arguments)
    saved = command(meld, ["--model_name_or_path", str(run)], tmp_path, "--context_utterances", "2")
    with pytest.raises(ValueError, match=r"--context_utterances 2 \(the model has 1\)"):
        train.main(saved)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("intfloat/e5-base-v2", "query: "),
        ("intfloat/multilingual-e5-large-instruct", "Instruct: "),
        ("Qwen/Qwen3-Embedding-0.6B", "Instruct: "),
        ("BAAI/bge-base-en-v1.5", None),
        ("google-bert/bert-base-uncased", None),
    ],
)
def test_a_prefix_that_a_language_model_was_trained_with_is_named(name, expected, caplog):
    arguments = ["--corpus", "meld", "--data_dir", "x", "--output_dir", "y", "--language_model", name]
    with caplog.at_level(logging.WARNING, logger="run_mac"):
        note_prefix(parse_arguments(arguments)[0])
        assert (f'was trained with "{expected}' in caplog.text) if expected else not caplog.text
        caplog.clear()
        note_prefix(parse_arguments([*arguments, "--text_prefix", "none: "])[0])
    assert not caplog.text
