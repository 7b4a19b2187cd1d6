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
        (
            made() | {"store": "9"},
            ["the embeddings were made by other encoders or feature files, or with another sampling"],
        ),
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


def test_what_a_checkpoint_cannot_follow_is_refused_even_where_changes_are_allowed(tmp_path):
    """The state of a training is kept by the position of its clips, weights have their shapes."""
    path = checkpoint(tmp_path / "checkpoint-3", made(pseudo_labels="generated", num_latents=8))
    same = {"pseudo_labels": "generated", "num_latents": 8}
    for now, told in (
        (made(clips().select([1, 0, 2, 3]), **same), "clips of train in another order"),
        (made(clips().select([0, 1]), **same), "clips of train removed"),
        (made(clips(label=[9.0, 1.0, 2.0, 3.0]), **same), "clips of train with another label"),
        (made(**same | {"num_latents": 4}), "num_latents was 8, is 4"),
        (made(**same | {"pseudo_labels": "off"}), "pseudo_labels was 'generated', is 'off'"),
        (made(**same) | {"weights": {"language model": "1", "tokenizer": "9"}}, "the tokenizer is another one"),
    ):
        with pytest.raises(ChangedSettingsError, match=f"cannot be resumed with these changes, allowed or not: {told}"):
            check_same_settings(path, now, True)
    assert check_same_settings(path, made(clips(text=list("abcd")), dropout=0.3, **same), True)
    path = checkpoint(tmp_path / "checkpoint-4", made(pseudo_labels="off"))
    assert check_same_settings(path, made(clips(label=[9.0, 1.0, 2.0, 3.0]), pseudo_labels="off"), True)


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
