"""The pseudo labels of each epoch and their neighbours on disk."""

import json

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from modeling_semanticmac.baselines.training_state import Observed
from modeling_semanticmac.training.label_history import LabelHistoryWriter, read_label_history
from modeling_semanticmac.training.semantic_labels import SemanticLabels
from tests.helpers.tiny import EMOTIONS, SENTIMENT

COUNT, WIDTH, NEIGHBORS = 40, 5, 4
IDS = [f"clip_{index}" for index in range(COUNT)]


def run(folder, epochs: int = 4, kept_from: int = 1, task=SENTIMENT, **options) -> SemanticLabels:
    """A run whose bank moves from epoch to epoch; clips 0-9 lack audio."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.rand(COUNT, generator=generator) * 6 - 3
    if task.is_multi_label:
        labels = torch.randint(0, 2, (COUNT, task.num_labels), generator=generator)
    mask = torch.ones(COUNT, 3, dtype=torch.bool)
    mask[:10, 1] = False
    state = SemanticLabels(labels, task, WIDTH, num_neighbors=NEIGHBORS, **options)
    writer = LabelHistoryWriter(folder, IDS, state)
    for epoch in range(1, epochs + 1):
        state.begin_epoch(epoch)
        if epoch == kept_from - 1:
            writer.resume()
        if epoch >= kept_from:
            writer.keep()
            writer.keep()
        embeds = {subtask: torch.randn(COUNT, WIDTH, generator=generator) for subtask in "STAV"}
        state.observe(torch.arange(COUNT), None, Observed(mask, embeds=embeds))
    return state


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "label_history").iterdir()}


def test_epochs_hold_labels_and_the_neighbours_they_were_made_from(tmp_path):
    """Eq. (13)-(15) by scikit-learn's neighbours: the labels follow from the stored arrays alone."""
    state = run(tmp_path)
    history = read_label_history(tmp_path)
    assert (history.ids, history.epochs, history.start_epoch, history.momentum) == (IDS, [1, 2, 3, 4], 2, True)
    truth = state.ground_truth.numpy()
    np.testing.assert_array_equal(history.ground_truth, truth)
    for epoch in (1, 2):
        np.testing.assert_array_equal(history.labels(epoch), np.broadcast_to(truth, (4, COUNT, 1)))
        assert (history.neighbors(epoch) == -1).all() and np.isinf(history.distances(epoch)).all()
    for epoch in (3, 4):
        neighbors, distances = history.neighbors(epoch), history.distances(epoch)
        assert neighbors.dtype == np.int32 and distances.dtype == np.float32
        weights = np.exp(-np.square(distances))
        movement = (weights[..., None] * (truth[neighbors] - truth[:, None])).mean(axis=2)  # (4, N, C)
        expected = (epoch - 1) / (epoch + 1) * history.labels(epoch - 1) + 2 / (epoch + 1) * (truth + movement)
        seen = np.ones((4, COUNT), dtype=bool)
        seen[2, :10] = False  # sub-task A
        np.testing.assert_allclose(history.labels(epoch)[seen], expected[seen], atol=1e-5)
        assert (neighbors[2, :10] == -1).all() and (neighbors[2, 10:] >= 10).all()
        np.testing.assert_array_equal(history.labels(epoch)[2, :10], truth[:10])


def test_neighbours_equal_those_of_scikit_learn(tmp_path):
    """The bank of the epoch before, searched by brute force; D is the distance over sqrt(d)."""
    state = run(tmp_path, epochs=4)
    bank = state.features.clone()
    state.begin_epoch(5)
    writer = LabelHistoryWriter(tmp_path, IDS, state)
    writer.keep()
    history = read_label_history(tmp_path)
    for position, first in ((0, 0), (2, 10)):
        rows = bank[position, first:].double().numpy()
        distances, neighbors = NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="brute").fit(rows).kneighbors()
        np.testing.assert_array_equal(history.neighbors(5)[position, first:], neighbors + first)
        np.testing.assert_allclose(history.distances(5)[position, first:], distances / WIDTH**0.5, rtol=1e-5)


def test_fewer_clips_than_neighbours_leave_places_empty(tmp_path):
    state = SemanticLabels(torch.tensor([0.0, 1.0]), SENTIMENT, 1, num_neighbors=3, start_epoch=1)
    state.observe(
        torch.arange(2),
        None,
        Observed(torch.ones(2, 3).bool(), embeds=dict.fromkeys("STAV", torch.tensor([[0.0], [1.0]]))),
    )
    state.begin_epoch(2)
    LabelHistoryWriter(tmp_path, ["a", "b"], state).keep()
    assert read_label_history(tmp_path).neighbors(2)[1].tolist() == [[1, -1, -1], [0, -1, -1]]


def test_several_labels_keep_their_columns(tmp_path):
    state = run(tmp_path, task=EMOTIONS, start_epoch=1, momentum=False)
    history = read_label_history(tmp_path / "label_history")
    assert history.labels(4).shape == (4, COUNT, 3) and not history.momentum
    np.testing.assert_array_equal(history.labels(4), state.labels.numpy())


def test_a_resumed_run_continues_and_another_starts_again(tmp_path):
    run(tmp_path, epochs=5)
    whole = contents(tmp_path)
    run(tmp_path, epochs=5, kept_from=3)
    assert contents(tmp_path) == whole
    run(tmp_path, epochs=3, kept_from=3)  # resumed with fewer epochs: what came later is of another run
    assert read_label_history(tmp_path).epochs == [1, 2, 3]
    run(tmp_path, epochs=1)
    assert read_label_history(tmp_path).epochs == [1]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="--pseudo_labels generated"):
        read_label_history(tmp_path)
    run(tmp_path, epochs=3)
    with pytest.raises(FileNotFoundError, match=r"no labels of epoch 7 .* epochs \[1, 2, 3\]"):
        read_label_history(tmp_path).labels(7)
    assert json.loads((tmp_path / "label_history" / "clips.json").read_text())["ids"] == IDS
