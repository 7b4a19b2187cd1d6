import math

import pytest
import torch

from modeling_semanticmac.training.semantic_contrast import inter_sample_loss, intra_sample_loss, shares_label
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT


def every(size: int) -> torch.Tensor:
    return torch.ones(size, 3, dtype=torch.bool)


def inter(features, positives, temperature):
    return inter_sample_loss(features, features, positives, torch.eye(len(features), dtype=torch.bool), temperature)


def intra_loop(specific, shared, mask, temperature) -> list[float]:
    """Return eq. (16)-(17), computed pair by pair in float64."""
    losses = []
    for s, c, present in zip(specific.double(), shared.double(), mask):
        s, c = s / s.norm(dim=-1, keepdim=True), c / c.norm(dim=-1, keepdim=True)
        have = [m for m in range(3) if present[m]]
        pos = neg = 0.0
        for m in have:
            for n in have:
                if m < n:
                    pos += math.exp(c[m] @ c[n] / temperature)
                    neg += math.exp(s[m] @ s[n] / temperature)
                neg += math.exp(s[m] @ c[n] / temperature)
        losses.append(-math.log(pos / (pos + neg)) if pos else 0.0)
    return losses


def inter_loop(features, positives, temperature) -> list[float]:
    """Return eq. (18), computed pair by pair in float64."""
    features = torch.nn.functional.normalize(features.double(), dim=-1)
    losses = []
    for i in range(len(features)):
        total = sum(math.exp(features[i] @ features[a] / temperature) for a in range(len(features)) if a != i)
        found = [p for p in range(len(features)) if p != i and positives[i, p]]
        terms = [math.log(math.exp(features[i] @ features[p] / temperature) / total) for p in found]
        losses.append(-sum(terms) / len(found) if found else 0.0)
    return losses


def test_intra_by_hand():
    """C all equal to e1, S_t = e1, S_a = e2, S_v = -e1; tau = 1.

    pos: three pairs, each e.  SS: t-a 1, t-v e^-1, a-v 1.  SC: t with each C e (3 of them), a 1 (3), v e^-1 (3).
    """
    shared = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.5, 0.0]]])
    specific = torch.tensor([[[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    pos, neg = 3 * math.e, (2 + math.exp(-1)) + (3 * math.e + 3 + 3 * math.exp(-1))
    expected = -math.log(pos / (pos + neg))
    assert intra_sample_loss(specific, shared, every(1), 1.0).item() == pytest.approx(expected, rel=1e-6)
    # Without vision: pos e;  SS t-a 1;  SC t e twice, a 1 twice
    mask = torch.tensor([[True, True, False]])
    expected = -math.log(math.e / (math.e + 1 + 2 * math.e + 2))
    assert intra_sample_loss(specific, shared, mask, 1.0).item() == pytest.approx(expected, rel=1e-6)


def test_inter_by_hand():
    """Three samples e1, e1, e2 with labels a, a, b; tau = 1: each of the first two: -log(e / (e + 1)); the third has no
    positive.
    """
    features = torch.tensor([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0]])
    positives = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    expected = -math.log(math.e / (math.e + 1))
    assert inter(features, positives, 1.0).tolist() == pytest.approx([expected, expected, 0.0], rel=1e-6)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
def test_equal_float64_loops(temperature):
    torch.manual_seed(0)
    specific, shared = torch.randn(6, 3, 5), torch.randn(6, 3, 5)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 1]]).bool()
    found = intra_sample_loss(specific, shared, mask, temperature)
    assert found.tolist() == pytest.approx(intra_loop(specific, shared, mask, temperature), rel=1e-4, abs=1e-5)
    features, labels = torch.randn(7, 5), torch.tensor([0, 1, 1, 0, 2, 1, 0])
    positives = labels[:, None] == labels[None]
    assert inter(features, positives, temperature).tolist() == pytest.approx(
        inter_loop(features, positives, temperature), rel=1e-4
    )


def test_gradients_by_finite_differences():
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
    positives = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    specific, shared = (torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda s, c: intra_sample_loss(s, c, mask, 0.5), (specific, shared))
    features = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: inter(f, positives, 0.5), (features,))


def test_fall_when_shared_align_and_specific_spread():
    torch.manual_seed(0)
    shared = torch.randn(1, 3, 8)
    aligned = shared[:, :1].expand(-1, 3, -1)
    spread = (
        torch.eye(8)[None, 1:4]
        - aligned * (torch.eye(8)[None, 1:4] @ aligned.transpose(1, 2))[:, :, :1] / aligned[:, :1].square().sum()
    )
    losses = [intra_sample_loss(shared, shared, every(1), 0.5), intra_sample_loss(spread, aligned, every(1), 0.5)]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("labels", [[1, 1, 1, 1], [0, 1, 2, 3], [2]], ids=["all same", "all different", "batch of one"])
def test_finite_at_the_edges_with_finite_gradients(dtype, labels):
    size = len(labels)
    labels = torch.tensor(labels)
    for features in (torch.randn(size, 6), torch.zeros(size, 6), torch.ones(size, 6)):
        features = features.to(dtype).requires_grad_()
        losses = inter(features, labels[:, None] == labels[None], 0.07)
        losses.sum().backward()
        assert torch.isfinite(losses).all() and torch.isfinite(features.grad).all()
        if size == 1 or len(set(labels.tolist())) == size:
            assert losses.eq(0).all() and features.grad.eq(0).all()
    same = torch.ones(size, 3, 6, dtype=dtype, requires_grad=True)
    losses = intra_sample_loss(same, same, every(size), 0.07)
    losses.sum().backward()
    assert torch.isfinite(losses).all() and torch.isfinite(same.grad).all()
    # All vectors equal: 3 positive pairs among 15.
    assert losses.tolist() == pytest.approx([math.log(5)] * size, rel=1e-5)


def test_a_single_modality_has_no_pair():
    x = torch.randn(1, 3, 4, requires_grad=True)
    loss = intra_sample_loss(x, x * 2, torch.tensor([[False, True, False]]), 0.5)
    loss.sum().backward()
    assert loss.item() == 0 and x.grad.eq(0).all()


def test_positives_of_scores_classes_and_label_sets():
    scores = torch.tensor([-1.0, -0.1, 0.0, 0.1, 2.0])
    assert shares_label(scores, scores, SENTIMENT).int().tolist() == [
        [1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]  # fmt: skip
    assert shares_label(scores, scores, SENTIMENT, 0.1).int().tolist() == [
        [1, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 1]]  # fmt: skip
    classes = torch.tensor([0, 1, 0])
    assert shares_label(classes[:2], classes, SARCASM).int().tolist() == [[1, 0, 1], [0, 1, 0]]
    sets = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0]])
    assert shares_label(sets, sets, EMOTIONS).int().tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_both_losses_stay_in_float32_within_autocast():
    """bfloat16 has no room for the lowest float32, and too few digits for similarities over a small temperature."""
    generator = torch.Generator().manual_seed(0)
    specific, shared, features = (torch.randn(shape, generator=generator) for shape in ((6, 3, 8), (6, 3, 8), (6, 8)))
    positives = torch.arange(6)[:, None] % 2 == torch.arange(6)[None] % 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        intra, between = intra_sample_loss(specific, shared, every(6), 0.1), inter(features, positives, 0.1)
    assert intra.dtype == between.dtype == torch.float32
    assert intra.tolist() == pytest.approx(intra_loop(specific, shared, every(6), 0.1), rel=1e-5)
    assert between.tolist() == pytest.approx(inter_loop(features, positives, 0.1), rel=1e-5)
