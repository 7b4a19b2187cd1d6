"""The bank of a finished training: its clips as the chosen model represents them, for `neighbor_bank`.

The bank of label generation (`semantic_labels`) holds rows of different steps, made with dropout and perhaps after the
step of the chosen model. Distances from these to a clip that is predicted would mix what the clips and what the weights
differ in, so the clips go through the chosen model once more.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..files.atomic_files import write_whole
from ..neighbor_bank import BANK, NeighborBank, bank_probe

OTHERS = ["multimodal_embeds", "shared_embeds", "modality_mask", "hidden_states", "attentions"]  # not gathered


def represent_training_clips(trainer) -> NeighborBank:
    """Return the training clips as the trainer's model represents them, in evaluation mode, in one pass.

    All processes call this together.

    Args:
        trainer: a `SemanticMACTrainer`, trained.
    """
    found = trainer.predict(trainer.train_dataset, ignore_keys=OTHERS, metric_key_prefix="bank")
    embeds = torch.from_numpy(found.predictions[-1]).float()  # (N, 3, d), after logits and those of the sub-tasks
    present = (embeds != 0).any(dim=2)  # the row of a missing modality is zero
    model = trainer.accelerator.unwrap_model(trainer.model)
    return NeighborBank(
        trainer.task, list(trainer.train_dataset["id"]), embeds, present, trainer.training_labels(), bank_probe(model)
    )


def save_bank(bank: NeighborBank, folder: str | Path) -> None:
    """Write a bank beside the model in a folder, completely or not at all."""
    metadata = {"ids": json.dumps(bank.ids)}
    write_whole(Path(folder) / BANK, lambda path: save_file(bank.tensors, path, metadata=metadata))


__all__ = ["represent_training_clips", "save_bank"]
