import math

import pytest
import torch

from modeling_semanticmac.affect_heads import check_labels, task_loss
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT


def test_scores_by_hand():
    logits, labels = torch.tensor([[1.0], [-2.0]]), torch.tensor([3.0, -1.5])
    assert task_loss(logits, labels, SENTIMENT).tolist() == [2.0, 0.5]
    assert task_loss(logits, labels[:, None], SENTIMENT, "mse").tolist() == [4.0, 0.25]


def test_single_label_by_hand_with_ids_soft_targets_and_weights():
    logits = torch.tensor([[0.0, math.log(3)]])  # probabilities 1/4, 3/4
    assert task_loss(logits, torch.tensor([1]), SARCASM).item() == pytest.approx(-math.log(0.75))
    soft = torch.tensor([[0.5, 0.5]])
    assert task_loss(logits, soft, SARCASM).item() == pytest.approx(-0.5 * math.log(0.25) - 0.5 * math.log(0.75))
    weight = torch.tensor([1.0, 4.0])
    assert task_loss(logits, torch.tensor([1]), SARCASM, class_weight=weight).item() == pytest.approx(
        -4 * math.log(0.75)
    )


def test_multi_label_by_hand():
    logits = torch.tensor([[math.log(3), 0.0, 0.0]])  # probabilities 3/4, 1/2, 1/2
    labels = torch.tensor([[1.0, 0.0, 1.0]])
    expected = -(math.log(0.75) + 2 * math.log(0.5)) / 3
    assert task_loss(logits, labels, EMOTIONS).item() == pytest.approx(expected)
    weight = torch.tensor([2.0, 2.0, 3.0])
    expected = -(2 * math.log(0.75) + math.log(0.5) + 3 * math.log(0.5)) / 3
    assert task_loss(logits, labels, EMOTIONS, class_weight=weight).item() == pytest.approx(expected)


def test_half_precision_logits_give_float32_losses():
    assert task_loss(torch.zeros(2, 2, dtype=torch.bfloat16), torch.tensor([0, 1]), SARCASM).dtype == torch.float32


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (SENTIMENT, torch.tensor([0.0, 3.5]), "hold 3.5; expected scores in \\[-3, 3\\]"),
        (SENTIMENT, torch.tensor([0.0, float("nan")]), "hold nan"),
        (SENTIMENT, torch.zeros(2, 2), r"shape \(2, 2\); expected \(2,\)"),
        (SARCASM, torch.tensor([0, 2]), "hold 2; expected class ids 0 to 1 for no, yes"),
        (SARCASM, torch.tensor([0.0, -1.0]), "hold -1"),
        (SARCASM, torch.tensor([0, 1, 1]), r"shape \(3,\); expected \(2,\)"),
        (EMOTIONS, torch.tensor([[0, 1, 2], [0, 0, 0]]), "hold 2; expected 3 zeros and ones for happy, sad, angry"),
        (EMOTIONS, torch.zeros(2, 4), r"expected \(2, 3\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(task, labels, message):
    with pytest.raises(ValueError, match=message):
        check_labels(labels, task, batch_size=2)


def test_labels_that_fit_pass():
    check_labels(torch.tensor([-3.0, 3.0]), SENTIMENT, 2)
    check_labels(torch.tensor([[-3.0], [3.0]]), SENTIMENT, 2)
    check_labels(torch.tensor([0, 1]), SARCASM, 2)
    check_labels(torch.tensor([[0, 1, 1], [0, 0, 0]]), EMOTIONS, 2)
