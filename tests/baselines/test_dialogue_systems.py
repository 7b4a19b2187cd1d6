"""What every system for dialogues keeps; bc-LSTM and DialogueRNN against torch's own cells."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from modeling_semanticmac.baselines import SYSTEMS as REGISTRY
from modeling_semanticmac.baselines import load_system
from modeling_semanticmac.baselines.bc_lstm import BcLSTM, BcLSTMOptions
from modeling_semanticmac.baselines.dialogue_layers import UtteranceAttention, masked_softmax, reverse_valid
from modeling_semanticmac.baselines.dialogue_rnn import DialogueDirection, DialogueRNN, DialogueRNNOptions
from modeling_semanticmac.task_specification import TaskSpecification
from tests.helpers.dialogues import WIDTHS, random_dialogues
from tests.helpers.tiny import SARCASM

# Options of a small system without dropout; every system for dialogues of the registry has an entry.
SMALL = {
    "bc_lstm": {"hidden": 5, "dropout": 0.0},
    "bc_lstm with attention": {"hidden": 5, "dropout": 0.0, "attention": True},
    "dialogue_rnn": {
        "global_width": 6, "party_width": 5, "emotion_width": 4, "hidden": 3, "recurrent_dropout": 0.0,
        "direction_dropout": 0.0, "dropout": 0.0,
    },
    "multilogue_net": {
        "global_width": 6, "party_width": 5, "emotion_width": 4, "hidden": 3, "recurrent_dropout": 0.0, "dropout": 0.0,
    },
    "cmn": {"width": 5, "dropout": 0.0},
    "icon": {"width": 5, "dropout": 0.0},
    "dialogue_crn": {"hidden": 4, "situation_turns": 2, "speaker_turns": 2, "dropout": 0.0},
    "dialogue_gcn": {"hidden": 4, "graph_width": 5, "num_bases": 3, "dropout": 0.0},
    "dialogue_gcn with four relations": {
        "hidden": 4, "graph_width": 5, "num_bases": 3, "dropout": 0.0, "relations": "same_other",
    },
    "mmgcn": {"width": 6, "graph_width": 5, "num_layers": 3, "dropout": 0.0},
    "cogmen": {"width": 8, "num_layers": 1, "num_heads": 2, "feed_forward": 12, "graph_width": 5, "dropout": 0.0},
    "corect": {
        "width": 4, "text_width": 8, "text_heads": 2, "feed_forward": 12, "graph_heads": 2, "num_layers": 1,
        "self_layers": 1, "dropout": 0.0,
    },
}  # fmt: skip
SMALL["dialogue_rnn with listeners"] = {**SMALL["dialogue_rnn"], "listener": True}
SYSTEMS = pytest.mark.parametrize("name", SMALL)
BACKWARD = {"cmn", "icon"}  # hear nothing that comes after an utterance


def small(name, **changes):
    system = load_system(name.partition(" ")[0])
    torch.manual_seed(1)
    return system(system.Options(**{**SMALL[name], **changes}), WIDTHS, SARCASM)


def test_no_system_is_left_out():
    assert {name.partition(" ")[0] for name in SMALL} == {
        name for name, system in REGISTRY.items() if system.level == "dialogue"
    }


def classes(count: int) -> TaskSpecification:
    return TaskSpecification("emotion", "single_label_classification", tuple(map(str, range(count))))


@pytest.mark.parametrize(
    ("system", "options", "width", "labels", "expected"),
    [
        (BcLSTM, BcLSTMOptions(), 100, 6, 423906),
        (BcLSTM, BcLSTMOptions(attention=True), 100, 6, 464106),
        (
            DialogueRNN,
            DialogueRNNOptions(global_width=500, party_width=500, emotion_width=300, hidden=300), 100, 6, 8880406,
        ),
        (DialogueRNN, DialogueRNNOptions(), 900, 7, 2666607),
    ],
)  # fmt: skip
def test_parameters_are_those_of_the_public_module(system, options, width, labels, expected):
    model = system(replace(options, modalities=("text",)), {"text": width, "audio": 1, "vision": 1}, classes(labels))
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


@SYSTEMS
def test_padding_order_and_company_change_nothing(name):
    model = small(name).eval()
    sizes = [3, 1, 5]
    alone = [model(random_dialogues([size], seed=10 * row)).logits for row, size in enumerate(sizes)]
    together = model(random_dialogues(sizes, padding=7)).logits
    turned = random_dialogues(sizes)
    for field in ("text", "audio", "vision", "modality_mask", "dialogue_mask", "speaker"):
        setattr(turned, field, getattr(turned, field)[[2, 0, 1]])
    turned = model(turned).logits
    for row, size in enumerate(sizes):
        assert torch.allclose(together[row, :size], alone[row][0], atol=1e-6)
        assert torch.allclose(turned[[1, 2, 0][row], :size], alone[row][0], atol=1e-6)
    assert together.isfinite().all()


@SYSTEMS
def test_padding_may_lie_between_the_utterances(name):
    model = small(name).eval()
    streams = random_dialogues([3], padding=2)
    expected = model(streams).logits[0, :3]
    for field in ("text", "audio", "vision", "modality_mask", "dialogue_mask", "speaker"):
        setattr(streams, field, getattr(streams, field)[:, [0, 3, 1, 4, 2]])
    assert torch.allclose(model(streams).logits[0, [0, 2, 4]], expected, atol=1e-6)


@SYSTEMS
def test_a_dialogue_without_an_utterance_is_finite(name):
    streams = random_dialogues([2, 2])
    streams.dialogue_mask = streams.dialogue_mask.clone()
    streams.dialogue_mask[1] = False
    assert small(name)(streams).logits.isfinite().all()


@SYSTEMS
def test_a_missing_modality_is_not_seen(name):
    model, streams = small(name).eval(), random_dialogues([4])
    streams.modality_mask = streams.modality_mask.clone()
    streams.modality_mask[0, 1] = torch.tensor([True, False, False])
    expected = model(streams).logits
    streams.audio[0, 1], streams.vision[0, 1] = float("nan"), 9.0
    assert model(streams).logits.equal(expected)
    streams.modality_mask[:] = False
    assert model(streams).logits.isfinite().all()


@SYSTEMS
def test_only_a_causal_system_is_blind_to_what_follows(name):
    has_option = hasattr(small(name).options, "causal")
    for causal in (False, True) if has_option else (name in BACKWARD,):
        model, streams = small(name, **({"causal": causal} if has_option else {})).eval(), random_dialogues([5])
        before = model(streams).logits
        streams.text[0, 3:] += 1.0
        change = (model(streams).logits - before).abs().amax(dim=-1)[0]
        assert (change[3:] > 1e-5).all()
        assert (change[:3] == 0).all() if causal else (change[:3] > 1e-7).all()


@SYSTEMS
def test_every_weight_learns(name):
    model = small(name)
    model(random_dialogues([7, 4], parties=3)).logits.square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        # The bias of keys adds the same to all scores of a softmax.
        assert parameter.grad.abs().sum() > 0 or parameter_name.endswith("key.bias"), parameter_name


@SYSTEMS
def test_half_precision_is_finite_and_near(name):
    model, streams = small(name), random_dialogues([4, 2])
    expected = model(streams).logits[streams.dialogue_mask]
    with torch.autocast("cpu", torch.bfloat16):
        found = model(streams).logits[streams.dialogue_mask]
    assert torch.allclose(found.float(), expected, atol=0.02)
    found.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["dialogue_rnn", "dialogue_rnn with listeners"])
def test_the_names_of_the_parties_do_not_matter(name):
    model, streams = small(name).eval(), random_dialogues([6], parties=9, padding=1)
    expected = model(streams).logits
    streams.speaker = 8 - streams.speaker.clamp(max=8)
    assert torch.allclose(model(streams).logits, expected, atol=1e-6)
    streams.speaker = torch.zeros_like(streams.speaker)
    assert (model(streams).logits - expected).abs().max() > 1e-5


def test_bc_lstm_of_one_utterance_is_an_lstm_of_one_step():
    model, streams = small("bc_lstm").eval(), random_dialogues([1])
    lstm = nn.LSTM(9, 5, 2, batch_first=True, bidirectional=True)
    lstm.load_state_dict(model.recurrence.lstm.state_dict())
    states, _ = lstm(torch.cat([streams.text, streams.audio, streams.vision], dim=-1))
    assert torch.allclose(model(streams).logits, model.output(model.hidden(states).relu()), atol=1e-6)


@pytest.mark.parametrize("listener", [False, True])
def test_two_steps_of_dialogue_rnn_by_hand(listener):
    torch.manual_seed(0)
    options = DialogueRNNOptions(**{**SMALL["dialogue_rnn"], "listener": listener})
    direction = DialogueDirection(3, options)
    said, speaker = torch.randn(1, 3, 3), torch.tensor([[0, 1, 0]])
    found = direction(said, speaker)[0]

    def step(cell, parts, state):
        return cell(torch.cat(parts)[None], state[None])[0]

    u = said[0]
    g0 = step(direction.global_cell, [u[0], torch.zeros(5)], torch.zeros(6))
    a = step(direction.party_cell, [u[0], torch.zeros(6)], torch.zeros(5))
    b = step(direction.listener_cell, [u[0], a], torch.zeros(5)) if listener else torch.zeros(5)
    e0 = step(direction.emotion_cell, [a], torch.zeros(4))
    g1 = step(direction.global_cell, [u[1], b], g0)
    new_b = step(direction.party_cell, [u[1], g0], b)  # the only earlier state has weight 1
    new_a = step(direction.listener_cell, [u[1], new_b], a) if listener else a
    e1 = step(direction.emotion_cell, [new_b], e0)
    weights = torch.softmax(torch.stack([g0, g1]) @ direction.query(u[2]), dim=0)
    context = weights[0] * g0 + weights[1] * g1
    e2 = step(direction.emotion_cell, [step(direction.party_cell, [u[2], context], new_a)], e1)
    assert torch.allclose(found, torch.stack([e0, e1, e2]), atol=1e-6)


def test_backward_the_speakers_are_reversed_with_their_utterances():
    model = small("dialogue_rnn").eval()
    forward, backward = model.directions
    backward.load_state_dict(forward.state_dict())
    streams = random_dialogues([4])
    mirrored = random_dialogues([4])
    for field in ("text", "audio", "vision", "speaker"):
        setattr(mirrored, field, getattr(mirrored, field).flip(1))
    seen: list[torch.Tensor] = []
    model.attention.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    for one in (streams, mirrored):
        model(one)
    assert torch.allclose(seen[1].flip(1), seen[0].roll(4, dims=-1), atol=1e-6)


def test_attention_of_an_utterance_over_its_dialogue():
    attention = UtteranceAttention(2)
    nn.init.eye_(attention.query.weight)
    nn.init.zeros_(attention.query.bias)
    e = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False]])
    weight = torch.e / (torch.e + 1)
    expected = [[weight, 1 - weight], [1 - weight, weight]]
    assert torch.allclose(attention(e, mask)[0, :2], torch.tensor(expected))
    attention.causal = True
    assert torch.allclose(attention(e, mask)[0, :2], torch.tensor([[1.0, 0.0], expected[1]]))
    assert masked_softmax(torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool)).tolist() == [[0, 0]]


def test_the_valid_part_is_reversed():
    values = torch.arange(8).reshape(2, 4)
    assert reverse_valid(values, torch.tensor([3, 0])).tolist() == [[2, 1, 0, 3], [4, 5, 6, 7]]
