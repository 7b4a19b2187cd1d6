"""Losses between representations: worked examples, numpy's moments, clips that do not count."""

import numpy as np
import torch

from modeling_semanticmac.baselines.fusion_losses import (
    central_moment_discrepancy,
    difference_loss,
    reconstruction_loss,
)

ALL = torch.ones(4, dtype=torch.bool)


def test_moments_of_two_points():
    first, second = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [3.0]])
    # Means 1/2 and 3/2; second moments 1/4 and 9/4; fourth 1/16 and 81/16; the odd ones are 0: 1 + 2 + 0 + 5 + 0.
    assert central_moment_discrepancy(first, second, ALL[:2]).item() == 8
    assert central_moment_discrepancy(first, first, ALL[:2]).item() == 0


def test_moments_are_those_of_numpy():
    torch.manual_seed(0)
    first, second = torch.rand(7, 3), torch.rand(7, 3)
    x, y = first.double().numpy(), second.double().numpy()
    expected = np.linalg.norm(x.mean(0) - y.mean(0)) + sum(
        np.linalg.norm(((x - x.mean(0)) ** k).mean(0) - ((y - y.mean(0)) ** k).mean(0)) for k in (2, 3, 4, 5)
    )
    everyone = torch.ones(7, dtype=torch.bool)
    np.testing.assert_allclose(central_moment_discrepancy(first, second, everyone), expected, rtol=1e-5)
    order = torch.randperm(7)
    np.testing.assert_allclose(central_moment_discrepancy(first, second[order], everyone), expected, rtol=1e-5)


def test_moments_of_equal_representations_have_a_finite_gradient():
    first = torch.rand(4, 3, requires_grad=True)
    central_moment_discrepancy(first, first.detach().clone(), ALL).backward()
    assert first.grad.isfinite().all()


def test_difference_of_four_rows():
    axis = torch.tensor([1.0, 0.0])
    private, shared = torch.tensor([1.0, -1, 1, -1])[:, None] * axis, torch.tensor([1.0, 1, -1, -1])[:, None] * axis
    # X^T X is 4 in one place of four.
    torch.testing.assert_close(difference_loss(private, private, ALL), torch.tensor(4.0), rtol=1e-5, atol=0)
    torch.testing.assert_close(difference_loss(private, shared, ALL), torch.tensor(0.0))


def test_difference_is_that_of_numpy():
    torch.manual_seed(0)
    first, second = torch.rand(6, 3), torch.rand(6, 3)

    def rows(values):
        values = values.double().numpy()
        values = values - values.mean(0)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    expected = ((rows(first).T @ rows(second)) ** 2).mean()
    everyone, order = torch.ones(6, dtype=torch.bool), torch.randperm(6)
    np.testing.assert_allclose(difference_loss(first, second, everyone), expected, rtol=1e-4)
    np.testing.assert_allclose(difference_loss(first[order], second[order], everyone), expected, rtol=1e-4)


def test_the_norms_of_the_difference_have_no_gradient():
    first = torch.rand(4, 2, dtype=torch.float32, requires_grad=True)
    second = torch.rand(4, 2)
    difference_loss(first, second, ALL).backward()
    centred = (first - first.mean(0)).detach()
    norms, other = centred.norm(dim=1, keepdim=True), second - second.mean(0)
    free = first.detach().clone().requires_grad_()
    ((((free - free.mean(0)) / norms).T @ (other / other.norm(dim=1, keepdim=True))) ** 2).mean().backward()
    torch.testing.assert_close(first.grad, free.grad, rtol=1e-3, atol=1e-5)


def test_the_gradient_of_public_code_shortens_the_rows():
    """The loss does not change with the length of the rows. Without a gradient through the norms it is taken for a
    square of it, and Euler's rule for such functions gives the slope along the rows.
    """
    torch.manual_seed(0)
    start, second, valid = torch.randn(5, 3), torch.randn(5, 3), torch.tensor([True, True, False, True, True])
    slopes = []
    for norm_gradient in (False, True):
        first = start.clone().requires_grad_()
        loss = difference_loss(first, second, valid, norm_gradient)
        torch.testing.assert_close(difference_loss(3 * start, second, valid, norm_gradient), loss.detach())
        loss.backward()
        slopes.append((first.grad * (start - start[valid].mean(0))).sum() / loss.item())
    torch.testing.assert_close(torch.stack(slopes), torch.tensor([2.0, 0.0]), rtol=1e-4, atol=1e-4)


def test_clips_that_do_not_count():
    torch.manual_seed(0)
    first, second, valid = torch.rand(4, 3), torch.rand(4, 3), torch.tensor([True, True, False, True])
    for loss in (central_moment_discrepancy, difference_loss, reconstruction_loss):
        alone = loss(first[valid], second[valid], ALL[:3])
        torch.testing.assert_close(loss(first, second, valid), alone)
        assert loss(first, second, ~ALL) == 0
    one = torch.tensor([True, False, False, False])
    assert central_moment_discrepancy(first, second, one) == 0 and difference_loss(first, second, one) == 0


def test_reconstruction_is_the_mean_over_clips_and_dimensions():
    rebuilt, original = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    assert reconstruction_loss(rebuilt, original, ALL[:2]) == (1 + 4 + 16) / 4
