"""BBFN: a gated layer against the plain one, the discriminator, the steps, the public number of weights."""

import math

import pytest
import torch
from torch import nn

from modeling_semanticmac.baselines.bbfn import BiBimodalFusion, BiBimodalOptions, GatedLayer, PairLayer
from modeling_semanticmac.baselines.cross_modal_layers import CrossModalLayer
from modeling_semanticmac.baselines.fusion_layers import summary_steps
from tests.helpers.clip_streams import WIDTHS, clip_streams
from tests.helpers.tiny import SENTIMENT

SMALL = BiBimodalOptions(8, 2, 2, 3, 0.0, 0.0, 0.0, 0.0)


def test_open_gates_leave_the_plain_layer():
    torch.manual_seed(0)
    gated = GatedLayer(8, 2, 0.0, 0.0, 0.0)
    plain = CrossModalLayer(8, 2, 0.0, 0.0, 0.0)
    plain.load_state_dict(gated.state_dict(), strict=False)
    x, y, mask, c = torch.randn(2, 3, 8), torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool), torch.randn(2, 16)
    half = gated.gated(x, y, mask, c)
    for gate in (gated.forget, gated.mix):
        nn.init.zeros_(gate.weight), nn.init.constant_(gate.bias, 100.0)
    torch.testing.assert_close(gated.gated(x, y, mask, c), plain(x, y, mask))
    assert not torch.allclose(half, plain(x, y, mask), atol=1e-2)


def test_both_directions_start_from_the_inputs_of_the_layer():
    torch.manual_seed(0)
    layer = PairLayer(SMALL, is_first=True)
    sides, mask = {"text": torch.randn(1, 3, 8), "media": torch.randn(1, 3, 8)}, torch.ones(1, 3, dtype=torch.bool)
    found, told = layer(sides, {"text": mask, "media": mask})
    e = [layer.summaries[side](sides[side].mean(dim=1)) for side in ("text", "media")]
    c = torch.cat(e, dim=1)
    torch.testing.assert_close(found["text"], layer.layers["text"].gated(sides["text"], sides["media"], mask, c))
    torch.testing.assert_close(found["media"], layer.layers["media"].gated(sides["media"], sides["text"], mask, c))
    torch.testing.assert_close(told, torch.cat([layer.discriminator(one) for one in e], dim=1))
    later = PairLayer(SMALL, is_first=False)
    states = later.summaries["text"].gru(sides["text"])[0].unflatten(-1, (2, 8)).mean(dim=2)
    torch.testing.assert_close(later.summary("text", sides["text"], mask), states.mean(dim=1))


def test_a_discriminator_that_cannot_tell_costs_the_logarithm_of_two():
    torch.manual_seed(0)
    module = BiBimodalFusion(SMALL, WIDTHS, SENTIMENT).train()
    for layers in module.pairs.values():
        for layer in layers:
            nn.init.zeros_(layer.discriminator[-1].weight), nn.init.zeros_(layer.discriminator[-1].bias)
    loss = module(clip_streams([(5, 3, 4), (4, 0, 2)])).losses["separation"]
    assert loss.item() == pytest.approx(0.1 * 4 * math.log(2))  # two pairs of two layers


def test_special_tokens_stand_for_the_whole_of_audio_and_vision():
    streams = clip_streams([(4, 2, 3), (0, 3, 2)], padding=1)
    steps = summary_steps(streams)
    assert steps.mask.long().tolist() == [[0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0]]
    audio = streams.audio[0, 1:3]
    torch.testing.assert_close(steps.audio[0, 1:5], torch.stack([audio.mean(0), audio[0], audio[1], audio.mean(0)]))
    torch.testing.assert_close(steps.audio[1, 0], streams.audio[1, 1:4].mean(0))  # a clip without text
    torch.testing.assert_close(steps.audio[1, 1:4], streams.audio[1, 1:4])
    assert not steps.text[1].any() and steps.text[0, 1:5].equal(streams.text[0, 1:5])


def test_as_many_weights_as_the_public_module_without_two_unused_norms():
    widths = {"text": 768, "audio": 74, "vision": 47}
    with torch.device("meta"):
        module = BiBimodalFusion(BiBimodalOptions(), widths, SENTIMENT)
    assert sum(weight.numel() for weight in module.parameters()) == 1071171 - 2 * 80


def test_a_kernel_keeps_the_length():
    with pytest.raises(ValueError, match="kernel is 2; expected an odd number"):
        BiBimodalOptions(kernel=2)
