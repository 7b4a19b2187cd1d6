import pytest
import torch

from modeling_semanticmac.affective_perceiver import (
    attend,
    attention_weights,
    masked_softmax,
    merge_heads,
    split_heads,
)
from modeling_semanticmac.input_scaling import masked_mean


def test_masked_softmax_equals_softmax_over_the_allowed_keys_and_is_zero_elsewhere():
    scores = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 0, 0]])[:, None]
    weights = masked_softmax(scores, mask)
    torch.testing.assert_close(weights[0][:, [0, 2, 3]], scores[0][:, [0, 2, 3]].softmax(-1))
    assert weights[0][:, [1, 4]].eq(0).all()
    assert weights[1][:, 2].eq(1).all()


def test_masked_softmax_of_nothing_is_zero_with_finite_gradient():
    scores = torch.full((1, 2, 3), 5.0, requires_grad=True)
    weights = masked_softmax(scores, torch.zeros(1, 1, 3))
    assert weights.eq(0).all()
    weights.sum().backward()
    assert torch.isfinite(scores.grad).all()


def test_masked_softmax_keeps_half_precision_and_survives_large_scores():
    weights = masked_softmax(torch.tensor([[6e4, 6e4, -6e4]], dtype=torch.float16), torch.tensor([[1, 1, 1]]))
    assert weights.dtype == torch.float16
    torch.testing.assert_close(weights.float(), torch.tensor([[0.5, 0.5, 0.0]]))


def test_attend_equals_the_library_and_shares_one_key_head():
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(2, 4, 3, 8, generator=generator)
    key, value = torch.randn(2, 1, 5, 8, generator=generator), torch.randn(2, 1, 5, 8, generator=generator)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    found = attend(query, key, value, mask, torch.nn.Identity())
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key.expand(-1, 4, -1, -1), value.expand(-1, 4, -1, -1), attn_mask=mask[:, None, None]
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("heads", [1, 4])
def test_attend_equals_its_shown_weights_and_is_zero_without_keys(heads):
    generator = torch.Generator().manual_seed(2)
    query = torch.randn(3, 4, 6, 8, generator=generator, requires_grad=True)
    key, value = (torch.randn(3, heads, 5, 8, generator=generator, requires_grad=True) for _ in range(2))
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    found = attend(query, key, value, mask)
    torch.testing.assert_close(found, attention_weights(query, key, mask) @ value, atol=1e-6, rtol=1e-6)
    assert found[1].eq(0).all() and found[[0, 2]].abs().sum(dim=(1, 2, 3)).gt(0).all()
    found.square().sum().backward()
    for tensor in (query, key, value):
        assert torch.isfinite(tensor.grad).all() and tensor.grad[1].eq(0).all()
    nothing = attend(query, key[:, :, :0], value[:, :, :0], mask[:, :0])
    assert nothing.shape == query.shape and nothing.eq(0).all()


def test_attend_drops_weights_only_in_training():
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(2, 4, 6, 8, generator=generator) for _ in range(3))
    dropout = torch.nn.Dropout(0.5)
    torch.manual_seed(0)
    found = attend(query, key, value, None, dropout)
    torch.manual_seed(0)
    torch.testing.assert_close(found, dropout(attention_weights(query, key, None)) @ value, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(attend(query, key, value, None, dropout.eval()), attend(query, key, value))


def test_heads_split_and_merge_back():
    hidden = torch.arange(24.0).reshape(1, 3, 8)
    heads = split_heads(hidden, 4)
    assert heads.shape == (1, 2, 3, 4)
    assert heads[0, 1, 2].tolist() == [20, 21, 22, 23]
    assert merge_heads(heads).equal(hidden)


def test_masked_mean_by_hand():
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]], [[5.0, 5.0], [5.0, 5.0], [5.0, 5.0]]])
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    assert masked_mean(tokens, mask).tolist() == [[2.0, 4.0], [0.0, 0.0]]
    tokens[0, 2] = torch.nan  # under the mask
    assert masked_mean(tokens, mask).tolist() == [[2.0, 4.0], [0.0, 0.0]]
    half = torch.ones(1, 400, 1, dtype=torch.bfloat16)  # which cannot count by ones beyond 256
    assert masked_mean(half, torch.ones(1, 400)).item() == 1.0
