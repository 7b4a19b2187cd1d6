"""What holds for every comparison system of the registry; a system is covered by registering it."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForVideoClassification

from modeling_semanticmac.baselines.modeling_fusion import learnt_labels
from tests.helpers.systems import CLIP_SYSTEMS, DRAWING, TRAINED, batch_of, clip_rows, system_model, system_trainer
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT

every_system = pytest.mark.parametrize("name", CLIP_SYSTEMS)
PATTERNS = [(t, a, v) for t in (0, 3) for a in (0, 4) for v in (0, 5)]  # words, audio and vision frames
COMPLETE = [(3, 4, 5), (5, 2, 7), (1, 6, 3), (4, 3, 2), (2, 5, 4), (6, 4, 6), (3, 3, 3), (5, 1, 4)]
LABELS = torch.tensor([1.0, -2.0, 0.5, -0.5, 2.5, -1.5, 1.5, -1.0])
STEPS = {"lf_transformer": 100, "misa": 100, "mult": 100, "mfn": 100}  # others halve their loss sooner
RATES = {"misa": 3e-3}  # its losses are large beside that of the task
# Tasks that a system is not defined for.
REFUSED = {
    "mtmd": {"single_label_classification", "multi_label_classification"},
    "self_mm": {"single_label_classification", "multi_label_classification"},
    "mmim": {"multi_label_classification"},
}


def with_targets(model, labels: torch.Tensor) -> dict:
    """Return the labels of a batch and what the state of the system gives for them."""
    fusion, task = model.fusion, model.config.task
    if fusion.state is None:
        return {"labels": labels}
    state = fusion.state(learnt_labels(labels, task), task, fusion.options, device="cpu")
    state.begin_epoch(1)
    return {"labels": labels, "targets": state.targets(torch.arange(len(labels)))}


@every_system
@torch.no_grad()
def test_every_pattern_of_missing_modalities_gives_finite_predictions(name):
    """Also a single clip, one step of each stream, and nothing at all, which only the system itself accepts."""
    model = system_model(name).eval()
    found = model(**batch_of(clip_rows(PATTERNS[1:])))
    assert found.logits.shape == (7, 1) and found.logits.isfinite().all()
    assert found.modality_mask.tolist() == [[t > 0, a > 0, v > 0] for t, a, v in PATTERNS[1:]]
    assert model(**batch_of(clip_rows([(1, 1, 1)]))).logits.isfinite().all()
    nothing = batch_of(clip_rows(PATTERNS[:2]))
    assert model.fuse(model.encode(**nothing)).logits.isfinite().all()
    with pytest.raises(ValueError, match=r"Sample\(s\) \[0\] of the batch have no modality"):
        model(**nothing)


@every_system
@torch.no_grad()
def test_padding_order_and_company_change_nothing(name):
    model = system_model(name).eval()
    rows = clip_rows([(3, 4, 5), (5, 0, 7), (0, 6, 0), (1, 1, 1), (0, 2, 9), (2, 12, 0)])
    whole = model(**batch_of(rows)).logits
    torch.testing.assert_close(model(**batch_of(rows, padding=7)).logits, whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(**batch_of(rows[::-1])).logits.flip(0), whole, atol=1e-5, rtol=1e-5)
    alone = torch.cat([model(**batch_of([row])).logits for row in rows])
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=1e-5)


@every_system
@torch.no_grad()
def test_a_missing_modality_is_one_that_is_masked(name):
    """Left out for the whole batch, or noise under a mask of zeros."""
    model = system_model(name).eval()
    for stream in ("input_ids", "audio_embeds", "vision_embeds"):
        mask = {"input_ids": "attention_mask"}.get(stream, stream.replace("embeds", "mask"))
        batch = batch_of(clip_rows(COMPLETE[:3]))
        absent = {key: value for key, value in batch.items() if key not in (stream, mask)}
        masked = batch | {mask: torch.zeros_like(batch[mask])}
        torch.testing.assert_close(model(**masked).logits, model(**absent).logits, atol=1e-5, rtol=1e-5)


@every_system
def test_every_weight_learns_and_is_saved(name):
    model = system_model(name).train()
    output = model(**batch_of(clip_rows(COMPLETE)), **with_targets(model, LABELS))
    expected = (output.logits.squeeze(1) - LABELS).abs().mean() + sum((output.losses or {}).values())
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    saved = set(model.state_dict())
    for weight, parameter in model.named_parameters():
        assert weight in saved, weight
        is_frozen = model.is_frozen and weight.startswith("language_model.")
        if is_frozen or weight.removeprefix("fusion.") in model._fixed:
            assert not parameter.requires_grad and parameter.grad is None, weight
        else:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), weight
    assert {id(p) for p in model.fusion.parameters() if p.requires_grad} == {
        id(v) for v in tensors_of(model.fusion) if v.requires_grad
    }


def tensors_of(module: torch.nn.Module) -> list[torch.Tensor]:
    """Return the tensors with gradient that a module holds anywhere, also in plain lists and dicts."""
    found, waiting, seen = [], [module.__dict__], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, torch.nn.Module):
            waiting.append(value.__dict__)
        elif isinstance(value, dict | list | tuple):
            waiting += value.values() if isinstance(value, dict) else value
    return [value for value in found if value.is_leaf]


@pytest.mark.parametrize("task", [SENTIMENT, SARCASM, EMOTIONS], ids=lambda task: task.problem_type)
@every_system
def test_the_loss_falls_by_half(name, task):
    if task.problem_type in REFUSED.get(name, ()):
        with pytest.raises(ValueError, match="classes. Use another system"):
            system_model(name, task)
        return
    model = system_model(name, task).train()
    batch = batch_of(clip_rows(COMPLETE * 2))
    labels = torch.cat([LABELS, -LABELS])
    if task.is_multi_label:
        labels = torch.stack([labels > 0, labels < 1, labels > 1], dim=1).float()
    elif not task.is_regression:
        labels = (labels > 0).long()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], RATES.get(name, 1e-2))
    losses = []
    for _ in range(STEPS.get(name, 60)):
        output = model(**batch, **with_targets(model, labels))
        losses.append(output.loss.item() - sum(value.item() for value in (output.losses or {}).values()))
        if losses[-1] <= losses[0] / 2:
            return
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    raise AssertionError(f"the loss went from {losses[0]:.3f} to {losses[-1]:.3f}, at best {min(losses):.3f}")


@every_system
@torch.no_grad()
def test_a_saved_system_is_loaded_by_the_auto_class(name, tmp_path):
    model, batch = system_model(name).eval(), batch_of(clip_rows(COMPLETE))
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    again, info = AutoModelForVideoClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not again.training
    saved = again.state_dict()
    assert all(value.equal(saved[weight]) for weight, value in model.state_dict().items())
    # Loaded weights may lie elsewhere in memory, which changes the order of sums.
    torch.testing.assert_close(again(**batch).logits, model(**batch).logits, atol=1e-6, rtol=1e-6)
    assert AutoConfig.from_pretrained(tmp_path).options == model.config.options
    trained = [weight for weight, parameter in again.named_parameters() if parameter.requires_grad]
    assert trained == [weight for weight, parameter in model.named_parameters() if parameter.requires_grad]


@every_system
def test_bfloat16_is_finite_and_the_seed_decides(name):
    model, batch = system_model(name).train(), batch_of(clip_rows(COMPLETE))
    losses = []
    for seed in (1, 1):
        torch.manual_seed(seed)
        with torch.autocast("cpu", torch.bfloat16):
            losses.append(model(**batch, **with_targets(model, LABELS)).loss)
    assert losses[0].isfinite() and losses[0].equal(losses[1])
    again = system_model(name).state_dict()
    assert all(value.equal(again[weight]) for weight, value in model.state_dict().items())


@pytest.mark.parametrize("name", [name for name in CLIP_SYSTEMS if name in (*TRAINED, *DRAWING)])
def test_a_resumed_training_equals_an_uninterrupted_one(name, tmp_path):
    """In the middle of the second epoch, to the last bit, with dropout, weights, logs and state."""
    whole = system_trainer(tmp_path / "whole", name, save_strategy="steps", save_steps=4, save_total_limit=None)
    whole.train()
    resumed = system_trainer(tmp_path / "resumed", name)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole/checkpoint-4"))
    states = [
        run.model.state_dict() | ({} if run.training_state is None else run.training_state.state_dict())
        for run in (whole, resumed)
    ]
    assert states[0].keys() == states[1].keys()
    for weight, value in states[0].items():
        assert states[1][weight].equal(value), weight
    rows = [[row for row in run.state.log_history if "loss_M" in row] for run in (whole, resumed)]
    assert rows[0] == rows[1] and len(rows[0]) == 9
