"""Graph-MFN: the graph by hand, what an efficacy of 0 cuts off, weights that learn, the public number of weights."""

import pytest
import torch

from modeling_semanticmac.baselines.graph_mfn import CHILDREN, EFFICACIES, VERTICES, GraphMemoryFusion
from tests.helpers.clip_streams import WIDTHS, clip_streams, public_count
from tests.helpers.tiny import SENTIMENT

SMALL = {
    "text_hidden": 3, "audio_hidden": 2, "vision_hidden": 4, "memory_width": 5, "graph_width": 6,
    "candidate_hidden": 7, "retain_hidden": 8, "update_hidden": 9, "output_hidden": 10,
}  # fmt: skip


def small(**changes) -> GraphMemoryFusion:
    torch.manual_seed(0)
    return GraphMemoryFusion(GraphMemoryFusion.Options(**SMALL, **changes), WIDTHS, SENTIMENT).eval()


def linear(part, x):
    for layer in part:
        x = x @ layer.weight.T + layer.bias
    return x


def test_the_graph_has_seven_vertices_and_nineteen_edges():
    assert VERTICES == [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    assert CHILDREN == {3: [0, 1], 4: [0, 2], 5: [1, 2], 6: [0, 1, 2, 3, 4, 5]} and EFFICACIES == 19


@pytest.mark.parametrize("efficacy", ["sigmoid", "none"])
def test_a_step_of_the_graph_by_hand(efficacy):
    module = small(efficacy=efficacy)
    before, after = ([(torch.randn(1, h), torch.randn(1, h)) for h in (3, 2, 4)] for _ in range(2))
    s = []
    for m, name in enumerate(WIDTHS):  # hidden states, not cells
        joined = torch.cat([before[m][0], after[m][0]], dim=1)
        s.append(torch.relu(joined @ module.singletons[name].weight.T + module.singletons[name].bias))
    t, a, v = s
    e = linear(module.efficacies, torch.cat(s, dim=1))[0]
    e = e.sigmoid() if efficacy == "sigmoid" else e
    ta = linear(module.vertices["3"], torch.cat([e[0] * t, e[1] * a], dim=1))
    tv = linear(module.vertices["4"], torch.cat([e[2] * t, e[3] * v], dim=1))
    av = linear(module.vertices["5"], torch.cat([e[4] * a, e[5] * v], dim=1))
    inner = [e[6] * t, e[7] * a, e[8] * v, e[9] * ta, e[10] * tv, e[11] * av]
    tav = linear(module.vertices["6"], torch.cat(inner, dim=1))
    output = [e[12] * t, e[13] * a, e[14] * v, e[15] * ta, e[16] * tv, e[17] * av, e[18] * tav]
    expected = linear(module.graph, torch.cat(output, dim=1))
    torch.testing.assert_close(module.attend(before, after), expected)


def test_without_its_edges_text_changes_nothing():
    module = small()
    nodes = [torch.randn(1, h) for h in (3, 2, 4)]
    efficacies = torch.rand(1, 19)
    efficacies[:, [0, 2, 6, 9, 10, 12, 15, 16, 18]] = 0  # from t, and from every vertex that holds t
    changed = [nodes[0] + 1.0, *nodes[1:]]
    assert module.through_graph(nodes, efficacies).equal(module.through_graph(changed, efficacies))
    efficacies[:, 12] = 0.5
    assert not module.through_graph(nodes, efficacies).equal(module.through_graph(changed, efficacies))


def test_the_networks_of_the_vertices_learn_and_are_saved():
    module = small().train()
    module(clip_streams([(6, 3, 5), (4, 9, 2)])).logits.square().sum().backward()
    names = [name for name, weight in module.named_parameters() if name.startswith("vertices.")]
    assert len(names) == 16 and set(names) <= set(module.state_dict())
    assert all(weight.grad.any() for weight in module.parameters())


@pytest.mark.parametrize(
    ("corpus", "expected"),
    [
        ("mosi", 2110624 + 208656), ("mosi_1024", 3269152 + 208656), ("mosei", 675792 + 133712),
        ("ch_sims", 2724860 + 253712),
    ],
)  # fmt: skip
def test_as_many_weights_as_the_public_module_with_its_unregistered_ones(corpus, expected):
    assert public_count("graph_mfn", corpus) == expected
