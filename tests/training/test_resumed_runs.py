"""`--resume_from_checkpoint`: the same settings continue exactly, others are refused and change nothing on disk."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from modeling_semanticmac.commands import train as train_command
from modeling_semanticmac.neighbor_bank import BANK
from modeling_semanticmac.runs.output_folder import OutputFolderError
from modeling_semanticmac.runs.settings import ChangedSettingsError
from modeling_semanticmac.training import run_features
from modeling_semanticmac.training.trainer import SemanticMACTrainer
from tests.helpers.project import RECIPE
from tests.helpers.runs import content, record, rows

EPOCHS, STEPS = 3, 3  # twelve clips in batches of four


@pytest.fixture(scope="module")
def command(world) -> list[str]:
    """A run on text, whose learning rate is constant after the first epoch."""
    own = [
        "--modalities",
        "text",
        "--num_train_epochs",
        str(EPOCHS),
        "--per_device_train_batch_size",
        "4",
        "--label_start_epoch",
        "1",
    ]
    rates = ["--lr_scheduler_type", "constant_with_warmup", "--dropout", "0.2", "--logging_steps", "1"]
    return [RECIPE, *world["common"], *world["models"][:2], *own, *rates]


def interrupt(command, folder, step: int) -> None:
    """Run a command until its training has done some steps."""
    training_step, done = SemanticMACTrainer.training_step, []

    def counted(self, *args, **kwargs):
        if len(done) == step:
            raise KeyboardInterrupt
        done.append(1)
        return training_step(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SemanticMACTrainer, "training_step", counted)
        train_command.main([*command, "--output_dir", str(folder)])


@pytest.fixture(scope="module")
def killed(command, tmp_path_factory):
    """A run that was stopped in its third epoch, with the checkpoints of two."""
    folder = tmp_path_factory.mktemp("killed")
    interrupt(command, folder, 2 * STEPS + 1)
    assert {"checkpoint-3", "checkpoint-6"} <= {path.name for path in folder.iterdir()}
    return folder


@pytest.fixture
def copy(killed, tmp_path):
    return shutil.copytree(killed, tmp_path / "run")


def resume(command, folder, *more: str) -> None:
    train_command.main([*command, "--output_dir", str(folder), "--resume_from_checkpoint", "last", *more])


def refused(command, folder, message: str, *more: str, error=ChangedSettingsError) -> None:
    """Resume, and see a refusal that changes nothing on disk."""
    before = content(folder)
    with pytest.raises(error, match=message):
        resume(command, folder, *more)
    assert content(folder) == before


def test_the_same_settings_continue_exactly(command, copy, tmp_path):
    train_command.main([*command, "--output_dir", str(tmp_path / "whole")])
    more = ["--logging_steps", "2", "--save_total_limit", "3", "--intended_use", "research on drawn faces"]
    resume(command, copy, *more, "--keep_bank")  # these change no number
    assert record(copy, "config.json")["intended_use"] == "research on drawn faces" and (copy / BANK).is_file()
    for name in ("predictions_test.csv", "splits.json"):
        assert (copy / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert record(copy)["state"] == "finished" and record(copy)["changed_settings"] == []
    made, whole = (record(folder / "checkpoint-9", "made_with.json") for folder in (copy, tmp_path / "whole"))
    assert made.pop("changed_settings") == [] and made == whole


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--learning_rate", "0.5"], "learning_rate was 0.001, is 0.5"),
        (["--seed", "7"], "seed was 42, is 7"),
        (["--num_train_epochs", "2"], "num_train_epochs was 3.0, is 2.0"),
        (["--num_latents", "4"], "num_latents was 8, is 4"),
        (["--use_context", "false"], "use_context was True, is False"),
        (["--max_train_samples", "8"], r"clips of train removed: .* \(4\)"),
        (["--metric_for_best_model", "mae"], "metric_for_best_model was 'None', is 'mae'"),
    ],
)
def test_other_settings_are_refused(command, copy, more, message):
    refused(command, copy, message, *more)


@pytest.mark.parametrize(
    ("split", "edit", "message"),
    [
        ("train", lambda clips: relabel(clips, 3), r"clips of train with another label: CLIP3 \(1\)"),
        ("train", lambda clips: clips.select([1, 0, *range(2, 12)]), r"train in another order: CLIP1, CLIP0 \(2\)"),
        ("train", lambda clips: clips.select(range(11)), r"clips of train removed: CLIP11 \(1\)"),
        ("train", lambda clips: retext(clips, 2), r"clips of train with another text or context: CLIP2 \(1\)"),
        ("validation", lambda clips: relabel(clips, 0), r"clips of validation with another label: CLIP0 \(1\)"),
    ],
)  # fmt: skip
def test_an_edited_corpus_is_refused(world, command, copy, monkeypatch, split, edit, message):
    load = run_features.load_corpus

    def edited(*args, **kwargs):
        corpus = dict(load(*args, **kwargs))
        return {**corpus, split: edit(corpus[split])}

    monkeypatch.setattr(run_features, "load_corpus", edited)
    ids = world["clips"][split]["id"][:]
    for number in reversed(range(len(ids))):
        message = message.replace(f"CLIP{number}", ids[number])
    refused(command, copy, message)


def relabel(clips, row: int):
    return clips.map(lambda clip, index: {"label": clip["label"] + (index == row)}, with_indices=True)


def retext(clips, row: int):
    return clips.map(lambda clip, index: {"text": clip["text"] + (" not" if index == row else "")}, with_indices=True)


def test_another_language_model_is_refused(world, command, copy, tmp_path):
    """Also one at the same place, whose weights were replaced; the same one at another place is the same."""
    moved = shutil.copytree(world["folder"] / "language_model", tmp_path / "moved")
    command = [str(moved) if word == str(world["folder"] / "language_model") else word for word in command]
    assert str(moved) in command
    weights = load_file(moved / "model.safetensors")
    name = next(iter(sorted(weights)))
    save_file({**weights, name: weights[name] + 1}, moved / "model.safetensors", {"format": "pt"})
    refused(command, copy, "the language model is another one")
    save_file(weights, moved / "model.safetensors", {"format": "pt"})
    resume(command, copy)
    assert record(copy)["state"] == "finished"


def test_allowed_changes_take_effect_and_are_recorded(command, copy):
    """A rate of 0.5 is used from the first resumed step on; record and report say so, also after a second stop."""
    more = ["--learning_rate", "0.5", "--allow_changed_settings", "--resume_from_checkpoint", "last"]
    interrupt([*command, *more, "--num_train_epochs", "5"], copy, STEPS + 1)
    resume(command, copy, *more, "--num_train_epochs", "5")
    history = record(copy, "trainer_state.json")["log_history"]
    rates = {row["step"]: row["learning_rate"] for row in history if "learning_rate" in row}
    assert [rates[step] for step in (5, 6, 7, 9, 10, 15)] == pytest.approx([1e-3, 1e-3, 0.5, 0.5, 0.5, 0.5])
    changed = record(copy)["changed_settings"]
    assert changed == ["learning_rate was 0.001, is 0.5", "num_train_epochs was 3.0, is 5.0"]
    report = (copy / "report.md").read_text()
    assert all(difference in report for difference in changed)


def test_a_changed_validation_forgets_the_best_checkpoint(command, copy):
    """Its figure was measured on other clips, here one clip that no later checkpoint could beat."""
    path = copy / "checkpoint-6/trainer_state.json"
    path.write_text(json.dumps(record(copy, "checkpoint-6/trainer_state.json") | {"best_metric": -1.0}))
    resume(command, copy, "--max_eval_samples", "3", "--allow_changed_settings")
    assert record(copy, "trainer_state.json")["best_metric"] > 0
    assert record(copy, "trainer_state.json")["best_global_step"] == 9


def test_a_training_set_that_changed_cannot_be_allowed(command, copy):
    refused(
        command,
        copy,
        "cannot be resumed with these changes, allowed or not: clips of train removed",
        "--max_train_samples",
        "8",
        "--allow_changed_settings",
    )


def test_a_new_run_beside_an_unfinished_one(command, copy, tmp_path):
    """It is refused; with `--overwrite_output_dir` it starts again, and no old checkpoint stays."""
    before = content(copy)
    with pytest.raises(
        OutputFolderError, match="unfinished run with checkpoint-6; continue it with --resume_from_checkpoint last"
    ):
        train_command.main([*command, "--num_train_epochs", "1", "--output_dir", str(copy)])
    assert content(copy) == before
    train_command.main([*command, "--num_train_epochs", "1", "--output_dir", str(copy), "--overwrite_output_dir"])
    assert [path.name for path in copy.glob("checkpoint-*")] == ["checkpoint-3"]
    assert record(copy)["training"]["num_train_epochs"] == 1


def test_the_word_true_and_a_place_without_checkpoints(command, copy, tmp_path):
    """`true` is the library's own word; a mistyped folder and an empty one start nothing."""
    refused(command, copy, "learning_rate was", "--resume_from_checkpoint", "true", "--learning_rate", "0.5")
    (tmp_path / "empty").mkdir()
    refused(command, tmp_path / "empty", "no whole checkpoint in", error=FileNotFoundError)
    absent = ["--resume_from_checkpoint", str(copy / "checkpoint-5")]
    message = "no checkpoint at .*checkpoint-5; .* holds checkpoint-3, checkpoint-6"
    refused(command, copy, message, *absent, error=FileNotFoundError)
    with pytest.raises(FileNotFoundError, match="no whole checkpoint"):
        resume(command, tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_a_seed_of_other_settings_is_refused(command, tmp_path):
    """`--seeds` resumes by itself, but not a checkpoint of other settings, nor beside seeds of an edited corpus."""
    seeds = ["--seeds", "7", "8"]
    interrupt([*command, *seeds], tmp_path, STEPS + 1)
    with pytest.raises(ChangedSettingsError, match="learning_rate was 0.001, is 0.5"):
        train_command.main([*command, *seeds, "--learning_rate", "0.5", "--output_dir", str(tmp_path)])
    interrupt([*command, *seeds], tmp_path, 2 * STEPS + STEPS + 1)
    assert (
        record(tmp_path / "seed_7", "finished.json")["seed"] == 7 and not (tmp_path / "seed_8/finished.json").exists()
    )
    load = run_features.load_corpus
    with pytest.MonkeyPatch.context() as patch:

        def edited(*args, **kwargs):
            corpus = dict(load(*args, **kwargs))
            return {**corpus, "test": relabel(corpus["test"], 0)}

        patch.setattr(run_features, "load_corpus", edited)
        with pytest.raises(ValueError, match="finished run with other arguments.*clips of test was .*, is "):
            train_command.main([*command, *seeds, "--output_dir", str(tmp_path)])
    train_command.main([*command, *seeds, "--output_dir", str(tmp_path)])
    assert record(tmp_path, "seeds.json")["seeds"] == [7, 8]
    assert len(rows(tmp_path / "seed_8/predictions_test.csv")) == 5
