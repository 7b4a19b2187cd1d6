"""Comparison systems with a state, with losses between clips, or with dialogues as samples: one process equals two, and
resume is exact.
"""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.fusion_trainers import small_trainer, trained
from tests.helpers.processes import run_script
from tests.helpers.systems import TRAINED

pytestmark = pytest.mark.slow
SYSTEMS = ("self_mm", "mmim", "misa", "mtmd", "dialogue_rnn")
# What these keep between steps is their weights alone: one step tells.
INDEPENDENT = sorted({*TRAINED} - {*SYSTEMS})

SCRIPT = """
import sys
from tests.helpers.fusion_trainers import trained
for name in sys.argv[3:]:
    system, _, steps = name.partition(":")
    trained(sys.argv[1], system, int(sys.argv[2]), int(steps or -1))
"""


def test_two_processes_equal_one(tmp_path):
    """Losses, weights and states after two epochs, with uneven last batches; of other systems after one step."""
    (tmp_path / "two").mkdir()
    run_script(SCRIPT, tmp_path / "two", 2, *SYSTEMS, *(f"{name}:1" for name in INDEPENDENT))
    for system in (*SYSTEMS, *INDEPENDENT):
        trained(tmp_path, system, 4, -1 if system in SYSTEMS else 1)
        one, two = (load_file(folder / f"{system}.safetensors") for folder in (tmp_path, tmp_path / "two"))
        assert one.keys() == two.keys()
        for name, value in one.items():
            if name.startswith("state.") and ("memory" in name or "signs" in name):  # a set of rows
                assert torch.allclose(value.double().sum(dim=0), two[name].double().sum(dim=0), atol=1e-5), name
            else:
                near = 1e-3 if name == "state.labels" else 1e-5  # ratios of distances enlarge the last digits
                assert torch.allclose(value.double(), two[name].double(), atol=near, equal_nan=True), (system, name)
        logs = [json.loads((folder / f"{system}.json").read_text()) for folder in (tmp_path, tmp_path / "two")]
        assert logs[0] and logs[0] == [
            {name: pytest.approx(value, abs=1e-5) for name, value in row.items()} for row in logs[1]
        ]


def test_a_training_resumed_after_an_epoch_equals_an_uninterrupted_one(tmp_path):
    """Where the labels of Self-MM move; test_every_system.py resumes every system in the middle of an epoch."""
    options = {"save_strategy": "steps", "save_steps": 6, "save_total_limit": None, "num_train_epochs": 3}
    whole, resumed = (small_trainer(tmp_path / name, "self_mm", 4, **options) for name in ("whole", "resumed"))
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole/checkpoint-6"))
    for one, other in ((whole.model, resumed.model), (whole.training_state, resumed.training_state)):
        found = other.state_dict()
        assert one.state_dict().keys() == found.keys()
        for name, value in one.state_dict().items():
            assert found[name].equal(value), name
