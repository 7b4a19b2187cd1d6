"""The Trainer of dialogue systems: one prediction a clip, the loss over utterances, exact resume."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from modeling_semanticmac.baselines import FusionForAffect
from modeling_semanticmac.baselines.dialogue_data import dialogues_of
from modeling_semanticmac.task_specification import TaskSpecification
from tests.helpers.dialogue_trainers import CLASSES, SIZES, dialogue_trainer, tiny_dialogue_model
from tests.helpers.dialogues import conversation_clips
from tests.helpers.tiny import EMOTIONS, SENTIMENT
from tests.helpers.trainers import logged

SYSTEMS = pytest.mark.parametrize("architecture", ["bc_lstm", "dialogue_rnn"])


def clip_logits(trainer, clips) -> np.ndarray:
    """Logits of each clip from its own dialogue alone, in the order of the clips."""
    found = np.full((len(clips), trainer.task.num_labels), np.nan, dtype=np.float32)
    for row in dialogues_of(clips):
        batch = trainer.data_collator([row])
        batch.pop("labels")
        with torch.no_grad():
            found[row["clip_rows"]] = trainer.model.eval()(**batch).logits[0]
    return found


@SYSTEMS
def test_predictions_and_metrics_are_of_clips_in_their_order(architecture, tmp_path):
    trainer = dialogue_trainer(tmp_path, architecture)
    clips = conversation_clips(SIZES, CLASSES, seed=5)
    clips = clips.select(torch.randperm(len(clips), generator=torch.Generator().manual_seed(0)).tolist())
    found = trainer.predict(clips)
    expected = clip_logits(trainer, clips)
    assert np.allclose(found.predictions, expected, atol=1e-6)
    assert found.label_ids.tolist() == clips["label"][:]
    weighted = f1_score(clips["label"], expected.argmax(axis=1), average="weighted")
    assert found.metrics["test_w_f1"] == pytest.approx(weighted)
    losses = torch.nn.functional.cross_entropy(torch.from_numpy(expected), torch.tensor(clips["label"]))
    assert found.metrics["test_loss"] == pytest.approx(losses.item(), abs=1e-6)
    assert trainer.evaluate(clips)["eval_w_f1"] == found.metrics["test_w_f1"]


def test_long_dialogues_are_split_and_still_have_one_prediction_a_clip(tmp_path):
    trainer = dialogue_trainer(tmp_path, "bc_lstm", max_utterances=2)
    assert [len(row["clip_ids"]) for row in trainer.train_dataset] == [2, 1, 1, 2, 2, 2, 2]
    clips = conversation_clips(SIZES, CLASSES, seed=5)
    found = trainer.predict(clips)
    parts = [
        clips.select(range(start, end)) for start, end in ((0, 2), (2, 3), (3, 4), (4, 6), (6, 8), (8, 10), (10, 12))
    ]
    expected = np.concatenate([clip_logits(trainer, part) for part in parts])
    assert np.allclose(found.predictions, expected, atol=1e-6)


def test_texts_read_before_and_texts_read_in_the_model_give_the_same(tmp_path):
    trainer = dialogue_trainer(tmp_path, "bc_lstm")
    clips = conversation_clips(SIZES, CLASSES)
    clips = clips.map(lambda clip: {"text": "" if clip["id"] == "dialogue_0_1" else clip["text"]})
    rows = list(dialogues_of(clips))
    tokens = trainer.data_collator(rows)
    trainer.read_texts(dialogues_of(clips))
    vectors = trainer.data_collator(rows)
    assert "input_ids" in tokens and "text_embeds" in vectors
    assert not vectors["text_embeds"][0, 1].any() and vectors["text_embeds"][0, 2].any()
    model = trainer.model.eval()
    assert torch.allclose(model(**tokens).logits, model(**vectors).logits, atol=1e-6)


def test_a_clip_alone_is_a_dialogue_of_one_utterance(tmp_path):
    trainer = dialogue_trainer(tmp_path, "dialogue_rnn")
    clips = conversation_clips([1, 1, 1], CLASSES)
    tokens = trainer.data_collator.clips.processor.encode_text(clips["text"][:])
    model = trainer.model.eval()
    output = model(**tokens, labels=torch.tensor(clips["label"]))
    assert output.logits.shape == (3, 3)
    assert np.allclose(output.logits.detach(), clip_logits(trainer, clips), atol=1e-6)
    with pytest.raises(ValueError, match="mean_pooling reads clips, not dialogues"):
        tiny_dialogue_model("mean_pooling")(dialogue_mask=torch.ones(1, 1))


def test_the_loss_is_the_weighted_mean_over_the_utterances(tmp_path):
    trainer = dialogue_trainer(tmp_path, "bc_lstm", dropout=0.0, class_weights=["b=3", "c=0.5"])
    clips = conversation_clips(SIZES, CLASSES)
    batch = trainer.data_collator(list(dialogues_of(clips).add_column("clip_index", range(len(SIZES)))))
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch)
    logits = torch.from_numpy(clip_logits(trainer, clips))
    weight = torch.tensor([1.0, 3.0, 0.5])
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(clips["label"]), weight=weight)  # weighted mean
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_dialogue_without_labels_has_no_loss(tmp_path):
    trainer = dialogue_trainer(tmp_path, "bc_lstm", dropout=0.0)
    batch = trainer.data_collator(
        list(dialogues_of(conversation_clips([2, 3], CLASSES)).add_column("clip_index", [0, 1]))
    )
    alone = {name: value[:1] for name, value in batch.items()}
    batch["labels"][1] = -100
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch)
    assert loss.item() == pytest.approx(trainer.compute_loss(trainer.model, alone).item(), abs=1e-6)
    batch["labels"][:] = -100
    assert trainer.compute_loss(trainer.model, batch).item() == 0
    del batch["clip_index"]
    assert trainer.model(**batch).loss.item() == 0


@pytest.mark.parametrize("task", [SENTIMENT, EMOTIONS])
def test_it_learns_every_kind_of_label(task, tmp_path):
    trainer = dialogue_trainer(tmp_path, "bc_lstm", task=task, num_train_epochs=25, learning_rate=6e-2, dropout=0.0)
    before = trainer.evaluate(conversation_clips(SIZES, task))["eval_loss"]
    trainer.train()
    assert trainer.evaluate(conversation_clips(SIZES, task))["eval_loss"] < before / 2


@SYSTEMS
def test_a_resumed_training_equals_an_uninterrupted_one(architecture, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": None, "modality_dropout": 0.3}
    whole = dialogue_trainer(tmp_path / "whole", architecture, **options)
    whole.train()
    resumed = dialogue_trainer(tmp_path / "resumed", architecture, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))  # in the middle of an epoch
    assert whole.state.global_step == 6
    for name, value in whole.model.state_dict().items():
        assert resumed.model.state_dict()[name].equal(value), name
    assert logged(resumed) == logged(whole)


def test_modality_dropout_is_drawn_for_each_utterance(tmp_path):
    trainer = dialogue_trainer(tmp_path, "bc_lstm", modality_dropout=0.5)
    valid = torch.arange(40)[None] < torch.tensor([[40], [25]])
    mask = valid[..., None] & torch.tensor([True, True, False])
    batch = {"modality_mask": mask.clone(), "dialogue_mask": valid}
    torch.manual_seed(0)
    kept = trainer._drop_modalities(batch)["modality_mask"]
    assert batch["modality_mask"].equal(mask) and not (kept & ~mask).any()
    assert kept[valid].any(dim=1).all()  # never all that an utterance has
    dropped = 1 - kept[..., :2].sum().item() / mask.sum().item()
    assert 0.25 < dropped < 0.5  # each with probability p - p^2 / 2 = 0.375


def test_the_language_model_stays_as_it_was(tmp_path):
    trainer = dialogue_trainer(tmp_path, "bc_lstm")
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    changed = {name for name, value in trainer.model.state_dict().items() if not value.equal(before[name])}
    assert changed and not any(name.startswith("language_model.") for name in changed)
    with pytest.raises(ValueError, match="bc_lstm reads whole dialogues, for which the language model is frozen"):
        tiny_dialogue_model("bc_lstm", language_model="tuned")


def test_a_saved_model_answers_as_before(tmp_path):
    trainer = dialogue_trainer(tmp_path, "dialogue_rnn")
    batch = trainer.data_collator(list(dialogues_of(conversation_clips(SIZES, CLASSES))))
    expected = trainer.model.eval()(**batch).logits
    trainer.model.save_pretrained(tmp_path / "model")
    assert FusionForAffect.from_pretrained(tmp_path / "model").eval()(**batch).logits.equal(expected)


def test_unlabelled_clips_are_refused_by_name(tmp_path):
    clips = conversation_clips([2, 1], TaskSpecification("score", "regression", ("score",), (-3.0, 3.0)))
    clips = clips.map(lambda clip: {"label": None if clip["id"] == "dialogue_0_1" else clip["label"]})
    with pytest.raises(ValueError, match="1 of 3 clips of train_dataset have no label, the first is 'dialogue_0_1'"):
        dialogue_trainer(tmp_path, "bc_lstm", clips=clips, task=SENTIMENT)
