"""MFN: the equations of one step by hand, padding, missing modalities, parameter counts of the public module."""

import pytest
import torch

from modeling_semanticmac.baselines.mfn import MemoryFusionNetwork
from tests.helpers.clip_streams import WIDTHS, clip_streams, public_count
from tests.helpers.tiny import SENTIMENT

SMALL = {
    "text_hidden": 3, "audio_hidden": 2, "vision_hidden": 4, "memory_width": 5, "attention_hidden": 6,
    "candidate_hidden": 7, "retain_hidden": 8, "update_hidden": 9, "output_hidden": 10,
}  # fmt: skip


def small(seed: int = 0) -> MemoryFusionNetwork:
    """Return a small network with random weights, its biases included."""
    torch.manual_seed(seed)
    return MemoryFusionNetwork(MemoryFusionNetwork.Options(**SMALL), WIDTHS, SENTIMENT).eval()


def two_layers(part, x):
    first, _, _, second = part
    return torch.relu(x @ first.weight.T + first.bias) @ second.weight.T + second.bias


def lstm_step(cell, x, h, c):
    """Return h, c after one step of an LSTM, from its equations."""
    gates = x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
    i, f, g, o = gates.chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def by_hand(module, steps) -> torch.Tensor:
    """Return the logits of a batch without padding, (B, S, D_t), (B, S, D_a), (B, S, D_v), from the equations."""
    batch = len(steps[0])
    h = [torch.zeros(batch, SMALL[f"{name}_hidden"]) for name in WIDTHS]
    c, u = [state.clone() for state in h], torch.zeros(batch, SMALL["memory_width"])
    for s in range(steps[0].shape[1]):
        before = list(c)
        for m, name in enumerate(WIDTHS):
            h[m], c[m] = lstm_step(module.cells[name], steps[m][:, s], h[m], c[m])
        star = torch.cat([*before, *c], dim=1)
        attended = torch.exp(two_layers(module.attention, star))
        attended = attended / attended.sum(dim=1, keepdim=True) * star
        new, both = torch.tanh(two_layers(module.candidate, attended)), torch.cat([attended, u], dim=1)
        u = two_layers(module.retain, both).sigmoid() * u + two_layers(module.update, both).sigmoid() * new
    return two_layers(module.output, torch.cat([*h, u], dim=1))


def test_the_equations_of_three_steps():
    module, streams = small(), clip_streams([(5, 3, 3), (5, 3, 3)])
    # As many frames as words: each word has its own.
    expected = by_hand(module, (streams.text[:, 1:4], streams.audio, streams.vision))
    torch.testing.assert_close(module(streams).logits, expected)


def test_audio_and_vision_are_pooled_to_the_words():
    module, streams = small(), clip_streams([(4, 4, 1)])
    audio = streams.audio.unflatten(1, (2, 2)).mean(dim=2)  # two words, of two frames each
    expected = by_hand(module, (streams.text[:, 1:3], audio, streams.vision.expand(-1, 2, -1)))
    torch.testing.assert_close(module(streams).logits, expected)


def test_a_memory_of_zero_weights_is_halved():
    module = small()
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    before, after = ([(torch.randn(1, h), torch.randn(1, h)) for h in (3, 2, 4)] for _ in range(2))
    memory = torch.randn(1, 5)
    attended = module.attend(before, after)
    torch.testing.assert_close(attended, torch.cat([cell for _, cell in before + after], dim=1) / 18)
    torch.testing.assert_close(module.remember(attended, memory), memory / 2)


def test_the_memory_grows_by_one_at_most_in_a_step():
    module = small()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=5.0)
    memory = torch.zeros(1, 5)
    for _ in range(20):
        new = module.remember(torch.randn(1, 18), memory)
        assert (new.abs() <= memory.abs() + 1).all()
        memory = new
    assert memory.abs().max() > 1


def test_padding_does_nothing():
    module, clip = small(), clip_streams([(6, 3, 5)])
    longer = clip_streams([(6, 3, 5)], padding=3)
    torch.testing.assert_close(module(clip).logits, module(longer).logits, rtol=0, atol=1e-6)


def test_a_missing_modality_keeps_its_state_at_zero():
    module = small()
    output = module(clip_streams([(5, 0, 3), (5, 3, 0), (0, 3, 4), (0, 0, 0)]))
    zero = {name: [row for row in range(4) if not output.embeds[name][row].any()] for name in WIDTHS}
    assert zero == {"text": [2, 3], "audio": [0, 3], "vision": [1, 3]}
    torch.testing.assert_close(output.logits[3], two_layers(module.output, torch.zeros(14)))


def test_every_parameter_has_a_gradient():
    module = small().train()
    module(clip_streams([(6, 3, 5), (4, 9, 2)])).logits.square().sum().backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("corpus", "expected"), [("mosi", 2172657), ("mosi_1024", 3331185), ("mosei", 1276865), ("ch_sims", 601505)]
)
def test_as_many_parameters_as_the_public_module(corpus, expected):
    assert public_count("mfn", corpus) == expected
