"""MFM: its discrepancy and its decoder by hand, what is rebuilt, the public number of weights."""

import math

import pytest
import torch

from modeling_semanticmac.baselines.mfm import Decoder, FactorizedModel, mean_discrepancy
from tests.helpers.clip_streams import WIDTHS, clip_streams, public_count
from tests.helpers.systems import TINY
from tests.helpers.tiny import SENTIMENT


def small(**changes) -> FactorizedModel:
    torch.manual_seed(0)
    return FactorizedModel(FactorizedModel.Options(**{**TINY["mfm"], "dropout": 0.0, **changes}), WIDTHS, SENTIMENT)


def test_discrepancy_of_two_samples():
    one = torch.ones(1, dtype=torch.bool)
    assert mean_discrepancy(torch.zeros(1, 1), torch.ones(1, 1), one).item() == pytest.approx(2 - 2 / math.e)
    pair = torch.zeros(1, 2), torch.ones(1, 2)
    assert mean_discrepancy(*pair, one).item() == pytest.approx(2 - 2 / math.sqrt(math.e))  # 0.786939
    assert mean_discrepancy(*pair, one, power=1).item() == pytest.approx(2 - 2 / math.e)  # 1.264241
    rows, other = torch.randn(2, 5, 3)
    valid = torch.tensor([True, False, True, True, False])
    assert mean_discrepancy(rows, rows, valid).item() == pytest.approx(0, abs=1e-6)
    alone = mean_discrepancy(rows[valid], other[valid], torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(mean_discrepancy(rows, other, valid), alone)
    assert mean_discrepancy(rows, other, ~valid & valid).item() == 0


def test_the_decoder_reads_its_own_state():
    torch.manual_seed(0)
    decoder, vector = Decoder(3, 4), torch.randn(2, 3)
    zero = torch.zeros(2, 3)
    h1, c1 = decoder.cell(vector, (zero, zero))
    h2, _ = decoder.cell(h1, (h1, c1))
    found = decoder(vector, 2)
    assert found.shape == (2, 2, 4)
    torch.testing.assert_close(found, torch.stack([decoder.output(h1), decoder.output(h2)], dim=1))


def test_losses_are_those_of_the_valid_steps_of_present_modalities():
    module = small(discrepancy_weight=0.0, text_weight=2.0).train()
    streams = clip_streams([(5, 3, 4), (4, 0, 2)])
    streams.labels = torch.zeros(2)
    losses = module(streams).losses
    assert losses["discrepancy"] == 0
    clip = clip_streams([(5, 3, 4)])  # the second clip has no audio, so the first alone has a loss
    clip.labels = torch.zeros(1)
    alone = module(clip).losses
    torch.testing.assert_close(losses["audio_reconstruction"], alone["audio_reconstruction"])
    assert not torch.allclose(losses["text_reconstruction"], alone["text_reconstruction"], rtol=1e-3)
    longer = clip_streams([(5, 3, 4), (4, 0, 2)], padding=3)
    longer.labels = torch.zeros(2)
    for name, value in module(longer).losses.items():
        torch.testing.assert_close(value, losses[name], msg=name)
    # By hand: three words, each a normalised vector of width 8.
    latents = module(clip).embeds
    factors = [module.factors[name](latents[name]) for name in ("label", "text")]
    rebuilt = module.decoders["text"](torch.cat(factors, dim=1), 3)
    words = clip.text[:, 1:4]
    words = (words - words.mean(dim=-1, keepdim=True)) / (words.var(dim=-1, keepdim=True, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(alone["text_reconstruction"], 2 * (rebuilt - words).square().mean())


def test_the_sample_comes_from_the_seed():
    module, streams = small().train(), clip_streams([(5, 3, 4), (4, 2, 2)])
    streams.labels = torch.zeros(2)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(module(streams).losses["discrepancy"].item())
    assert found[0] == found[1] != found[2] and module.eval()(streams).losses is None


@pytest.mark.parametrize(
    ("corpus", "public", "unused"),
    [
        ("mosi", 1416123, 352 * 128 + 128 + 129), ("mosi_1024", 2920018, 352 * 128 + 128 + 129),
        ("mosei", 5996541, (544 + 64 + 1) * 256 + 257), ("ch_sims", 3478888, (144 + 128 + 1) * 128 + 129),
    ],
)  # fmt: skip
def test_as_many_weights_as_the_public_module_without_those_that_nothing_uses(corpus, public, unused):
    assert public_count("mfm", corpus) == public - unused
