"""MISA: its parts put together by hand, its three losses, padding, missing modalities, parameter counts."""

from itertools import combinations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from modeling_semanticmac import FusionConfig, FusionForAffect
from modeling_semanticmac.baselines.fusion_losses import central_moment_discrepancy, difference_loss
from modeling_semanticmac.baselines.misa import InvariantSpecificFusion
from tests.helpers.clip_streams import WIDTHS, clip_streams, public_count
from tests.helpers.tiny import SENTIMENT, text_config

CLIPS = [(6, 3, 5), (4, 9, 2), (5, 5, 5)]


def small(**options) -> InvariantSpecificFusion:
    """Return a small module with random weights."""
    torch.manual_seed(0)
    options = InvariantSpecificFusion.Options(**{"width": 4, "media_width": 3, "dropout": 0.0} | options)
    return InvariantSpecificFusion(options, WIDTHS, SENTIMENT).eval()


def alone(streams, row):
    """Return the valid steps of one clip, by modality, (T, D)."""
    return {name: getattr(streams, name)[row][getattr(streams, f"{name}_mask")[row]] for name in WIDTHS}


def pooled_by_hand(module, clip) -> dict[str, torch.Tensor]:
    """Return u of each modality of one clip without padding."""
    pooled = {"text": clip["text"].mean(dim=0)}
    for name in ("audio", "vision"):
        recurrence = module.recurrences[name]
        outputs, (first, _) = recurrence.first.lstm(clip[name] @ module.media_projections[name].weight.T
                                               + module.media_projections[name].bias)  # fmt: skip
        _, (second, _) = recurrence.second.lstm(F.layer_norm(outputs, (6,)))
        pooled[name] = torch.cat([first[0], first[1], second[0], second[1]])
    return pooled


def test_the_equations():
    module, streams = small(), clip_streams(CLIPS)
    parts = module.subspaces(streams)
    logits = module(streams).logits
    first, _, _, second = module.output
    for row in range(len(CLIPS)):
        private, shared = {}, {}
        for m, (name, u) in enumerate(pooled_by_hand(module, alone(streams, row)).items()):
            linear = module.projections[name][0]
            x = F.layer_norm(torch.relu(linear.weight @ u + linear.bias), (4,))
            private[name] = torch.sigmoid(module.private[name].weight @ x + module.private[name].bias)
            shared[name] = torch.sigmoid(module.shared.weight @ x + module.shared.bias)
            torch.testing.assert_close(parts["mapped"][row, m], x)
        order = ("text", "vision", "audio")
        tokens = torch.stack([private[name] for name in order] + [shared[name] for name in order])
        attended = module.transformer(tokens[None])[0].flatten()
        expected = second.weight @ torch.relu(first.weight @ attended + first.bias) + second.bias
        torch.testing.assert_close(logits[row], expected)


def test_the_transformer_normalises_after_its_parts():
    layer = small().transformer
    assert not layer.norm_first and layer.linear1.out_features == 2048 and layer.self_attn.num_heads == 2


def test_the_losses_are_weighted_sums():
    weights = {"similarity_weight": 0.5, "difference_weight": 0.25, "reconstruction_weight": 2.0}
    module, streams = small(**weights), clip_streams(CLIPS)
    everyone = torch.ones(3, dtype=torch.bool)
    parts = module.subspaces(streams)
    p, s, x = (parts[name].unbind(dim=1) for name in ("private", "shared", "mapped"))
    pairs = list(combinations(range(3), 2))
    similarity = sum(central_moment_discrepancy(s[m], s[n], everyone) for m, n in pairs) / 3
    difference = sum(difference_loss(a, b, everyone) for a, b in [*zip(p, s), *((p[m], p[n]) for m, n in pairs)])
    rebuilt = [module.rebuild[name](p[m] + s[m]) for m, name in enumerate(WIDTHS)]
    reconstruction = sum(nn.MSELoss()(guess, truth) for guess, truth in zip(rebuilt, x)) / 3
    losses = module.train()(streams).losses
    expected = {"similarity": similarity / 2, "difference": difference / 4, "reconstruction": reconstruction * 2}
    assert losses.keys() == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(losses[name], loss)


def test_there_are_no_losses_at_prediction():
    assert small()(clip_streams(CLIPS)).losses is None


def test_losses_count_only_clips_that_have_the_modalities():
    module = small().train()
    lacking = clip_streams([*CLIPS, (4, 0, 0), (0, 0, 0)])
    for name, loss in module(lacking).losses.items():
        assert loss.isfinite(), name
    # Text of one more clip counts among the texts; nothing of it does among the pairs.
    complete = clip_streams(CLIPS)
    parts = module.subspaces(complete)
    more = {name: torch.cat([part, torch.rand(2, 3, 4)]) for name, part in parts.items()}
    present = torch.cat([complete.modality_mask, torch.zeros(2, 3, dtype=torch.bool)])
    torch.testing.assert_close(module.losses(more, present), module.losses(parts, complete.modality_mask))


def test_losses_are_those_of_all_processes_and_of_clips_that_count():
    module, streams = small().train(), clip_streams(CLIPS)
    module.transformer.eval()  # no dropout
    expected = module(streams).losses
    # The second process has the clips again, of which the last only fills up the batch.
    both = clip_streams([*CLIPS, *CLIPS])
    for name, value in vars(streams).items():
        if isinstance(value, torch.Tensor):
            setattr(both, name, torch.cat([value, value]))
    both.counts = torch.tensor([True, True, True, False, False, False])
    torch.testing.assert_close(module(both).losses, expected)
    streams.gather = lambda rows: torch.cat([rows, rows])
    twice = module(streams).losses
    torch.testing.assert_close(twice["difference"], 4 * expected["difference"])  # a sum over twice as many clips
    torch.testing.assert_close(twice["similarity"], expected["similarity"])


def test_padding_does_nothing():
    module = small()
    together = module(clip_streams(CLIPS)).logits
    torch.testing.assert_close(module(clip_streams(CLIPS, padding=3)).logits, together, rtol=0, atol=1e-5)


def test_missing_modalities():
    module = small()
    streams = clip_streams([(5, 0, 3), (0, 4, 0), (0, 0, 0)])
    logits = module(streams).logits
    parts = module.subspaces(streams)
    for part in (parts["private"], parts["shared"]):
        assert (part.abs().sum(dim=2) > 0).tolist() == [[True, False, True], [False, True, False], [False] * 3]
    first, _, _, second = module.output
    torch.testing.assert_close(logits[2], second.weight @ torch.relu(first.bias) + second.bias)
    # The clip without audio: a transformer over its four tokens alone.
    tokens = torch.cat([parts["private"][0, [0, 2]], parts["shared"][0, [0, 2]]])
    attended = module.transformer(tokens[None])[0]
    full = torch.stack([attended[0], attended[1], torch.zeros(4), attended[2], attended[3], torch.zeros(4)])
    expected = second.weight @ torch.relu(first.weight @ full.flatten() + first.bias) + second.bias
    torch.testing.assert_close(logits[0], expected)


def test_the_difference_loss_of_public_code_can_make_clips_alike():
    """Without the task: 30 large steps on the difference loss alone, with and without a gradient through the norms."""
    spread = {}
    for norm_gradient in (False, True):
        module, streams = small(width=16, norm_gradient=norm_gradient).train(), clip_streams(CLIPS * 2)
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
        for _ in range(30):
            optimizer.zero_grad()
            module(streams).losses["difference"].backward()
            optimizer.step()
        spread[norm_gradient] = module.subspaces(streams)["private"].std(dim=0).mean().item()
    assert spread[False] < 1e-3 < 1e-2 < spread[True]


def test_every_parameter_has_a_gradient():
    module = small().train()
    output = module(clip_streams(CLIPS))
    (output.logits.square().sum() + sum(output.losses.values())).backward()
    assert [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_first_layers_of_the_language_model_are_not_trained(tmp_path):
    config = FusionConfig(
        architecture="misa", options={"width": 4, "media_width": 3, "tuned_layers": 1}, text_config=text_config(),
        audio_width=12, vision_width=20, **SENTIMENT.config_fields(),
    )  # fmt: skip
    model = FusionForAffect(config)
    model.save_pretrained(tmp_path)
    for made in (model, FusionForAffect.from_pretrained(tmp_path)):
        trained = {name for name, p in made.language_model.named_parameters() if p.requires_grad}
        assert {name.split(".")[2] for name in trained if name.startswith("encoder.layer")} == {"1"}
        assert "embeddings.word_embeddings.weight" in trained
    config.options["tuned_layers"] = 3
    with pytest.raises(ValueError, match="tuned_layers is 3; the language model has 2 layers"):
        FusionForAffect(config)


@pytest.mark.parametrize(
    ("corpus", "expected"), [("mosi", 1138033), ("mosi_1024", 86115717), ("mosei", 1435105), ("ch_sims", 21664749)]
)
def test_as_many_parameters_as_the_public_module_uses(corpus, expected):
    """The public module has 3588 more, which nothing uses."""
    assert public_count("misa", corpus, media_width=None) == expected - 3588


def test_narrow_recurrences_have_fewer_parameters():
    assert public_count("misa", "mosi_1024") == 1632769
