"""Maps of representations: separate groups stay separate, silhouettes equal their definition, all options."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.neighbors import KNeighborsClassifier

from modeling_semanticmac import TaskSpecification
from modeling_semanticmac.analyses.analysis_pictures import draw_embedding_space
from modeling_semanticmac.analyses.embedding_space import class_numbers, embedding_space, project_to_plane, silhouette
from modeling_semanticmac.analyses.representations import Representations
from modeling_semanticmac.files.picture_style import save_picture
from modeling_semanticmac.training.label_history import LabelHistoryWriter, read_label_history
from modeling_semanticmac.training.semantic_labels import SemanticLabels
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT

COUNT, WIDTH = 60, 8


def representations(labels: torch.Tensor, count: int = COUNT) -> Representations:
    """Text and F_M follow the sign or class of the label, audio and vision do not; clips 0-4 have no vision."""
    generator = torch.Generator().manual_seed(0)
    side = (labels > 0).float()[:, None] * 6
    noise = torch.randn(7, count, WIDTH, generator=generator)
    specific = torch.stack([noise[0] + side, noise[1], noise[2]], dim=1)
    mask = torch.ones(count, 3, dtype=torch.bool)
    mask[:5, 2] = False
    zeros = torch.zeros(count, 1)
    ids = [f"clip_{index}" for index in range(count)]
    return Representations(ids, labels, noise[3] + side, specific, noise[4:].transpose(0, 1), mask, zeros, zeros)


def history(folder, labels: torch.Tensor, pseudo: torch.Tensor):
    state = SemanticLabels(labels.flip(0), SENTIMENT, 1, num_neighbors=1, start_epoch=1)
    # The training set in another order than that of the representations.
    writer = LabelHistoryWriter(folder, [f"clip_{index}" for index in reversed(range(len(labels)))], state)
    writer.keep()
    state.labels, state.epoch = pseudo.flip(1), 2
    writer.keep()
    return read_label_history(folder)


def test_groups_that_lie_apart_stay_apart():
    generator = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], 40)
    points = generator.standard_normal((120, 70)) + 8 * generator.standard_normal((3, 70))[groups]
    found = project_to_plane(points, seed=1)
    assert found.shape == (120, 2)
    assert KNeighborsClassifier(5).fit(found, groups).score(found, groups) == 1.0
    np.testing.assert_array_equal(project_to_plane(points, seed=1), found)
    assert not np.array_equal(project_to_plane(points, seed=1), project_to_plane(points[::-1], seed=1))


def test_the_other_methods_get_the_same_rows(monkeypatch):
    asked = {}

    class Map:
        def __init__(self, *args, **options):
            asked.update(options)

        def fit(self, points):
            asked["shape"] = points.shape
            return points[:, :2]

        fit_transform = fit

    rows = np.random.default_rng(0).standard_normal((80, 60))
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Map))
    assert project_to_plane(rows, "umap", seed=3).shape == (80, 2)
    assert asked == {"n_neighbors": 15, "random_state": 3, "shape": (80, 50)}
    monkeypatch.setitem(sys.modules, "openTSNE", SimpleNamespace(TSNE=Map))
    assert project_to_plane(rows, "opentsne", seed=4).shape == (80, 2) and asked["perplexity"] == pytest.approx(79 / 3)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        project_to_plane(rows, "umap")
    with pytest.raises(ValueError, match="expected tsne, opentsne, umap"):
        project_to_plane(rows, "pca")
    with pytest.raises(ValueError, match="3 clips are too few"):
        project_to_plane(rows[:3])


def test_silhouette_equals_its_definition():
    """(b - a) / max(a, b): a to the own class, b to the nearest other; neutral scores are a third class."""
    generator = np.random.default_rng(0)
    rows, scores = generator.standard_normal((30, 3)), generator.uniform(-3, 3, 30)
    classes = np.where(np.abs(scores) <= 0.5, 0, np.sign(scores))
    distances = cdist((rows - rows.mean(axis=0)) / rows.std(axis=0), (rows - rows.mean(axis=0)) / rows.std(axis=0))
    values = []
    for i in range(30):
        means = {c: distances[i, (classes == c) & (np.arange(30) != i)].mean() for c in (-1, 0, 1)}
        a, b = means.pop(classes[i]), min(value for c, value in means.items() if c != classes[i])
        values.append((b - a) / max(a, b))
    assert silhouette(rows, scores, SENTIMENT, threshold=0.5) == pytest.approx(np.mean(values))
    percent = TaskSpecification("sentiment", "regression", ("sentiment",), (0.0, 100.0))
    assert silhouette(rows, 50 + scores / 6 * 100, percent, threshold=50 / 6) == pytest.approx(np.mean(values))
    assert np.isnan(silhouette(rows, np.ones(30), SENTIMENT))
    some = np.array([0] * 10 + [1] * 10 + [-1] * 10)  # of several labels none: left out
    assert silhouette(rows, some, EMOTIONS) == pytest.approx(silhouette(rows[:20], some[:20], SARCASM))


def test_class_numbers():
    assert class_numbers(np.array([[0.5], [-2.0]]), SENTIMENT).tolist() == [0.5, -2.0]
    assert class_numbers(np.array([[0.2, 0.8], [0.6, 0.4]]), SARCASM).tolist() == [1, 0]
    several = np.array([[0.6, 0.9, 0.0], [0.2, 0.4, 0.5], [1.0, 0.0, 1.0]])
    assert class_numbers(several, EMOTIONS).tolist() == [1, -1, 0]


def test_specific_ones_go_with_pseudo_labels_and_the_others_with_the_truth(tmp_path):
    truth = torch.linspace(-3, 3, COUNT)
    pseudo = torch.stack([truth * factor for factor in (0.9, 0.8, -0.5, 0.1)])[..., None]
    made, kept = representations(truth), history(tmp_path, truth, pseudo)
    found = embedding_space(made, SENTIMENT, kept)
    assert list(found) == ["text", "audio", "vision", "shared", "multimodal"]
    assert [view.pseudo for view in found.values()] == [True, True, True, False, False]
    np.testing.assert_allclose(found["audio"].labels, -0.5 * truth, atol=1e-6)
    np.testing.assert_allclose(found["multimodal"].labels, truth, atol=1e-6)
    assert found["vision"].rows.tolist() == list(range(5, COUNT)) and found["vision"].points.shape == (COUNT - 5, 2)
    assert found["text"].silhouette > 0.4 > 0.1 > abs(found["audio"].silhouette)
    first = embedding_space(made, SENTIMENT, kept, epoch=1, most_clips=20, seed=1)
    assert len(first["text"].rows) == 20 and (first["text"].rows == first["multimodal"].rows).all()
    np.testing.assert_allclose(first["audio"].labels, truth[first["audio"].rows], atol=1e-6)
    assert not embedding_space(made, SENTIMENT, most_clips=20)["text"].pseudo
    with pytest.raises(ValueError, match="no clip 'clip_60'"):
        embedding_space(representations(torch.zeros(61), 61), SENTIMENT, kept)
    figure = draw_embedding_space(found, SENTIMENT, "Representations")
    titles = [axes.get_title() for axes in figure.axes[:5]]
    assert titles[0].startswith("text, pseudo label T\nsilhouette 0.") and titles[4].startswith(
        "multimodal, ground truth"
    )
    drawn = np.sort(figure.axes[1].collections[0].get_array())
    np.testing.assert_allclose(drawn, np.sort(found["audio"].labels))


@pytest.mark.parametrize("task", [SARCASM, EMOTIONS])
def test_classes_have_a_sign_each(tmp_path, task):
    labels = torch.arange(COUNT) % 2
    if task is EMOTIONS:
        labels = torch.nn.functional.one_hot(torch.arange(COUNT) % 4, 4)[:, :3]
    made = representations(labels if task is SARCASM else labels.argmax(dim=1))
    made = Representations(**{**vars(made), "labels": labels})
    found = embedding_space(made, task)
    figure = draw_embedding_space(found, task, "Representations")
    names = [text.get_text() for text in figure.axes[5].get_legend().get_texts()]
    assert names == [*task.label_names, *(["none"] if task is EMOTIONS else [])]
    counts = [len(part.get_offsets()) for part in figure.axes[0].collections]
    expected = [0, 30, 30] if task is SARCASM else [15, 15, 15, 15]
    assert counts == expected
    assert save_picture(figure, tmp_path / "space").stat().st_size > 10_000
