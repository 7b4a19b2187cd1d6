"""Trainers of small dialogue systems on a few words."""

import torch

from modeling_semanticmac.baselines import FusionConfig, FusionForAffect
from modeling_semanticmac.task_specification import TaskSpecification
from modeling_semanticmac.training.collator import SemanticMACCollator
from modeling_semanticmac.training.dialogue_trainer import DialogueTrainer
from tests.helpers.dialogues import conversation_clips
from tests.helpers.tiny import text_config
from tests.helpers.trainers import WordProcessor, arguments

CLASSES = TaskSpecification("emotion", "single_label_classification", ("a", "b", "c"), metrics="conversation")
SIZES = [3, 1, 4, 2, 2]  # utterances of the dialogues
SMALL = {
    "bc_lstm": {"hidden": 8, "dropout": 0.2},
    "dialogue_rnn": {
        "global_width": 6, "party_width": 5, "emotion_width": 4, "hidden": 6, "direction_dropout": 0.2, "dropout": 0.2,
    },
}  # fmt: skip


def tiny_dialogue_model(architecture: str, task: TaskSpecification = CLASSES, options=None, **fields):
    """A small system on the text of a BERT of two layers."""
    torch.manual_seed(0)
    options = {**SMALL.get(architecture, {}), **(options or {})}
    if architecture in SMALL:
        options = {"modalities": ["text"], **options}
    config = FusionConfig(
        architecture=architecture, options=options, text_config=text_config(), audio_width=12, vision_width=20,
        text_summary="mean", **task.config_fields(), **fields,
    )  # fmt: skip
    return FusionForAffect(config)


def dialogue_trainer(
    folder, architecture: str, task=CLASSES, clips=None, dropout=None, max_utterances: int = 110, **changes
) -> DialogueTrainer:
    """A trainer on five dialogues, in batches of two: three epochs of three steps, unless `changes` say otherwise."""
    options = {} if dropout is None else {name: dropout for name in SMALL[architecture] if name.endswith("dropout")}
    options["max_utterances"] = max_utterances
    clips = conversation_clips(SIZES, task) if clips is None else clips
    collator = SemanticMACCollator(WordProcessor(), task, None, ["text"])
    changes = {"num_train_epochs": 2, "per_device_train_batch_size": 2, **changes}
    return DialogueTrainer(
        tiny_dialogue_model(architecture, task, options), arguments(folder, **changes), clips, data_collator=collator
    )
