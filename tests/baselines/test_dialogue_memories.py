"""CMN, ICON, DialogueCRN and Multilogue-Net: hops, histories and turns by hand, public numbers of weights."""

import torch

from modeling_semanticmac.baselines.conversation_memory import (
    ConversationalMemory,
    ConversationMemoryOptions,
    InteractiveMemory,
    Parties,
)
from modeling_semanticmac.baselines.dialogue_crn import DialogueCRN, DialogueCRNOptions, Reasoning
from modeling_semanticmac.baselines.multilogue_net import MultilogueNet, MultilogueNetOptions, attend
from modeling_semanticmac.task_specification import TaskSpecification
from tests.helpers.dialogues import WIDTHS, random_dialogues
from tests.helpers.tiny import SARCASM

SIX = TaskSpecification("emotion", "single_label_classification", tuple("abcdef"))


def memory(system, hops: int, history: int = 40, seed: int = 0):
    torch.manual_seed(seed)
    return system(ConversationMemoryOptions(width=5, num_hops=hops, history=history), WIDTHS, SARCASM).eval()


def queries_of(model, streams):
    return torch.tanh(model.query(torch.cat([streams.text, streams.audio, streams.vision], dim=-1)))


def test_without_a_history_a_hop_is_a_hyperbolic_tangent():
    for system in (ConversationalMemory, InteractiveMemory):
        streams = random_dialogues([1])
        for hops in (0, 1, 3):
            model = memory(system, hops)
            q = queries_of(model, streams)
            for _ in range(hops):
                q = torch.tanh(q)
            torch.testing.assert_close(model(streams).logits, model.output(q))


def test_a_history_of_one_utterance_has_weight_one():
    for speaker, side in (([0, 0], "own"), ([0, 1], "other")):
        streams, model = random_dialogues([2]), memory(ConversationalMemory, 1)
        streams.speaker = torch.tensor([speaker])
        q = queries_of(model, streams)[0]
        state = getattr(model, side)[0].gru(q[None, :1])[0][0, 0]
        torch.testing.assert_close(model(streams).logits[0, 1], model.output(torch.tanh(q[1] + state)))
        model = memory(InteractiveMemory, 1)
        q = queries_of(model, streams)[0]
        state = torch.tanh(getattr(model, side).gru(q[None, :1])[0])
        state = model.common[0].gru(state)[0][0, 0]
        torch.testing.assert_close(model(streams).logits[0, 1], model.output(torch.tanh(q[1] + state)))


def test_two_hops_of_cmn_by_hand():
    """Speakers a b a a: the last utterance remembers two of its own and one of the other's."""
    streams, model = random_dialogues([4]), memory(ConversationalMemory, 2)
    streams.speaker = torch.tensor([[0, 1, 0, 0]])
    q = queries_of(model, streams)[0]
    own, other, query = q[None, [0, 2]], q[None, [1]], q[3]
    for hop in range(2):
        own, other = model.own[hop].gru(own)[0], model.other[hop].gru(other)[0]
        weights = torch.softmax(torch.tanh(own[0] @ query), dim=0)
        query = torch.tanh(query + weights @ own[0] + other[0, 0])
    torch.testing.assert_close(model(streams).logits[0, 3], model.output(query))


def test_what_is_remembered():
    streams = random_dialogues([4], padding=1)
    streams.speaker = torch.tensor([[0, 1, 0, 0, 9]])
    parties = Parties(streams, history=2)
    seen = parties._seen[0]
    assert seen[0, 3, :4].tolist() == [False, True, True, False] and not seen[1, 3].any()
    assert seen[1, 1, :2].tolist() == [True, False] and not seen[:, 0].any() and not seen[:, 4].any()
    assert parties.own[0].tolist() == [[True, False, True, True, False], [False, True, False, False, False]]
    short, long = memory(ConversationalMemory, 1, 1), memory(ConversationalMemory, 1, 3)
    change = (short(streams).logits - long(streams).logits)[0, :4].abs().amax(dim=1)
    assert change[1] < 1e-6 < change[3]


def test_turns_of_reasoning_by_hand():
    torch.manual_seed(0)
    start, bank, mask = torch.randn(1, 2, 6), torch.randn(1, 2, 3), torch.ones(1, 2, dtype=torch.bool)
    assert Reasoning(3, 0)(start, bank, mask).equal(start)
    module = Reasoning(3, 2)
    query, states = start[0], None
    for _ in range(2):
        states = module.cell(query, states)
        weights = torch.softmax(states[0] @ bank[0].T, dim=1)
        query = torch.cat([states[0], weights @ bank[0]], dim=1)
    torch.testing.assert_close(module(start, bank, mask)[0], query)
    alone = Reasoning(3, 1)(start[:, :1], bank[:, :1], mask[:, :1])
    torch.testing.assert_close(alone[0, 0, 3:], bank[0, 0])  # a bank of one utterance


def test_each_speaker_has_a_recurrence_over_the_own_utterances():
    torch.manual_seed(0)
    model, streams = DialogueCRN(DialogueCRNOptions(hidden=4), WIDTHS, SARCASM).eval(), random_dialogues([4])
    streams.speaker = torch.tensor([[0, 1, 0, 0]])
    u = torch.cat([streams.text, streams.audio, streams.vision], dim=-1)
    found = model.by_speaker(u, streams)
    torch.testing.assert_close(found[:, [0, 2, 3]], model.speaker.lstm(u[:, [0, 2, 3]])[0])
    torch.testing.assert_close(found[:, [1]], model.speaker.lstm(u[:, [1]])[0])


def test_dialogue_crn_has_the_public_number_of_weights():
    widths = {"text": 100, "audio": 1, "vision": 1}
    model = DialogueCRN(DialogueCRNOptions(modalities=("text",)), widths, SIX)
    assert sum(weight.numel() for weight in model.parameters()) == 1854806
    model = DialogueCRN(DialogueCRNOptions(modalities=("text",)), {**widths, "text": 712}, SIX)
    assert sum(weight.numel() for weight in model.parameters()) == 2834006


def test_attention_between_modalities_of_one_utterance_is_the_utterance():
    torch.manual_seed(0)
    queries, keys, mask = torch.randn(1, 1, 4), torch.randn(1, 1, 4), torch.ones(1, 1, dtype=torch.bool)
    torch.testing.assert_close(attend(queries, keys, mask), keys)
    assert not attend(queries, keys, ~mask).any()
    options = MultilogueNetOptions(global_width=6, party_width=5, emotion_width=4, hidden=3)
    model, streams = MultilogueNet(options, WIDTHS, SARCASM).eval(), random_dialogues([1])
    vectors = []
    for name in WIDTHS:
        said = getattr(streams, name)
        states = torch.cat([direction(said, streams.speaker) for direction in model.directions[name]], dim=-1)
        vectors.append(torch.relu(model.maps[name](states)))
    t, a, v = vectors
    products = [a * t, t * a, v * t, t * v, v * a, a * v]  # of each pair, both ways
    torch.testing.assert_close(model(streams).logits, model.output(torch.cat([t, a, v, *products], dim=-1)))
    public = MultilogueNet(MultilogueNetOptions(), WIDTHS, SARCASM)
    assert public.output.in_features == 18 * 100
