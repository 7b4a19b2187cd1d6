"""Which trainings can leave a parameter without a gradient: counted after a real step."""

import pytest
import torch

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.training.collator import SemanticMACCollator
from modeling_semanticmac.training.trainer import SemanticMACTrainer
from modeling_semanticmac.training.training_args import SemanticMACTrainingArguments
from modeling_semanticmac.training.unused_parameters import can_leave_unused, unused_parameters
from tests.helpers.systems import system_trainer
from tests.helpers.tiny import SENTIMENT, tiny_config, word_corpus
from tests.helpers.trainers import WordProcessor, arguments, fake_store

TEXT_PARTS = {"language_model", "text_projection", "text_summary"}
XLNET = {"model_type": "xlnet", "vocab_size": 50, "d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32}
# Name -> fields of the model, trained modalities, training arguments, a text for the first clip, and the beginnings of
# the parameters that no step uses.
CASES = {
    "all": ({}, ("text", "audio", "vision"), {}, None, set()),
    "without a linear start": ({"linear_start": False}, ("text", "audio", "vision"), {}, None, set()),
    "task alone": ({}, ("text", "audio", "vision"), {"pseudo_labels": "off", "intra_weight": 0.0}, None, set()),
    "modality dropout": ({}, ("text", "audio", "vision"), {"modality_dropout": 0.9}, None, set()),
    "text": ({}, ("text",), {}, None, {"audio_perceiver", "audio_summary", "vision_perceiver", "vision_summary"}),
    "no text": ({}, ("audio", "vision"), {}, None, TEXT_PARTS),
    "xlnet": ({"text_config": XLNET}, ("text", "audio", "vision"), {}, None, {"language_model"}),
    "a clip without text": ({}, ("text", "audio", "vision"), {}, "", TEXT_PARTS),
    "a clip without sound": ({}, ("text", "audio", "vision"), {}, None, {"audio_perceiver", "audio_summary"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_what_a_step_does(name, tmp_path):
    """Which parameters have no gradient after the loss of training on the first clip."""
    fields, modalities, options, text, expected = CASES[name]
    torch.manual_seed(0)
    model = SemanticMACForAffect(tiny_config(**fields))
    clips = word_corpus(4)
    if text is not None:
        clips = clips.map(lambda clip, row: {"text": text if row == 0 else clip["text"]}, with_indices=True)
    collator = SemanticMACCollator(
        WordProcessor(), SENTIMENT, fake_store(clips, (3 * ("sound" not in name), 1, 2, 2), (1, 4, 1, 2)), modalities
    )
    trainer = SemanticMACTrainer(model, arguments(tmp_path, **options), clips, data_collator=collator)
    state = torch.get_rng_state()
    answer = can_leave_unused(model, collator, clips)
    assert torch.get_rng_state().equal(state)
    assert model.training and all(weight.grad is None for weight in model.parameters())
    batch = collator([trainer.train_dataset[0]])
    trainer.training_loss(model, batch, batch.pop("clip_index")).total.backward()
    unused = [part for part, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
    assert {part.removeprefix("semanticmac.").partition(".")[0] for part in unused} == expected
    assert answer == bool(unused)
    assert unused == unused_parameters(model, collator([trainer.train_dataset[0]]))


def test_what_cannot_be_known_is_looked_for(tmp_path):
    """Comparison systems, texts that may have no token, and the words of a user, which count."""
    system = system_trainer(tmp_path, "mult")
    assert can_leave_unused(system.model, system.data_collator, system.train_dataset)
    clips, processor = word_corpus(4), WordProcessor()
    collator = SemanticMACCollator(processor, SENTIMENT, fake_store(clips, (3, 1, 2, 2), (1, 4, 1, 2)))
    model = SemanticMACForAffect(tiny_config())
    assert not can_leave_unused(model, collator, clips)
    processor.tokenizer.backend_tokenizer.post_processor = None
    assert can_leave_unused(model, collator, clips)
    assert SemanticMACTrainingArguments(str(tmp_path)).ddp_find_unused_parameters is None
