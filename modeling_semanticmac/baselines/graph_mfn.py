"""Graph-MFN: the Memory Fusion Network with a graph of the subsets of modalities in the place of its attention."""

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import nn

from ..configuration_semanticmac import MODALITIES
from .mfn import MemoryFusionNetwork, State

INNER = 100  # width of the first layer of every network of the graph
# Positions of the modalities of each vertex: three of one, three of two, one of all.
VERTICES = [subset for size in (1, 2, 3) for subset in combinations(range(len(MODALITIES)), size)]
# Smaller subsets of each vertex of more than one modality, by their place in VERTICES.
CHILDREN = {
    place: [child for child, smaller in enumerate(VERTICES) if set(smaller) < set(subset)]
    for place, subset in enumerate(VERTICES)
    if len(subset) > 1
}
EFFICACIES = sum(map(len, CHILDREN.values())) + len(VERTICES)  # 19: one an edge, the last seven into the output


@dataclass(frozen=True)
class GraphMemoryFusionOptions:
    """Options of [`GraphMemoryFusion`]; the defaults are the public settings for CMU-MOSI.

    Args:
        text_hidden, audio_hidden, vision_hidden: widths h_t, h_a, h_v of the LSTM cells.
        memory_width: width m of the shared memory u.
        graph_width: width d of the vertices of two and three modalities, and of the graph's output.
        efficacy: "sigmoid" (as published), or "none" as in public code.
        candidate_hidden, candidate_dropout: inner width and dropout of A2.
        retain_hidden, retain_dropout: of G1, the gate on the old memory.
        update_hidden, update_dropout: of G2, the gate on the new one.
        output_hidden, output_dropout: of the output layers.
    """

    text_hidden: int = 256
    audio_hidden: int = 32
    vision_hidden: int = 256
    memory_width: int = 300
    graph_width: int = 64
    efficacy: str = "sigmoid"
    candidate_hidden: int = 32
    candidate_dropout: float = 0.0
    retain_hidden: int = 128
    retain_dropout: float = 0.5
    update_hidden: int = 64
    update_dropout: float = 0.5
    output_hidden: int = 256
    output_dropout: float = 0.0

    def __post_init__(self):
        if self.efficacy not in ("sigmoid", "none"):
            raise ValueError(f"efficacy is {self.efficacy!r}; expected sigmoid or none.")


def _vertex(width: int, output: int) -> nn.Sequential:
    """Return two linear layers without an activation between them."""
    return nn.Sequential(nn.Linear(width, INNER), nn.Linear(INNER, output))


class GraphMemoryFusion(MemoryFusionNetwork):
    r"""Graph-MFN (Zadeh et al. 2018, "Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and Interpretable
    Dynamic Fusion Graph", ACL).

    The recurrences, memory and output of MFN ([`MemoryFusionNetwork`]). What the gates read after a step is the output
    of a graph on the hidden states h of the cells before and after it:

        s_m = ReLU(Linear [h_m before; h_m after]),  m = t, a, v
        n_S = Linear Linear [e_{S,R} n_R; ...],  R every smaller subset of S,  for {t,a}, {t,v}, {a,v}, {t,a,v}
        c^  = Linear Linear [e_S n_S; ...],  all seven vertices,  n_{m} = s_m
        e   = sigmoid(Linear(Linear(Linear [s_t; s_a; s_v])))            19 efficacies, one an edge

    Differences from public code: the networks of the vertices are trained and saved (there they lie in a plain
    dictionary and never learn); an efficacy is in [0, 1] as published, `efficacy: none` leaves out the sigmoid; steps
    of padding and missing modalities as in MFN.
    """

    Options = GraphMemoryFusionOptions

    def make_attention(self, hidden: dict[str, int]) -> int:
        """Make the graph, and return the width of its output; the widths of the cells are given."""
        width, total = self.options.graph_width, sum(hidden.values())
        self.singletons = nn.ModuleDict({name: nn.Linear(2 * size, size) for name, size in hidden.items()})
        sizes = [hidden[MODALITIES[subset[0]]] if len(subset) == 1 else width for subset in VERTICES]
        self.vertices = nn.ModuleDict(
            {str(place): _vertex(sum(sizes[child] for child in children), width)
             for place, children in CHILDREN.items()}
        )  # fmt: skip
        self.efficacies = nn.Sequential(nn.Linear(total, INNER), nn.Linear(INNER, width), nn.Linear(width, EFFICACIES))
        self.graph = _vertex(sum(sizes), width)
        return width

    def attend(self, before: list[State], after: list[State]) -> torch.Tensor:
        """Return the output of the graph (B, d) from the states (h, c) of the cells before and after a step."""
        nodes = [
            torch.relu(self.singletons[name](torch.cat([old, new], dim=-1)))
            for name, (old, _), (new, _) in zip(MODALITIES, before, after)
        ]
        efficacies = self.efficacies(torch.cat(nodes, dim=-1))  # (B, 19)
        if self.options.efficacy == "sigmoid":
            efficacies = torch.sigmoid(efficacies)
        return self.through_graph(nodes, efficacies)

    def through_graph(self, nodes: list[torch.Tensor], efficacies: torch.Tensor) -> torch.Tensor:
        """Return the output of the graph from s_t, s_a, s_v and the efficacies (B, 19), in the order of the edges."""
        edge = iter(efficacies.unbind(dim=-1))
        nodes = list(nodes)
        for place, children in CHILDREN.items():
            nodes.append(
                self.vertices[str(place)](torch.cat([next(edge)[:, None] * nodes[child] for child in children], dim=-1))
            )
        return self.graph(torch.cat([next(edge)[:, None] * node for node in nodes], dim=-1))


__all__ = ["CHILDREN", "VERTICES", "GraphMemoryFusion", "GraphMemoryFusionOptions"]
