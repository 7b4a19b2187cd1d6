"""One process equals two: losses, parameters, pseudo labels, predictions (promise 6), metrics to the last digit. gloo
on the CPU.
"""

import json

import pytest
import torch
from safetensors.torch import load_file

from modeling_semanticmac.metrics import compute_metrics
from tests.helpers.processes import run_script
from tests.helpers.tiny import SENTIMENT, word_corpus
from tests.helpers.trainers import evaluated, new_trainer

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys
import torch
from tests.helpers.trainers import logged, new_trainer
folder, batch = sys.argv[1], int(sys.argv[2])
order = "group_by_length" if batch % 3 == 0 else "random"
options = {"per_device_train_batch_size": batch, "per_device_eval_batch_size": batch, "train_sampling_strategy": order}
trainer = new_trainer(folder, keep_bank=True, **options)
for module in trainer.model.modules():
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
trainer.train()
predictions = trainer.predict(trainer.train_dataset)
if trainer.is_world_process_zero():
    from safetensors.torch import save_file
    state = {f"model.{k}": v.contiguous() for k, v in trainer.model.state_dict().items()}
    state |= {f"labels.{k}": v.contiguous() for k, v in trainer.label_state.state_dict().items()}
    state |= {f"bank.{k}": v for k, v in trainer.bank.tensors.items() if k != "probe"}
    state["predictions"] = torch.as_tensor(predictions.predictions[0])
    save_file(state, folder + "/state.safetensors")
    json.dump(logged(trainer), open(folder + "/log.json", "w"))
"""


EVALUATION = """
import json, sys
import torch
from tests.helpers.trainers import evaluated, new_trainer
from modeling_semanticmac.training.nearest_neighbors import nearest_neighbors
from modeling_semanticmac.training.shared_neighbors import shared_nearest_neighbors
for count, among in ((1, None), (2, None), (9, None), (60, None), (60, 20)):
    features = torch.randn(count, 5, generator=torch.Generator().manual_seed(count))
    pairs = zip(shared_nearest_neighbors(features, 4, 2**20, among), nearest_neighbors(features, 4, among=among))
    assert all(shared.equal(alone) for shared, alone in pairs), (count, among)
found = {batch: evaluated(sys.argv[1], batch) for batch in (4, 3)}
if torch.distributed.get_rank() == 0:
    json.dump(found, open(sys.argv[1] + "/found.json", "w"))
"""


RESUME = """
import sys
import torch
from tests.helpers.trainers import assert_same_training, new_trainer
folder = sys.argv[1]
options = {"per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 1, "save_total_limit": None}
for order, steps in {"group_by_length": (5,), "random": (1, 4, 6)}.items():  # in the middle and at the end of an epoch
    options["train_sampling_strategy"] = order
    whole = new_trainer(folder + "/whole", **options)
    whole.train()
    for step in steps:
        resumed = new_trainer(f"{folder}/{order}/{step}", **options)
        resumed.train(resume_from_checkpoint=f"{folder}/whole/checkpoint-{step}")
        assert_same_training(resumed, whole)
try:
    new_trainer(folder + "/refused", **options).train(resume_from_checkpoint=folder + "/../one/checkpoint-4")
except ValueError as error:
    assert "was saved by 1 process, this run has 2" in str(error), error
else:
    raise AssertionError("two processes resumed a run of one")
"""


def run(folder, processes: int, batch: int):
    folder.mkdir()
    run_script(SCRIPT, folder, batch, processes=processes)
    return load_file(folder / "state.safetensors"), json.loads((folder / "log.json").read_text())


def test_two_processes_equal_one(tmp_path):
    """10 clips in global batches of 4: the last batch of an epoch holds two, one for each process or filled up."""
    (one, one_log), (two, two_log) = run(tmp_path / "one", 1, 4), run(tmp_path / "two", 2, 2)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}")
    assert one["predictions"].shape == (10, 1)
    assert [row.keys() for row in one_log] == [row.keys() for row in two_log]
    for left, right in zip(one_log, two_log):
        for name, value in left.items():
            assert abs(value - right[name]) <= 1e-5 + 1e-5 * abs(value), (name, left, right)


def test_an_uneven_last_batch_counts_each_clip_once(tmp_path):
    """10 clips in global batches of 6, grouped by length: the last batch holds four real clips and two that fill it
    up.
    """
    (one, _), (two, _) = run(tmp_path / "one", 1, 6), run(tmp_path / "two", 2, 3)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


def test_metrics_and_neighbours_are_the_same_to_the_last_digit(tmp_path):
    """10 clips in batches of 4, the last of two, and of 3, the last of one: of a model, one process computes what two
    compute, without tolerance. Of the search for neighbours every process does a half.
    """
    (tmp_path / "two").mkdir()
    run_script(EVALUATION, tmp_path / "two")
    found = json.loads((tmp_path / "two/found.json").read_text())
    labels = word_corpus(10)["label"][:]
    for batch, two in found.items():
        assert two == evaluated(tmp_path, int(batch))
        # Each clip once, in its place: the figures are those of the gathered predictions and the corpus's own labels.
        assert two["labels"] == labels
        expected = compute_metrics(SENTIMENT, two["logits"], labels)
        for split in ("eval", "test"):
            assert {name: two["metrics"][f"{split}_{name}"] for name in expected} == expected
            assert f"{split}_loss" in two["metrics"]


def test_two_processes_resume_exactly_and_only_what_two_processes_saved(tmp_path):
    """Stopped and resumed equals never stopped, bit for bit, with dropout; from 1 to 2 and from 2 to 1 is refused."""
    options = {"save_strategy": "steps", "save_steps": 4, "save_total_limit": None}
    new_trainer(tmp_path / "one", max_steps=4, **options).train()
    (tmp_path / "two").mkdir()
    run_script(RESUME, tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "two/whole/checkpoint-9").glob("rng_state*")) == [
        "rng_state_0.pth", "rng_state_1.pth",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="was saved by 2 processes, this run has 1: .*Resume with 2 processes"):
        new_trainer(tmp_path / "again").train(resume_from_checkpoint=str(tmp_path / "two/whole/checkpoint-4"))
