"""MMIM: likelihood, entropy and contrast against values computed by hand; which weights learn from which term."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from modeling_semanticmac.baselines.mmim import (
    MMIM,
    Likelihood,
    MMIMOptions,
    contrast_losses,
    covariance_log_determinant,
    log_likelihood,
)
from modeling_semanticmac.baselines.sign_memory import SignMemory, label_signs
from modeling_semanticmac.task_specification import TaskSpecification
from tests.helpers.fusion import whole_streams
from tests.helpers.tiny import SARCASM, SENTIMENT

WIDTHS = {"text": 6, "audio": 3, "vision": 5}
THREE_CLASSES = TaskSpecification("mood", "single_label_classification", ("low", "middle", "high"))


@pytest.mark.parametrize(
    ("widths", "expected"),
    [((768, 5, 20), 281673), ((768, 1024, 1024), 540617), ((768, 74, 35), 292425), ((768, 33, 709), 373449)],
)
def test_parameters_are_those_of_the_public_module(widths, expected):
    model = MMIM(MMIMOptions(), dict(zip(("text", "audio", "vision"), widths)), SENTIMENT)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_more_than_two_classes_are_refused():
    with pytest.raises(ValueError, match="MMIM needs scores or two classes; task 'mood' has 3 classes"):
        MMIM(MMIMOptions(), WIDTHS, THREE_CLASSES)


def test_log_likelihood():
    zero, one = torch.zeros(1, 2), torch.ones(1, 2)
    assert log_likelihood(one, zero, zero, log_determinant=False).item() == -1
    assert log_likelihood(one, zero, zero).item() == -1
    values, mean = torch.randn(5, 3), torch.randn(5, 3)
    log_variance = torch.randn(5, 3).tanh()
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = (normal.log_prob(values) + 0.5 * math.log(2 * math.pi)).sum(dim=1)
    assert torch.allclose(log_likelihood(values, mean, log_variance), expected, atol=1e-5)


def test_without_its_log_determinant_the_likelihood_is_best_where_it_says_nothing():
    wrong = torch.full((1, 2), 9.0)
    at_large_variance = log_likelihood(wrong, torch.zeros(1, 2), torch.full((1, 2), 50.0), log_determinant=False)
    assert at_large_variance.item() == pytest.approx(0.0)
    assert log_likelihood(wrong, torch.zeros(1, 2), torch.full((1, 2), 50.0)).item() == pytest.approx(-50.0)
    assert Likelihood(4, 2, bounded=True)(torch.randn(3, 4) * 1e6, torch.randn(3, 2)).isfinite().all()


def test_contrast_is_the_cross_entropy_of_the_cosines():
    eye, has = torch.eye(2), torch.ones(2, dtype=torch.bool)
    assert contrast_losses(eye, eye, eye, has).tolist() == pytest.approx([math.log(1 + math.e) - 1] * 2)
    vectors, predicted = torch.randn(6, 4), torch.randn(6, 4)
    scores = F.normalize(vectors) @ F.normalize(predicted).T
    expected = F.cross_entropy(scores, torch.arange(6), reduction="none")
    found = contrast_losses(vectors, predicted, predicted, torch.ones(6, dtype=torch.bool))
    assert torch.allclose(found, expected, atol=1e-6)
    without_last = contrast_losses(vectors[:5], predicted[:5], predicted, torch.arange(6) < 5)
    assert torch.allclose(without_last, F.cross_entropy(scores[:5, :5], torch.arange(5), reduction="none"), atol=1e-6)


@pytest.mark.parametrize("count", range(9))
def test_the_entropy_is_finite_for_any_number_of_clips(count):
    vectors = torch.randn(count, 4, generator=torch.Generator().manual_seed(0)).tanh().requires_grad_()
    others = torch.full((2, 4), 9.0)  # rows that are not chosen
    chosen = torch.arange(count + 2) >= 2
    found = covariance_log_determinant(torch.cat([others, vectors]), chosen)
    found.backward()
    assert found.isfinite() and vectors.grad.isfinite().all()
    if count < 5:
        assert found.item() == 0
    else:
        rows = vectors.detach().double()
        covariance = torch.cov(rows.T, correction=0) + 1e-4 * torch.eye(4)
        assert found.item() == pytest.approx(covariance.logdet().item(), rel=1e-4)


def test_shares_of_the_processes_average_to_the_mean_over_the_clips_that_count():
    values, has = torch.arange(6.0), torch.tensor([True, False, True, True, True, False])
    counts = torch.tensor([True, True, True, True, False, False])
    shares = []
    for part in (slice(0, 3), slice(3, 6)):
        streams = whole_streams(3, counts=counts[part], gather=lambda rows: (has & counts).float())
        shares.append(streams.mean(values[part], has[part]))
    assert sum(shares).item() / 2 == pytest.approx((0 + 2 + 3) / 3)
    assert whole_streams(6).mean(values).item() == 2.5


def test_signs_of_scores_and_of_two_classes():
    assert label_signs(torch.tensor([[1.5], [0.0], [-2.0]]), SENTIMENT).tolist() == [1, 0, -1]
    assert label_signs(torch.tensor([1, 0]), SARCASM).tolist() == [1, -1]


def model_and_streams(task=SENTIMENT, size=14, **options):
    torch.manual_seed(0)
    model = MMIM(MMIMOptions(**options), WIDTHS, task).train()
    labels = torch.linspace(-3, 3, size) if task.is_regression else torch.arange(size) % 2
    return model, whole_streams(size, labels=labels)


@pytest.mark.parametrize("task", [SENTIMENT, SARCASM])
def test_each_set_of_weights_learns_from_its_own_objective(task):
    model, streams = model_and_streams(task)
    fused = model(streams)
    estimator = fused.losses.pop("estimator")
    main = fused.logits.sum() + sum(fused.losses.values())
    main.backward(retain_graph=True)
    parameters = dict(model.named_parameters())
    likelihood = {name for name in parameters if name.startswith("likelihoods.")}
    fixed = {name for name in parameters if name.startswith("entropy_projections.")}
    assert len(likelihood) == 16 and len(fixed) == 4
    for name, parameter in parameters.items():
        assert (parameter.grad is None) == (name in likelihood | fixed), name
    before = {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None}
    estimator.backward()
    for name, parameter in parameters.items():
        if name in before:
            assert parameter.grad.equal(before[name]), name
        else:
            assert (parameter.grad is not None) == (name in likelihood), name


def test_entropy_of_a_batch_and_its_memory():
    model, streams = model_and_streams(media_dropout=0.0, fusion_dropout=0.0)
    memory = torch.randn(9, 16, generator=torch.Generator().manual_seed(3))
    signs = torch.tensor([1, 1, 1, -1, -1, -1, 0, 1, 1])
    streams.targets = {f"{name}_{kind}": value for name in ("audio", "vision")
                       for kind, value in (("memory", memory), ("signs", signs))}  # fmt: skip
    fused = model(streams)
    expected = 0.0
    for name in ("audio", "vision"):
        rows = torch.cat([fused.embeds[name], memory])
        all_signs = torch.cat([streams.labels.sign(), signs])
        projected = model.entropy_projections[name](rows).tanh().detach().double()
        for sign in (1, -1):
            covariance = torch.cov(projected[all_signs == sign].T, correction=0) + 1e-4 * torch.eye(4)
            expected += covariance.logdet().item() / 4
    assert fused.losses["entropy"].item() == pytest.approx(-0.1 * expected, rel=1e-4)


def test_a_clip_without_a_modality_is_not_in_the_terms_of_that_modality():
    model, streams = model_and_streams(media_dropout=0.0, fusion_dropout=0.0)
    streams.modality_mask[3, 1] = streams.audio_mask[3] = False
    whole = model(streams).losses
    streams.audio[3] = 7.0
    for name, value in model(streams).losses.items():
        assert value.equal(whole[name]), name
    streams.modality_mask[:, 1] = streams.audio_mask[:] = False
    assert all(value.isfinite() for value in model(streams).losses.values())


def test_the_memory_holds_the_latest_batches_with_their_signs():
    def observe(state, value, size=2):
        embeds = {name: torch.full((size, 3), value) for name in ("audio", "vision")}
        mask = torch.tensor([[True, True, True], [True, False, True]])[:size]
        labels = torch.tensor([1.0, -2.0])[:size]
        state.observe(torch.tensor([5, 2])[:size], labels, SimpleNamespace(embeds=embeds, modality_mask=mask))

    state = SignMemory(torch.zeros(7), SENTIMENT, MMIMOptions(memory_batches=2))
    assert state.targets(torch.arange(2)) == {}
    for value in (1.0, 2.0, 3.0):
        observe(state, value)
    found = state.targets(torch.arange(1))
    assert found["audio_memory"].tolist() == [[2.0] * 3, [0.0] * 3, [3.0] * 3, [0.0] * 3]  # the second clip lacks it
    assert found["audio_signs"].tolist() == [1, 0, 1, 0]
    assert found["vision_signs"].tolist() == [1, -1, 1, -1]
    filled = SignMemory(torch.zeros(7), SENTIMENT, MMIMOptions())
    embeds = {name: torch.ones(2, 3) for name in ("audio", "vision")}
    mask = torch.ones(2, 3, dtype=torch.bool)
    filled.observe(torch.tensor([4, -1]), torch.ones(2), SimpleNamespace(embeds=embeds, modality_mask=mask))
    assert filled.targets(torch.arange(1))["audio_signs"].tolist() == [1, 0]  # the second only fills up the batch
    again = SignMemory(torch.zeros(7), SENTIMENT, MMIMOptions(memory_batches=2))
    again.load_state_dict(state.state_dict())
    for one in (state, again):
        observe(one, 4.0, size=1)
    assert again.state_dict().keys() == state.state_dict().keys()
    for name, value in state.state_dict().items():
        assert again.state_dict()[name].equal(value), name
    with pytest.raises(ValueError, match="saved with 7 training clips, this run has 8"):
        SignMemory(torch.zeros(8), SENTIMENT, MMIMOptions()).load_state_dict(state.state_dict())
