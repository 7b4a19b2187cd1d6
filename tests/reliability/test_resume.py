"""Stopped and resumed equals never stopped, bit for bit on the CPU, with dropout, across the start of label generation
(promise 5).
"""

import errno
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from modeling_semanticmac.training.checkpoints import newest_whole_checkpoint
from modeling_semanticmac.training.label_history import read_label_history
from tests.helpers.project import PROJECT
from tests.helpers.trainers import (
    CLIPS,
    STEPS,
    assert_same_training,
    logged,
    new_trainer,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trainer = new_trainer(folder, save_strategy="steps", save_steps=1, save_total_limit=None)
    trainer.train()
    return folder, trainer


@pytest.mark.parametrize("step", range(1, STEPS))
def test_every_step(whole, tmp_path, step):
    folder, expected = whole
    assert expected.state.global_step == STEPS
    resumed = new_trainer(tmp_path)
    resumed.train(resume_from_checkpoint=str(folder / f"checkpoint-{step}"))
    assert_same_training(resumed, expected)
    later = {path.name: path.read_bytes() for path in (tmp_path / "label_history").iterdir()}
    assert later.keys() == {"clips.json"} | {f"epoch_{epoch}.safetensors" for epoch in (2, 3) if step <= 3 * epoch - 3}
    for name, content in later.items():
        assert content == (folder / "label_history" / name).read_bytes(), name


def test_clips_grouped_by_length(tmp_path):
    """In the middle and at the end of an epoch."""
    options = {"train_sampling_strategy": "group_by_length"}
    expected = new_trainer(tmp_path, save_strategy="steps", save_steps=1, save_total_limit=None, **options)
    expected.train()
    for step in (3, 7):
        resumed = new_trainer(tmp_path / str(step), **options)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert_same_training(resumed, expected)


def test_the_labels_did_move(whole):
    """The test above would pass without label generation too; this one checks that labels were generated."""
    state = whole[1].label_state
    assert state.epoch == 3
    assert not state.labels.equal(state.ground_truth.expand(4, -1, -1))
    assert sum(any(k.startswith("labels/") for k in row) for row in logged(whole[1])) == 2  # epochs 2 and 3


def test_the_label_history_is_what_the_run_learnt_from(whole):
    folder, trainer = whole
    history = read_label_history(folder)
    assert history.epochs == [1, 2, 3] and history.ids == [f"clip_{index}" for index in range(CLIPS)]
    for step in range(1, STEPS + 1):
        state = load_file(folder / f"checkpoint-{step}" / "label_state.safetensors")
        epoch = int(state["epoch"])
        assert epoch == (step + 2) // 3
        assert history.labels(epoch).tolist() == state["labels"].tolist()
    assert (history.neighbors(3) == trainer.label_state.neighbors.numpy()).all() and (history.neighbors(3) >= 0).any()


def test_batch_size_may_change_at_resume(whole, tmp_path):
    resumed = new_trainer(tmp_path, per_device_train_batch_size=2)
    resumed.train(resume_from_checkpoint=str(whole[0] / "checkpoint-3"))
    assert resumed.label_state.epoch == 3 and resumed.state.epoch == 3.0


def test_a_checkpoint_without_label_state_is_refused(whole, tmp_path):
    trainer = new_trainer(
        tmp_path / "off", save_strategy="steps", save_steps=4, save_total_limit=None, pseudo_labels="off"
    )
    trainer.train()
    with pytest.raises(ValueError, match="holds no pseudo labels"):
        new_trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "off" / "checkpoint-4"))
    (tmp_path / "off" / "checkpoint-4" / "label_state.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no label_state.safetensors"):
        new_trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "off" / "checkpoint-4"))


KILLED = """
import os, signal, sys
import torch
from tests.helpers.trainers import new_trainer
torch.set_num_threads(1)
save, calls = torch.save, []
def save_and_die(*args):
    save(*args)
    calls.append(args)
    if len(calls) == 18:  # four files a checkpoint, the second of them is the optimizer
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = save_and_die
new_trainer(sys.argv[1], save_strategy="steps", save_steps=1, save_total_limit=None).train()
"""


def test_killed_while_a_checkpoint_is_saved(whole, tmp_path):
    """The half checkpoint is ignored; the run resumes from the last whole one and ends as if never stopped."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == -signal.SIGKILL, found.stderr[-3000:]
    assert (tmp_path / ".unfinished" / "checkpoint-5" / "optimizer.pt").is_file()  # it was in the middle of it
    assert newest_whole_checkpoint(tmp_path).name == "checkpoint-4"
    resumed = new_trainer(tmp_path, save_strategy="steps", save_steps=4)
    resumed.train(resume_from_checkpoint="last")
    assert_same_training(resumed, whole[1])
    assert not (tmp_path / ".unfinished").exists()


@pytest.mark.parametrize(
    "failing", range(18, 21)
)  # the optimizer, the scheduler, the random states of the fifth checkpoint
def test_a_full_disk_leaves_no_half_checkpoint(whole, tmp_path, monkeypatch, failing):
    save, calls = torch.save, []

    def save_until_full(state, path):
        calls.append(path)
        save(state, path)
        if len(calls) == failing:
            with open(path, "r+b") as file:
                file.truncate(100)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(torch, "save", save_until_full)
    with pytest.raises(OSError, match="No space left on device"):
        new_trainer(tmp_path, save_strategy="steps", save_steps=1, save_total_limit=None).train()
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        f"checkpoint-{step}" for step in (1, 2, 3, 4)
    ]
    assert not (tmp_path / ".unfinished").exists()
    resumed = new_trainer(tmp_path)
    resumed.train(resume_from_checkpoint="last")
    assert_same_training(resumed, whole[1])
