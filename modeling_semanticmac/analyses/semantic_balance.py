"""Semantic balance: how much of the distribution of the multimodal representation each modality covers.

This is the analysis of Figures 2 and 6a of the paper. Two measures compare a set of points Q with a reference P.
Precision is the share of Q within P, recall the share of P that Q covers.

- Precision-recall curves of distributions (Sajjadi et al. 2018, arXiv 1806.00035): both sets are histograms p, q over
  clusters of their union,

      precision(l) = sum_w min(l p_w, q_w),   recall(l) = sum_w min(p_w, q_w / l),   l = tan(angle), 0 < angle < pi / 2

  and the area under the curve as one number: 1 for equal distributions, 0 for distributions that share no cluster.
- Improved precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991): a point is covered where it lies within
  the distance from some point of the other set to the k-th neighbour of that point.

The paper says little about what is compared; this is our reading. The representations of the modalities and F_M have
one width but different spaces: F_M is a linear image of six of them, and the axes of each are arbitrary. So each is
mapped to the space of F_M first (`align`): standardised, then mapped by a ridge regression that predicts F_M from it,
out of fold, so that no clip is predicted by a model that has seen it. A modality cannot reproduce what it does not know
of F_M: its points shrink towards the mean and cover less. A pair of modalities is compared by their concatenation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from ..configuration_semanticmac import MODALITIES
from ..training.nearest_neighbors import nearest_neighbors
from .representations import Representations

SETS = ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2))  # of modalities, each compared with all three
NEIGHBORS = (1, 2, 3, 5, 7, 10)
ANGLES = 1001
RIDGE = (1.0, 10.0, 100.0, 1e3, 1e4)
FOLDS = 5
FEWEST = 40  # clips: two per cluster


@dataclass(frozen=True)
class Balance:
    """Hold the comparison of a set of points with the reference.

    Args:
        precision, recall: of the curve (Sajjadi et al.), by descending recall, (angles,) each.
        area: under that curve, 0 to 1.
        neighbors: k of the improved measures, (j,).
        improved_precision, improved_recall: for each k (j,) (Kynkaanniemi et al.).
    """

    precision: np.ndarray
    recall: np.ndarray
    area: float
    neighbors: np.ndarray
    improved_precision: np.ndarray
    improved_recall: np.ndarray


def align(representation: np.ndarray, reference: np.ndarray, seed: int = 0) -> np.ndarray:
    """Map a representation (n, D) to the space of the reference (n, d) of the same clips.

    The result is the out-of-fold prediction of the reference by ridge regression, with the penalty chosen by the
    leave-one-out error within the folds. More columns than half of the clips are first reduced to that number by
    principal components of the training folds.
    """
    found = np.empty(reference.shape)
    for known, held_out in KFold(min(FOLDS, len(reference)), shuffle=True, random_state=seed).split(reference):
        scaler = StandardScaler().fit(representation[known])
        rows, asked = scaler.transform(representation[known]), scaler.transform(representation[held_out])
        width = max(1, len(known) // 2)
        if rows.shape[1] > width:
            components = PCA(width, svd_solver="covariance_eigh").fit(rows)
            rows, asked = components.transform(rows), components.transform(asked)
        found[held_out] = RidgeCV(RIDGE).fit(rows, reference[known]).predict(asked)
    return found


def precision_recall_curve(reference: np.ndarray, compared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall of two histograms over the same bins (w,), (angles,) each, by descending recall.

    The angles lie between 0 and pi / 2.
    """
    slopes = np.tan(np.linspace(0, np.pi / 2, ANGLES + 2)[1:-1])[:, None]
    precision = np.minimum(slopes * reference, compared).sum(axis=1)
    return precision.clip(0, 1), (precision / slopes[:, 0]).clip(0, 1)


def area_under(precision: np.ndarray, recall: np.ndarray) -> float:
    """Return the area under a precision-recall curve with descending recall; both ends are extended as constants."""
    precision, recall = np.append(precision, precision[-1]), np.append(recall, 0.0)
    return float(np.trapezoid(precision[::-1], recall[::-1]))


def cluster_histograms(
    reference: np.ndarray, compared: np.ndarray, clusters: int = 20, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of two sets (n, d), (m, d) in each cluster of their union, (clusters,) each, by k-means.

    Every point has the same weight: the larger of two sets of different sizes dominates the clusters.
    """
    union = np.concatenate([reference, compared])
    clusters = min(clusters, len(union))
    labels = MiniBatchKMeans(clusters, batch_size=4096, n_init=1, random_state=seed).fit_predict(union)
    found = (np.bincount(part, minlength=clusters) for part in (labels[: len(reference)], labels[len(reference) :]))
    return tuple(counts / counts.sum() for counts in found)


def improved_precision_recall(
    reference: np.ndarray, compared: np.ndarray, neighbors: Sequence[int] = NEIGHBORS, memory_bytes: int = 128 * 2**20
) -> tuple[np.ndarray, np.ndarray]:
    """Return improved precision and recall of sets (n, d), (m, d) for each k, (j,) each.

    Where a set has fewer than k neighbours, its farthest point counts.

    Raises:
        ValueError: a set of fewer than two points.
    """
    clouds = [torch.as_tensor(np.ascontiguousarray(cloud), dtype=torch.float32) for cloud in (reference, compared)]
    if min(map(len, clouds)) < 2:
        raise ValueError(f"clouds of {len(reference)} and {len(compared)} points; expected two points or more in each.")
    centre = clouds[0].mean(dim=0)  # differences of squares lose fewer digits around it
    clouds = [cloud - centre for cloud in clouds]
    radii = [_squared_radii(cloud, neighbors, memory_bytes) for cloud in clouds]  # (n, j), (m, j)
    covered = [torch.zeros_like(radius, dtype=torch.bool) for radius in radii]
    squares = [cloud.square().sum(dim=1) for cloud in clouds]
    for rows in torch.arange(len(clouds[0])).split(max(1, memory_bytes // (16 * len(clouds[1])))):
        distances = torch.addmm(squares[1][None], clouds[0][rows], clouds[1].T, alpha=-2.0)
        distances = (distances + squares[0][rows, None]).clamp_(min=0)  # (r, m)
        for place in range(len(neighbors)):
            covered[1][:, place] |= (distances <= radii[0][rows, place, None]).any(dim=0)
            covered[0][rows, place] = (distances <= radii[1][None, :, place]).any(dim=1)
    recall, precision = (part.float().mean(dim=0).numpy().astype(float) for part in covered)
    return precision, recall


def _squared_radii(cloud: torch.Tensor, neighbors: Sequence[int], memory_bytes: int) -> torch.Tensor:
    """Return the squared distance of each point to its k-th neighbour in its own set, for each k: (n, j)."""
    distances, _ = nearest_neighbors(cloud, max(neighbors), memory_bytes)
    places = [min(k, distances.shape[1]) - 1 for k in neighbors]
    return distances[:, places].square().float()


def compare(
    reference: np.ndarray, compared: np.ndarray, clusters: int = 20, repeats: int = 5, seed: int = 0
) -> Balance:
    """Compute both measures of two sets of one space; the curve is the mean over `repeats` clusterings.

    Args:
        reference: (n, d).
        compared: (m, d).
    """
    curves = []
    for repeat in range(repeats):
        histograms = cluster_histograms(reference, compared, clusters, seed * repeats + repeat)
        curves.append(precision_recall_curve(*histograms))
    precision, recall = np.mean(curves, axis=0)
    improved = improved_precision_recall(reference, compared)
    return Balance(precision, recall, area_under(precision, recall), np.array(NEIGHBORS), *improved)


def semantic_balance(
    representations: Representations,
    features: Sequence[np.ndarray] | None = None,
    seed: int = 0,
    most_clips: int = 4000,
) -> dict[str, Balance]:
    """Compare text, audio, vision and their pairs with the multimodal representation F_M.

    Each is compared over the clips that have it; a modality without clips is left out.

    Args:
        features: of text, audio and vision (n, D_m) in the order of the clips, in place of the semantic-specific
            representations z_S.
        seed: of folds, clusterings and the draw of clips.
        most_clips: from a larger split this many clips are drawn; the cost grows with the square.

    Returns:
        Names such as "text" and "text + audio" -> `Balance`.

    Raises:
        ValueError: features that do not fit the clips, or too few clips.
    """
    reference = representations.multimodal_embeds.numpy()
    if features is None:
        features = [part.numpy() for part in representations.specific_embeds.unbind(dim=1)]
    for modality, part in zip(MODALITIES, features):
        if len(part) != len(reference):
            raise ValueError(f"{len(part)} rows of {modality} features for {len(reference)} clips; give one a clip.")
    drawn = np.ones(len(reference), dtype=bool)
    if len(drawn) > most_clips:
        drawn[np.random.default_rng(seed).permutation(len(drawn))[most_clips:]] = False
    mask, found = representations.modality_mask.numpy() & drawn[:, None], {}
    for members in SETS:
        rows = mask[:, members].all(axis=1).nonzero()[0]
        if len(rows) == 0:
            continue
        if len(rows) < FEWEST:
            raise ValueError(f"{len(rows)} clips are too few to compare distributions; expected {FEWEST} or more.")
        joined = np.concatenate([features[member][rows] for member in members], axis=1)
        name = " + ".join(MODALITIES[member] for member in members)
        found[name] = compare(reference[rows], align(joined, reference[rows], seed), seed=seed)
    return found


__all__ = [
    "Balance",
    "align",
    "area_under",
    "cluster_histograms",
    "compare",
    "improved_precision_recall",
    "precision_recall_curve",
    "semantic_balance",
]
