"""Which checkpoints are whole, which is the newest, which are deleted."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import save_file
from transformers import TrainerCallback

from modeling_semanticmac.training.checkpoints import (
    check_checkpoint,
    checkpoint_faults,
    list_checkpoints,
    newest_whole_checkpoint,
    rotate_checkpoints,
    saved_processes,
)
from tests.helpers.tiny import word_corpus
from tests.helpers.trainers import new_trainer

SAVING = {"save_strategy": "steps", "save_steps": 1}


def write_checkpoint(folder, step: int, processes: int = 1):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in ("model.safetensors", "label_state.safetensors"):
        save_file({"a": torch.zeros(100)}, path / name)
    names = ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in range(processes)]
    for name in ("optimizer.pt", "scheduler.pt", *names):
        torch.save({"a": torch.zeros(100)}, path / name)
    (path / "trainer_state.json").write_text("{}")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    new_trainer(folder, save_total_limit=None, max_steps=3, **SAVING).train()
    return folder


def test_a_checkpoint_of_a_run_is_whole_and_nothing_else_is_left(trained):
    assert [path.name for path in list_checkpoints(trained)] == ["checkpoint-1", "checkpoint-2", "checkpoint-3"]
    assert all(checkpoint_faults(path) == [] for path in list_checkpoints(trained))
    assert not (trained / ".unfinished").exists()
    state = json.loads((trained / "checkpoint-3" / "trainer_state.json").read_text())
    assert state["global_step"] == 3


PARTS = (
    "model.safetensors",
    "trainer_state.json",
    "optimizer.pt",
    "scheduler.pt",
    "label_state.safetensors",
    "rng_state.pth",
)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("damage", ["absent", "cut", "empty"])
def test_a_checkpoint_without_one_of_its_files_is_refused_and_passed_over(trained, tmp_path, name, damage, caplog):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    path = run / "checkpoint-3" / name
    if damage == "absent":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    error, found = (FileNotFoundError, f"no {name}") if damage == "absent" else (ValueError, f"{name} is damaged")
    assert checkpoint_faults(path.parent) == [found]
    with pytest.raises(error, match=f"checkpoint-3 cannot be resumed exactly: {found}. Resume from another"):
        new_trainer(tmp_path / "again").train(resume_from_checkpoint=str(path.parent))
    assert newest_whole_checkpoint(run) == run / "checkpoint-2"
    assert f"checkpoint-3 is passed over, it is not whole: {found}" in caplog.text


def test_a_run_in_fp16_needs_the_scale_of_its_gradients(trained, tmp_path):
    trainer = new_trainer(tmp_path)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu")  # as with --fp16 on a GPU
    with pytest.raises(
        FileNotFoundError, match="cannot be resumed exactly: no scaler.pt, which a run with --fp16 needs"
    ):
        trainer.train(resume_from_checkpoint=str(trained / "checkpoint-2"))


def test_a_shard_that_is_absent_is_named(tmp_path):
    path = write_checkpoint(tmp_path, 1)
    (path / "model.safetensors").rename(path / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert checkpoint_faults(path) == ["no model-00002-of-00002.safetensors"]


def test_a_missing_checkpoint_names_those_beside_it(tmp_path):
    write_checkpoint(tmp_path, 12)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*checkpoint-2; .* holds checkpoint-12\."):
        check_checkpoint(tmp_path / "checkpoint-2", 1)


def test_last_without_a_whole_checkpoint_is_refused(tmp_path):
    for requested in ("last", True, "true"):
        with pytest.raises(FileNotFoundError, match="no whole checkpoint in .* leave out --resume_from_checkpoint"):
            new_trainer(tmp_path / "empty").train(resume_from_checkpoint=requested)


@pytest.mark.parametrize(
    ("saved", "names"), [(1, ["rng_state.pth"]), (2, ["rng_state_0.pth", "rng_state_1.pth"]), (0, ["rng_state_1.pth"])]
)
def test_the_processes_of_a_checkpoint_are_counted(tmp_path, saved, names):
    for name in names:
        (tmp_path / name).touch()
    assert saved_processes(tmp_path) == saved


@pytest.mark.parametrize(
    ("saved", "message"), [(1, "saved by 1 process, this run has 2"), (2, "saved by 2 processes, this run has 1")]
)
def test_another_number_of_processes_is_refused(tmp_path, saved, message):
    with pytest.raises(ValueError, match=message):
        check_checkpoint(write_checkpoint(tmp_path, 1, saved), 3 - saved)
    check_checkpoint(tmp_path / "checkpoint-1", saved)


@pytest.mark.parametrize(
    ("steps", "step", "best", "limit", "kept"),
    [
        ([1, 2, 3], 3, None, 2, [2, 3]),
        ([2, 10, 9], 10, None, 2, [9, 10]),  # by number, not by text
        ([1, 2, 3], 3, 1, 2, [1, 3]),
        ([1, 2, 3], 3, 1, 1, [1, 3]),  # the best one and the newest stay, whatever the limit
        ([3, 180, 360], 3, None, 2, [3, 360]),  # those of an earlier, longer run go first
        ([1, 2, 3, 180], 3, 2, 2, [2, 3]),
        ([1, 2], 2, None, None, [1, 2]),
    ],
)
def test_rotation(tmp_path, steps, step, best, limit, kept):
    for number in steps:
        (tmp_path / f"checkpoint-{number}").mkdir()
        os.utime(tmp_path / f"checkpoint-{number}", (10**9 - number, 10**9 - number))  # the clock ran backwards
    rotate_checkpoints(tmp_path, step, f"elsewhere/checkpoint-{best}" if best else None, limit)
    assert [int(path.name.partition("-")[2]) for path in list_checkpoints(tmp_path)] == kept


class ClockSetBack(TrainerCallback):
    """Let each checkpoint look older than the one before."""

    def on_save(self, args, state, control, **kwargs):
        moment = 10**9 - 1000 * state.global_step
        os.utime(os.path.join(args.output_dir, f"checkpoint-{state.global_step}"), (moment, moment))


def test_a_clock_that_is_set_back_deletes_no_new_checkpoint(tmp_path):
    trainer = new_trainer(tmp_path, save_total_limit=2, **SAVING)
    trainer.add_callback(ClockSetBack())
    trainer.train()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-8", "checkpoint-9"]


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    write_checkpoint(tmp_path, 3)
    (tmp_path / "checkpoint-3" / "stale.txt").touch()
    new_trainer(tmp_path, save_total_limit=None, max_steps=3, save_strategy="steps", save_steps=3).train()
    assert not (tmp_path / "checkpoint-3" / "stale.txt").exists() and checkpoint_faults(tmp_path / "checkpoint-3") == []


def test_the_best_checkpoint_is_named_by_its_final_place(tmp_path):
    options = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    trainer = new_trainer(tmp_path, word_corpus(10), save_total_limit=1, **options)
    trainer.train()
    best = tmp_path / f"checkpoint-{trainer.state.best_global_step}"
    assert trainer.state.best_model_checkpoint == str(best) and list_checkpoints(tmp_path) == [best]
    state = json.loads((best / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(best)


def test_the_final_model_is_whole_or_absent(tmp_path, monkeypatch):
    """An error in the middle leaves what was there before; a folder that a killed process left is no part of it."""
    trainer = new_trainer(tmp_path / "run", max_steps=1, save_strategy="no")
    (tmp_path / "run/.saving/vision_encoder").mkdir(parents=True)
    trainer.save_model()
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert {"model.safetensors", "config.json", "training_args.json"} <= before.keys()
    assert not (tmp_path / "run/.saving").exists() and not (tmp_path / "run/training_args.bin").exists()
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight += 1
    save = type(trainer.model).save_pretrained

    def interrupted(model, folder, **options):
        save(model, folder, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(trainer.model), "save_pretrained", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.save_model()
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    monkeypatch.undo()
    trainer.save_model()
    assert (tmp_path / "run/model.safetensors").read_bytes() != before["model.safetensors"]
