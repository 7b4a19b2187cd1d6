"""The Trainer in its usual modes: half precision, accumulated gradients, checkpointed activations, early
stopping.
"""

import pytest
import torch
from transformers import EarlyStoppingCallback

from tests.helpers.tiny import word_corpus
from tests.helpers.trainers import assert_same_training, logged, new_trainer


def without_dropout(trainer):
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return trainer


def parameters(trainer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainer.model.named_parameters()}


def test_bf16(tmp_path):
    """Autocast: finite, close to single precision, parameters and label state stay in float32."""
    runs = {}
    for name, options in (("single", {}), ("half", {"bf16": True})):
        runs[name] = without_dropout(new_trainer(tmp_path / name, **options))
        runs[name].train()
    half = runs["half"]
    first = [[row for row in logged(run) if "loss" in row][0] for run in runs.values()]
    assert first[0]["loss"] != first[1]["loss"]
    assert first[1]["loss"] == pytest.approx(first[0]["loss"], rel=0.02)
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in parameters(half).values())
    state = half.label_state
    assert state.labels.dtype == state.features.dtype == torch.float32
    assert state.labels.isfinite().all() and state.labels.abs().max() <= 3


def test_a_bank_in_half_precision_resumes_exactly(tmp_path):
    options = {"label_bank": "float16", "save_strategy": "steps", "save_steps": 5}
    whole, again = (new_trainer(tmp_path / name, **options) for name in ("whole", "again"))
    whole.train()
    again.train(resume_from_checkpoint=str(tmp_path / "whole/checkpoint-5"))
    assert again.label_state.features.dtype == torch.float16
    assert_same_training(again, whole)
    with pytest.raises(ValueError, match="label_bank is 'int8'; expected float32 or float16"):
        new_trainer(tmp_path, label_bank="int8")


def test_accumulated_gradients_equal_the_whole_batch(tmp_path):
    """Two halves of a batch equal the batch, except for the loss between samples, which sees one half."""
    options = {"num_train_epochs": 2, "inter_weight": 0.0}
    whole = without_dropout(new_trainer(tmp_path / "whole", per_device_train_batch_size=10, **options))
    parts = without_dropout(
        new_trainer(tmp_path / "parts", per_device_train_batch_size=5, gradient_accumulation_steps=2, **options)
    )
    for trainer in (whole, parts):
        trainer.train()
        assert trainer.state.global_step == 2
    for name, value in parameters(whole).items():
        torch.testing.assert_close(dict(parts.model.named_parameters())[name].data, value, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(parts.label_state.labels, whole.label_state.labels, atol=1e-6, rtol=1e-5)
    one, two = ([row for row in logged(run) if "loss" in row] for run in (whole, parts))
    for left, right in zip(one, two, strict=True):
        names = [name for name in left if name.startswith("loss") and name != "loss_inter"]
        assert {name: right[name] for name in names} == pytest.approx({name: left[name] for name in names}, rel=1e-4)


def test_checkpointed_activations_change_nothing(tmp_path):
    """Losses of every step and label generation; gradients to rounding (Adam would blow that up where a gradient is
    zero but for it).
    """
    plain, checkpointed = (new_trainer(tmp_path / str(on), activation_checkpointing=on) for on in (False, True))
    gradients = []
    for trainer in (plain, checkpointed):
        batch = trainer.data_collator([trainer.train_dataset[index] for index in range(10)])
        if trainer is checkpointed:
            trainer.model.activation_checkpointing_enable()
        torch.manual_seed(1)
        trainer.compute_loss(trainer.model.train(), batch).backward()
        gradients.append(
            {name: value.grad for name, value in trainer.model.named_parameters() if value.grad is not None}
        )
        trainer.model.zero_grad()
        trainer.train()
    assert checkpointed.model.is_activation_checkpointing and not plain.model.is_activation_checkpointing
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, atol=1e-6, rtol=1e-4)
    for left, right in zip(logged(plain), logged(checkpointed), strict=True):
        assert right == pytest.approx(left, rel=1e-3, abs=1e-4)


def test_early_stopping_ends_with_the_best_model(tmp_path):
    """A rate that ruins the model: training stops after the patience, and the best epoch's parameters are back."""
    options = {
        "num_train_epochs": 30,
        "learning_rate": 0.05,
        "language_model_learning_rate": 0.05,
        "eval_strategy": "epoch",
    }
    clips = word_corpus(10)  # those that have embeddings
    trainer = new_trainer(
        tmp_path, clips, save_strategy="epoch", load_best_model_at_end=True, save_total_limit=None, **options
    )
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=2))
    trainer.train()
    found = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    assert len(found) < 30 and found.index(min(found)) == len(found) - 3
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(found))
    # A run that was stopped may go on from any of its checkpoints.
    again = new_trainer(tmp_path / "again", clips, **options)
    last = tmp_path / f"checkpoint-{3 * len(found)}"
    again.args.num_train_epochs = len(found) + 1
    again.train(resume_from_checkpoint=str(last))
    assert again.label_state.epoch == len(found) + 1
