"""MuLoT, ME2ET, TBJE and I-Attention: transport, passes, blocks and segments by hand."""

import pytest
import torch
from torch import nn

from modeling_semanticmac.baselines.i_attention import SegmentAttention, SegmentAttentionOptions, attended
from modeling_semanticmac.baselines.me2et import ME2ET, ME2ETOptions
from modeling_semanticmac.baselines.mulot import AttentionPooling, Mulot, MulotOptions, transport_plan
from modeling_semanticmac.baselines.tbje import Glimpses, GuidedBlock, JointEncoding, JointEncodingOptions
from modeling_semanticmac.task_specification import TaskSpecification
from tests.baselines.test_cross_modal_layers import torch_attention
from tests.helpers.clip_streams import WIDTHS, clip_streams
from tests.helpers.tiny import SENTIMENT

SIX = TaskSpecification("emotion", "multi_label_classification", tuple("abcdef"))


def ones(*shape):
    return torch.ones(*shape, dtype=torch.bool)


def test_a_plan_of_two_positions():
    cost = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    plan = transport_plan(cost, ones(1, 2), ones(1, 2), 0.1, 50)
    expected = torch.tensor([[[0.499977, 0.000023], [0.000023, 0.499977]]])
    torch.testing.assert_close(plan, expected, atol=1e-6, rtol=0)


def test_marginals_are_uniform_over_valid_positions():
    torch.manual_seed(0)
    rows, columns = torch.tensor([[True, True, True, False]]), torch.tensor([[True, False, True]])
    plan = transport_plan(torch.rand(1, 4, 3), rows, columns, 0.1, 200)
    torch.testing.assert_close(plan.sum(dim=2)[0], torch.tensor([1 / 3, 1 / 3, 1 / 3, 0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(plan.sum(dim=1)[0], torch.tensor([0.5, 0, 0.5]), atol=1e-5, rtol=0)
    alone = transport_plan(torch.rand(1, 1, 3), ones(1, 1), columns, 0.1, 50)
    torch.testing.assert_close(alone[0, 0], torch.tensor([0.5, 0, 0.5]))
    assert not transport_plan(torch.rand(1, 4, 3), rows, ~ones(1, 3), 0.1, 50).any()


def test_one_position_carries_the_mean_of_the_other_modality():
    torch.manual_seed(0)
    module = Mulot(MulotOptions(4, 2), WIDTHS, SENTIMENT)
    target, source = torch.randn(1, 1, 4), torch.randn(1, 3, 4)
    found = module.carried(target, source, (ones(1, 1), ones(1, 3)))
    torch.testing.assert_close(found[:, 0], source.mean(dim=1))
    pool, x = AttentionPooling(4), torch.randn(1, 3, 4)
    weights = torch.softmax(
        torch.tanh(x[0, :2] @ pool.hidden.weight.T + pool.hidden.bias) @ pool.score.weight[0], dim=0
    )
    torch.testing.assert_close(pool(x, torch.tensor([[True, True, False]]))[0], weights @ x[0, :2])


def test_the_two_passes_of_me2et():
    torch.manual_seed(0)
    module, streams = ME2ET(ME2ETOptions(8, 2, 16, 0.0), WIDTHS, SENTIMENT).eval(), clip_streams([(4, 3, 5)])
    t, a, v = (module.projections[name](getattr(streams, name)) for name in WIDTHS)

    def guided(name, x, *guides):
        keys = torch.cat(guides, dim=1)
        attention = torch_attention(module.attentions[name], 8, 2)
        return module.norms[name](x + attention(x, keys, keys)[0])

    a, v = guided("audio_first", a, t), guided("vision_first", v, t)
    t = guided("text", t, a, v)
    a = guided("audio", a, t, v)
    v = guided("vision", v, t, a)
    tokens = module.fusion(torch.stack([t.mean(1), a.mean(1), v.mean(1)], dim=1))
    torch.testing.assert_close(module(streams).logits, module.output(tokens.flatten(1)))


def test_a_block_of_tbje_by_hand():
    torch.manual_seed(0)
    options = JointEncodingOptions(8, 2, 2, 16, 12, 5, 0.0)
    block = GuidedBlock(options, is_guided=True, is_last=False).eval()
    x, guide = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    first, second, third = block.norms
    y = first(x + torch_attention(block.own, 8, 2)(x, x, x)[0])
    y = second(y + torch_attention(block.guide, 8, 2)(y, guide, guide)[0])
    y = third(y + block.feed_forward(y)) + x
    weights = torch.softmax(block.glimpses.scores(y), dim=1)  # (B, S, 5)
    seen = torch.einsum("bsg,bsd->bgd", weights, y)[:, :3]
    torch.testing.assert_close(block(x, ones(2, 3), guide, ones(2, 4)), block.glimpse_norm(y + seen))
    last = GuidedBlock(options, is_guided=False, is_last=True).eval()
    y = last.norms[0](x + torch_attention(last.own, 8, 2)(x, x, x)[0])
    torch.testing.assert_close(last(x, ones(2, 3), guide, ones(2, 4)), last.norms[1](y + last.feed_forward(y)) + x)


def test_one_glimpse_at_one_position_is_the_position():
    torch.manual_seed(0)
    glimpses, x = Glimpses(4, 6, 1, 0.0), torch.randn(2, 3, 4)
    found = glimpses(x, torch.tensor([[False, True, False], [False] * 3]))
    torch.testing.assert_close(found[0, 0], x[0, 1])
    assert not found[1].any()


def test_long_sequences_are_pooled_for_tbje():
    torch.manual_seed(0)
    module = JointEncoding(JointEncodingOptions(8, 1, 2, 16, 12, 3, 0.0), WIDTHS, SENTIMENT).eval()
    streams = clip_streams([(2, 6, 3)])
    found, masks = module.sequences(streams)
    assert masks["audio"].tolist() == [[True] * 3] and masks["text"].tolist() == [[True, True]]
    pooled = streams.audio.unflatten(1, (3, 2)).mean(dim=2)
    torch.testing.assert_close(found["audio"], module.media["audio"](pooled))


def test_tbje_has_the_public_number_of_weights():
    with torch.device("meta"):
        module = JointEncoding(JointEncodingOptions(), {"text": 300, "audio": 80, "vision": 512}, SIX)
    assert sum(weight.numel() for weight in module.parameters()) == 44071461


def test_segments_of_one_element_are_multiplied():
    torch.manual_seed(0)
    x, y = torch.randn(2, 5, 1), torch.randn(2, 5, 1)
    torch.testing.assert_close(attended(x, y), y * x)
    x, y = torch.randn(1, 2, 3), torch.randn(1, 2, 3)
    for s in range(2):
        weights = torch.outer(x[0, s], y[0, s]).softmax(dim=1)
        torch.testing.assert_close(attended(x, y)[0, s], weights @ y[0, s] * x[0, s])


def test_i_attention_from_its_segments():
    torch.manual_seed(0)
    module = SegmentAttention(SegmentAttentionOptions(4, 6, 3, 0.0), WIDTHS, SENTIMENT).eval()
    streams = clip_streams([(4, 3, 0)])
    t, a, v = module.segments(streams)
    _, final = module.text.gru(streams.text)
    expected = torch.tanh(module.maps["text"](torch.cat(list(final), dim=1)))
    torch.testing.assert_close(t.flatten(1), expected)
    assert t.shape == (1, 3, 2) and not v.any()
    together = torch.cat([t, a, v], dim=2)
    parts = [attended(*pair) for pair in ((t, a), (t, v), (a, t), (a, v), (v, t), (v, a), (together, together))]
    _, final = module.recurrence(torch.relu(module.joined(torch.cat(parts, dim=2))))
    expected = module.output(nn.functional.relu(module.hidden(torch.cat(list(final), dim=1))))
    torch.testing.assert_close(module(streams).logits, expected)
    with pytest.raises(ValueError, match="segments is 4, which does not divide the width 6"):
        SegmentAttention(SegmentAttentionOptions(4, 6, 4), WIDTHS, SENTIMENT)
