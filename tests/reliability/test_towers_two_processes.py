"""Towers that are trained by adapters: two processes equal one, and two processes resume exactly. gloo on the CPU."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from modeling_semanticmac.commands import train
from tests.helpers.processes import run_script
from tests.helpers.project import RECIPE

pytestmark = pytest.mark.slow

WEIGHTS = ["model.safetensors", *(f"{name}_encoder_adapter/adapter_model.safetensors" for name in ("vision", "audio"))]
SCRIPT = """
import json, sys
from modeling_semanticmac.commands import train
folder, words = sys.argv[1], json.loads(sys.argv[2])
train.main([*words, "--output_dir", folder + "/whole"])
again = ["--output_dir", folder + "/resumed", "--resume_from_checkpoint", folder + "/whole/checkpoint-3"]
train.main([*words, *again])
"""


def without_dropout(run, folder) -> str:
    """Return a copy of a trained model that drops nothing, which does not depend on who draws."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoint-*", "run.json"))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_two_processes_equal_one_and_resume_exactly(world, tmp_path):
    """Two epochs of a batch of two and one of a clip, with pseudo labels in the second; resumed in its middle."""
    data = world["common"][: world["common"].index("--embeddings_dir")]
    words = [
        RECIPE, *data, "--model_name_or_path", without_dropout(world["run"], tmp_path / "start"), "--dropout", "0",
        "--trainable_encoders", "vision", "audio", "--encoder_lora_r", "2", "--encoder_lora_dropout", "0",
        "--encoder_learning_rate", "1e-3", "--num_train_epochs", "2", "--label_start_epoch", "1",
        "--max_train_samples", "3", "--num_neighbors", "1", "--save_strategy", "steps", "--save_steps", "3",
        "--eval_strategy", "no", "--load_best_model_at_end", "false", "--do_eval", "false", "--do_predict", "false",
        "--disable_tqdm", "true", "--use_cpu",
    ]  # fmt: skip
    one = tmp_path / "one"
    train.main([*words, "--per_device_train_batch_size", "2", "--output_dir", str(one)])
    two = tmp_path / "two"
    two.mkdir()
    run_script(SCRIPT, two, json.dumps([*words, "--per_device_train_batch_size", "1"]))
    for name in WEIGHTS:
        single, whole, resumed = (load_file(folder / name) for folder in (one, two / "whole", two / "resumed"))
        assert single.keys() == whole.keys() == resumed.keys()
        for part, value in single.items():
            torch.testing.assert_close(
                whole[part], value, atol=1e-5, rtol=1e-5, msg=lambda text, n=part: f"{n}: {text}"
            )
            assert resumed[part].equal(whole[part]), part
        assert name == WEIGHTS[0] or any(value.any() for part, value in single.items() if "lora_B" in part)
    log = json.loads((one / "trainer_state.json").read_text())["log_history"]
    assert any("labels/weight_S" in row for row in log)
