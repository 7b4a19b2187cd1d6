"""MissModal: which clips a subset concerns, the three terms by hand, each encoder once."""

import math

import pytest
import torch

from modeling_semanticmac.baselines.fusion_losses import paired_contrast
from modeling_semanticmac.baselines.missmodal import SUBSETS, MissModal, MissModalOptions, mean_distance
from tests.helpers.clip_streams import WIDTHS, clip_streams
from tests.helpers.tiny import SENTIMENT


def small(lengths, **changes):
    torch.manual_seed(0)
    module = MissModal(MissModalOptions(width=6, **changes), WIDTHS, SENTIMENT).train()
    streams = clip_streams(lengths)
    streams.labels = torch.arange(len(lengths)) - 1.0
    return module, streams


def test_contrast_of_two_orthogonal_pairs():
    eye, both = torch.eye(2), torch.ones(2, dtype=torch.bool)
    assert paired_contrast(eye, eye, both, 1.0).item() == pytest.approx(0.551445, abs=1e-6)
    assert paired_contrast(eye, eye, both, 0.5).item() == pytest.approx(0.239545, abs=1e-6)
    assert paired_contrast(eye, eye, torch.tensor([True, False]), 0.5).item() == 0  # nothing to tell apart
    first, second = torch.randn(2, 5, 3)
    valid = torch.tensor([True, True, False, True, True])
    views = torch.nn.functional.normalize(torch.cat([first[valid], second[valid]]), dim=1)
    scores = (views @ views.T / 0.3).masked_fill(torch.eye(8, dtype=torch.bool), -math.inf)
    expected = torch.nn.functional.cross_entropy(scores, torch.arange(8).roll(4))
    torch.testing.assert_close(paired_contrast(first, second, valid, 0.3), expected)


def test_the_distance_of_means():
    first, second = torch.tensor([[1.0, 2.0], [9.0, 9.0], [3.0, 0.0]]), torch.zeros(3, 2)
    assert mean_distance(first, second, torch.tensor([True, False, True])).item() == 2**2 + 1
    assert mean_distance(first, first, torch.ones(3, dtype=torch.bool)).item() == 0
    assert mean_distance(first, second, torch.zeros(3, dtype=torch.bool)).item() == 0


def test_terms_of_complete_clips_by_hand():
    module, streams = small([(4, 3, 5), (3, 2, 2), (5, 4, 3)])
    found = module(streams)
    vectors = module.encode(streams)
    both = torch.ones(3, dtype=torch.bool)
    expected = {"geometric": 0.0, "distribution": 0.0, "semantic": 0.0}
    assert len(SUBSETS) == 6
    for subset in SUBSETS:
        parts = [vector if place in subset else torch.zeros_like(vector) for place, vector in enumerate(vectors)]
        logits, z = module.fusion(torch.cat(parts, dim=1))
        complete = found.embeds["multimodal"]
        expected["geometric"] += 0.5 * paired_contrast(z, complete, both, 0.07)
        expected["distribution"] += 0.3 * (z.mean(dim=0) - complete.mean(dim=0)).square().sum()
        expected["semantic"] += 0.5 * (logits.squeeze(1) - streams.labels).abs().mean()
    for name, value in expected.items():
        torch.testing.assert_close(found.losses[name], value, msg=name)


def test_a_clip_takes_part_with_what_it_has():
    """One modality: no subset. Two: the two subsets of one, and no other."""
    module, streams = small([(4, 0, 0), (0, 2, 0)])
    assert all(value == 0 for value in module(streams).losses.values())
    module, streams = small([(4, 3, 0)])
    vectors = module.encode(streams)
    alone = [vectors[0], torch.zeros_like(vectors[1]), vectors[2]], [torch.zeros_like(vectors[0]), *vectors[1:]]
    errors = [(module.fusion(torch.cat(parts, dim=1))[0].squeeze(1) - streams.labels).abs().mean() for parts in alone]
    torch.testing.assert_close(module(streams).losses["semantic"], 0.5 * sum(errors))


def test_each_encoder_runs_once():
    module, streams = small([(4, 3, 5), (3, 2, 2)])
    calls = []
    for name, recurrence in module.recurrences.items():
        recurrence.register_forward_hook(lambda *_, name=name: calls.append(name))
    module(streams)
    assert calls == ["audio", "vision"]
    assert module.eval()(streams).losses is None
