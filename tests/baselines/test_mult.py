"""MulT: its parts put together by hand, padding, missing modalities, parameter counts of the public module."""

import pytest
import torch
from torch.nn import functional as F

from modeling_semanticmac.baselines.mult import MultimodalTransformer
from tests.helpers.clip_streams import WIDTHS, clip_streams, public_count
from tests.helpers.tiny import SENTIMENT


def small(**options) -> MultimodalTransformer:
    """Return a small transformer with random weights."""
    torch.manual_seed(0)
    options = MultimodalTransformer.Options(**{"width": 4, "num_heads": 2, "num_layers": 1, "self_layers": 1} | options)
    return MultimodalTransformer(options, WIDTHS, SENTIMENT).eval()


def head(module, z):
    """Return y^ from z, by hand."""
    first, _, _, second = module.residual
    return module.output(z + torch.relu(z @ first.weight.T + first.bias) @ second.weight.T + second.bias)


def test_without_layers_the_embeddings_are_summarised():
    module = small(num_layers=0, self_layers=0, positions=False)
    streams = clip_streams([(5, 4, 3)])
    z = []
    for name in WIDTHS:
        weight, x = module.convolutions[name].weight, F.pad(getattr(streams, name)[0], (0, 0, 2, 2))
        last = sum(weight[:, :, k] @ x[len(x) - 5 + k] for k in range(5))  # the last of the convolution's steps, (d,)
        crossed = F.layer_norm(2 * last, (4,)).repeat(2)  # both stacks give the embedded target
        z.append(F.layer_norm(8**0.5 * crossed, (8,)))
    torch.testing.assert_close(module(streams).logits[0], head(module, torch.cat(z)))


def test_each_modality_attends_to_the_two_others():
    module, streams = small(num_layers=2), clip_streams([(5, 4, 3), (5, 4, 3)])
    mapped = {
        name: F.conv1d(getattr(streams, name).mT, module.convolutions[name].weight, padding=2).mT for name in WIDTHS
    }
    masks = {name: getattr(streams, f"{name}_mask") for name in WIDTHS}
    z = []
    for target, first, second in (
        ("text", "audio", "vision"),
        ("audio", "text", "vision"),
        ("vision", "text", "audio"),
    ):
        crossed = [
            module.cross[f"{target}_from_{source}"](mapped[target], masks[target], mapped[source], masks[source])
            for source in (first, second)
        ]
        z.append(module.own[target](torch.cat(crossed, dim=-1), masks[target])[:, -1])
    torch.testing.assert_close(module(streams).logits, head(module, torch.cat(z, dim=-1)))


@pytest.mark.parametrize("causal", [False, True])
def test_padding_does_nothing(causal):
    module = small(num_layers=2, causal=causal)
    clips = [(6, 3, 5), (2, 9, 1)]
    together = module(clip_streams(clips)).logits
    torch.testing.assert_close(module(clip_streams(clips, padding=3)).logits, together, rtol=0, atol=1e-5)
    alone = module(clip_streams(clips[:1])).logits
    torch.testing.assert_close(alone, together[:1], rtol=0, atol=1e-5)


def test_missing_modalities():
    module = small()
    streams = clip_streams([(5, 0, 3), (0, 4, 3), (0, 0, 0)])
    output = module(streams)
    zero = {name: [row for row in range(3) if not output.embeds[name][row].any()] for name in WIDTHS}
    assert zero == {"text": [1, 2], "audio": [0, 2], "vision": [2]}
    torch.testing.assert_close(output.logits[2], head(module, torch.zeros(24)))
    # Whatever the stream of a missing modality holds.
    streams.audio[0] = torch.randn_like(streams.audio[0])
    streams.audio[2] = torch.randn_like(streams.audio[2])
    torch.testing.assert_close(module(streams).logits, output.logits)


def test_every_parameter_has_a_gradient():
    module = small().train()
    module(clip_streams([(6, 3, 5), (4, 9, 2)])).logits.square().sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_options_that_do_not_fit():
    with pytest.raises(ValueError, match="not a multiple of the 3 heads"):
        small(num_heads=3)
    with pytest.raises(ValueError, match="audio_kernel is 4; expected an odd number"):
        small(audio_kernel=4)


@pytest.mark.parametrize(
    ("corpus", "expected"), [("mosi", 2571551), ("mosi_1024", 3077301), ("mosei", 982951), ("ch_sims", 1870701)]
)
def test_as_many_parameters_as_the_public_module(corpus, expected):
    assert public_count("mult", corpus) == expected
