"""Precision and recall of distributions, against integrals of Gaussians, histograms by hand and brute force."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import norm
from sklearn.linear_model import LinearRegression

from modeling_semanticmac.analyses.representations import Representations
from modeling_semanticmac.analyses.semantic_balance import (
    NEIGHBORS,
    align,
    area_under,
    cluster_histograms,
    compare,
    improved_precision_recall,
    precision_recall_curve,
    semantic_balance,
)


@pytest.mark.parametrize(
    ("reference", "compared", "area"),
    [
        ([0.5, 0.5], [0.5, 0.5], 1.0),
        ([1.0, 0.0], [0.0, 1.0], 0.0),
        ([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], 0.25),  # both stop at one half, whatever the slope
        # precision = min(l / 2, 1), recall = min(1 / 2, 1 / l): it falls from 1/2 to 0 while the precision is 1
        ([0.5, 0.5], [1.0, 0.0], 0.5),
    ],
)
def test_histograms_by_hand(reference, compared, area):
    precision, recall = precision_recall_curve(np.array(reference), np.array(compared))
    assert area_under(precision, recall) == pytest.approx(area, abs=2e-3)
    assert (np.diff(precision) >= -1e-12).all() and (np.diff(recall) <= 1e-12).all()
    middle = len(precision) // 2  # slope 1: the overlap of the histograms, for both
    overlap = np.minimum(reference, compared).sum()
    assert precision[middle] == pytest.approx(overlap) and recall[middle] == pytest.approx(overlap)


def exact_gaussian_curve(shift: float, width: float):
    """Return precision and recall of N(0, 1) and N(shift, width), integrated on a fine grid."""
    grid = np.linspace(-12, 12, 20_001)
    step = grid[1] - grid[0]
    return precision_recall_curve(norm.pdf(grid) * step, norm.pdf(grid, shift, width) * step)


@pytest.mark.parametrize(("shift", "width"), [(0.0, 1.0), (1.0, 1.0), (3.0, 1.0), (0.0, 0.3), (6.0, 0.5)])
def test_gaussians_of_known_overlap(shift, width):
    """In one dimension a few dozen clusters approach the integral, except for extreme slopes with few samples."""
    generator = np.random.default_rng(0)
    reference = generator.standard_normal((20_000, 1))
    compared = shift + width * generator.standard_normal((20_000, 1))
    exact_precision, exact_recall = exact_gaussian_curve(shift, width)
    precision, recall = precision_recall_curve(*cluster_histograms(reference, compared, clusters=30))
    assert area_under(precision, recall) == pytest.approx(area_under(exact_precision, exact_recall), abs=0.02)
    usual = slice(50, 951)  # slopes from 1 / 12 to 12
    np.testing.assert_allclose(precision[usual], exact_precision[usual], atol=0.03)
    np.testing.assert_allclose(recall[usual], exact_recall[usual], atol=0.03)
    if width == 1.0:  # the overlap of two unit Gaussians is 2 Phi(-shift / 2)
        assert exact_precision[len(exact_precision) // 2] == pytest.approx(2 * norm.cdf(-shift / 2), abs=1e-4)


def test_gaussians_in_two_dimensions():
    """N(0, I) and N((1.5, 0), I): the overlap depends only on the distance of the means, 2 Phi(-0.75)."""
    generator = np.random.default_rng(1)
    reference, compared = generator.standard_normal((2, 10_000, 2))
    precision, _ = precision_recall_curve(*cluster_histograms(reference, compared + [1.5, 0.0], clusters=150))
    assert precision[len(precision) // 2] == pytest.approx(2 * norm.cdf(-0.75), abs=0.03)


def test_what_was_dropped_costs_recall_and_what_was_invented_precision():
    """Six modes; Q lacks three of them: its precision reaches 1, its recall only one half. And vice versa."""
    generator = np.random.default_rng(0)
    modes = generator.standard_normal((6, 8)) * 20
    everything = modes[np.arange(600) % 6] + generator.standard_normal((600, 8))
    some = modes[np.arange(600) % 3] + generator.standard_normal((600, 8))
    dropped, invented = compare(everything, some), compare(some, everything)
    assert dropped.precision[-1] > 0.99 and dropped.recall[0] == pytest.approx(0.5, abs=0.01)
    assert invented.precision[-1] == pytest.approx(0.5, abs=0.01) and invented.recall[0] > 0.99
    three = NEIGHBORS.index(3)
    assert dropped.improved_precision[three] > 0.8 and 0.4 < dropped.improved_recall[three] <= 0.5
    assert 0.4 < invented.improved_precision[three] <= 0.5 and invented.improved_recall[three] > 0.8


@pytest.mark.parametrize("memory", [2**27, 2**14])
def test_improved_measures_equal_brute_force(memory):
    generator = np.random.default_rng(0)
    reference, compared = generator.standard_normal((70, 4)), 0.7 * generator.standard_normal((55, 4)) + 0.5
    between = cdist(reference, compared)
    precision, recall = improved_precision_recall(reference, compared, (1, 3, 8, 60), memory)
    for place, k in enumerate((1, 3, 8, 60)):
        radius = np.sort(cdist(reference, reference), axis=1)[:, min(k, 69)]  # column 0 is the point itself
        assert precision[place] == pytest.approx(np.mean([(between[:, j] <= radius).any() for j in range(55)]))
        radius = np.sort(cdist(compared, compared), axis=1)[:, min(k, 54)]
        assert recall[place] == pytest.approx(np.mean([(between[i] <= radius).any() for i in range(70)]))
    assert 0 < precision[0] < precision[2] and 0 < recall[0] < recall[2]
    with pytest.raises(ValueError, match="two points or more"):
        improved_precision_recall(reference[:1], compared)


def test_clusters_are_shares_of_each_cloud():
    reference, compared = np.zeros((30, 2)), np.concatenate([np.zeros((10, 2)), np.full((10, 2), 9.0)])
    p, q = cluster_histograms(reference, compared, clusters=2)
    assert sorted(p) == [0.0, 1.0] and q.tolist() == [0.5, 0.5]


def representation(count: int = 400, width: int = 6, weights=(0.8, 0.4, 0.1), seed: int = 0) -> Representations:
    """Return F_M as a weighted sum of the modalities, each behind its own map; clips 0-9 have no vision."""
    generator = torch.Generator().manual_seed(seed)
    known = torch.randn(count, 3, 2, generator=generator)
    specific = torch.einsum("nmk,mkd->nmd", known, torch.randn(3, 2, width, generator=generator)) + 5
    fused = torch.einsum("nmk,m->nk", known, torch.tensor(weights)) @ torch.randn(2, width, generator=generator)
    mask = torch.ones(count, 3, dtype=torch.bool)
    mask[:10, 2] = False
    zeros = torch.zeros(count, 1)
    return Representations([str(i) for i in range(count)], zeros[:, 0], fused, specific, specific, mask, zeros, zeros)


def test_areas_follow_what_each_modality_knows():
    found = semantic_balance(representation())
    areas = {name: balance.area for name, balance in found.items()}
    assert areas["text"] > areas["audio"] + 0.1 > areas["vision"] + 0.2
    assert areas["text + audio"] > areas["text"] and areas["audio + vision"] > areas["vision"]
    assert areas["text + audio"] > 0.9 and areas["vision"] < 0.2
    three = NEIGHBORS.index(3)
    assert found["text"].improved_recall[three] > found["vision"].improved_recall[three]
    again = semantic_balance(representation())
    assert all(again[name].area == area for name, area in areas.items())


def test_features_take_the_place_of_the_representations():
    """Features of any width work; features that say nothing about the clip cover nothing, however many they are."""
    made = representation()
    generator = np.random.default_rng(0)
    text = np.concatenate([made.specific_embeds[:, 0].numpy() * 3 - 1, generator.standard_normal((400, 3))], axis=1)
    found = semantic_balance(made, [text, generator.standard_normal((400, 500)), made.specific_embeds[:, 2].numpy()])
    assert found["text"].area == pytest.approx(semantic_balance(made)["text"].area, abs=0.1)
    assert found["audio"].area < 0.1
    with pytest.raises(ValueError, match="7 rows of audio features for 400 clips"):
        semantic_balance(made, [text, text[:7], text])


def test_alignment_is_a_regression_out_of_fold():
    """Alignment is close to least squares where all is known, and not better than the mean where nothing is."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((300, 5)) * [1, 10, 100, 1, 1]
    reference = rows @ generator.standard_normal((5, 4)) + 3
    expected = LinearRegression().fit(rows, reference).predict(rows)
    np.testing.assert_allclose(align(rows, reference), expected, atol=0.02 * reference.std())
    noise = align(generator.standard_normal((300, 100)), reference)
    assert np.square(noise - reference.mean(axis=0)).sum() < 0.1 * np.square(reference - reference.mean(axis=0)).sum()


def test_clips_without_a_modality_are_left_out_and_large_splits_drawn_from():
    made = representation(count=120)
    made.modality_mask[:, 1] = False
    assert list(semantic_balance(made)) == ["text", "vision", "text + vision"]
    made.modality_mask[:, 2] = False
    some = semantic_balance(made, most_clips=50, seed=1)
    assert list(some) == ["text"] and some["text"].area != semantic_balance(made, most_clips=50, seed=2)["text"].area
    with pytest.raises(ValueError, match="30 clips are too few"):
        semantic_balance(made, most_clips=30)
