"""MMCL and MTMD, our readings: contrasts, views, slow copies and weights of modalities by hand."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from modeling_semanticmac.baselines.mmcl import MMCL, MMCLOptions, same_label_contrast
from modeling_semanticmac.baselines.momentum import MomentumModel
from modeling_semanticmac.baselines.mtmd import MTMD, MTMDOptions, distillation
from tests.helpers.clip_streams import WIDTHS, clip_streams
from tests.helpers.tiny import SENTIMENT

LENGTHS = [(4, 3, 5), (3, 2, 2), (5, 0, 3), (3, 4, 4)]


def with_labels(streams):
    streams.labels = torch.tensor([1.0, -2.0, 0.9, 1.2])
    return streams


def test_the_supervised_contrast_by_hand():
    torch.manual_seed(0)
    x, valid = torch.randn(5, 3), torch.tensor([True, True, True, True, False])
    labels = torch.tensor([0, 1, 0, 0, 1])
    unit, expected = F.normalize(x, dim=1), []
    for i in range(4):  # the fifth does not count, so the second has no positive
        others = [j for j in range(4) if j != i]
        total = torch.stack([unit[i] @ unit[j] / 0.5 for j in others]).logsumexp(dim=0)
        positives = [j for j in others if labels[j] == labels[i]]
        if positives:
            expected.append(-sum(unit[i] @ unit[j] / 0.5 - total for j in positives) / len(positives))
    found = same_label_contrast(x, labels[:, None] == labels, valid, 0.5)
    torch.testing.assert_close(found, torch.stack(expected).mean())
    assert same_label_contrast(x, torch.eye(5, dtype=torch.bool), valid, 0.5) == 0


def test_a_view_lacks_frames_and_features_and_keeps_one():
    torch.manual_seed(0)
    module = MMCL(MMCLOptions(8, 1, 2, 0.0, cut=0.999), WIDTHS, SENTIMENT)
    seen = []
    module.media = lambda name, frames, mask: seen.append((frames, mask))
    module.view("audio", clip_streams(LENGTHS))
    frames, mask = seen[0]
    assert mask.sum(dim=1).tolist() == [1, 1, 0, 1] and not frames.any()
    module.options = MMCLOptions(8, 1, 2, 0.0, cut=0.0)
    module.view("audio", streams := clip_streams(LENGTHS))
    assert seen[1][1].equal(streams.audio_mask) and seen[1][0].equal(streams.audio)


def test_prediction_of_one_modality_from_another():
    torch.manual_seed(0)
    module, streams = MMCL(MMCLOptions(8, 1, 2, 0.0, cut=0.0), WIDTHS, SENTIMENT).train(), clip_streams(LENGTHS)
    found = module(with_labels(streams))
    vectors, expected = found.embeds, 0.0
    for source, target in [(m, n) for m in WIDTHS for n in WIDTHS if m != n]:
        rows = [0, 1, 3] if "audio" in (source, target) else [0, 1, 2, 3]
        guess = module.predictors[f"{source}_to_{target}"](vectors[source])[rows]
        expected += (1 - F.cosine_similarity(guess, vectors[target][rows])).mean() / 6
    torch.testing.assert_close(found.losses["prediction"], 0.1 * expected)
    # Without cuts both views are the clip itself.
    same = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0], [1, 0, 1, 1], [1, 0, 1, 1]]).bool()
    contrast = same_label_contrast(vectors["multimodal"], same, torch.ones(4, dtype=torch.bool), 0.5)
    torch.testing.assert_close(found.losses["sentiment"], 0.1 * contrast)
    found.losses["prediction"].backward()
    assert module.projections["text"].weight.grad is not None and module.eval()(streams).losses is None


def test_distillation_of_a_score():
    centres = torch.linspace(-3, 3, 7)
    one, other = torch.tensor([[1.0], [0.5]]), torch.tensor([[1.0], [-0.5]])
    found = distillation(one, other, centres, 2.0)
    assert found[0] == 0
    classes = [[math.exp(-((x - c) ** 2) / 2) for c in range(-3, 4)] for x in (0.5, -0.5)]
    student, teacher = ([value / sum(row) for value in row] for row in classes)
    divergence = sum(t * math.log(t / s) for s, t in zip(student, teacher))
    assert found[1].item() == pytest.approx(1 + divergence, abs=1e-6)


def small(**changes):
    torch.manual_seed(0)
    return MTMD(MTMDOptions(multimodal_width=8, text_width=6, dropout=0.0, **changes), WIDTHS, SENTIMENT).train()


def test_the_target_of_audio_and_vision_has_no_gradient():
    module, streams = small(), with_labels(clip_streams(LENGTHS))
    found = module(streams)
    target = (found.logits + module.teacher(streams.text_vector)[0]) / 2
    expected = 0.0
    for place, rows in ((1, [0, 1, 3]), (2, [0, 1, 2, 3])):
        expected += distillation(found.modality_logits[rows, place], target[rows], module.centres, 2.0).mean()
    torch.testing.assert_close(found.losses["distillation"], 0.5 * expected)
    found.losses["distillation"].backward()
    learns = {name.split(".")[1] for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}
    assert learns == {"audio", "vision"}
    assert torch.equal(module.teacher(streams.text_vector)[0], found.modality_logits[:, 0])  # it starts as the branch


def test_the_copy_and_the_weights_follow_slowly():
    module = small(momentum=0.9)
    state = MomentumModel(torch.zeros(4), SENTIMENT, module.options)
    before = [weight.clone() for weight in module.teacher.parameters()]
    for weight in module.branches["text"].parameters():
        weight.data += 1.0
    scores = torch.tensor([[1.0, 0.0, 2.0], [0.0, 5.0, 0.0], [9.0, 9.0, 9.0]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    output = SimpleNamespace(embeds={"scores": scores}, modality_mask=mask)
    state.observe(torch.tensor([2, 0, -1]), torch.tensor([1.0, 1.0, 0.0]), output)
    # errors: text 0 and 1, audio 1, vision 1 and 1; the last row does not count
    expected = 0.9 / 3 + 0.1 * torch.softmax(-torch.tensor([0.5, 1.0, 1.0]), dim=0)
    torch.testing.assert_close(state.weights, expected)
    state.after_step(SimpleNamespace(fusion=module))
    for old, new in zip(before, module.teacher.parameters()):
        torch.testing.assert_close(new, old + 0.1)
    assert module.weights.equal(state.weights)
    again = MomentumModel(torch.zeros(4), SENTIMENT, module.options)
    again.load_state_dict(state.state_dict())
    assert again.weights.equal(state.weights)
    with pytest.raises(ValueError, match="saved with 4 training clips, this run has 5"):
        MomentumModel(torch.zeros(5), SENTIMENT, module.options).load_state_dict(state.state_dict())


def test_a_modality_that_no_clip_has_keeps_a_mean_weight():
    state = MomentumModel(torch.zeros(1), SENTIMENT, MTMDOptions(momentum=0.0))
    output = SimpleNamespace(
        embeds={"scores": torch.tensor([[1.0, 7.0, 3.0]])}, modality_mask=torch.tensor([[1, 0, 1]])
    )
    state.observe(torch.tensor([0]), torch.tensor([0.0]), output)
    torch.testing.assert_close(state.weights, torch.softmax(-torch.tensor([1.0, 2.0, 3.0]), dim=0))
