"""FSDP2 on two processes (gloo): it trains as DistributedDataParallel does, saves, resumes and loads.

accelerate shards on accelerators only; here it is told that the two CPU processes are some.
"""

from safetensors.torch import load_file

from modeling_semanticmac import SemanticMACForAffect
from tests.helpers.processes import run_script

SCRIPT = """
import os, sys
import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from safetensors.torch import save_file
from modeling_semanticmac.training import trainer_inputs
from modeling_semanticmac.training.sharding import with_every_modality
from tests.helpers.trainers import logged, new_trainer

folder = sys.argv[1]
options = {"per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 4, "save_total_limit": None}
whole = new_trainer(folder + "/ddp", **options)
prepare, config = whole._prepare_inputs, whole.model.config
# Masked as with FSDP, where all processes run every layer: otherwise other numbers would be drawn for dropout.
whole._prepare_inputs = lambda batch: with_every_modality(prepare(batch), config, ("text", "audio", "vision"))
whole.train()

plain = PartialState.__init__
def on_accelerators(self, *args, **kwargs):
    plain(self, *args, **kwargs)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU
PartialState.__init__ = on_accelerators
trainer_inputs.check_fsdp = lambda args: None  # which says that FSDP has no effect on CPUs

def compare(found, expected, **tolerance):
    # Each process holds a part; together they are the same model, with the same pseudo labels, after the same losses.
    for name, value in expected.label_state.state_dict().items():
        torch.testing.assert_close(found.label_state.state_dict()[name], value, **tolerance)
    for one, two in zip(logged(found), logged(expected), strict=True):
        assert one.keys() == two.keys()
        assert all(abs(one[name] - two[name]) < 1e-4 for name in one), (one, two)

def weights(trainer):
    return {name: value.full_tensor() if hasattr(value, "full_tensor") else value
            for name, value in trainer.model.state_dict().items()}

sharding = {"fsdp": True, "fsdp_config": {"version": 2, "state_dict_type": "FULL_STATE_DICT"}}
sharded = new_trainer(folder + "/fsdp", **options, **sharding)
assert sharded.accelerator.distributed_type == DistributedType.FSDP
sharded.train()
parts = [p for p in sharded.model.parameters() if hasattr(p, "full_tensor")]
assert len(parts) == len(list(sharded.model.parameters())) > 100
assert sum(p.to_local().numel() for p in parts) < 0.6 * sum(p.numel() for p in parts)
compare(sharded, whole, rtol=1e-5, atol=1e-5)
found = weights(sharded)
for name, value in whole.model.state_dict().items():
    torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)

resumed = new_trainer(folder + "/resumed", **options, **sharding)
resumed.train(resume_from_checkpoint=folder + "/fsdp/checkpoint-4")
compare(resumed, sharded, rtol=0, atol=0)
for name, value in weights(resumed).items():
    assert value.equal(found[name]), name

if torch.distributed.get_rank() == 0:
    save_file({name: value.contiguous() for name, value in found.items()}, folder + "/expected.safetensors")
predicted = sharded.predict(sharded.train_dataset).predictions[0]
expected = whole.predict(whole.train_dataset).predictions[0]
assert abs(predicted - expected).max() < 1e-5
try:
    new_trainer(folder + "/refused", **options, **sharding).train(resume_from_checkpoint=folder + "/ddp/checkpoint-4")
except ValueError as error:
    assert "was saved without FSDP, this run is with FSDP" in str(error), error
else:
    raise AssertionError("a run with FSDP resumed one without")
torch.distributed.barrier()
os._exit(0)  # FSDP keeps the process group, whose threads of gloo could abort the end of the interpreter
"""


def test_fsdp_equals_ddp_and_resumes_exactly(tmp_path):
    """With dropout, across the start of label generation; parameters in halves; the checkpoint is one of any model."""
    (tmp_path / "run").mkdir()
    run_script(SCRIPT, tmp_path / "run")
    checkpoint = tmp_path / "run/fsdp/checkpoint-4"
    names = {path.name for path in checkpoint.iterdir()}
    assert {"model.safetensors", "pytorch_model_fsdp.bin", "optimizer.bin"} <= names
    assert not (checkpoint / "optimizer.pt").exists()
    expected = load_file(tmp_path / "run/expected.safetensors")
    loaded = SemanticMACForAffect.from_pretrained(tmp_path / "run/fsdp/checkpoint-9")
    for name, value in loaded.state_dict().items():
        assert value.equal(expected[name]), name
