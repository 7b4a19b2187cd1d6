"""Shapley values, against all orders in which modalities can be added and against the model for each set alone."""

import itertools

import numpy as np
import pytest
import torch

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.analyses.modality_contribution import (
    SUBSETS,
    base_prediction,
    modality_contribution,
    modality_contributions,
    shapley_values,
)
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT, random_batch, tiny_config

LENGTHS = [(4, 6, 7), (5, 2, 3), (3, 0, 2), (0, 4, 0), (6, 0, 0)]


def model(task=SENTIMENT) -> SemanticMACForAffect:
    torch.manual_seed(0)
    return SemanticMACForAffect(tiny_config(task, initializer_range=0.3)).eval()


def over_orders(subsets: np.ndarray) -> np.ndarray:
    """Return the mean over the six orders of what each modality adds, for one clip: (8, C) -> (3, C)."""
    total = np.zeros((3, subsets.shape[1]))
    for order in itertools.permutations(range(3)):
        there = set()
        for m in order:
            before = subsets[SUBSETS.index(tuple(n in there for n in range(3)))]
            there.add(m)
            total[m] += subsets[SUBSETS.index(tuple(n in there for n in range(3)))] - before
    return total / 6


def test_equals_the_mean_over_all_orders():
    subsets = np.random.default_rng(0).normal(size=(50, 8, 3))
    found = shapley_values(subsets)
    np.testing.assert_allclose(found, np.stack([over_orders(row) for row in subsets]), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), subsets[:, 7] - subsets[:, 0], atol=1e-12)


def test_by_hand():
    """Text alone: 3, audio alone: 1, both: 5, vision: 0; phi_t = (3 + 4) / 2, phi_a = (1 + 2) / 2, phi_v = 0."""
    subsets = np.array([0, 3, 1, 5, 0, 3, 1, 5.0])[None, :, None]
    np.testing.assert_allclose(shapley_values(subsets)[0, :, 0], [3.5, 1.5, 0.0])


@pytest.mark.parametrize("task", [SENTIMENT, SARCASM, EMOTIONS])
def test_each_set_is_what_the_model_says_with_the_others_masked_out(task):
    """One clip at a time with masks of zeros, where the batch leaves inputs out."""
    net, batch = model(task), random_batch(LENGTHS)
    base = np.linspace(0.1, 0.4, task.num_labels)
    found = modality_contribution(net, batch | {"labels": torch.zeros(5), "clip_index": torch.arange(5)}, base)
    np.testing.assert_allclose(found.shapley.sum(axis=1), found.prediction - found.base, atol=1e-5)
    assert np.abs(found.shapley).max() > 0.05
    masks = ("attention_mask", "audio_mask", "vision_mask")
    for row, lengths in enumerate(LENGTHS):
        clip = {name: value[row : row + 1] for name, value in batch.items()}
        for number, members in enumerate(SUBSETS):
            masked = clip | {name: clip[name] * there for name, there in zip(masks, members)}
            if not any(masked[name].any() for name in masks):
                expected = base
            else:
                with torch.no_grad():
                    logits = net(**masked).logits[0].double()
                expected = logits if task is SENTIMENT else logits.softmax(-1) if task is SARCASM else logits.sigmoid()
            np.testing.assert_allclose(found.subsets[row, number], expected, atol=1e-5)
        np.testing.assert_allclose(found.shapley[row], over_orders(found.subsets[row]), atol=1e-12)
        lacks = [m for m in range(3) if not lengths[m]]
        np.testing.assert_allclose(found.shapley[row, lacks], 0, atol=1e-5)


def test_a_batch_that_lacks_a_modality_and_several_batches():
    net = model()
    batches = [random_batch(LENGTHS[:2], seed=1), random_batch(LENGTHS[3:], seed=2), random_batch(LENGTHS[:1], seed=3)]
    batches[2] = {name: value for name, value in batches[2].items() if not name.startswith("audio")}
    found = modality_contributions(net, batches, np.array([0.5]), progress=False)
    assert found.subsets.shape == (5, 8, 1) and found.shapley.shape == (5, 3, 1)
    np.testing.assert_allclose(found.shapley[4, 1], 0, atol=1e-12)
    np.testing.assert_allclose(found.shapley.sum(axis=1), found.prediction - 0.5, atol=1e-5)
    single = modality_contribution(net, batches[1], np.array([0.5]))
    np.testing.assert_allclose(found.subsets[2:4], single.subsets, atol=1e-12)


def test_the_base_is_the_mean_label():
    np.testing.assert_allclose(base_prediction([1.0, -2.0, 2.0, 3.0], SENTIMENT), [1.0])
    np.testing.assert_allclose(base_prediction([0, 1, 1, 1], SARCASM), [0.25, 0.75])
    np.testing.assert_allclose(base_prediction([[1, 0, 1], [1, 0, 0]], EMOTIONS), [1.0, 0.0, 0.5])
    with pytest.raises(ValueError, match="happy, sad, angry"):
        modality_contribution(model(EMOTIONS), random_batch(LENGTHS[:1]), np.array([0.0]))
