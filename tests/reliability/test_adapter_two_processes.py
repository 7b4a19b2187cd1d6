"""An adapter of a frozen language model: two processes equal one, and two processes resume exactly. gloo on the CPU."""

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.processes import run_script
from tests.helpers.tiny import word_tokenizer
from tests.helpers.tiny_language_models import save_language_model
from tests.training.test_adapter_training import adapter_trainer, without_dropout

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from safetensors.torch import save_file
from tests.helpers.trainers import assert_same_training
from tests.training.test_adapter_training import adapter_trainer, without_dropout
folder = sys.argv[1]
base = folder + "/../base"
trainer = without_dropout(adapter_trainer(base, folder + "/plain", per_device_train_batch_size=2))
trainer.train()
if trainer.is_world_process_zero():
    save_file({k: v.contiguous() for k, v in trainer.model.state_dict().items()}, folder + "/state.safetensors")
options = {"per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 4, "save_total_limit": None}
whole = adapter_trainer(base, folder + "/whole", **options)
whole.train()
resumed = adapter_trainer(base, folder + "/resumed", **options)
resumed.train(resume_from_checkpoint=folder + "/whole/checkpoint-4")
assert_same_training(resumed, whole)
"""


def test_two_processes_equal_one_and_resume_exactly(tmp_path):
    base = save_language_model("llama", tmp_path / "base", vocab_size=len(word_tokenizer()))
    trainer = without_dropout(adapter_trainer(base, tmp_path / "one"))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    (tmp_path / "two").mkdir()
    run_script(SCRIPT, tmp_path / "two")
    two, one = load_file(tmp_path / "two/state.safetensors"), trainer.model.state_dict()
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}")
        if "language_model" in name:
            assert value.equal(before[name]) == ("lora_" not in name), name
