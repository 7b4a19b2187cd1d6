"""LF-DNN, TFN and LMF against values computed by hand, and their numbers of weights."""

import pytest
import torch
from torch import nn

from modeling_semanticmac.baselines.clip_networks import MediaNetwork, TextNetwork
from modeling_semanticmac.baselines.late_fusion_dnn import LateFusionDnn, LateFusionDnnOptions
from modeling_semanticmac.baselines.low_rank_fusion import LowRankFusion, LowRankFusionOptions, LowRankProduct
from modeling_semanticmac.baselines.tensor_fusion import TensorFusion, TensorFusionOptions, outer_product
from modeling_semanticmac.task_specification import TaskSpecification
from tests.helpers.fusion import random_streams

SCORES = TaskSpecification("sentiment", "regression", ("score",), label_range=(-3, 3))
NARROW = {"text": 6, "audio": 5, "vision": 4}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("widths", "options", "expected"),
    [
        ((768, 5, 20), {}, 597171),
        ((768, 1024, 1024), {}, 746033),
        ((768, 74, 35), {"audio_hidden": 32, "text_output": 128}, 572283),
        ((768, 33, 709), {"audio_hidden": 32, "fusion_hidden": 32}, 635821),
    ],
)
def test_lf_dnn_has_the_published_number_of_weights(widths, options, expected):
    widths = dict(zip(("text", "audio", "vision"), widths))
    assert count(LateFusionDnn(LateFusionDnnOptions(**options), widths, SCORES)) == expected


@pytest.mark.parametrize(
    ("widths", "options", "expected"),
    [
        ((768, 5, 20), {}, 9497043),
        ((768, 1024, 1024), {}, 9662209),
        ((768, 74, 35), {"audio_hidden": 16, "text_output": 128, "fusion_hidden": 16}, 5042539),
        ((768, 33, 709), {"text_output": 256, "fusion_hidden": 32}, 35632077),
    ],
)
def test_tfn_has_the_published_number_of_weights(widths, options, expected):
    widths = dict(zip(("text", "audio", "vision"), widths))
    with torch.device("meta"):
        assert count(TensorFusion(TensorFusionOptions(**options), widths, SCORES)) == expected


@pytest.mark.parametrize(
    ("widths", "options", "expected"),
    [
        ((768, 5, 20), {}, 505071),
        ((768, 1024, 1024), {}, 653933),
        ((768, 74, 35), {"rank": 4}, 508475),
        ((768, 33, 709), {"text_hidden": 64, "vision_hidden": 64, "rank": 4}, 272381),
    ],
)
def test_lmf_has_the_published_number_of_weights(widths, options, expected):
    widths = dict(zip(("text", "audio", "vision"), widths))
    assert count(LowRankFusion(LowRankFusionOptions(**options), widths, SCORES)) == expected


def test_a_media_network_with_identity_weights_returns_the_normalized_mean():
    network = MediaNetwork(2, 2, dropout=0.0)
    for layer in network.layers:
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    stream = torch.tensor([[[4.0, 0.0], [8.0, 2.0], [float("nan"), 9.0]], [[1.0, 5.0], [0.0, 0.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    # The mean of the two valid frames is (6, 1), normalized (1, -1), and ReLU leaves (1, 0).
    torch.testing.assert_close(network(stream, mask), torch.tensor([[1.0, 0.0], [0.0, 0.0]]), atol=1e-5, rtol=0)


def test_a_text_network_reads_valid_tokens_only():
    torch.manual_seed(0)
    network = TextNetwork(3, 4, 2, dropout=0.0)
    oracle = nn.LSTM(3, 4, batch_first=True)
    oracle.load_state_dict({name.split(".")[-1]: value for name, value in network.recurrence.state_dict().items()})
    tokens = torch.randn(1, 5, 3)
    mask = torch.tensor([[True, True, True, False, False]])
    expected = network.projection(oracle(tokens[:, :3])[1][0][-1])
    torch.testing.assert_close(network(tokens, mask), expected)


def test_lf_dnn_gives_a_missing_modality_a_block_of_zeros():
    torch.manual_seed(0)
    network = LateFusionDnn(LateFusionDnnOptions(), NARROW, SCORES).eval()
    seen = []
    network.classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(random_streams(NARROW, missing=[("audio", 1)]))
    audio = seen[0][:, :16]  # [a; v; t]
    assert (audio[1] == 0).all() and (audio[0] != 0).any() and (seen[0][1, 16:] != 0).any()


def test_the_outer_product_of_three_vectors():
    product = outer_product(torch.tensor([[3.0]]), torch.tensor([[5.0]]), torch.tensor([[2.0]]))
    torch.testing.assert_close(product, torch.tensor([[1.0, 2.0, 5.0, 10.0, 3.0, 6.0, 15.0, 30.0]]))
    nothing = outer_product(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2))
    torch.testing.assert_close(nothing, torch.eye(27)[:1])


def test_low_rank_fusion_equals_a_linear_layer_on_the_outer_product():
    torch.manual_seed(0)
    a, v, t, labels = 2, 3, 2, 4
    rank = (a + 1) * (v + 1) * (t + 1)
    fusion = LowRankProduct([a, v, t], rank, labels).double()
    weights = torch.randn(rank, labels, dtype=torch.double)
    with torch.no_grad():  # each rank picks one entry of Z; its factor of text carries the weight of that entry
        for factor in fusion.factors:
            factor.zero_()
        fusion.weight.fill_(1)
        for row in range(rank):
            i, j, k = row // ((v + 1) * (t + 1)), row // (t + 1) % (v + 1), row % (t + 1)
            fusion.factors[0][row, i] = 1
            fusion.factors[1][row, j] = 1
            fusion.factors[2][row, k] = weights[row]
    audio, vision, text = (torch.randn(5, width, dtype=torch.double) for width in (a, v, t))
    expected = outer_product(audio, vision, text) @ weights
    torch.testing.assert_close(fusion([audio, vision, text]), expected, atol=1e-13, rtol=0)


def test_low_rank_fusion_of_rank_one_with_ones_multiplies_sums():
    fusion = LowRankProduct([2, 1, 1], 1, 1)
    with torch.no_grad():
        for parameter in [*fusion.factors, fusion.weight]:
            parameter.fill_(1)
        fusion.bias.fill_(0.5)
    found = fusion([torch.tensor([[2.0, 3.0]]), torch.tensor([[4.0]]), torch.tensor([[-3.0]])])
    assert found.item() == (1 + 2 + 3) * (1 + 4) * (1 - 3) + 0.5
