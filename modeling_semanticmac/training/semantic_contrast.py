"""Semantic-centric contrastive losses: within a sample and between samples (section III-E, eq. 16-19), pure functions
of tensors.
"""

import torch
from torch.nn import functional as F

from ..configuration_semanticmac import TaskSpecification
from .full_precision import full_precision


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    """Project onto the unit hypersphere, in float32 at least: exponentials of similarities over small temperatures need
    it.
    """
    return F.normalize(vectors if vectors.dtype == torch.float64 else vectors.float(), dim=-1)


@full_precision
def intra_sample_loss(
    specific: torch.Tensor, shared: torch.Tensor, modality_mask: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Compute InfoNCE within each sample, eq. (16)-(17) (sums inside the logarithm and all nine mixed pairs: our
    reading).

        pos_i = sum_{m < n} exp(C_m . C_n / tau)
        neg_i = sum_{m < n} exp(S_m . S_n / tau) + sum_{m, n} exp(S_m . C_n / tau)
        L_i   = -log(pos_i / (pos_i + neg_i))

    Shared representations of different modalities attract each other; specific ones repel each other and the shared
    ones. All lie on the unit hypersphere, in float32. Pairs with a modality that the sample lacks are left out; the
    loss of a sample with fewer than two modalities, which has no positive pair, is 0.

    Args:
        specific, shared: pooled representations (B, 3, d).
        modality_mask: which modalities each sample has, bool (B, 3).
        temperature: tau.

    Returns:
        (B,) losses.
    """
    specific, shared = _unit(specific), _unit(shared)
    both = modality_mask[:, :, None] & modality_mask[:, None, :]  # (B, 3, 3)
    upper = torch.ones(3, 3, dtype=torch.bool, device=both.device).triu(diagonal=1)
    lowest = torch.finfo(torch.float32).min

    def pairs(left, right, allowed):
        scores = left @ right.transpose(1, 2) / temperature  # (B, 3, 3)
        return scores.masked_fill(~allowed, lowest).flatten(1)  # (B, 9)

    positive = pairs(shared, shared, both & upper)
    negative = torch.cat([pairs(specific, specific, both & upper), pairs(specific, shared, both)], dim=1)  # (B, 18)
    losses = torch.cat([positive, negative], dim=1).logsumexp(dim=1) - positive.logsumexp(dim=1)
    return losses.masked_fill(modality_mask.sum(dim=1) < 2, 0.0)


@full_precision
def inter_sample_loss(
    anchors: torch.Tensor,
    others: torch.Tensor,
    positives: torch.Tensor,
    excluded: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Compute the supervised contrastive loss between samples, eq. (18).

        L_i = -(1 / |P(i)|) sum_{p in P(i)} log( exp(F_i . F_p / tau) / sum_{a != i} exp(F_i . F_a / tau) )

    All representations lie on the unit hypersphere, in float32. The loss of an anchor without positives is 0, also in a
    batch of one.

    Args:
        anchors: F_M of this process's samples, (B, d).
        others: F_M of the global batch, (G, d), these samples among them.
        positives: bool (B, G), the samples that share the anchor's label.
        excluded: bool (B, G), the samples that do not count: the anchor itself, and those that only fill up the batch.
        temperature: tau.

    Returns:
        (B,) losses.
    """
    scores = _unit(anchors) @ _unit(others).T / temperature  # (B, G)
    positives = positives & ~excluded
    log_total = scores.masked_fill(excluded, torch.finfo(torch.float32).min).logsumexp(dim=1, keepdim=True)  # (B, 1)
    log_share = (scores - log_total).masked_fill(~positives, 0.0)
    return -log_share.sum(dim=1) / positives.sum(dim=1).clamp(min=1)


def shares_label(
    labels: torch.Tensor, other_labels: torch.Tensor, task: TaskSpecification, sentiment_threshold: float = 0.0
) -> torch.Tensor:
    """Return which pairs of samples are positives of eq. (18).

    Scores: the same polarity, negative, neutral or positive, where neutral is up to `sentiment_threshold` points from
    the middle of the scale (our reading). Single label: the same class. Multi-label: at least one label in common, so
    that a sample without any has no positives.

    Args:
        labels: ground truth of the anchors, (B,) or (B, C).
        other_labels: ground truth of the global batch, (G,) or (G, C).
        task: the task specification.
        sentiment_threshold: half the width of the neutral range; scores only.

    Returns:
        bool (B, G).
    """
    if task.is_multi_label:
        return labels.float() @ other_labels.float().T > 0
    if task.is_regression:
        labels, other_labels = (task.polarity(y.reshape(-1), sentiment_threshold) for y in (labels, other_labels))
    return labels[:, None] == other_labels[None, :]
