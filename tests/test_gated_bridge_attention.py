import math

import pytest
import torch

from modeling_semanticmac.semantic_interaction import GatedBridgeAttention, GatedBridgeLayer, bridge_pooling_weights
from tests.helpers.tiny import tiny_config


def set_identity(linear: torch.nn.Linear, scale: float = 1.0) -> None:
    linear.weight.data = torch.eye(*linear.weight.shape) * scale
    if linear.bias is not None:
        linear.bias.data.zero_()


def attention(**fields) -> GatedBridgeAttention:
    torch.manual_seed(0)
    return GatedBridgeAttention(tiny_config(**fields)).eval()


def test_bridge_attention_by_hand():
    """d = 2, one head, two bridge tokens, W_Q = W_K = W_O = 1.

    Queries and keys are the rows (s, 0), (0, s) with s^2 / sqrt(2) = ln 3.
    Each of the two tokens is its own bridge token, so both softmaxes see the logits ln 3 (itself) and 0 (the other):
        softmax(Q B^T / sqrt(2)) = softmax(B K^T / sqrt(2)) = [[3/4, 1/4], [1/4, 3/4]]
        A = their product = [[10/16, 6/16], [6/16, 10/16]];  with V = diag(8, 8):  A V = [[5, 3], [3, 5]]
    """
    module = attention(hidden_size=2, num_attention_heads=1, num_bridge_tokens=2)
    side = math.sqrt(math.sqrt(2) * math.log(3))
    for linear in (module.query, module.key, module.output):
        set_identity(linear)
    set_identity(module.value, 8 / side)
    rows, mask = torch.eye(2)[None] * side, torch.ones(1, 2)
    torch.testing.assert_close(module(rows, rows, mask, mask), torch.tensor([[[5.0, 3.0], [3.0, 5.0]]]))


def test_one_bridge_token_by_hand():
    """One bridge token is the mean of the valid queries, (1, 1).

    Its logits over the keys (sqrt(2) ln 3, 0), (0, 0) are ln 3 and 0, the weights 3/4 and 1/4. With V = K the context
    is (3/4 sqrt(2) ln 3, 0), and every query takes all of it. The third query and the third key are padding.
    """
    module = attention(hidden_size=2, num_attention_heads=1, num_bridge_tokens=1)
    for linear in (module.query, module.key, module.value, module.output):
        set_identity(linear)
    queries = torch.tensor([[[2.0, 0.0], [0.0, 2.0], [50.0, -70.0]]])
    keys = torch.tensor([[[math.sqrt(2) * math.log(3), 0.0], [0.0, 0.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    expected = torch.tensor([0.75 * math.sqrt(2) * math.log(3), 0.0])
    torch.testing.assert_close(module(queries, keys, mask, mask)[0, :2], expected.expand(2, 2))


def loop_attention(module: GatedBridgeAttention, queries, keys, heads: int) -> torch.Tensor:
    """Eq. (6)-(8) in float64, head by head, with the matrix A_i formed and torch's own adaptive pooling."""
    q, k, v = (layer.weight.double() for layer in (module.query, module.key, module.value))
    width = module.head_width
    outputs = []
    for i in range(heads):
        rows = slice(i * width, (i + 1) * width)
        shared = rows if k.shape[0] > width else slice(0, width)
        query, key, value = queries @ q[rows].T, keys @ k[shared].T, keys @ v[shared].T
        if module.num_bridge_tokens is None:
            matrix = (query @ key.T / width**0.5).softmax(-1)
        else:
            bridge = torch.nn.functional.adaptive_avg_pool1d(query.T[None], module.num_bridge_tokens)[0].T
            matrix = (query @ bridge.T / width**0.5).softmax(-1) @ (bridge @ key.T / width**0.5).softmax(-1)
            torch.testing.assert_close(matrix.sum(-1), torch.ones(len(matrix), dtype=torch.float64))
        outputs.append(matrix @ value)
    return torch.cat(outputs, -1) @ module.output.weight.double().T


@pytest.mark.parametrize("multi_query", [True, False])
@pytest.mark.parametrize("use_bridge_tokens", [True, False])
def test_equals_the_formula_with_the_matrix_formed(multi_query, use_bridge_tokens):
    module = attention(multi_query=multi_query, use_bridge_tokens=use_bridge_tokens)
    assert module.key.out_features == (4 if multi_query else 16)
    queries, keys = torch.randn(1, 7, 16), torch.randn(1, 4, 16)
    found = module(queries, keys, torch.ones(1, 7), torch.ones(1, 4))
    expected = loop_attention(module, queries[0].double(), keys[0].double(), heads=4)
    torch.testing.assert_close(found[0].double(), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 13])
def test_bridge_pool_equals_adaptive_average_pooling_over_the_valid_tokens(length):
    """Also when padding stands on the left, as XLNet's does."""
    tokens = torch.randn(length, 6)
    expected = torch.nn.functional.adaptive_avg_pool1d(tokens.T[None], 4)[0].T
    for left in (0, 3):
        mask = torch.zeros(1, length + 5)
        mask[0, left : left + length] = 1
        padded = torch.full((length + 5, 6), 7.0)
        padded[left : left + length] = tokens
        torch.testing.assert_close(bridge_pooling_weights(mask, 4)[0] @ padded, expected)


def test_no_key_gives_zero_and_no_query_gives_no_nan():
    module = attention()
    rows = torch.randn(2, 3, 16)
    some, none = torch.ones(2, 3), torch.zeros(2, 3)
    assert module(rows, rows, some, none).eq(0).all()
    assert torch.isfinite(module(rows, rows, none, some)).all()
    assert module(rows, rows[:, :0], some, some[:, :0]).eq(0).all()


@pytest.mark.parametrize("gate", ["reglu", "relu", "none"])
def test_layer_is_the_written_formula(gate):
    torch.manual_seed(0)
    layer = GatedBridgeLayer(tiny_config(gate=gate)).eval()
    hidden, context = torch.randn(2, 5, 16), torch.randn(2, 4, 16)
    mask, context_mask = torch.ones(2, 5), torch.ones(2, 4)
    middle = hidden + layer.attention(layer.norm_query(hidden), layer.norm_key(context), mask, context_mask)
    normed = layer.norm_gate(middle)
    if gate == "reglu":
        gated = (normed @ layer.gate_projection.weight.T + layer.gate_projection.bias).clamp(min=0) * normed
    else:
        gated = normed.clamp(min=0) if gate == "relu" else normed
        assert not hasattr(layer, "gate_projection")
    wide = (gated @ layer.feed_forward.expand.weight.T + layer.feed_forward.expand.bias).clamp(min=0)
    expected = middle + wide @ layer.feed_forward.contract.weight.T + layer.feed_forward.contract.bias
    torch.testing.assert_close(layer(hidden, context, mask, context_mask), expected)
