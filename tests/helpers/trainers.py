"""Trainers on a few words, and the comparison of two trainings."""

import torch

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.runs.folder import TIMINGS
from modeling_semanticmac.training.collator import SemanticMACCollator
from modeling_semanticmac.training.trainer import SemanticMACTrainer
from modeling_semanticmac.training.training_args import SemanticMACTrainingArguments
from tests.helpers.tiny import SENTIMENT, tiny_config, word_corpus, word_tokenizer

CLIPS, STEPS = 10, 9  # of new_trainer: three epochs of three steps, the last batch of two


class WordProcessor:
    """Processor for the collator on a tokenizer of a few words; it records its calls."""

    def __init__(self):
        self.tokenizer, self.asked = word_tokenizer(), []

    def encode_text(self, texts, contexts=None, max_length=None):
        self.asked.append((texts, contexts, max_length))
        encoded = dict(self.tokenizer(texts, padding=True, return_tensors="pt"))
        for row, text in enumerate(texts):
            if not text:
                encoded["attention_mask"][row] = 0
        return encoded


def fake_store(rows, audio=(3, 0, 2), vision=(1, 4, 0)):
    return {
        row["id"]: (torch.full((a, 12), 1.0).half(), torch.full((v, 20), 2.0).half())
        for row, a, v in zip(rows, audio, vision)
    }


def arguments(folder, **changes) -> SemanticMACTrainingArguments:
    fields = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "use_cpu": True, "seed": 3, "logging_steps": 1}
    quiet = {"disable_tqdm": True, "eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    return SemanticMACTrainingArguments(output_dir=str(folder), **{**fields, **quiet, **changes})


def new_trainer(folder, eval_dataset=None, **changes) -> SemanticMACTrainer:
    torch.manual_seed(0)
    model = SemanticMACForAffect(tiny_config(dropout=0.2))
    clips = word_corpus(CLIPS)
    generator = torch.Generator().manual_seed(4)
    lengths = torch.randint(0, 4, (2, CLIPS), generator=generator).tolist()  # some clips lack audio or vision
    store = {
        name: tuple(x + torch.randn(x.shape, generator=generator).half() for x in streams)
        for name, streams in fake_store(clips, *lengths).items()
    }
    options = {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 4,
        "label_start_epoch": 1,
        "num_neighbors": 3,
        **changes,
    }
    return SemanticMACTrainer(
        model, arguments(folder, **options), clips, eval_dataset=eval_dataset,
        data_collator=SemanticMACCollator(WordProcessor(), SENTIMENT, store),
    )  # fmt: skip


def logged(trainer) -> list[dict]:
    keep = ("loss", "learning_rate", "labels/", "epoch", "step")
    rows = [{k: v for k, v in row.items() if k.startswith(keep)} for row in trainer.state.log_history]
    return [row for row in rows if "loss" in row or any(k.startswith("labels/") for k in row)]


def assert_same_training(found, expected) -> None:
    """Assert that two trainings ended with equal parameters, label state and logs, to the last bit."""
    for (name, value), again in zip(expected.model.state_dict().items(), found.model.state_dict().values()):
        assert again.equal(value), name
    for name, value in expected.label_state.state_dict().items():
        assert found.label_state.state_dict()[name].equal(value), name
    assert logged(found) == logged(expected)


def evaluated(folder, batch: int) -> dict:
    """Return what `evaluate` and `predict` return for 10 clips, in all processes that run this."""
    trainer = new_trainer(folder, per_device_eval_batch_size=batch)
    metrics = trainer.evaluate(trainer.train_dataset)
    found = trainer.predict(trainer.train_dataset)
    metrics = {name: value for name, value in {**metrics, **found.metrics}.items() if not name.endswith(TIMINGS)}
    return {"logits": found.predictions[0].tolist(), "labels": found.label_ids.tolist(), "metrics": metrics}
