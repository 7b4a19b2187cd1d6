import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from torch.utils._python_dispatch import TorchDispatchMode

from modeling_semanticmac.training import nearest_neighbors as module
from modeling_semanticmac.training.nearest_neighbors import SPARE, nearest_neighbors


def by_scikit_learn(features: torch.Tensor, k: int):
    """Return the neighbours by brute force; a fitted row is never its own neighbour."""
    data = features.double().numpy()
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(data)
    return search.kneighbors()  # without an argument: the fitted rows, never themselves


def by_definition(features: torch.Tensor, k: int):
    """Return the neighbours by every difference in float64, sorted by (distance, index)."""
    data = features.double()
    squared = (data[:, None] - data[None]).square().sum(-1)
    squared.fill_diagonal_(float("inf"))
    found = squared.sort(dim=1, stable=True)
    return found.values[:, :k].sqrt(), found.indices[:, :k]


def bank(count: int, width: int, spread: float, centres: int, seed: int = 0) -> torch.Tensor:
    """Return rows around centres, normalised as a LayerNorm leaves them."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(centres, width, generator=generator)[torch.randint(centres, (count,), generator=generator)]
    rows = rows + spread * torch.randn(count, width, generator=generator)
    return torch.nn.functional.layer_norm(rows, (width,))


def heap(count: int, width: int, seed: int = 0) -> torch.Tensor:
    """Return rows of which every second one is zero, nearer to all others than these are to each other."""
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    rows[::2] = 0
    return rows


class Differences(TorchDispatchMode):
    """The number of differences that are computed, and the bytes of the largest tensor."""

    def __init__(self):
        super().__init__()
        self.count = self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if torch.is_tensor(found):
            self.largest = max(self.largest, found.untyped_storage().nbytes())
            if function.overloadpacket in (torch.ops.aten.sub, torch.ops.aten.sub_) and found.is_floating_point():
                self.count += found.numel()
        return found


HARD = {
    "spread": bank(400, 24, 1.0, 20),
    "clustered": bank(400, 24, 0.03, 3),
    "tightly clustered": bank(400, 24, 1e-3, 3),
    "clusters as wide as their rounding": bank(400, 24, 1e-6, 4),
    "clusters of equal rows": bank(400, 24, 0.0, 4),
    "one cluster of equal rows": bank(400, 24, 0.0, 1),
    "a heap of equal rows": heap(400, 24),
    "pairs of equal rows": bank(200, 24, 1.0, 20).repeat(2, 1),
    "one distance everywhere": torch.eye(200),
    "a line of equal steps": torch.arange(300.0)[:, None] * torch.tensor([[0.1, 0.0]]),
    "tiny": 1e-19 * bank(300, 24, 1.0, 20),
    "below the range of squares": 1e-25 * bank(300, 24, 1.0, 20),
    "above the range of squares": 1e25 * bank(300, 24, 1.0, 20),
    "half precision": bank(400, 24, 0.1, 3).half(),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("memory", [2**27, 2**15])
def test_hard_features(name, memory):
    """Neighbours and distances are those of the definition, to the last bit, for all rows or for some."""
    features, some = HARD[name], torch.arange(1, len(HARD[name]), 3)
    expected = by_definition(features, 10)
    for found, value in zip(nearest_neighbors(features, 10, memory), expected):
        assert found.equal(value)
    for found, value in zip(nearest_neighbors(features, 10, memory, some), expected):
        assert found.equal(value[some])


@pytest.mark.parametrize("name", ["spread", "clustered", "a heap of equal rows", "above the range of squares"])
def test_neighbours_among_the_first_rows(name):
    """Those of the definition with all other columns at infinity."""
    features, first = HARD[name], 150
    squared = (features.double()[:, None] - features.double()[None, :first]).square().sum(-1)
    squared[torch.arange(first), torch.arange(first)] = float("inf")
    expected = squared.sort(dim=1, stable=True)
    distances, indices = nearest_neighbors(features, 10, 2**16, among=first)
    assert indices.equal(expected.indices[:, :10]) and distances.equal(expected.values[:, :10].sqrt())
    assert nearest_neighbors(features, 10, among=1)[1].shape == (len(features), 0)
    assert nearest_neighbors(features, 10, rows=torch.arange(0))[1].shape == (0, 10)


@pytest.mark.parametrize(("name", "most"), [("clustered", 2.1), ("clusters as wide as their rounding", 8)])
def test_clustered_features_cost_little_more(name, most):
    """Differences are computed for a few candidates of each row, never for all pairs, and pieces stay small."""
    features = HARD[name]
    memory = 2**16
    with Differences() as differences:
        nearest_neighbors(features, 10, memory)
    count, width = features.shape
    assert differences.count <= most * count * (10 + SPARE) * width < 0.35 * count**2 * width
    assert differences.largest <= max(memory, 8 * count * (width + 2))


def test_devices_without_float64_search_on_the_cpu(monkeypatch):
    """As on MPS: the same neighbours, distances rounded to float32."""
    features = HARD["clustered"]
    distances, indices = nearest_neighbors(features, 10)
    monkeypatch.setattr(module, "NO_FLOAT64", ("cpu",))
    rounded, same = nearest_neighbors(features, 10)
    assert same.equal(indices) and rounded.equal(distances.float())


@pytest.mark.parametrize(("count", "width", "k"), [(500, 8, 10), (333, 64, 1), (40, 3, 20), (12, 4, 10)])
def test_equals_scikit_learn(count, width, k):
    features = torch.randn(count, width, generator=torch.Generator().manual_seed(0))
    distances, indices = nearest_neighbors(features, k)
    expected_distances, expected = by_scikit_learn(features, k)
    np.testing.assert_array_equal(indices.numpy(), expected)
    np.testing.assert_allclose(distances.numpy(), expected_distances, rtol=1e-9)


@pytest.mark.parametrize("memory", [2**12, 2**14, 2**20, 2**27])
def test_memory_changes_nothing(memory):
    features = torch.randn(700, 16, generator=torch.Generator().manual_seed(1))
    for found, expected in zip(nearest_neighbors(features, 7, memory), nearest_neighbors(features, 7)):
        assert found.equal(expected)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_features_with_many_ties(data):
    """Small integers make equal distances everywhere: the lower index must win, whatever the blocks."""
    count = data.draw(st.integers(1, 70))
    width, k = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 12))
    seed, scale = data.draw(st.integers(0, 10**6)), data.draw(st.sampled_from([1.0, 1e-3, 1e4]))
    generator = torch.Generator().manual_seed(seed)
    features = torch.randint(-2, 3, (count, width), generator=generator) * scale
    distances, indices = nearest_neighbors(features, k, data.draw(st.sampled_from([2**12, 2**16, 2**27])))
    expected_distances, expected = by_definition(features, min(k, count - 1))
    assert indices.equal(expected)
    torch.testing.assert_close(distances, expected_distances)
    assert not (indices == torch.arange(count)[:, None]).any()


def test_collapsed_features_take_the_lowest_indices():
    distances, indices = nearest_neighbors(torch.ones(50, 4), 3)
    assert distances.eq(0).all()
    assert indices[0].tolist() == [1, 2, 3] and indices[1].tolist() == [0, 2, 3] and indices[49].tolist() == [0, 1, 2]


def test_far_from_the_origin_digits_are_not_lost():
    features = torch.randn(200, 6, generator=torch.Generator().manual_seed(2)) + 3000
    assert nearest_neighbors(features, 5)[1].equal(by_definition(features, 5)[1])


def test_too_few_rows_and_bad_input():
    distances, indices = nearest_neighbors(torch.randn(1, 3), 5)
    assert distances.shape == indices.shape == (1, 0)
    assert nearest_neighbors(torch.randn(3, 3), 5)[1].shape == (3, 2)
    with pytest.raises(ValueError, match="diverged"):
        nearest_neighbors(torch.tensor([[float("nan")], [0.0]]), 1)
    with pytest.raises(ValueError, match="too large"):
        nearest_neighbors(1e200 * torch.randn(40, 3, dtype=torch.float64), 2)
    with pytest.raises(ValueError, match="at least 1"):
        nearest_neighbors(torch.randn(3, 3), 0)


def test_reduced_precision_changes_no_neighbour():
    """Clustered rows: with bfloat16 products 1039 of 6000 neighbours differ; within autocast none may."""
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(10, 16, generator=generator)
    features = centres[torch.arange(600) % 10] + 0.3 * torch.randn(600, 16, generator=generator)
    expected = by_scikit_learn(features, 10)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, indices = nearest_neighbors(features, 10)
    np.testing.assert_array_equal(indices.numpy(), expected)


def test_settings_of_the_matrix_units_are_given_back():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        nearest_neighbors(torch.randn(20, 3), 2)
        assert torch.get_float32_matmul_precision() == "medium"
        with pytest.raises(ValueError, match="diverged"):
            nearest_neighbors(torch.full((3, 2), float("nan")), 1)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
