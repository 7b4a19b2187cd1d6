"""Training an adapter of a frozen language model: what moves, and an exact resume."""

import json

import pytest
import torch

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.commands import merge, train
from modeling_semanticmac.language_model_adapter import AdapterOptions
from modeling_semanticmac.training.checkpoints import checkpoint_faults
from modeling_semanticmac.training.collator import SemanticMACCollator
from modeling_semanticmac.training.optimizer_groups import language_model_rate
from modeling_semanticmac.training.trainer import SemanticMACTrainer
from tests.helpers.project import RECIPE
from tests.helpers.tiny import SENTIMENT, tiny_config, word_corpus, word_tokenizer
from tests.helpers.tiny_language_models import save_language_model
from tests.helpers.trainers import CLIPS, WordProcessor, arguments, assert_same_training


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "llama"
    return save_language_model("llama", folder, vocab_size=len(word_tokenizer()))


def adapter_trainer(base, folder, **changes):
    torch.manual_seed(0)
    tiny = tiny_config(dropout=0.2)
    names = ("hidden_size", "num_attention_heads", "num_latents", "num_perceiver_layers", "num_interaction_layers")
    fields = {name: getattr(tiny, name) for name in (*names, "audio_width", "vision_width", "dropout")}
    model = SemanticMACForAffect.from_language_model(
        str(base), adapter=AdapterOptions(4, dropout=0.2), **SENTIMENT.config_fields(), **fields
    )
    options = {"num_train_epochs": 3, "per_device_train_batch_size": 4, "label_start_epoch": 1, "num_neighbors": 3}
    return SemanticMACTrainer(
        model, arguments(folder, **options | changes), word_corpus(CLIPS),
        data_collator=SemanticMACCollator(WordProcessor(), SENTIMENT, modalities=["text"]),
    )  # fmt: skip


def without_dropout(trainer):
    """Return the trainer with a model that drops nothing, which does not depend on who draws."""
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return trainer


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trainer = adapter_trainer(base, folder, save_strategy="steps", save_steps=2, save_total_limit=None)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    return folder, trainer, before


def test_the_adapter_moves_and_the_base_does_not(whole):
    _, trainer, before = whole
    after = trainer.model.state_dict()
    in_base = [name for name in after if ".language_model." in name and "lora_" not in name]
    adapters = [name for name in after if "lora_" in name]
    assert in_base and adapters
    assert all(after[name].equal(before[name]) for name in in_base)
    assert not any(after[name].equal(before[name]) for name in adapters)


@pytest.mark.parametrize("step", [2, 4])
def test_a_resumed_run_equals_an_uninterrupted_one(base, whole, tmp_path, step):
    folder, expected, _ = whole
    resumed = adapter_trainer(base, tmp_path)
    resumed.train(resume_from_checkpoint=str(folder / f"checkpoint-{step}"))
    assert_same_training(resumed, expected)


def test_a_checkpoint_without_its_adapter_is_not_whole(whole):
    checkpoint = whole[0] / "checkpoint-6"
    assert checkpoint_faults(checkpoint) == []
    weights = checkpoint / "language_model_adapter/adapter_model.safetensors"
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-40])
        assert checkpoint_faults(checkpoint) == ["adapter_model.safetensors is damaged"]
        weights.unlink()
        assert checkpoint_faults(checkpoint) == ["no language_model_adapter/adapter_model.safetensors"]
    finally:
        weights.write_bytes(content)


def test_a_run_with_an_adapter_is_complete_and_can_be_merged(world, tmp_path):
    run = tmp_path / "run"
    train.main(
        [
            RECIPE, *world["common"], *world["models"], "--output_dir", str(run), "--num_train_epochs", "1",
            "--modalities", "text", "--lora_r", "2", "--language_model_learning_rate", "1e-2",
        ]
    )  # fmt: skip
    config = json.loads((run / "config.json").read_text())
    # The base lies in a folder of this machine, so it is written beside the model.
    assert config["language_model_reference"]["name_or_path"] is None
    model = SemanticMACForAffect.from_pretrained(run)
    inputs = {"input_ids": torch.tensor([[5, 6, 7, 8]])}
    with torch.no_grad():
        expected = model(**inputs).logits
    assert merge.main([str(run), str(tmp_path / "merged")]) == 0
    merged = SemanticMACForAffect.from_pretrained(tmp_path / "merged")
    assert merged.config.language_model_reference is None
    with torch.no_grad():
        torch.testing.assert_close(merged(**inputs).logits, expected, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="has no adapter"):
        merge.main([str(tmp_path / "merged"), str(tmp_path / "again")])


def test_an_adapter_learns_faster_than_a_language_model_that_is_tuned_whole(base, tmp_path):
    """By default 2e-4 against 4e-5; a rate that is given counts for both."""
    rates = {}
    for given in (None, 1e-3):
        trainer = adapter_trainer(base, tmp_path, language_model_learning_rate=given)
        assert language_model_rate(trainer.args, tiny_config()) == (given or 4e-5)
        groups = trainer.create_optimizer().param_groups
        names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
        rates[given] = {
            "lora_" in names[id(parameter)]: group["lr"] for group in groups for parameter in group["params"]
        }
    assert rates == {None: {True: 2e-4, False: 1e-4}, 1e-3: {True: 1e-3, False: 1e-4}}


def test_options_of_an_adapter_without_a_rank_are_refused(world, tmp_path):
    with pytest.raises((ValueError, SystemExit), match="add --lora_r|1|2"):
        train.main(
            [RECIPE, *world["common"], *world["models"], "--output_dir", str(tmp_path / "run"), "--lora_alpha", "8"]
        )
