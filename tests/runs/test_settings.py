"""What made a checkpoint is compared clip by clip and argument by argument."""

import json

import datasets
import pytest

from modeling_semanticmac.runs.settings import (
    MADE_WITH,
    ChangedSettingsError,
    check_same_settings,
    clip_digests,
    forgets_best,
    setting_differences,
)


def clips(**changes):
    rows = {
        "id": list("abcd"),
        "label": [0.0, 1.0, 2.0, 3.0],
        "text": ["w", "x", "y", "z"],
        "context": [[], ["v"], [], []],
    }
    return datasets.Dataset.from_dict({**rows, **changes})


def made(train=None, validation=None, **arguments) -> dict:
    return {
        "arguments": {"learning_rate": 1e-4, "seed": 1, **arguments},
        "weights": {"language model": "1", "tokenizer": "2"},
        "clips": {"train": clip_digests(train or clips()), "validation": clip_digests(validation or clips())},
        "store": "3",
        "media": {"train": {"a": "4", "b": "5"}},
    }


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (made(), []),
        (made(learning_rate=0.5), ["learning_rate was 0.0001, is 0.5"]),
        (made(new=1), ["new was None, is 1"]),
        (made(clips(label=[0.0, 1.5, 2.0, 3.5])), ["clips of train with another label: b, d (2)"]),
        (made(clips(text=["w", "x", "y", "!"])), ["clips of train with another text or context: d (1)"]),
        (made(clips(context=[[], ["u"], [], []])), ["clips of train with another text or context: b (1)"]),
        (made(clips().select([0, 1, 3])), ["clips of train removed: c (1)"]),
        (made(clips().select([1, 0, 2, 3])), ["clips of train in another order: b, a (2)"]),
        (made(validation=clips(label=[9.0, 1.0, 2.0, 3.0])), ["clips of validation with another label: a (1)"]),
        (
            made(validation=clips(id=list("abce"))),
            ["clips of validation added: e (1)", "clips of validation removed: d (1)"],
        ),
        (made() | {"weights": {"language model": "9", "tokenizer": "2"}}, ["the language model is another one"]),
        (made() | {"store": "9"}, ["the embeddings were made by other encoders or with another sampling"]),
        (made() | {"media": {"train": {"a": "4", "b": "9"}}}, ["clips of train with other media: b (1)"]),
    ],
)
def test_each_difference_is_named(now, expected):
    assert [difference.text for difference in setting_differences(made(), now)] == expected


def checkpoint(folder, content):
    folder.mkdir()
    if content is not None:
        (folder / MADE_WITH).write_text(json.dumps(content))
    return folder


def test_differences_are_refused_unless_they_are_allowed(tmp_path):
    path = checkpoint(tmp_path / "checkpoint-3", made())
    assert check_same_settings(path, made(), False) == []
    with pytest.raises(ChangedSettingsError, match=r"learning_rate was 0.0001, is 0.5.*--allow_changed_settings"):
        check_same_settings(path, made(learning_rate=0.5), False)
    found = check_same_settings(path, made(learning_rate=0.5), True)
    assert [difference.part for difference in found] == ["learning_rate"] and not forgets_best(found)
    assert forgets_best(check_same_settings(path, made(validation=clips(label=[9.0, 1.0, 2.0, 3.0])), True))
    # The state of a training is kept by the position of its clips.
    for other in (clips().select([1, 0, 2, 3]), clips().select([0, 1])):
        with pytest.raises(ChangedSettingsError, match="a changed training set cannot be allowed"):
            check_same_settings(path, made(other), True)


def test_a_checkpoint_that_does_not_say_what_made_it(tmp_path):
    path = checkpoint(tmp_path / "checkpoint-3", None)
    with pytest.raises(ChangedSettingsError, match=f"holds no {MADE_WITH}"):
        check_same_settings(path, made(), False)
    assert forgets_best(check_same_settings(path, made(), True))


def test_every_argument_is_either_compared_or_known_to_change_no_number():
    """A new argument of transformers or of this package is compared until somebody says otherwise."""
    from modeling_semanticmac.runs.settings import WITHOUT_EFFECT, effective_arguments
    from modeling_semanticmac.training.run_arguments import argument_readers, parse_arguments

    arguments = parse_arguments(["--use_cpu", "--output_dir", "x"])
    compared = set(effective_arguments(*arguments))
    assert compared.isdisjoint(WITHOUT_EFFECT) and "processes" in compared
    assert {
        "learning_rate",
        "seed",
        "dropout",
        "use_context",
        "bf16",
        "num_train_epochs",
        "metric_for_best_model",
    } <= compared
    names = set(argument_readers()) - {name for name in argument_readers() if name.startswith(("search_", "do_search"))}
    assert names - compared - WITHOUT_EFFECT == set()
