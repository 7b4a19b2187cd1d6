"""C-MFN: which words are the punchline, MFN without a context, the states that a context gives."""

import torch

from modeling_semanticmac.baselines.c_mfn import ContextualMemoryFusion, last_words
from modeling_semanticmac.baselines.fusion_layers import Steps
from modeling_semanticmac.baselines.mfn import MemoryFusionNetwork
from tests.baselines.test_mfn import SMALL
from tests.helpers.clip_streams import WIDTHS, clip_streams
from tests.helpers.tiny import SENTIMENT


def small() -> ContextualMemoryFusion:
    torch.manual_seed(0)
    options = ContextualMemoryFusion.Options(**SMALL, context_width=8, context_heads=2)
    return ContextualMemoryFusion(options, WIDTHS, SENTIMENT).eval()


def test_the_words_after_the_last_separator_are_the_punchline():
    valid = torch.tensor([[1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]).bool()
    words = torch.tensor([[0, 1, 1, 0, 1, 0, 1, 0], [0, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]).bool()
    expected = [[0, 0, 0, 0, 0, 0, 1, 0], [0, 1, 1, 0, 0, 0, 0, 0], [0] * 8]
    assert last_words(valid, words).long().tolist() == expected


def test_without_a_context_it_is_mfn_bit_for_bit():
    module = small()
    plain = MemoryFusionNetwork(MemoryFusionNetwork.Options(**SMALL), WIDTHS, SENTIMENT).eval()
    plain.load_state_dict(module.state_dict(), strict=False)
    streams = clip_streams([(6, 3, 5), (5, 0, 2), (0, 3, 4)], padding=2)
    assert module(streams).logits.equal(plain(streams).logits)


def test_a_context_starts_the_states():
    """[CLS] two words [SEP] two words [SEP]: the first two are the context."""
    module, streams = small(), clip_streams([(7, 2, 2)])
    streams.content_mask[0, 3] = False
    context, punchline = streams.text[:, 1:3], streams.text[:, 4:6]
    _, (final, _) = module.context.lstm(context)
    states = [(torch.zeros(1, width), torch.zeros(1, width)) for width in (3, 2, 4)]
    states[0] = (states[0][0], module.cell(final[0]))
    memory = module.memory(module.context_transformer(module.context.lstm(context)[0]).mean(dim=1))
    steps = Steps(punchline, streams.audio, streams.vision, torch.ones(1, 2, dtype=torch.bool))
    embeds = module.run(steps, streams.modality_mask, states, memory)
    expected = module.output(torch.cat(list(embeds.values()), dim=1))
    torch.testing.assert_close(module(streams).logits, expected)
    module.train()(streams).logits.sum().backward()
    assert all(weight.grad.any() for name, weight in module.named_parameters() if name.startswith(("context", "cell")))
