"""Graphs of dialogues: convolutions against loops over edges, windows, relations, and the systems that use them."""

import math

import pytest
import torch
from torch import nn

from modeling_semanticmac.baselines.cogmen import Cogmen, CogmenOptions, DialogueTransformer
from modeling_semanticmac.baselines.corect import modality_relations
from modeling_semanticmac.baselines.dialogue_gcn import DialogueGCN, DialogueGCNOptions
from modeling_semanticmac.baselines.dialogue_graph_layers import (
    AttentionConvolution,
    GraphConvolution,
    RelationalConvolution,
    relation_count,
    speaker_relations,
    window,
)
from modeling_semanticmac.baselines.mmgcn import MMGCN, DeepConvolution, MMGCNOptions, angular_adjacency
from tests.helpers.dialogues import WIDTHS, random_dialogues
from tests.helpers.tiny import SARCASM


def graph(seed: int = 0):
    """Two dialogues of five vertices of width 3, with random edges; vertex 4 of the second hears nothing."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 5, 3, generator=generator)
    adjacency = torch.rand(2, 5, 5, generator=generator) < 0.6
    adjacency[1, 4] = False
    return x, adjacency, torch.randint(0, 4, (2, 5, 5), generator=generator)


def edges_of(adjacency, d, i):
    return adjacency[d, i].nonzero().flatten().tolist()


@pytest.mark.parametrize("num_bases", [None, 2])
def test_a_relational_convolution_is_a_loop_over_edges(num_bases):
    torch.manual_seed(0)
    x, adjacency, relation = graph()
    layer = RelationalConvolution(3, 4, 4, num_bases)
    matrices = layer.bases
    if num_bases:
        matrices = [sum(layer.shares[r, b] * layer.bases[b] for b in range(2)) for r in range(4)]
    for weights in (None, torch.rand(2, 5, 5)):
        expected = layer.own(x).clone()
        for d in range(2):
            for i in range(5):
                for j in edges_of(adjacency, d, i):
                    r = relation[d, i, j]
                    same = sum(1 for k in edges_of(adjacency, d, i) if relation[d, i, k] == r)
                    share = 1 / same if weights is None else weights[d, i, j]
                    expected[d, i] += share * (x[d, j] @ matrices[r])
        torch.testing.assert_close(layer(x, adjacency, relation, weights), expected)


def test_one_relation_without_mean_is_a_graph_convolution():
    torch.manual_seed(0)
    x, adjacency, _ = graph()
    plain, relational = GraphConvolution(3, 4), RelationalConvolution(3, 4, 3)
    relational.own.weight.data, relational.own.bias.data = plain.own.weight.data, torch.zeros(4)
    relational.bases.data = plain.others.weight.T.expand(3, 3, 4).clone()
    relation = torch.randint(0, 3, adjacency.shape)
    found = relational(x, adjacency, relation, torch.ones(2, 5, 5))
    expected = plain.own(x).clone()
    for d in range(2):
        for i in range(5):
            heard = sum((x[d, j] for j in edges_of(adjacency, d, i)), torch.zeros(3))
            expected[d, i] += heard @ plain.others.weight.T
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(plain(x, adjacency), expected + plain.others.bias)


def test_an_attention_convolution_is_a_loop_over_edges():
    torch.manual_seed(0)
    x, adjacency, _ = graph()
    layer = AttentionConvolution(3, 4, 2)
    expected = layer.own(x).clone()
    for d in range(2):
        for i in range(5):
            heard = edges_of(adjacency, d, i)
            for head in range(2 if heard else 0):
                part = slice(4 * head, 4 * head + 4)
                scores = torch.stack([layer.query(x[d, i])[part] @ layer.key(x[d, j])[part] / 2 for j in heard])
                values = torch.stack([layer.value(x[d, j])[part] for j in heard])
                expected[d, i, part] += scores.softmax(dim=0) @ values
    torch.testing.assert_close(layer(x, adjacency), expected)


def test_a_window_counts_valid_utterances_and_has_both_ends():
    mask = torch.tensor([[True, True, False, True, True]])
    found = window(mask, 2, 1)[0].long().tolist()
    # Utterances 0, 1, 3, 4 are the first to the fourth.
    assert found == [[1, 1, 0, 0, 0], [1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 0, 1, 1], [0, 1, 0, 1, 1]]
    assert window(mask, 0, 0)[0].equal(torch.diag(mask[0]))


def test_relations_of_speakers():
    speaker, mask = torch.tensor([[0, 1, 0]]), torch.ones(1, 3, dtype=torch.bool)
    found = speaker_relations(speaker, mask, "speaker")[0]
    # 2 (2 s_i + s_j) + (j before i); an utterance itself is not past
    assert found.tolist() == [[0, 2, 0], [5, 6, 4], [1, 3, 0]]
    assert speaker_relations(speaker, mask, "same_other")[0].tolist() == [[0, 2, 0], [3, 0, 2], [1, 3, 0]]
    assert speaker_relations(speaker * 7, mask, "speaker", 2).equal(found[None])
    assert relation_count("speaker", 3) == 18 and relation_count("same_other", 9) == 4
    with pytest.raises(ValueError, match="relations is 'all'; expected speaker or same_other"):
        relation_count("all", 2)


def test_weights_of_edges_sum_to_one_over_what_is_heard():
    torch.manual_seed(0)
    model = DialogueGCN(DialogueGCNOptions(hidden=4, graph_width=5, num_bases=3, past=2, future=1), WIDTHS, SARCASM)
    states, mask = torch.randn(2, 6, 8), torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    weights = model.edge_weights(states, window(mask, 2, 1))
    torch.testing.assert_close(weights.sum(dim=2), mask.float())
    scores = torch.stack([states[0, 2] @ (model.edges.weight @ states[0, j]) for j in (0, 1, 2, 3)])
    torch.testing.assert_close(weights[0, 2, :4], scores.softmax(dim=0))
    alone = model.edge_weights(states, window(mask, 0, 0))
    torch.testing.assert_close(alone, torch.diag_embed(mask.float()))


def test_the_relational_part_of_dialogue_gcn_has_the_public_number_of_weights():
    model = DialogueGCN(DialogueGCNOptions(modalities=("text",)), {"text": 100, "audio": 1, "vision": 1}, SARCASM)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    # 403200: the two-layer biLSTM; 30 bases of 200 x 100 and 8 x 30 shares; 20100 of the second convolution
    assert counts["recurrence"] == 403200 and counts["relational"] == 30 * 20000 + 240 + 20100
    assert counts["convolution"] == 20100 and counts["edges"] == 200 * 200


def test_angles_of_vertices_and_their_normalisation():
    half = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)]])
    cases = [
        (torch.ones(2, 2), 0.998576), (half, 0.666665), (torch.eye(2), 0.5),
        (torch.tensor([[1.0, 0], [-1, 0]]), 0.001424),
    ]  # fmt: skip
    for vertices, expected in cases:
        own = 1 - math.acos(0.99999) / math.pi
        found = angular_adjacency(vertices[None], torch.ones(1, 2, 2, dtype=torch.bool))[0]
        # Two equal degrees: the normalised weight is the weight through their sum.
        assert found[0, 1].item() == pytest.approx(expected / (own + expected), abs=2e-6)
        assert found[0, 0].item() == pytest.approx(own / (own + expected), abs=2e-6)
    edges = torch.tensor([[[True, False], [False, False]]])
    assert angular_adjacency(torch.ones(1, 2, 2), edges)[0].tolist() == [[1, 0], [0, 0]]
    nothing = torch.zeros(1, 2, 2, requires_grad=True)
    angular_adjacency(nothing, torch.ones(1, 2, 2, dtype=torch.bool)).sum().backward()
    assert nothing.grad.isfinite().all()


def test_a_deep_layer_by_hand():
    assert DeepConvolution(4, 1, 0.1, 0.5).share == pytest.approx(0.405465, abs=1e-6)
    assert DeepConvolution(4, 64, 0.1, 0.5).share == pytest.approx(0.007782, abs=1e-6)
    torch.manual_seed(0)
    x, first, adjacency = torch.randn(1, 3, 4), torch.randn(1, 3, 4), torch.rand(1, 3, 3)
    layer = DeepConvolution(4, 2, 0.1, 0.5)
    t, heard = math.log(1.25), adjacency @ x
    inner = t * (torch.cat([heard, first], dim=2) @ layer.weight) + (1 - t) * (0.9 * heard + 0.1 * first)
    torch.testing.assert_close(layer(x, first, adjacency), inner.relu())
    still = DeepConvolution(4, 2, 0.1, 0.0)
    torch.testing.assert_close(still(x, first, adjacency), (0.9 * heard + 0.1 * first).relu())


def test_vertices_of_mmgcn_know_who_speaks():
    torch.manual_seed(0)
    model = MMGCN(MMGCNOptions(width=6, graph_width=5, num_layers=2), WIDTHS, SARCASM).eval()
    streams = random_dialogues([3])
    vertices, present = model.vertices(streams)
    audio = model.projections["audio"](streams.audio)
    torch.testing.assert_close(vertices[:, 3:6], audio)
    streams.speaker = 1 - streams.speaker
    other, _ = model.vertices(streams)
    difference = (other - vertices)[0, :3]  # of the text alone
    change = (model.speakers.weight[1] - model.speakers.weight[0]) * torch.where(streams.speaker[0] == 1, 1, -1)[
        :, None
    ]
    torch.testing.assert_close(difference, change)
    assert present.all() and other[:, 3:].equal(vertices[:, 3:])
    with pytest.raises(ValueError, match="width is 5; expected an even number"):
        MMGCN(MMGCNOptions(width=5), WIDTHS, SARCASM)


def test_a_dialogue_of_one_utterance_in_cogmen():
    """Without others: its own part of both convolutions, and itself as the only neighbour."""
    torch.manual_seed(0)
    options = CogmenOptions(width=8, num_layers=1, num_heads=2, feed_forward=12, graph_width=5, past=0, future=0)
    model = Cogmen(options, WIDTHS, SARCASM).eval()
    streams = random_dialogues([1])
    u = torch.cat([streams.text, streams.audio, streams.vision], dim=-1)
    x = model.reduction(model.transformer.layers(model.projection(u)))
    x = model.relational.own(x) + x @ model.relational.bases[0]
    x = nn.functional.leaky_relu(model.norm(model.attention.own(x) + model.attention.value(x)))
    expected = model.output(torch.relu(model.hidden(x)))
    torch.testing.assert_close(model(streams).logits, expected)
    with pytest.raises(ValueError, match="num_heads is 3, which does not divide the width 8"):
        DialogueTransformer(8, 1, 3, 12, 0.0)


def test_fifteen_relations_and_both_ends_of_the_window_of_corect():
    mask = torch.ones(1, 3, dtype=torch.bool)
    edges, relations = modality_relations(mask, 1, 1)
    used = relations[edges]
    assert sorted(set(used.tolist())) == list(range(15))
    # In each modality: two past, three themselves, two future; three of every pair of modalities.
    assert torch.bincount(used).tolist() == [2, 3, 2] * 3 + [3] * 6
    assert relations[0, 0, 3] == 9 and relations[0, 3, 0] == 11 and relations[0, 8, 5] == 14
    edges, _ = modality_relations(torch.ones(1, 20, dtype=torch.bool), 11, 5)
    heard = edges[0, 12, :20].nonzero().flatten().tolist()
    assert heard == list(range(1, 18))  # i - 11 and i + 5 included
