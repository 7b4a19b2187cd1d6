import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsRegressor, NearestNeighbors

from modeling_semanticmac import TaskSpecification
from modeling_semanticmac.baselines.training_state import Observed
from modeling_semanticmac.training import semantic_labels
from modeling_semanticmac.training.semantic_labels import SemanticLabels, label_movement
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT

THREE = TaskSpecification("emotion", "single_label_classification", ("a", "b", "c"), None, "conversation")
# On a line of width 1, clips this far apart have the weight exp(-ln 2) = 1/2, twice as far 1/16.
STEP = math.sqrt(math.log(2))


def filled(labels, task, features, mask=None, **options) -> SemanticLabels:
    """Return a state whose bank holds the same features (N, d) for every sub-task."""
    state = SemanticLabels(labels, task, features.shape[1], **options)
    write(state, features, mask)
    return state


def write(state, features, mask=None):
    mask = torch.ones(len(features), 3, dtype=torch.bool) if mask is None else mask
    state.observe(torch.arange(len(features)), None, Observed(mask, embeds=dict.fromkeys("STAV", features)))


def test_scores_by_hand_over_three_epochs():
    """Five clips at 0, 1, 2, 10, 11 steps with scores 0, 2, -1, 3, 1; K = 2, n_0 = 1.

        clip 0: neighbours 1 (1/2), 2 (1/16): Delta = (1/2 * 2 - 1/16) / 2 = 0.46875      y + Delta =  0.46875
        clip 1: neighbours 0 (1/2), 2 (1/2):  Delta = (-1 - 1.5) / 2 = -1.25                           0.75
        clip 2: neighbours 1 (1/2), 0 (1/16): Delta = (1.5 + 1/16) / 2 = 0.78125                      -0.21875
        clip 3: neighbours 4 (1/2), 2 (2^-64): Delta = -1 / 2                                          2.5
        clip 4: neighbours 3 (1/2), 2 (2^-81): Delta = 1 / 2                                           1.5
    Epoch 2: 1/3 y + 2/3 of that; epoch 3: 1/2 of epoch 2 + 1/2 of that.
    """
    labels = torch.tensor([0.0, 2.0, -1.0, 3.0, 1.0])
    features = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0]]) * STEP
    state = filled(labels, SENTIMENT, features, num_neighbors=2, start_epoch=1)
    clips = torch.arange(5)
    assert state.begin_epoch(1) == {}
    assert all(target.equal(labels) for target in state.targets(clips).values())
    report = state.begin_epoch(2)
    second = [0.3125, 7 / 6, -0.4791667, 8 / 3, 4 / 3]
    for target in state.targets(clips).values():
        assert target.tolist() == pytest.approx(second, abs=1e-6)
    assert report["weight_T"] == pytest.approx((9 / 32 + 1 / 2 + 9 / 32 + 1 / 4 + 1 / 4) / 5, abs=1e-6)
    assert report["movement_T"] == pytest.approx((0.46875 + 1.25 + 0.78125 + 0.5 + 0.5) / 5, abs=1e-6)
    assert report["differs_T"] == pytest.approx(1 / 5)  # the zero of clip 0 became positive
    state.begin_epoch(3)
    third = [0.390625, 0.9583333, -0.3489583, 2.5833333, 1.4166667]
    for target in state.targets(clips).values():
        assert target.tolist() == pytest.approx(third, abs=1e-6)


def test_long_label_generation_is_logged(monkeypatch, caplog):
    labels, features = torch.tensor([0.0, 2.0]), torch.tensor([[0.0], [1.0]])
    with caplog.at_level("INFO", semantic_labels.__name__):
        filled(labels, SENTIMENT, features, start_epoch=1).begin_epoch(2)
        assert not caplog.messages
        monkeypatch.setattr(semantic_labels, "LONG_SECONDS", 0)
        filled(labels, SENTIMENT, features, start_epoch=1).begin_epoch(2)
    assert caplog.messages == ["The pseudo labels of epoch 2 took 0 s for 2 clips."]


def test_neighbours_among_a_pool_drawn_by_the_seed():
    """Of 30 clips 8 can be neighbours: labels as by definition from the distances to these alone."""
    generator = torch.Generator().manual_seed(0)
    labels, features = torch.randn(30, generator=generator), torch.randn(30, 4, generator=generator)
    options = {"num_neighbors": 3, "start_epoch": 1, "momentum": False}
    states = [filled(labels, SENTIMENT, features, label_pool=8, seed=seed, **options) for seed in (5, 5, 6)]
    everyone = [filled(labels, SENTIMENT, features, label_pool=size, **options) for size in (0, 30)]
    for state in (*states, *everyone):
        state.begin_epoch(2)
    pool = states[0].neighbors[0].unique().tolist()
    squared = (features.double()[:, None] - features.double()[None]).square().sum(-1)
    squared[:, [row for row in range(30) if row not in pool]] = float("inf")
    squared.fill_diagonal_(float("inf"))
    nearest = squared.sort(dim=1, stable=True)
    assert len(pool) <= 8 and states[0].neighbors[0].tolist() == nearest.indices[:, :3].tolist()
    weight = torch.exp(-nearest.values[:, :3] / 4).float()
    expected = labels + (weight * (labels[nearest.indices[:, :3]] - labels[:, None])).sum(1) / 3
    torch.testing.assert_close(states[0].labels[1, :, 0], expected)
    assert states[1].labels.equal(states[0].labels) and not states[2].labels.equal(states[0].labels)
    assert everyone[0].labels.equal(everyone[1].labels)


@pytest.mark.parametrize("spread", [1.0, 0.03])
def test_a_bank_in_half_precision(spread):
    """The neighbours are those of the rounded rows, which mostly are those of the rows, with the same labels."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(5, 64, generator=generator)[torch.arange(600) % 5]
    rows = torch.nn.functional.layer_norm(centres + spread * torch.randn(600, 64, generator=generator), (64,))
    labels = torch.rand(600, generator=generator) * 6 - 3
    states = {
        dtype: filled(labels, SENTIMENT, rows, num_neighbors=10, start_epoch=1, bank_dtype=dtype)
        for dtype in (torch.float32, torch.float16)
    }
    for state in states.values():
        state.begin_epoch(2)
    whole, half = states.values()
    assert half.features.dtype == torch.float16 and half.labels.dtype == torch.float32
    search = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(rows.half().double().numpy())
    for found in half.neighbors:
        assert (found.sort(dim=1).values == torch.as_tensor(search.kneighbors()[1]).sort(dim=1).values).all()
    same = (whole.neighbors[0].sort(dim=1).values == half.neighbors[0].sort(dim=1).values).all(dim=1)
    assert 0.8 < same.float().mean()
    torch.testing.assert_close(half.labels[0][same], whole.labels[0][same], atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="its bank is torch.float16, this run's is torch.float32.*--label_bank"):
        whole.load_state_dict(half.state_dict())


def test_classes_by_hand_over_three_epochs():
    """Four clips at 0, 1, 9, 10 steps, classes a, b, c, c; K = 1: clips 0 and 1 move half way to each other, 2 and 3
    stay.
    """
    features = torch.tensor([[0.0], [1.0], [9.0], [10.0]]) * STEP
    state = filled(torch.tensor([0, 1, 2, 2]), THREE, features, num_neighbors=1, start_epoch=1)
    state.begin_epoch(2)
    expected = [[2 / 3, 1 / 3, 0], [1 / 3, 2 / 3, 0], [0, 0, 1], [0, 0, 1]]
    torch.testing.assert_close(state.targets(torch.arange(4))["V"], torch.tensor(expected))
    state.begin_epoch(3)
    expected = [[7 / 12, 5 / 12, 0], [5 / 12, 7 / 12, 0], [0, 0, 1], [0, 0, 1]]
    torch.testing.assert_close(state.targets(torch.arange(4))["S"], torch.tensor(expected))


def test_without_momentum_the_history_does_not_count():
    features = torch.tensor([[0.0], [1.0]]) * STEP
    state = filled(torch.tensor([0.0, 2.0]), SENTIMENT, features, num_neighbors=1, start_epoch=1, momentum=False)
    for epoch in (2, 3):
        state.begin_epoch(epoch)
        assert state.targets(torch.arange(2))["A"].tolist() == pytest.approx([1.0, 1.0])


def test_movement_equals_scikit_learn_with_the_same_weights():
    """A K-neighbour regression with Gaussian weights, multiplied by the sum of the weights, is sum_j w_j y_j."""
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(80, 6, generator=generator), torch.randn(80, 2, generator=generator)
    movement, weights, distances, neighbors = label_movement(features, labels, 5, 2**20)
    for i in range(0, 80, 7):
        others = [j for j in range(80) if j != i]
        kernel = KNeighborsRegressor(
            5, weights=lambda d: torch.exp(-(torch.as_tensor(d) ** 2) / 6).numpy(), algorithm="brute"
        )
        kernel.fit(features[others].double().numpy(), labels[others].double().numpy())
        mean = torch.as_tensor(kernel.predict(features[[i]].double().numpy())[0])
        total = weights[i].double() * 5
        torch.testing.assert_close(movement[i].double(), (mean - labels[i].double()) * total / 5, atol=1e-6, rtol=1e-5)


@st.composite
def states(draw):
    task = draw(st.sampled_from([SENTIMENT, SARCASM, EMOTIONS, THREE]))
    count, width = draw(st.integers(1, 30)), draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    if task.is_regression:
        labels = torch.rand(count, generator=generator) * 6 - 3
    elif task.is_multi_label:
        labels = torch.randint(0, 2, (count, task.num_labels), generator=generator)
    else:
        labels = torch.randint(0, task.num_labels, (count,), generator=generator)
    features = torch.randn(draw(st.integers(1, 5)), count, width, generator=generator) * draw(
        st.sampled_from([0.0, 1e-3, 1.0, 1e3])
    )
    options = {
        "num_neighbors": draw(st.integers(1, 12)),
        "start_epoch": draw(st.integers(1, 3)),
        "momentum": draw(st.booleans()),
    }
    return task, labels, features, options


@settings(max_examples=40, deadline=None)
@given(states())
def test_labels_stay_in_range_and_on_the_simplex(drawn):
    task, labels, features, options = drawn
    state = SemanticLabels(labels, task, features.shape[2], **options)
    for epoch, bank in enumerate(features, start=1):
        state.begin_epoch(epoch)
        if epoch <= options["start_epoch"]:
            assert state.labels.equal(state.ground_truth.expand(4, -1, -1))
        low, high = state.ground_truth.min(), state.ground_truth.max()
        assert state.labels.min() >= low - 1e-5 and state.labels.max() <= high + 1e-5
        if not task.is_regression and not task.is_multi_label:
            torch.testing.assert_close(state.labels.sum(-1), torch.ones(4, len(labels)))
        write(state, bank)


@settings(max_examples=30, deadline=None)
@given(states(), st.integers(0, 10**6))
def test_permuting_the_clips_permutes_the_labels(drawn, seed):
    """Distinct features: ties are resolved by index, which a permutation changes."""
    task, labels, features, options = drawn
    bank = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(seed))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed + 1))
    plain, permuted = (filled(y, task, x, **options) for y, x in ((labels, bank), (labels[order], bank[order])))
    for epoch in (2, 3, 4, 5):
        plain.begin_epoch(epoch)
        permuted.begin_epoch(epoch)
    torch.testing.assert_close(permuted.labels, plain.labels[:, order], atol=1e-6, rtol=1e-5)


def test_a_missing_modality_has_no_row_and_is_nobodys_neighbour():
    features = torch.tensor([[0.0], [0.1], [1.0]]) * STEP
    mask = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1]]).bool()
    state = filled(
        torch.tensor([0.0, 3.0, -2.0]), SENTIMENT, features, mask, num_neighbors=1, start_epoch=1, momentum=False
    )
    state.begin_epoch(2)
    assert state.targets(torch.arange(3))["A"].tolist() == pytest.approx(
        [-1.0, 3.0, -1.0]
    )  # clips 0 and 2 meet half way
    assert state.targets(torch.arange(3))["T"][0].item() > 2.9  # here clip 1 is the neighbour
    assert state.present[2].tolist() == [True, False, True]


def test_an_unseen_clip_keeps_its_label():
    state = SemanticLabels(torch.tensor([0.0, 2.0, 3.0]), SENTIMENT, 1, num_neighbors=5, start_epoch=1)
    state.observe(
        torch.tensor([0, 1]),
        None,
        Observed(torch.ones(2, 3, dtype=torch.bool), embeds=dict.fromkeys("STAV", torch.zeros(2, 1))),
    )
    state.begin_epoch(2)
    assert state.targets(torch.tensor([2]))["S"].item() == 3.0
    empty = SemanticLabels(torch.tensor([1.0]), SENTIMENT, 1, start_epoch=1)
    assert empty.begin_epoch(2) == {} and empty.targets(torch.tensor([0]))["S"].item() == 1.0


def test_state_is_restored_and_an_epoch_is_not_made_twice():
    torch.manual_seed(0)
    labels, features = torch.randn(20).clamp(-3, 3), torch.randn(20, 4)
    state = filled(labels, SENTIMENT, features, start_epoch=1)
    state.begin_epoch(2)
    again = SemanticLabels(labels, SENTIMENT, 4, start_epoch=1)
    again.load_state_dict({name: value.clone() for name, value in state.state_dict().items()})
    assert again.begin_epoch(2) == {}  # resumed within epoch 2
    write(state, features * 2)
    write(again, features * 2)
    state.begin_epoch(3)
    again.begin_epoch(3)
    assert again.labels.equal(state.labels) and again.epoch == 3
    with pytest.raises(ValueError, match="shape"):
        SemanticLabels(labels[:5], SENTIMENT, 4).load_state_dict(state.state_dict())
    with pytest.raises(ValueError, match="not that of this training set"):
        SemanticLabels(labels.flip(0), SENTIMENT, 4).load_state_dict(state.state_dict())


def test_arguments_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="expected at least 1 each"):
        SemanticLabels(torch.zeros(3), SENTIMENT, 4, num_neighbors=0)
    with pytest.raises(ValueError, match="expected at least 1 each"):
        SemanticLabels(torch.zeros(3), SENTIMENT, 4, start_epoch=0)
