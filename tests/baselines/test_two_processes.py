"""Comparison systems with a state, with losses between clips, or with dialogues as samples: one process equals two, and
resume is exact.
"""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.fusion_trainers import small_trainer, trained
from tests.helpers.project import PROJECT

pytestmark = pytest.mark.slow
SYSTEMS = ("self_mm", "mmim", "misa", "dialogue_rnn")

SCRIPT = """
import sys
import torch
from accelerate import PartialState
torch.set_num_threads(1)
from tests.helpers.fusion_trainers import trained
for system in sys.argv[3:]:
    trained(sys.argv[1], system, int(sys.argv[2]))
PartialState().destroy_process_group()
"""


def test_two_processes_equal_one(tmp_path):
    """Losses, weights and states after two epochs, with uneven last batches."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "two").mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [*command, script, tmp_path / "two", "2", *SYSTEMS],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for system in SYSTEMS:
        trained(tmp_path, system, 4)
        one, two = (load_file(folder / f"{system}.safetensors") for folder in (tmp_path, tmp_path / "two"))
        assert one.keys() == two.keys()
        for name, value in one.items():
            if name.startswith("state.") and ("memory" in name or "signs" in name):  # a set of rows
                assert torch.allclose(value.double().sum(dim=0), two[name].double().sum(dim=0), atol=1e-5), name
            else:
                near = 1e-3 if name == "state.labels" else 1e-5  # ratios of distances enlarge the last digits
                assert torch.allclose(value.double(), two[name].double(), atol=near, equal_nan=True), (system, name)
        logs = [json.loads((folder / f"{system}.json").read_text()) for folder in (tmp_path, tmp_path / "two")]
        assert logs[0] == [{name: pytest.approx(value, abs=1e-5) for name, value in row.items()} for row in logs[1]]


@pytest.mark.parametrize("system", ["self_mm", "mmim", "misa", "mag"])
def test_a_resumed_training_equals_an_uninterrupted_one(system, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": None, "num_train_epochs": 3}
    whole = small_trainer(tmp_path / "whole", system, 4, **options)
    whole.train()
    for step in (4, 6):  # in the middle of the second epoch, and at its end
        resumed = small_trainer(tmp_path / str(step), system, 4, **options)
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        for name, value in whole.model.state_dict().items():
            assert resumed.model.state_dict()[name].equal(value), name
        if whole.training_state is None:
            continue
        state, expected = resumed.training_state.state_dict(), whole.training_state.state_dict()
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            assert state[name].equal(value), name
