import datasets
import numpy as np
import pytest
import torch

from modeling_semanticmac.metrics import compute_metrics
from modeling_semanticmac.training.clip_order import (
    LengthGrouped,
    WholeBatches,
    clip_lengths,
    in_clip_order,
    length_grouped_order,
    longest_first,
)
from modeling_semanticmac.training.collator import SemanticMACCollator
from tests.helpers.tiny import SENTIMENT, word_corpus
from tests.helpers.trainers import WordProcessor, fake_store, logged, new_trainer


@pytest.mark.parametrize(("order", "batch", "expected"), [
    ([0, 1, 2, 3, 4], 2, [0, 1, 2, 3, 4, 4]), ([3, 0, 2, 1], 2, [3, 0, 2, 1]), ([1, 0], 5, [1, 0, 0, 0, 0]),
    ([2, 1, 0], 1, [2, 1, 0]),
])  # fmt: skip
def test_rows_in_order_then_the_last_one_until_the_last_batch_is_whole(order, batch, expected):
    sampler = WholeBatches(order, batch)
    assert list(sampler) == expected and len(sampler) == len(expected)


def test_batches_hold_clips_of_similar_length():
    """Lengths of 1 to 99 in batches of 8 need less than 10 % of padding; the rest is the last batch."""
    lengths = np.random.default_rng(0).integers(1, 100, 1003)
    order = length_grouped_order(lengths, 8, seed=1, epoch=0)
    assert sorted(order) == list(range(1003))
    batches = [lengths[order[start : start + 8]] for start in range(0, 1003, 8)]
    padded = sum(len(batch) * batch.max() for batch in batches)
    assert padded < 1.1 * lengths.sum() and len(batches[-1]) == 3
    means = [batch.mean() for batch in batches]
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.3  # batches of similar length do not follow one another


def test_the_order_follows_from_seed_and_epoch_alone():
    lengths = list(range(50)) * 2
    order = length_grouped_order(lengths, 4, 7, 2)
    torch.manual_seed(123)
    np.random.seed(123)
    assert length_grouped_order(lengths, 4, 7, 2) == order
    assert length_grouped_order(lengths, 4, 7, 3) != order != length_grouped_order(lengths, 4, 8, 2)
    sets = [
        {frozenset(found[start : start + 4]) for start in range(0, 100, 4)}
        for found in (order, length_grouped_order(lengths, 4, 7, 3))
    ]
    assert len(sets[0] & sets[1]) < 5  # the batches themselves change, not only their order
    epoch = iter((2, 3))
    sampler = LengthGrouped(lengths, 4, 7, lambda: next(epoch))
    assert list(sampler) == order != list(sampler) and len(sampler) == 100


def test_few_clips():
    assert sorted(length_grouped_order([3, 1, 2], 8, 0, 0)) == [0, 1, 2] and length_grouped_order([5], 4, 0, 0) == [0]
    assert longest_first([2, 3, 1, 3]) == [1, 3, 0, 2]


def test_values_return_to_the_order_of_the_clips():
    order = [2, 0, 1]
    found = in_clip_order((np.array([20, 0, 10]), {"a": torch.tensor([[2], [0], [1]])}, None), order)
    assert found[0].tolist() == [0, 10, 20] and found[1]["a"].tolist() == [[0], [1], [2]] and found[2] is None


def test_lengths_are_tokens_or_embeddings_or_characters():
    rows = [{"id": "a", "text": "good film", "context": ["bad"]}, {"id": "b", "text": "", "context": []},
            {"id": "c", "text": "a great talk", "context": []}]  # fmt: skip
    clips, store = datasets.Dataset.from_list(rows), fake_store(rows)
    text = SemanticMACCollator(WordProcessor(), SENTIMENT, store)
    assert clip_lengths(clips, text) == text.text_tokens(rows)["attention_mask"].sum(1).tolist() and (
        clip_lengths(clips, text)[1] == 0 < clip_lengths(clips, text)[0] < clip_lengths(clips, text)[2]
    )
    assert clip_lengths(clips, SemanticMACCollator(None, SENTIMENT, store, ["audio", "vision"])) == [3, 4, 2]
    assert clip_lengths(clips, list) == [12, 0, 12]


def test_predictions_and_metrics_are_in_the_order_of_the_clips(tmp_path):
    """Longest clips first inside; outside as if one clip were computed after the other."""
    trainer = new_trainer(tmp_path, per_device_eval_batch_size=4)
    clips = word_corpus(10)
    assert trainer._evaluation_order(clips) != list(range(10))
    asked = []
    encode_text = trainer.data_collator.processor.encode_text
    trainer.data_collator.processor.encode_text = lambda texts, *more: asked.append(texts) or encode_text(texts, *more)
    found = trainer.predict(clips)
    counts = [len(text.split()) for batch in asked for text in batch]
    assert len(counts) == 12 and counts[:10] == sorted(counts[:10], reverse=True)
    assert found.label_ids.tolist() == clips["label"][:]
    alone = [trainer.predict(clips.select([row])).predictions[0][0, 0] for row in range(10)]
    np.testing.assert_allclose(found.predictions[0][:, 0], alone, atol=1e-6)
    expected = compute_metrics(SENTIMENT, found.predictions[0], found.label_ids)
    assert {name: found.metrics[f"test_{name}"] for name in expected} == expected
    trainer.compute_metrics = lambda prediction: {"first": prediction.label_ids[0], "n": len(prediction.predictions[0])}
    own = trainer.predict(clips).metrics
    assert (own["test_first"], own["test_n"]) == (clips["label"][0], 10)


def test_training_takes_the_order_of_each_epoch(tmp_path):
    """The clips of every step are those of the function, in both epochs; a resumed run goes on in the middle of one."""
    options = {"train_sampling_strategy": "group_by_length", "data_seed": 5, "num_train_epochs": 2}
    trainer = new_trainer(tmp_path, save_strategy="steps", save_steps=1, save_total_limit=None, **options)
    resumed = new_trainer(tmp_path / "resumed", **options)
    seen = {}
    for run, checkpoint in ((trainer, None), (resumed, str(tmp_path / "checkpoint-4"))):
        seen[run] = []
        loss = run.training_loss
        run.training_loss = lambda model, batch, index, s=seen[run], f=loss: s.append(index) or f(model, batch, index)
        run.train(resume_from_checkpoint=checkpoint)
    lengths = clip_lengths(trainer.train_dataset, trainer.data_collator)
    orders = [length_grouped_order(lengths, 4, 5, epoch) for epoch in (0, 1)]
    assert torch.cat(seen[trainer]).tolist() == orders[0] + orders[1]
    assert torch.cat(seen[resumed]).tolist() == orders[1][4:]
    assert logged(resumed) == logged(trainer)


def test_an_order_that_does_not_give_equal_batches_is_refused(tmp_path):
    with pytest.raises(ValueError, match="batch_rebalance"):
        new_trainer(tmp_path, train_sampling_strategy="batch_rebalance")
