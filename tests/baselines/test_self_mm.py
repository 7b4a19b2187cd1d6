"""Self-MM: the module, its loss, and the labels that training makes, against values computed by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from modeling_semanticmac.baselines import FusionConfig
from modeling_semanticmac.baselines.self_mm import SelfMM, SelfMMOptions
from modeling_semanticmac.baselines.unimodal_labels import (
    BRANCHES,
    UnimodalLabels,
    moving_labels,
    relative_offset,
    suggested_labels,
    unimodal_losses,
)
from tests.helpers.fusion import whole_streams
from tests.helpers.tiny import SARCASM, SENTIMENT, text_config

ALL = torch.ones(3, dtype=torch.bool)


def tensor(*values) -> torch.Tensor:
    return torch.tensor(values)


def output(features: dict[str, list], mask=None):
    """What a forward pass returns: features of the branches, which modalities the clips have."""
    embeds = {name: torch.tensor(features[name]) for name in BRANCHES}
    size = len(embeds["text"])
    return SimpleNamespace(embeds=embeds, modality_mask=ALL.expand(size, 3) if mask is None else mask)


def same(vectors: list) -> dict[str, list]:
    return dict.fromkeys(BRANCHES, vectors)


@pytest.mark.parametrize(
    ("widths", "options", "expected"),
    [
        ((768, 5, 20), {}, 159332),
        ((768, 1024, 1024), {}, 353060),
        ((768, 74, 35), {}, 165668),
        ((768, 33, 709), {"vision_lstm": 64, "text_width": 64}, 381380),
    ],
)
def test_parameters_are_those_of_the_public_module(widths, options, expected):
    model = SelfMM(SelfMMOptions(**options), dict(zip(("text", "audio", "vision"), widths)), SENTIMENT)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_classes_are_refused():
    with pytest.raises(ValueError, match="Self-MM is defined for scores; task 'sarcasm' has 2 classes"):
        SelfMM(SelfMMOptions(), {"text": 4, "audio": 3, "vision": 2}, SARCASM)


def test_a_bounded_score_is_refused():
    with pytest.raises(ValueError, match="bounded has no meaning with self_mm"):
        FusionConfig(architecture="self_mm", bounded=True, text_config=text_config(), **SENTIMENT.config_fields())


def test_an_offset_compares_the_distances_to_two_centres():
    found = relative_offset(tensor([1.0, 0.0]), tensor(2.0, 0.0), tensor(-1.0, 0.0))
    assert found.tolist() == pytest.approx([1.0])  # (2 - 1) / 1


def test_a_suggested_label_is_the_mean_of_ratio_and_difference():
    found = suggested_labels(tensor(1.5), tensor(1.0), tensor(2.0), bound=3.0)
    assert found.item() == pytest.approx(0.625)  # (.75 + .5) / 2
    assert moving_labels(tensor(1.5), found, epoch=2).item() == pytest.approx(0.916667, abs=1e-6)


def test_where_the_ratio_explodes_the_difference_decides():
    truth, own = tensor(1.0, 1.0, -1.0), tensor(0.5, 0.5, 0.5)
    offset = tensor(0.0, 5e-4, -5e-4)
    guarded = suggested_labels(truth, own, offset, bound=3.0)
    assert guarded.tolist() == pytest.approx([1.5, 1.4995, -0.4995])
    published = suggested_labels(truth, own, offset, bound=3.0, guard=False)
    assert published.tolist() == [3.0, 3.0, 3.0]  # the clamp decides: 0.5 / 0, 1000 and 1000
    just_above = suggested_labels(tensor(1.0), tensor(0.5), tensor(0.0011), bound=1000.0)
    assert just_above.item() == pytest.approx((0.5 / 0.0011 + 1.4989) / 2, rel=1e-6)


def test_the_loss_of_a_modality_is_weighted_by_how_far_its_label_is():
    logits = torch.zeros(2, 3, 1)
    targets = {"text": tensor(1.0, 2.0), "audio": tensor(2.0, 2.0), "vision": tensor(0.0, 2.0)}
    mask = torch.tensor([[True, True, True], [True, False, True]])
    found = unimodal_losses(logits, targets, tensor(1.0, 1.0), mask)
    expected = {"text": [0.0, 2 * math.tanh(1)], "audio": [2 * math.tanh(1), 0.0], "vision": [0.0, 2 * math.tanh(1)]}
    for name, values in expected.items():
        assert found[name].tolist() == pytest.approx(values), name


def test_labels_move_from_the_second_epoch_on_by_the_centres_before_the_batch():
    state = UnimodalLabels(tensor(1.5, -1.5, 0.0), SENTIMENT, SelfMMOptions())
    everyone = torch.arange(3)
    state.observe(everyone, None, output(same([[2.0, 0.0], [-1.0, 0.0], [9.0, 9.0]])))  # zero is in no centre
    assert state.centres["text"].tolist() == [[2.0, 0.0], [-1.0, 0.0]]
    assert state.targets(everyone)["text"].tolist() == [1.5, -1.5, 0.0]
    assert state.begin_epoch(2) == {}
    # d_t = 1 as above; d_m of (1.25, 0): (2.25 - .75) / .75 = 2; d_a = d_v = 1
    features = {"multimodal": [[1.25, 0.0]]} | dict.fromkeys(("text", "audio", "vision"), [[1.0, 0.0]])
    mask = torch.tensor([[True, True, False]])
    state.observe(tensor(0), None, output(features, mask))
    targets = state.targets(everyone)
    assert targets["text"].tolist() == pytest.approx([0.916667, -1.5, 0.0], abs=1e-6)
    assert targets["audio"].tolist() == targets["text"].tolist()
    assert targets["vision"].tolist() == [1.5, -1.5, 0.0]  # the clip lacks it
    assert state.centres["text"][0].tolist() == [1.0, 0.0]  # after the batch
    assert state.centres["vision"][0].tolist() == [2.0, 0.0]
    report = state.begin_epoch(3)
    assert report["movement_text"] == pytest.approx((1.5 - 0.916667) / 3, abs=1e-6)
    assert report["movement_vision"] == report["guarded"] == 0.0
    assert state.begin_epoch(3) == {}


def test_a_clip_that_only_fills_up_a_batch_changes_nothing():
    one, two = (UnimodalLabels(tensor(1.5, -1.5, 1.0), SENTIMENT, SelfMMOptions()) for _ in range(2))
    features, more = [[2.0, 0.0], [-1.0, 0.5], [0.5, 0.5]], [[9.0, -9.0]]
    for epoch in (1, 2, 3):
        for state in (one, two):
            state.begin_epoch(epoch)
        one.observe(torch.arange(3), None, output(same(features)))
        two.observe(torch.tensor([-1, 0, 1, 2, -1]), None, output(same(more + features + more)))
    assert (one.labels != one.ground_truth).any()
    for name, value in one.state_dict().items():
        assert two.state_dict()[name].equal(value), name


def test_labels_stay_in_the_range_of_the_task():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(40, generator=generator) * 6 - 3
    state = UnimodalLabels(truth, SENTIMENT, SelfMMOptions(guard=False))
    moved = torch.zeros(3, 40)
    for epoch in range(1, 8):
        state.begin_epoch(epoch)
        for rows in torch.randperm(40, generator=generator).split(7):
            features = {name: torch.randn(len(rows), 5, generator=generator).tolist() for name in BRANCHES}
            state.observe(rows, None, output(features))
        assert state.labels.abs().max() <= 3
        moved = torch.maximum(moved, (state.labels - truth).abs())
    assert (moved > 0).all()


def test_a_sign_that_was_never_seen_moves_no_label():
    state = UnimodalLabels(tensor(1.0, 2.0), SENTIMENT, SelfMMOptions())
    for epoch in (1, 2, 3):
        state.begin_epoch(epoch)
        state.observe(torch.arange(2), None, output(same([[1.0, 2.0], [3.0, 1.0]])))
    assert state.targets(torch.arange(2))["audio"].tolist() == [1.0, 2.0]


def test_a_state_that_was_saved_in_an_epoch_goes_on_as_if_it_had_not_been():
    generator = torch.Generator().manual_seed(1)
    truth = torch.rand(12, generator=generator) * 6 - 3
    whole, resumed = (UnimodalLabels(truth, SENTIMENT, SelfMMOptions()) for _ in range(2))
    for epoch in (1, 2, 3):
        for step, rows in enumerate(torch.randperm(12, generator=generator).split(4)):
            features = {name: torch.randn(len(rows), 3, generator=generator).tolist() for name in BRANCHES}
            if (epoch, step) == (2, 1):
                resumed.load_state_dict({name: value.clone() for name, value in whole.state_dict().items()})
            for state in (whole, resumed) if (epoch, step) >= (2, 1) else (whole,):
                state.begin_epoch(epoch)
                state.observe(rows, None, output(features))
    assert whole.state_dict().keys() == resumed.state_dict().keys()
    for name, value in whole.state_dict().items():
        assert resumed.state_dict()[name].equal(value), name
    with pytest.raises(ValueError, match="labels of 12 clips are not those of this training set of 3 clips"):
        UnimodalLabels(truth[:3], SENTIMENT, SelfMMOptions()).load_state_dict(whole.state_dict())


def test_the_losses_need_labels_of_the_modalities_and_training():
    torch.manual_seed(0)
    model = SelfMM(SelfMMOptions(), {"text": 6, "audio": 3, "vision": 5}, SENTIMENT).train()
    labels = tensor(1.0, -1.0, 2.0, 0.0)
    streams = whole_streams(labels=labels, targets={name: labels + 0.5 for name in ("text", "audio", "vision")})
    fused = model(streams)
    error = (fused.modality_logits[:, 1, 0] - labels - 0.5).abs().mean()
    assert fused.losses["audio"].item() == pytest.approx(math.tanh(0.5) * error.item())
    (fused.logits.sum() + sum(fused.losses.values())).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model(whole_streams()).losses is None
    assert model.eval()(streams).losses is None
