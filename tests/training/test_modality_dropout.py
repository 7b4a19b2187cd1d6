"""Modality dropout: how often modalities are dropped, that training treats them as missing, and that evaluation is
unaffected.
"""

from itertools import product

import pytest
import torch

from modeling_semanticmac.training.modality_dropout import drop_modalities
from tests.helpers.tiny import random_batch
from tests.helpers.trainers import assert_same_training, logged, new_trainer

MASKS = {"attention_mask": 4, "audio_mask": 3, "vision_mask": 5}


def full_batch(size: int, names=tuple(MASKS)) -> dict[str, torch.Tensor]:
    return {name: torch.ones(size, MASKS[name], dtype=torch.long) for name in names}


def kept(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return which modalities each clip has, bool (B, modalities)."""
    return torch.stack([batch[name].any(dim=1) for name in MASKS if name in batch], dim=1)


def outcome_probability(outcome: tuple[bool, ...], p: float) -> float:
    """Return the probability of keeping exactly these, by enumeration; a clip that would lose all keeps one."""
    total = 0.0
    for drops in product((False, True), repeat=len(outcome)):
        chance = 1.0
        for drop in drops:
            chance *= p if drop else 1 - p
        if all(drops):
            total += chance / len(drops) if sum(outcome) == 1 else 0.0
        elif outcome == tuple(not drop for drop in drops):
            total += chance
    return total


@pytest.mark.parametrize("p", [0.2, 0.6])
@pytest.mark.parametrize("names", [tuple(MASKS), ("attention_mask", "vision_mask"), ("audio_mask",)])
def test_rates(names, p):
    """Of 40,000 clips every outcome within five standard deviations of its probability; none loses everything."""
    torch.manual_seed(0)
    size = 40_000
    found = kept(drop_modalities(full_batch(size, names), p))
    assert found.any(dim=1).all()
    for outcome in product((False, True), repeat=len(names)):
        expected = outcome_probability(outcome, p)
        rate = (found == torch.tensor(outcome)).all(dim=1).double().mean().item()
        assert abs(rate - expected) <= 5 * (expected * (1 - expected) / size) ** 0.5, outcome
    k = len(names)
    assert (~found).double().mean() == pytest.approx(p - p**k / k, abs=0.01)  # what the docstring says


def test_only_what_a_clip_has_can_be_dropped_and_something_stays():
    batch = random_batch([(3, 0, 0), (0, 2, 0), (2, 0, 4), (0, 3, 1), (1, 2, 3)] * 200)
    torch.manual_seed(1)
    dropped = drop_modalities(batch, 0.9)
    before, after = kept(batch), kept(dropped)
    assert (after <= before).all() and after.any(dim=1).all()
    assert after[0::5].equal(before[0::5]) and after[1::5].equal(before[1::5])  # one modality: it stays
    assert after[4::5].sum() < before[4::5].sum()
    for name, mask in batch.items():
        if name in MASKS:  # a mask row is as it was, or zero
            same = (dropped[name] == mask).all(dim=1)
            assert (same | ~dropped[name].any(dim=1)).all() and dropped[name].dtype == mask.dtype
        else:
            assert dropped[name] is mask


def test_nothing_is_drawn_at_zero_and_the_batch_is_left_as_it_is():
    batch = full_batch(50)
    state = torch.get_rng_state()
    assert drop_modalities(batch, 0.0) is batch and torch.get_rng_state().equal(state)
    first = drop_modalities(batch, 0.5)
    assert kept(batch).all() and not torch.get_rng_state().equal(state)
    torch.set_rng_state(state)
    assert kept(drop_modalities(batch, 0.5)).equal(kept(first))
    assert not kept(drop_modalities(batch, 0.5)).equal(kept(first))


def test_a_training_step_takes_what_is_dropped_for_missing(tmp_path):
    """The loss and the feature bank are those of clips that lack these modalities, to the last digit."""
    run, plain = (new_trainer(tmp_path / str(p), modality_dropout=p) for p in (0.5, 0.0))
    batch = run.data_collator([run.train_dataset[index] for index in range(10)])
    losses = []
    for trainer in (run, plain):
        torch.manual_seed(7)
        given = batch if trainer is run else drop_modalities(batch, 0.5)
        losses.append(trainer.compute_loss(trainer.model.train(), given))
        trainer.observe()
    assert losses[0].equal(losses[1])
    torch.manual_seed(7)
    left = kept(drop_modalities(batch, 0.5))
    assert left.sum() < kept(batch).sum()
    assert run.label_state.present[1:].T.equal(left)  # sub-tasks T, A, V
    assert run.label_state.features[1:][~run.label_state.present[1:]].eq(0).all()
    assert run.label_state.features.equal(plain.label_state.features)


def test_evaluation_never_drops(tmp_path):
    run, plain = (new_trainer(tmp_path / str(p), modality_dropout=p) for p in (0.9, 0.0))
    found, expected = (trainer.predict(trainer.train_dataset) for trainer in (run, plain))
    assert (found.predictions[0] == expected.predictions[0]).all()
    assert (found.predictions[1] == expected.predictions[1]).all()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trainer = new_trainer(folder, modality_dropout=0.4, save_strategy="steps", save_steps=1, save_total_limit=None)
    trainer.train()
    return folder, trainer


@pytest.mark.parametrize("step", [1, 3, 5, 8])
def test_stopped_and_resumed_equals_never_stopped(whole, tmp_path, step):
    folder, expected = whole
    resumed = new_trainer(tmp_path, modality_dropout=0.4)
    resumed.train(resume_from_checkpoint=str(folder / f"checkpoint-{step}"))
    assert_same_training(resumed, expected)


def test_it_changes_what_is_learnt(whole, tmp_path):
    plain = new_trainer(tmp_path)
    plain.train()
    assert logged(plain)[0] != logged(whole[1])[0]
