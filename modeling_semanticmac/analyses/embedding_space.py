"""Representations in two dimensions, and how well the labels separate them.

- A map by t-SNE (van der Maaten and Hinton 2008) of scikit-learn, or by openTSNE or UMAP where they are installed.
  Representations are first standardised and reduced to 50 principal components. Distances between far groups and the
  sizes of groups mean nothing in such a map.
- The silhouette (Rousseeuw 1987) of the classes of the labels in the standardised representations, not in the map: from
  -1 to 1, 0 for overlapping classes.

Semantic-specific representations are labelled by the pseudo labels of their sub-task, the shared z_S and the multimodal
F_M by the ground truth.
"""

import importlib
from dataclasses import dataclass

import numpy as np
import sklearn
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler

from ..affect_heads import subtask_embeds
from ..configuration_semanticmac import HEAD_NAMES, SUBTASKS, TaskSpecification
from ..training.label_history import LabelHistory
from ..training.semantic_labels import label_vectors
from .representations import Representations

METHODS = {"tsne": "scikit-learn", "opentsne": "openTSNE", "umap": "umap-learn"}
COMPONENTS = 50
PERPLEXITY = 30.0
FEW_CLIPS = 4  # fewer clips have no map
# Kind of representation -> the head that predicts from it, in the order of the maps.
HEAD_OF = {HEAD_NAMES[head]: head for head in ("T", "A", "V", "S", "M")}
WORKING_MEMORY = 256  # MiB of distances at a time


@dataclass(frozen=True)
class EmbeddingView:
    """Hold the map of one kind of representation.

    Args:
        rows: the clips that are shown (n,), those that have the modality.
        points: (n, 2).
        labels: scores (n,), or class numbers (n,) with -1 for none.
        pseudo: True for pseudo labels, False for the ground truth.
        silhouette: of the classes, or of negative, neutral and positive scores. NaN where there is only one class.
    """

    rows: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    pseudo: bool
    silhouette: float


def project_to_plane(representation: np.ndarray, method: str = "tsne", seed: int = 0) -> np.ndarray:
    """Compute a map (n, 2) of representations (n, d).

    Args:
        method: tsne, opentsne or umap.

    Raises:
        ValueError: an unknown method, or fewer than 4 rows.
        ImportError: the package of the method is not installed.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected {', '.join(METHODS)}.")
    if len(representation) < FEW_CLIPS:
        raise ValueError(f"{len(representation)} clips are too few for a map; expected {FEW_CLIPS} or more.")
    points = StandardScaler().fit_transform(representation)
    if min(points.shape) > COMPONENTS:
        points = PCA(COMPONENTS, random_state=seed).fit_transform(points)
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    if method == "tsne":
        return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    try:
        library = importlib.import_module({"opentsne": "openTSNE", "umap": "umap"}[method])
    except ImportError as error:
        raise ImportError(
            f"--method {method} needs {METHODS[method]}: pip install {METHODS[method]}; or use tsne."
        ) from error
    if method == "opentsne":
        return np.asarray(library.TSNE(2, perplexity=perplexity, random_state=seed).fit(points))
    return library.UMAP(n_neighbors=min(15, len(points) - 1), random_state=seed).fit_transform(points)


def class_numbers(labels: np.ndarray, task: TaskSpecification) -> np.ndarray:
    """Return what colours a map, from labels as vectors (n, C): scores (n,), or the number of the highest class (n,).

    Of several labels of a clip the first of the highest counts; -1 where none is above one half.
    """
    if task.is_regression:
        return labels[:, 0]
    highest = labels.argmax(axis=1)
    return np.where(labels.max(axis=1) > 0.5, highest, -1) if task.is_multi_label else highest


def silhouette(
    representation: np.ndarray, labels: np.ndarray, task: TaskSpecification, threshold: float = 0.0
) -> float:
    """Return the mean silhouette of the classes by Euclidean distance of the standardised representations (n, d).

    Args:
        labels: from `class_numbers`; rows with -1 are left out.
        threshold: scores up to this far from the middle of their scale are neutral.

    Returns:
        The silhouette; NaN where there is one class only, or where every clip has its own class.
    """
    groups = task.polarity(labels, threshold) if task.is_regression else labels
    kept = np.ones(len(groups), dtype=bool) if task.is_regression else groups >= 0
    if not 2 <= len(np.unique(groups[kept])) < kept.sum():
        return float("nan")
    with sklearn.config_context(working_memory=WORKING_MEMORY):
        return float(silhouette_score(StandardScaler().fit_transform(representation[kept]), groups[kept]))


def embedding_space(
    representations: Representations,
    task: TaskSpecification,
    history: LabelHistory | None = None,
    epoch: int | None = None,
    method: str = "tsne",
    most_clips: int = 2000,
    threshold: float = 0.0,
    seed: int = 0,
) -> dict[str, EmbeddingView]:
    """Compute the maps of the specific representations of text, audio and vision, and of shared and multimodal ones.

    Args:
        history: label history with the pseudo labels of these clips; None: all maps use the ground truth.
        epoch: of the pseudo labels; None: the last.
        most_clips: from a larger split this many clips are drawn, the same for all maps.
        threshold: see `silhouette`.

    Returns:
        "text", "audio", "vision", "shared", "multimodal" -> `EmbeddingView`, without modalities that too few clips
        have.

    Raises:
        ValueError: the history is that of other clips.
    """
    drawn = np.arange(len(representations))
    if len(drawn) > most_clips:
        drawn = np.sort(np.random.default_rng(seed).permutation(len(drawn))[:most_clips])
    truth = label_vectors(representations.labels, task).numpy()  # (n, C)
    pseudo = None if history is None else _pseudo_labels(history, representations.ids, epoch)  # (4, n, C)
    embeds, found = subtask_embeds(representations), {}
    for position, (view, subtask) in enumerate(HEAD_OF.items()):
        rows = drawn[representations.modality_mask[drawn, position].numpy()] if position < 3 else drawn
        if len(rows) < FEW_CLIPS:
            continue
        is_pseudo = pseudo is not None and position < 3
        vectors = pseudo[SUBTASKS.index(subtask)] if is_pseudo else truth
        points, labels = embeds[subtask][rows].numpy(), class_numbers(vectors[rows], task)
        number = silhouette(points, labels, task, threshold)
        found[view] = EmbeddingView(rows, project_to_plane(points, method, seed), labels, is_pseudo, number)
    return found


def _pseudo_labels(history: LabelHistory, ids: list[str], epoch: int | None) -> np.ndarray:
    """Return the pseudo labels (4, n, C) of the clips, in their order."""
    place = {clip: row for row, clip in enumerate(history.ids)}
    if unknown := [clip for clip in ids if clip not in place]:
        raise ValueError(
            f"the label history has no clip {unknown[0]!r} ({len(unknown)} such): it is that of the training set."
        )
    return history.labels(history.epochs[-1] if epoch is None else epoch)[:, [place[clip] for clip in ids]]


__all__ = ["METHODS", "EmbeddingView", "class_numbers", "embedding_space", "project_to_plane", "silhouette"]
