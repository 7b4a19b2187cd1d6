"""How representations lie: each kind of them brought down to two dimensions, and how well the labels separate them as a number.

- A map by t-SNE (van der Maaten and Hinton 2008) with scikit-learn, or with openTSNE or UMAP where these are installed. Representations are
  standardised and brought down to 50 principal components first. Distances between far groups in such a map mean nothing, neither do sizes.
- The silhouette (Rousseeuw 1987) of the labels' classes in the standardised representations, not in the map: from -1 to 1, 0 where classes lie in
  one another.

Semantic-specific representations go with the pseudo labels of their sub-task, the shared one z_S and the multimodal one F_M with the ground truth.
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
FEW_CLIPS = 4  # fewer have no map
# Kind of representation -> the head that predicts from it, in the order of the maps.
HEAD_OF = {HEAD_NAMES[head]: head for head in ("T", "A", "V", "S", "M")}
WORKING_MEMORY = 256  # MiB of distances at a time


@dataclass(frozen=True)
class EmbeddingView:
    """One kind of representation on a map.

    Args:
        rows: which of the clips are shown (n,), those that have the modality.
        points: (n, 2).
        labels: scores (n,), or class numbers (n,) with -1 for none.
        pseudo: whether the labels are pseudo labels or the ground truth.
        silhouette: of the classes; of scores: of negative, neutral and positive. NaN where there is only one class.
    """

    rows: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    pseudo: bool
    silhouette: float


def project(representation: np.ndarray, method: str = "tsne", seed: int = 0) -> np.ndarray:
    """A map (n, 2) of representations (n, d).

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
    """Labels as vectors (n, C) as they colour a map: scores (n,), or the number of the highest class (n,).

    Of several labels a clip the highest counts, the first where they are equal, and -1 where none is above one half.
    """
    if task.is_regression:
        return labels[:, 0]
    highest = labels.argmax(axis=1)
    return np.where(labels.max(axis=1) > 0.5, highest, -1) if task.is_multi_label else highest


def silhouette(
    representation: np.ndarray, labels: np.ndarray, task: TaskSpecification, threshold: float = 0.0
) -> float:
    """The mean silhouette of the classes by Euclidean distance of the standardised representations (n, d).

    Args:
        labels: as `class_numbers` gives them; rows of number -1 are left out.
        threshold: scores up to this far from the middle of their scale are neutral.

    Returns:
        NaN where it is undefined: one class alone, or every clip a class of its own.
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
    """Maps of the specific representations of text, audio, vision, of the shared and of the multimodal one.

    Args:
        history: where the pseudo labels of these clips are; None: the ground truth colours all.
        epoch: of the pseudo labels; None: the last.
        most_clips: of a larger split so many are drawn, the same for all maps.
        threshold: see `silhouette`.

    Returns:
        "text", "audio", "vision", "shared", "multimodal" -> `EmbeddingView`, without modalities that too few clips have.

    Raises:
        ValueError: the history is of other clips.
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
        found[view] = EmbeddingView(rows, project(points, method, seed), labels, is_pseudo, number)
    return found


def _pseudo_labels(history: LabelHistory, ids: list[str], epoch: int | None) -> np.ndarray:
    """Pseudo labels (4, n, C) of the clips, in their order."""
    place = {clip: row for row, clip in enumerate(history.ids)}
    if unknown := [clip for clip in ids if clip not in place]:
        raise ValueError(
            f"the label history has no clip {unknown[0]!r} ({len(unknown)} such): it is that of the training set."
        )
    return history.labels(history.epochs[-1] if epoch is None else epoch)[:, [place[clip] for clip in ids]]


__all__ = ["METHODS", "EmbeddingView", "class_numbers", "embedding_space", "project", "silhouette"]
