"""ALMT and EMOE: the layer in which text picks, the weights of the experts and their losses by hand."""

import math

import torch
from torch.nn import functional as F

from modeling_semanticmac.baselines.almt import HyperLayer, HyperModality, HyperModalityOptions
from modeling_semanticmac.baselines.emoe import EmotionExperts, EmotionExpertsOptions, wanted_weights
from tests.helpers.clip_streams import WIDTHS, clip_streams
from tests.helpers.tiny import SENTIMENT

SMALL = HyperModalityOptions(8, 3, 2, 16, 2, 1)
NO_DROPOUT = {
    f"{name}_dropout": 0.0 for name in ("attention", "relu", "residual", "embedding", "text", "output")
}  # fmt: skip


def test_what_text_picks_from_audio_and_vision():
    torch.manual_seed(0)
    layer = HyperLayer(SMALL)
    hyper, text = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    media = {"audio": torch.randn(2, 3, 8), "vision": torch.randn(2, 3, 8)}
    has = {"audio": torch.tensor([[1.0], [0.0]]), "vision": torch.ones(2, 1)}
    expected = hyper.clone()
    for b in range(2):
        total = torch.zeros(3, 8)
        for name in ("audio", "vision") if b == 0 else ("vision",):
            normed = F.layer_norm(media[name][b], (8,))
            q = F.layer_norm(text[b], (8,)) @ layer.query.weight.T
            k, v = normed @ layer.keys[name].weight.T, normed @ layer.values[name].weight.T
            for head in (slice(0, 4), slice(4, 8)):
                total[:, head] += torch.softmax(q[:, head] @ k[:, head].T / 2, dim=1) @ v[:, head]
        expected[b] += layer.output(total)
    torch.testing.assert_close(layer(hyper, text, media, has), expected)


def test_deeper_layers_of_the_text_pick_in_deeper_layers():
    torch.manual_seed(0)
    module, streams = HyperModality(SMALL, WIDTHS, SENTIMENT).eval(), clip_streams([(4, 3, 5)])
    t, a, v = (module.encoders[name](getattr(streams, name), getattr(streams, f"{name}_mask")) for name in WIDTHS)
    one, media = torch.ones(1, 1), {"audio": a, "vision": v}
    has = {"audio": one, "vision": one}
    h = module.hyper_layers[0](module.hyper[None], t, media, has)
    deeper = module.text_layers[0](t)
    h = module.hyper_layers[1](h, deeper, media, has)
    first = module.first[None, None]
    every = torch.ones(1, 4, dtype=torch.bool)
    fused = module.fusion[0](torch.cat([first, deeper], 1), torch.cat([first, h], 1), every)
    torch.testing.assert_close(module(streams).logits, module.output(fused[:, 0]))


def test_the_weights_that_errors_ask_for():
    found = wanted_weights(
        torch.tensor([[0.1, 0.3, 0.0], [0.9, 5.0, 0.4]]), torch.tensor([[1, 1, 1], [1, 0, 1]]).bool()
    )
    total = 5 + 2.5 + 10
    torch.testing.assert_close(found[0], torch.tensor([5 / total, 2.5 / total, 10 / total]))
    torch.testing.assert_close(found[1], torch.tensor([1 / 3, 0.0, 2 / 3]))


def test_the_losses_of_the_experts_by_hand():
    torch.manual_seed(0)
    options = EmotionExpertsOptions(8, 2, 1, temperature=2.0, **NO_DROPOUT)
    module, streams = EmotionExperts(options, WIDTHS, SENTIMENT).train(), clip_streams([(4, 3, 5), (3, 0, 2)])
    streams.labels = torch.tensor([1.0, -2.0])
    found = module(streams)
    means = torch.cat([getattr(streams, name)[:1].mean(dim=1) for name in WIDTHS], dim=1)
    hidden = torch.relu(F.normalize(module.router[0](means), dim=1))
    w = found.embeds["weights"]
    torch.testing.assert_close(w[:1], torch.softmax(module.router[1](hidden) / 2, dim=1))
    assert w[1, 1] == 0 and torch.allclose(w.sum(dim=1), torch.ones(2))
    errors = (found.modality_logits.squeeze(2) - streams.labels[:, None]).abs()
    torch.testing.assert_close(found.losses["experts"], (errors[0].mean() + errors[1, [0, 2]].mean()) / 2)
    entropy = [sum(3 * x * math.log(x) for x in row if x > 0) for row in w.tolist()]
    torch.testing.assert_close(found.losses["entropy"], torch.tensor(0.1 * sum(entropy) / 2))
    wanted = wanted_weights(errors.square(), streams.modality_mask)
    torch.testing.assert_close(found.losses["router"], 0.01 * (w - wanted).square().mean())
    found.losses["router"].backward()
    assert all(weight.grad is None for weight in module.heads.parameters())  # errors are targets
    assert module.router[1].weight.grad.any() and module.eval()(streams).losses is None
