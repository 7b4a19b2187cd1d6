import math

import pytest
import torch

from modeling_semanticmac.affective_perceiver import AffectivePerceiver, FrameEmbedding, PerceiverLayer
from tests.helpers.tiny import tiny_config


def test_layer_by_hand():
    """d = 2, one head, one latent, one frame.

    Values far apart make the norm's eps vanish: LN(300, 100) = (1, -1), LN(-100, 300) = (-1, 1)
    Q = (1, -1), K = c [(-1, 1); (1, -1)]: logits -2c / sqrt(2), 2c / sqrt(2)
    They differ by ln 3 for c = sqrt(2) ln 3 / 4: weights 1/4, 3/4
    V = 8 [(-1, 1); (1, -1)]: attention returns (-2 + 6, 2 - 6) = (4, -4); plus P: (304, 96)
    FFN(LN(304, 96)) = FFN(1, -1): one unit takes the first number, GELU(1) = Phi(1) = 0.8413447, bias (10, 0)
    sum: (314.8413447, 96)
    """
    torch.manual_seed(0)
    layer = PerceiverLayer(tiny_config(hidden_size=2, num_attention_heads=1)).eval()
    layer.query.weight.data = torch.eye(2)
    layer.key.weight.data = torch.eye(2) * math.sqrt(2) * math.log(3) / 4
    layer.value.weight.data = torch.eye(2) * 8
    layer.output.weight.data = torch.eye(2)
    for linear in (layer.feed_forward.expand, layer.feed_forward.contract):
        linear.weight.data.zero_()
        linear.bias.data.zero_()
    layer.feed_forward.expand.weight.data[0, 0] = 1
    layer.feed_forward.contract.weight.data[0, 0] = 1
    layer.feed_forward.contract.bias.data[0] = 10
    found = layer(torch.tensor([[[300.0, 100.0]]]), torch.tensor([[[-100.0, 300.0]]]), torch.ones(1, 1))
    torch.testing.assert_close(found, torch.tensor([[[314.8413447, 96.0]]]))


def perceiver(**fields) -> AffectivePerceiver:
    torch.manual_seed(0)
    module = AffectivePerceiver(tiny_config(**fields), embed_width=12, num_crops=fields.get("num_crops", 1)).eval()
    torch.nn.init.normal_(module.latents)
    if fields.get("use_frame_embeddings", True):
        torch.nn.init.normal_(module.frame_embedding.weight)
    return module


@pytest.mark.parametrize("frames", [1, 2, 8, 9, 300])
def test_any_number_of_frames_gives_n_tokens(frames):
    assert perceiver()(torch.randn(2, frames, 12), torch.ones(2, frames)).shape == (2, 5, 16)


def test_padding_changes_nothing_even_if_it_is_nan():
    module, embeds = perceiver(), torch.randn(1, 4, 12)
    padded = torch.cat([embeds, torch.full((1, 3, 12), float("nan"))], dim=1)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0]])
    torch.testing.assert_close(module(padded, mask), module(embeds, torch.ones(1, 4)))


def test_scale_of_the_tower_does_not_matter_but_order_in_time_does():
    module, embeds, mask = perceiver(input_scaling="unit"), torch.randn(1, 4, 12), torch.ones(1, 4)
    torch.testing.assert_close(module(embeds * 20, mask), module(embeds, mask))
    assert not torch.allclose(module(embeds.flip(1), mask), module(embeds, mask), atol=1e-3)


def test_without_frame_embeddings_order_in_time_is_lost():
    module, embeds, mask = perceiver(use_frame_embeddings=False), torch.randn(1, 4, 12), torch.ones(1, 4)
    torch.testing.assert_close(module(embeds.flip(1), mask), module(embeds, mask))


def test_crops_of_one_time_step_share_a_row_and_late_steps_the_last_one():
    embedding = FrameEmbedding(max_frames=2, width=1, num_crops=3)
    embedding.weight.data = torch.tensor([[1.0], [2.0]])
    assert embedding(torch.zeros(1, 10, 1)).flatten().tolist() == [1, 1, 1, 2, 2, 2, 2, 2, 2, 2]


def test_norm_and_residual_can_be_taken_out():
    plain = PerceiverLayer(tiny_config(perceiver_norm="none", perceiver_residual=False)).eval()
    assert not any(isinstance(module, torch.nn.LayerNorm) for module in plain.modules())
    latents, embeds = torch.randn(1, 5, 16), torch.randn(1, 3, 16)
    plain.output.weight.data.zero_()  # without the residual nothing of the latents is left then: a constant comes out
    found = plain(latents, embeds, torch.ones(1, 3))
    torch.testing.assert_close(found, plain.feed_forward(torch.zeros_like(latents)))
    kept = PerceiverLayer(tiny_config(perceiver_norm="none")).eval()
    kept.output.weight.data.zero_()
    torch.testing.assert_close(kept(latents, embeds, torch.ones(1, 3)), latents + kept.feed_forward(latents))


def test_final_norm_goes_with_the_others():
    assert isinstance(perceiver().norm, torch.nn.LayerNorm)
    assert isinstance(perceiver(perceiver_norm="none").norm, torch.nn.Identity)
