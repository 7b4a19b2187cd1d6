"""Each field of the objective, turned in a whole training run: the right thing changes, and nothing else does."""

import pytest
import torch

from modeling_semanticmac.training.nearest_neighbors import nearest_neighbors
from modeling_semanticmac.training.semantic_contrast import inter_sample_loss
from tests.helpers.tiny import SENTIMENT
from tests.helpers.trainers import logged, new_trainer


def trained(folder, **changes):
    trainer = new_trainer(folder, **changes)
    trainer.train()
    return trainer


def losses(trainer) -> list[dict]:
    return [row for row in logged(trainer) if "loss" in row]


def same_parameters(one, two) -> bool:
    return all(a.equal(b) for a, b in zip(one.model.state_dict().values(), two.model.state_dict().values()))


@pytest.fixture(scope="module")
def one_epoch_of_labels(tmp_path_factory):
    """Two epochs; labels are made once, before the second."""
    return trained(tmp_path_factory.mktemp("plain"), num_train_epochs=2)


def test_label_momentum(one_epoch_of_labels, tmp_path):
    """At n = 2 the history weighs (n - 1) / (n + 1) = 1/3, and what it holds is the ground truth."""
    without = trained(tmp_path, num_train_epochs=2, label_momentum=False)
    truth = without.label_state.ground_truth
    with_history = one_epoch_of_labels.label_state.labels
    assert not without.label_state.labels.equal(truth.expand(4, -1, -1))
    torch.testing.assert_close(with_history - truth, 2 / 3 * (without.label_state.labels - truth))


def test_labels_from_the_ground_truth_equal_a_start_that_never_comes(tmp_path):
    truth = trained(tmp_path / "truth", pseudo_labels="ground_truth")
    late = trained(tmp_path / "late", label_start_epoch=3)
    assert truth.label_state is None and late.label_state.labels.equal(late.label_state.ground_truth.expand(4, -1, -1))
    assert losses(truth) == losses(late) and same_parameters(truth, late)


def test_pseudo_labels_off_leaves_one_task(tmp_path):
    off = trained(tmp_path, pseudo_labels="off")
    parts = {name for row in losses(off) for name in row if name.startswith("loss_")}
    assert off.label_state is None and parts == {"loss_M", "loss_intra", "loss_inter"}
    before = new_trainer(tmp_path / "new").model.state_dict()
    moved = {name for name, value in off.model.state_dict().items() if not value.equal(before[name])}
    predictors = {name for name in before if "predictor" in name}
    assert {name.split(".")[1] for name in predictors - moved} == {"S", "T", "A", "V"}
    assert {name.split(".")[1] for name in predictors & moved} == {"M"}


@pytest.mark.parametrize("epoch", [1, 2])
def test_label_start_epoch(tmp_path, epoch):
    """The reports of label generation begin with the first epoch after it."""
    found = trained(tmp_path, label_start_epoch=epoch)
    reports = [row["epoch"] for row in logged(found) if "labels/weight_S" in row]
    assert reports == list(range(epoch, 3))  # an epoch's labels are made when the one before is over


@pytest.mark.parametrize("count", [1, 3, 50])
def test_num_neighbors(tmp_path, count):
    """The movement is that of K neighbours of the bank, all other clips where there are fewer."""
    found = new_trainer(tmp_path, num_neighbors=count, label_momentum=False, num_train_epochs=1)
    found.train()
    state = found.label_state
    truth, rows = state.ground_truth, state.features[0]
    distances = torch.cdist(rows.double(), rows.double()).fill_diagonal_(float("inf"))
    distances, neighbors = distances.topk(min(count, len(rows) - 1), largest=False)
    weights = torch.exp(-distances.square() / rows.shape[1])[..., None]
    expected = truth + (weights * (truth[neighbors] - truth[:, None])).mean(dim=1)
    state.begin_epoch(2)
    torch.testing.assert_close(state.labels[0].double(), expected, rtol=1e-5, atol=1e-6)


def test_label_memory_changes_nothing(one_epoch_of_labels, tmp_path, monkeypatch):
    from modeling_semanticmac.training import shared_neighbors

    given = []
    monkeypatch.setattr(
        shared_neighbors,
        "nearest_neighbors",
        lambda rows, k, memory, among: given.append(memory) or nearest_neighbors(rows, k, memory, among=among),
    )
    small = trained(tmp_path, num_train_epochs=2, label_memory=1)
    assert set(given) == {2**20}
    assert same_parameters(small, one_epoch_of_labels)


@pytest.mark.parametrize("name", ["intra", "inter"])
def test_contrastive_weights(one_epoch_of_labels, tmp_path, name):
    """Without its weight a term is still logged, but no part of the loss, and the model learns something else."""
    without = trained(tmp_path, num_train_epochs=2, **{f"{name}_weight": 0.0})
    other = {"intra": "inter", "inter": "intra"}[name]
    for row in losses(without):
        tasks = sum(row[f"loss_{subtask}"] for subtask in "MSTAV")
        assert row["loss"] == pytest.approx(tasks + 0.1 * row[f"loss_{other}"], rel=1e-5)
    assert any(row[f"loss_{name}"] > 0 for row in losses(without))
    assert not same_parameters(without, one_epoch_of_labels)


@pytest.mark.parametrize("name", ["intra", "inter"])
def test_temperatures(tmp_path, name):
    """Another temperature changes its own term of the first step, not the other one."""
    rows = [
        losses(trained(tmp_path / str(value), num_train_epochs=1, **{f"{name}_temperature": value}))[0]
        for value in (0.1, 1.0)
    ]
    changed = {part for part in rows[0] if part.startswith("loss_") and rows[0][part] != rows[1][part]}
    assert changed == {f"loss_{name}"}


def test_sentiment_threshold(tmp_path):
    """Scores of at most 1.2 become neutral: another set of positives, checked against the sign classes written out."""
    run = new_trainer(tmp_path, sentiment_threshold=1.2, inter_weight=1.0, intra_weight=0.0)
    plain = new_trainer(tmp_path / "plain", inter_weight=1.0, intra_weight=0.0)
    batch = run.data_collator([run.train_dataset[index] for index in range(10)])
    for trainer in (run, plain):
        torch.manual_seed(2)
        trainer.compute_loss(trainer.model.train(), batch)
    torch.manual_seed(2)
    output = run.model(**{name: value for name, value in batch.items() if name not in ("labels", "clip_index")})
    classes = torch.where(batch["labels"].abs() <= 1.2, 0.0, batch["labels"].sign())
    assert not classes.equal(batch["labels"].sign()) and SENTIMENT.is_regression
    own = torch.eye(10, dtype=torch.bool)
    embeds = output.multimodal_embeds
    expected = inter_sample_loss(embeds, embeds, classes[:, None] == classes, own, run.args.inter_temperature).mean()
    torch.testing.assert_close(run._loss_parts.sums["inter"], expected.detach())
    assert run._loss_parts.sums["inter"] != plain._loss_parts.sums["inter"]
