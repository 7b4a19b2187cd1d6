"""Pseudo labels over the epochs, against histories written by hand and scikit-learn."""

import datasets
import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import f1_score

from modeling_semanticmac import TaskSpecification
from modeling_semanticmac.analyses.analysis_pictures import draw_agreement, draw_label_curves
from modeling_semanticmac.analyses.label_curves import QUANTILES, label_curves
from modeling_semanticmac.files.picture_style import save_picture
from modeling_semanticmac.training.label_history import LabelHistoryWriter, read_label_history
from modeling_semanticmac.training.semantic_labels import SemanticLabels
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT


def written(folder, labels: torch.Tensor, task, epochs: list[torch.Tensor]):
    """Write a history whose epoch n >= 2 holds the given labels (4, N, C), and read it."""
    ids = [f"clip_{index}" for index in range(len(labels))]
    state = SemanticLabels(labels, task, 2, num_neighbors=1, start_epoch=1)
    writer = LabelHistoryWriter(folder, ids, state)
    writer.keep()
    for epoch, made in enumerate(epochs, start=2):
        state.labels, state.epoch = made, epoch
        writer.keep()
    return read_label_history(folder)


def clips(ids, **columns) -> datasets.Dataset:
    empty = dict.fromkeys(("label_text", "label_audio", "label_vision"), [None] * len(ids))
    return datasets.Dataset.from_dict({"id": ids, **empty, **columns})


def test_scores_are_quantiles_and_agree_with_annotations(tmp_path):
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(50, generator=generator) * 6 - 3
    epochs = [truth[None, :, None] * 0.9 + torch.randn(4, 50, 1, generator=generator) * n for n in (0.1, 0.5)]
    history = written(tmp_path, truth, SENTIMENT, epochs)
    words, voice = (truth.numpy() + np.random.default_rng(s).standard_normal(50) for s in (0, 1))
    annotated = clips(history.ids, label_text=words.tolist(), label_vision=[*voice[:40].tolist(), *[None] * 10])
    curves = label_curves(history, SENTIMENT, annotated)
    assert curves.epochs.tolist() == [1, 2, 3] and curves.start_epoch == 1
    assert curves.names == ("5 %", "25 %", "50 %", "75 %", "95 %")
    ordered = np.sort(epochs[1][2, :, 0].numpy())
    for place, level in enumerate(QUANTILES):  # interpolated between the two neighbours in order
        whole, part = divmod(level * 49, 1)
        between = ordered[int(whole)] * (1 - part) + ordered[int(whole) + 1] * part
        assert curves.values[2, 2, place] == pytest.approx(between, abs=1e-5)
    assert set(curves.agreement["Pearson"]) == {"T", "V"}  # the voice is not annotated
    for epoch, labels in enumerate([truth.expand(4, 50)[..., None], *epochs]):
        text, vision = labels[1, :, 0].numpy(), labels[3, :40, 0].numpy()
        assert curves.agreement["Pearson"]["T"][epoch] == pytest.approx(pearsonr(text, words)[0], abs=1e-5)
        assert curves.agreement["Pearson"]["V"][epoch] == pytest.approx(pearsonr(vision, voice[:40])[0], abs=1e-5)
        assert curves.agreement["F1"]["T"][epoch] == pytest.approx(f1_score(words > 0, text > 0, average="weighted"))
    figure = draw_label_curves(curves, SENTIMENT, "Pseudo labels")
    assert [panel.get_title() for panel in figure.axes] == ["S: shared", "T: text", "A: audio", "V: vision"]
    medians = figure.axes[2].lines[0].get_ydata()
    np.testing.assert_array_equal(medians, curves.values[:, 2, 2])
    agreement = draw_agreement(curves, "Agreement")
    np.testing.assert_array_equal(agreement.axes[1].lines[0].get_ydata(), curves.agreement["F1"]["T"])
    assert save_picture(agreement, tmp_path / "agreement").stat().st_size > 10_000


def test_classes_are_shares_of_clips(tmp_path):
    truth = torch.tensor([0, 0, 1, 1])
    moved = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]]).expand(4, -1, -1).clone()
    moved[3, 0] = torch.tensor([0.1, 0.9])
    curves = label_curves(written(tmp_path, truth, SARCASM, [moved]), SARCASM)
    assert curves.names == ("no", "yes") and curves.agreement == {}
    assert curves.values[0].tolist() == [[0.5, 0.5]] * 4
    assert curves.values[1].tolist() == [[0.5, 0.5]] * 3 + [[0.25, 0.75]]
    figure = draw_label_curves(curves, SARCASM, "Pseudo labels")
    assert figure.axes[3].lines[1].get_ydata().tolist() == [0.5, 0.75]


def test_several_labels_are_counted_separately(tmp_path):
    truth = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 0], [1, 0, 1]])
    moved = truth.float().expand(4, -1, -1).clone()
    moved[0, :, 0] = 0.5  # not above one half
    curves = label_curves(written(tmp_path, truth, EMOTIONS, [moved]), EMOTIONS, clips([f"clip_{i}" for i in range(4)]))
    assert curves.values[0, 1].tolist() == [0.75, 0.25, 0.25] and curves.values[1, 0].tolist() == [0, 0.25, 0.25]
    assert curves.agreement == {}


def test_other_clips_are_refused(tmp_path):
    history = written(tmp_path, torch.zeros(3), SENTIMENT, [])
    with pytest.raises(ValueError, match="labels of 3 clips, the clips given are 2"):
        label_curves(history, SENTIMENT, clips(["clip_0", "clip_1"]))


def test_labels_agree_by_the_middle_of_their_scale(tmp_path):
    """Stars from 1 to 5 are all above 0; negative and positive lie on either side of 3."""
    stars = TaskSpecification("sentiment", "regression", ("stars",), (1.0, 5.0))
    truth, annotated = torch.tensor([1.0, 2.0, 4.0, 5.0]), [1.5, 4.5, 5.0, 1.0]
    history = written(tmp_path, truth, stars, [])
    curves = label_curves(history, stars, clips(history.ids, label_text=annotated))
    expected = f1_score([0, 1, 1, 0], [0, 0, 1, 1], average="weighted")
    assert curves.agreement["F1"]["T"].tolist() == pytest.approx([expected]) and expected == 0.5


def test_the_legend_of_120_classes_has_room(tmp_path):
    task = TaskSpecification("emotion", "single_label_classification", tuple(f"class {i}" for i in range(120)))
    curves = label_curves(written(tmp_path, torch.arange(120), task, []), task)
    figure = draw_label_curves(curves, task, "Pseudo labels")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [*(f"class {i}" for i in range(24)), "96 more classes", "label generation begins"]
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines[:64]}
    assert len(looks) == 64  # classes of one colour differ in their markers
