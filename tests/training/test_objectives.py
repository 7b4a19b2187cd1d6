import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from modeling_semanticmac.affect_heads import SemanticMACForAffectOutput
from modeling_semanticmac.training.class_weights import balanced_class_weight, own_class_weight
from modeling_semanticmac.training.objectives import subtask_losses
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT


def output(mask):
    logits = torch.tensor([[1.0], [2.0]])
    subtasks = torch.tensor([[[0.0], [1.0], [2.0], [3.0]], [[0.0], [0.0], [0.0], [0.0]]])  # S, T, A, V
    return SemanticMACForAffectOutput(logits=logits, subtask_logits=subtasks, modality_mask=torch.tensor(mask))


def test_each_subtask_against_its_own_target_by_hand():
    full = output([[True, True, True], [True, True, True]])
    labels = torch.tensor([1.0, 0.0])
    targets = {"M": labels, "S": labels, "T": labels + 1, "A": labels, "V": labels}
    losses = subtask_losses(full, targets, SENTIMENT)
    #            |1-1|,|2-0|   |0-1|,|0-0|   |1-2|,|0-1|   |2-1|,|0-0|   |3-1|,|0-0|
    expected = {"M": 1.0, "S": 0.5, "T": 1.0, "A": 0.5, "V": 1.0}
    assert {name: loss.item() for name, loss in losses.items()} == expected
    assert subtask_losses(full, targets, SENTIMENT, "mse")["M"].item() == 2.0


def test_a_missing_modality_takes_no_part_in_its_subtask():
    labels = torch.tensor([1.0, 0.0])
    targets = dict.fromkeys(("M", "S", "T", "A", "V"), labels)
    losses = subtask_losses(output([[True, True, False], [False, True, True]]), targets, SENTIMENT)
    expected = {"M": 1.0, "S": 0.5, "T": 0.0, "A": 0.5, "V": 0.0}
    assert {name: loss.item() for name, loss in losses.items()} == expected


def test_only_subtasks_with_a_target_have_a_loss():
    losses = subtask_losses(output([[True] * 3] * 2), {"M": torch.zeros(2)}, SENTIMENT)
    assert set(losses) == {"M"}


def test_balanced_weights_equal_scikit_learn():
    labels = torch.tensor([0, 0, 0, 1])
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels.numpy())
    np.testing.assert_allclose(balanced_class_weight(labels, SARCASM).numpy(), expected, rtol=1e-6)


def test_balanced_weights_of_several_labels_are_negatives_over_positives():
    labels = torch.tensor([[1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert balanced_class_weight(labels, EMOTIONS).tolist() == pytest.approx([1 / 3, 3.0, 3.0])


def test_balanced_weights_refuse_what_they_cannot_weigh():
    with pytest.raises(ValueError, match="no clip of yes"):
        balanced_class_weight(torch.zeros(3, dtype=torch.long), SARCASM)
    with pytest.raises(ValueError, match="is a regression"):
        balanced_class_weight(torch.zeros(3), SENTIMENT)


def test_weights_of_your_own_by_name():
    assert own_class_weight(["yes=2.5"], SARCASM).tolist() == [1.0, 2.5]
    assert own_class_weight(["angry=3", "happy=0.5"], EMOTIONS).tolist() == [0.5, 1.0, 3.0]


@pytest.mark.parametrize("wrong", ["2", "maybe=2", "yes=0", "yes=-1", "yes=nan", "yes=inf", "yes=two", "yes"])
def test_weights_of_your_own_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=f"class_weights has '{wrong}'; expected NAME=WEIGHT .* each of no, yes"):
        own_class_weight([wrong], SARCASM)


def test_weights_of_your_own_fit_the_task():
    with pytest.raises(ValueError, match="class_weights has 'yes=3'"):
        own_class_weight(["yes=2", "yes=3"], SARCASM)
    with pytest.raises(ValueError, match="task 'sentiment' is a regression"):
        own_class_weight(["yes=2"], SENTIMENT)
