"""Graph convolutions over the utterances of a dialogue, on dense adjacencies.

Legend: D dialogues, N vertices of each, d and o widths. An adjacency is bool (D, N, N): [i, j] says that vertex i hears
vertex j. Public code of these systems lists edges the other way round, so that with unequal windows a vertex there
hears as many later utterances as `past` says.
"""

import torch
from torch import nn

from .dialogue_layers import masked_softmax

RELATIONS = ("speaker", "same_other")


def window(mask: torch.Tensor, past: int, future: int) -> torch.Tensor:
    """Return which utterances hear which: j from i - past to i + future, both valid, counted over the valid ones.

    Args:
        mask: bool (D, U), the valid utterances.
        past, future: utterances before and after one that it hears, both ends included.

    Returns:
        bool (D, U, U).
    """
    place = mask.long().cumsum(dim=1)  # (D, U)
    distance = place[:, None] - place[..., None]  # j - i
    return (distance >= -past) & (distance <= future) & mask[:, None] & mask[..., None]


def speaker_relations(speaker: torch.Tensor, mask: torch.Tensor, kind: str, parties: int = 2) -> torch.Tensor:
    """Return the relation of every pair of utterances (D, U, U), numbers from 0 on.

    Args:
        speaker: (D, U), counted by first appearance in the dialogue.
        mask: bool (D, U).
        kind: "speaker": by the speaker of i, that of j, and whether j comes before i, 2 P^2 relations; speakers from
            the P-th on count as the P-th. "same_other": whether both are of one speaker, and whether j comes before i.
        parties: P.
    """
    place = mask.long().cumsum(dim=1)
    is_past = (place[:, None] < place[..., None]).long()
    if kind == "same_other":
        return 2 * (speaker[:, None] != speaker[..., None]).long() + is_past
    who = speaker.clamp(max=parties - 1)
    return 2 * (parties * who[..., None] + who[:, None]) + is_past


def relation_count(kind: str, parties: int) -> int:
    """Return the number of relations of `speaker_relations`.

    Raises:
        ValueError: an unknown kind, or no party.
    """
    if kind not in RELATIONS:
        raise ValueError(f"relations is {kind!r}; expected {' or '.join(RELATIONS)}.")
    if parties < 1:
        raise ValueError(f"parties is {parties}; expected 1 or more.")
    return 4 if kind == "same_other" else 2 * parties**2


class RelationalConvolution(nn.Module):
    """y_i = W_0 x_i + b + sum_r sum_{j in N_r(i)} W_r x_j / |N_r(i)|  (R-GCN, Schlichtkrull et al. 2018).

    With weights a_ij these are in the place of 1 / |N_r(i)|. With `num_bases` W_r = sum_b a_rb V_b.

    Args:
        width, output: d and o.
        num_relations: R.
        num_bases: number of V; None: every relation has weights of its own.
    """

    def __init__(self, width: int, output: int, num_relations: int, num_bases: int | None = None):
        super().__init__()
        self.own = nn.Linear(width, output)
        bound = (6 / (width + output)) ** 0.5  # of each matrix, as `xavier_uniform_` has it
        self.bases = nn.Parameter(torch.empty(num_bases or num_relations, width, output).uniform_(-bound, bound))
        self.shares = None
        if num_bases:
            self.shares = nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_relations, num_bases)))

    def relation_weights(self) -> torch.Tensor:
        """Return W_r of all relations (R, d, o)."""
        return self.bases if self.shares is None else torch.einsum("rb,bdo->rdo", self.shares, self.bases)

    def forward(
        self, x: torch.Tensor, adjacency: torch.Tensor, relation: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return y (D, N, o).

        Args:
            x: (D, N, d).
            adjacency: bool (D, N, N).
            relation: of every pair (D, N, N), from 0 to R - 1.
            weights: a (D, N, N).
        """
        found = self.own(x)
        for number, weight in enumerate(self.relation_weights()):
            edges = (adjacency & (relation == number)).to(x.dtype)
            if weights is None:
                edges = edges / edges.sum(dim=-1, keepdim=True).clamp(min=1)
            else:
                edges = edges * weights
            found = found + edges @ x @ weight
        return found


class GraphConvolution(nn.Module):
    """y_i = W_1 x_i + W_2 sum_j x_j + b  (Morris et al. 2019)."""

    def __init__(self, width: int, output: int):
        super().__init__()
        self.own, self.others = nn.Linear(width, output, bias=False), nn.Linear(width, output)

    def forward(self, x: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        """Return y (D, N, o) of x (D, N, d)."""
        return self.own(x) + self.others(adjacency.to(x.dtype) @ x)


class AttentionConvolution(nn.Module):
    """y_i = W_1 x_i + sum_j a_ij W_2 x_j,  a = softmax_j((W_3 x_i) . (W_4 x_j) / sqrt(o)),  heads concatenated.

    Shi et al. 2021. A vertex without neighbours has y_i = W_1 x_i.

    Args:
        width: d.
        output: o of each head.
        num_heads: H; the result has the width H o.
    """

    def __init__(self, width: int, output: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.own, self.value = nn.Linear(width, num_heads * output), nn.Linear(width, num_heads * output)
        self.query, self.key = nn.Linear(width, num_heads * output), nn.Linear(width, num_heads * output)

    def forward(self, x: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        """Return y (D, N, H o) of x (D, N, d)."""
        query, key, value = (
            part(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )  # (D, H, N, o)
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        weights = masked_softmax(scores, adjacency[:, None].expand_as(scores))
        return self.own(x) + (weights @ value).transpose(1, 2).flatten(2)


__all__ = [
    "RELATIONS", "AttentionConvolution", "GraphConvolution", "RelationalConvolution", "relation_count",
    "speaker_relations", "window",
]  # fmt: skip
