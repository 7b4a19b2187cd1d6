"""The definitions of figures, the same in report and model card."""

import numpy as np
import pytest

from modeling_semanticmac.metrics import compute_metrics
from modeling_semanticmac.metrics.definitions import definition, is_of_one_class, selection_metric
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT


def test_a_definition_has_its_formula():
    assert definition("acc7") == "Seven-class accuracy of CMU-MOSI / MOSEI: mean [rint(clip(p, 3)) = rint(clip(y, 3))]"
    assert "(TP N / P + TN) / (2 N)" in definition("n_acc") and "Args" not in definition("n_acc")
    assert definition("acc2_neg_pos").startswith("Two-class accuracy, negative against positive")
    assert definition("loss").startswith("of sub-task M, mean over the clips")


def test_suffixes_are_spelled_out():
    assert definition("b_f1_tuned") == f"{definition('b_f1')}; thresholds tuned on validation"
    assert definition("n_acc_happy") == f"{definition('n_acc')}; class happy"
    assert definition("b_f1_tuned_sad") == f"{definition('b_f1')}; thresholds tuned on validation; class sad"
    assert definition("f1_joy") == "F1 of the class joy"
    assert definition("threshold_happy") == definition("runtime") == ""


@pytest.mark.parametrize("name", ["f1_joy", "n_acc_happy", "b_f1_tuned_sad", "f1_not at all"])
def test_figures_of_one_class(name):
    assert is_of_one_class(name)


@pytest.mark.parametrize("name", ["b_f1", "b_f1_tuned", "f1_neg_pos", "acc2_neg_nonneg", "loss", "threshold_happy"])
def test_figures_of_all_clips(name):
    assert not is_of_one_class(name)


@pytest.mark.parametrize("task", [SENTIMENT, SARCASM, EMOTIONS], ids=lambda task: task.name)
def test_every_figure_of_a_task_is_defined(task):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(12, task.num_labels))
    labels = {
        SENTIMENT: np.arange(12) % 7 - 3.0,
        SARCASM: np.arange(12) % 2,
        EMOTIONS: generator.integers(0, 2, (12, 3)),
    }[task]
    thresholds = [0.3, 0.4, 0.5] if task.is_multi_label else None
    figures = compute_metrics(task, logits, labels, thresholds)
    assert [name for name in figures if not definition(name)] == []
    of_a_class = {name for name in figures if name.endswith(tuple(f"_{label}" for label in task.label_names))}
    assert {name for name in figures if is_of_one_class(name)} == of_a_class


def test_models_are_selected_by_loss_or_weighted_f1():
    assert [selection_metric(task) for task in (SENTIMENT, SARCASM, EMOTIONS)] == ["loss", "w_f1", "w_f1"]
