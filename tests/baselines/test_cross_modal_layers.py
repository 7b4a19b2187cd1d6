"""Attention between padded sequences: equal to torch's own with the same weights, and nothing from padding."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from modeling_semanticmac.baselines.cross_modal_layers import (
    CrossModalLayer,
    CrossModalStack,
    MaskedAttention,
    earlier_steps,
    sinusoidal_positions,
)


def torch_attention(own: MaskedAttention, width: int, heads: int) -> nn.MultiheadAttention:
    """Return `nn.MultiheadAttention` with the weights of ours."""
    other = nn.MultiheadAttention(width, heads, batch_first=True)
    parts = (own.query, own.key, own.value)
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        other.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        other.out_proj.weight.copy_(own.output.weight)
        other.out_proj.bias.copy_(own.output.bias)
    return other


def mask(*lengths: int, longest: int) -> torch.Tensor:
    return torch.arange(longest) < torch.tensor(lengths)[:, None]


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    own, queries, keys = MaskedAttention(6, 3, 0.0), torch.randn(2, 4, 6), torch.randn(2, 5, 6)
    valid = mask(5, 3, longest=5)
    expected, _ = torch_attention(own, 6, 3)(queries, keys, keys, key_padding_mask=~valid)
    torch.testing.assert_close(own(queries, keys, valid), expected)


def test_attention_to_nothing_is_zero():
    own = MaskedAttention(6, 3, 0.0)
    result = own(torch.randn(2, 4, 6), torch.randn(2, 5, 6), mask(0, 5, longest=5))
    assert not result[0].any() and result[1].all()


def test_a_width_that_is_no_multiple_of_the_heads():
    with pytest.raises(ValueError, match="width 10 is not a multiple of the 4 heads"):
        MaskedAttention(10, 4, 0.0)


def test_the_equations_of_a_layer():
    torch.manual_seed(0)
    layer = CrossModalLayer(6, 2, 0.0, 0.0, 0.0)
    for norm in (layer.attention_norm, layer.feed_forward_norm):
        nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    x, y, valid = torch.randn(2, 3, 6), torch.randn(2, 4, 6), mask(4, 2, longest=4)

    def norm(part, hidden):
        return F.layer_norm(hidden, (6,), part.weight, part.bias)

    source = norm(layer.attention_norm, y)
    attention = torch_attention(layer.attention, 6, 2)
    x1 = x + attention(norm(layer.attention_norm, x), source, source, key_padding_mask=~valid)[0]
    first, _, _, second = layer.feed_forward
    assert first.weight.shape == (24, 6)
    inner = torch.relu(norm(layer.feed_forward_norm, x1) @ first.weight.T + first.bias)
    torch.testing.assert_close(layer(x, y, valid), x1 + inner @ second.weight.T + second.bias)


def test_positions():
    found = sinusoidal_positions(torch.tensor([[1, 2]]), 5)
    expected = [
        [math.sin(p), math.sin(p * 1e-4), math.cos(p), math.cos(p * 1e-4), 0.0] for p in (1, 2)
    ]  # frequencies 1 and 1e-4
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_a_stack_keeps_its_source_and_normalises_at_the_end():
    torch.manual_seed(0)
    stack = CrossModalStack(4, 2, 2)
    x, y, x_mask, y_mask = torch.randn(1, 3, 4), torch.randn(1, 2, 4), mask(3, longest=3), mask(2, longest=2)
    hidden = 2 * x + sinusoidal_positions(torch.tensor([[1, 2, 3]]), 4)
    source = 2 * y + sinusoidal_positions(torch.tensor([[1, 2]]), 4)
    for layer in stack.layers:
        hidden = layer(hidden, source, y_mask)
    torch.testing.assert_close(stack(x, x_mask, y, y_mask), F.layer_norm(hidden, (4,)))


def test_a_stack_without_layers_is_the_embedded_target():
    stack, x = CrossModalStack(4, 0, 2, positions=False), torch.randn(1, 3, 4)
    torch.testing.assert_close(stack(x, mask(3, longest=3)), F.layer_norm(2 * x, (4,)))


def test_what_a_step_may_see():
    two, four = mask(2, longest=3), mask(4, longest=5)
    # The first half of the target sees the two source steps of the first half; padding sees and is seen by nobody else.
    assert earlier_steps(two, four)[0, :2, :4].tolist() == [[True, True, False, False], [True] * 4]
    three = mask(3, longest=3)
    assert earlier_steps(three, three)[0].equal(torch.ones(3, 3).tril().bool())


def test_a_causal_stack_does_not_see_the_future():
    torch.manual_seed(0)
    stack, x, valid = CrossModalStack(4, 2, 2, causal=True), torch.randn(1, 4, 4), mask(4, longest=4)
    changed = x.clone()
    changed[:, 2] = torch.randn(4)
    before, after = stack(x, valid), stack(changed, valid)
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2:], after[:, 2:], atol=1e-3)
