"""Trainings of small comparison systems, whose results tests compare."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from modeling_semanticmac.baselines import SYSTEMS, FusionConfig, FusionForAffect
from modeling_semanticmac.training.affect_trainer import AffectTrainer
from modeling_semanticmac.training.collator import SemanticMACCollator
from tests.helpers.dialogue_trainers import dialogue_trainer
from tests.helpers.systems import TINY
from tests.helpers.tiny import SENTIMENT, text_config, word_corpus
from tests.helpers.trainers import CLIPS, WordProcessor, arguments, fake_store, logged


def small_trainer(folder, architecture: str, batch: int, options=None, **changes):
    """A trainer on ten clips of which some lack audio or vision, or on five dialogues; two epochs."""
    changes = {"num_train_epochs": 2, "per_device_train_batch_size": batch, **changes}
    if SYSTEMS[architecture].level == "dialogue":
        return dialogue_trainer(folder, architecture, dropout=0.0, **changes)
    torch.manual_seed(0)
    config = FusionConfig(
        architecture=architecture, options=options, text_config=text_config(), audio_width=12, vision_width=20,
        **SENTIMENT.config_fields(),
    )  # fmt: skip
    clips = word_corpus(CLIPS)
    generator = torch.Generator().manual_seed(4)
    lengths = torch.randint(0, 4, (2, CLIPS), generator=generator).tolist()
    store = {
        name: tuple(x + torch.randn(x.shape, generator=generator).half() for x in streams)
        for name, streams in fake_store(clips, *lengths).items()
    }
    collator = SemanticMACCollator(WordProcessor(), SENTIMENT, store)
    return AffectTrainer(FusionForAffect(config), arguments(folder, **changes), clips, data_collator=collator)


def trained(folder, architecture: str, batch: int, steps: int = -1) -> None:
    """Train without dropout, and write weights, state and logs into a folder.

    Args:
        batch: samples of a process.
        steps: after which the training ends; -1: two epochs.
    """
    options = TINY.get(architecture) if steps > 0 else None
    trainer = small_trainer(Path(folder) / f"{architecture}_run", architecture, batch, options, max_steps=steps)
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(module, torch.nn.MultiheadAttention | torch.nn.RNNBase):
            module.dropout = 0.0
    trainer.train()
    if trainer.is_world_process_zero():
        tensors = {f"model.{name}": value for name, value in trainer.model.state_dict().items()}
        if trainer.training_state is not None:
            tensors |= {f"state.{name}": value for name, value in trainer.training_state.state_dict().items()}
        tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
        save_file(tensors, Path(folder) / f"{architecture}.safetensors")
        (Path(folder) / f"{architecture}.json").write_text(json.dumps(logged(trainer)))
