"""A complete tiny checkpoint for tests of what users do with one: model, processor and towers in a folder."""

from pathlib import Path

import torch
from transformers import AutoTokenizer

from examples.tiny_models import save_tiny_language_model, save_tiny_towers
from modeling_semanticmac import (
    ImageBindFeatureExtractor,
    ImageBindImageProcessor,
    SemanticMACForAffect,
    SemanticMACProcessor,
)
from modeling_semanticmac.encoders import embedding_width, encoder_reference, load_encoder
from tests.helpers.tiny import SENTIMENT, TaskSpecification

TEXTS = ["good bad fine day talk", "what do you mean"]


def save_tiny_checkpoint(folder: Path, task: TaskSpecification = SENTIMENT, modalities=("vision", "audio")) -> Path:
    """Write a checkpoint with random weights, its towers of `modalities` included, into `folder/model`; return that."""
    towers = dict(zip(("vision", "audio"), save_tiny_towers(folder / "towers")))
    language_model = save_tiny_language_model(folder / "language_model", TEXTS, hidden_size=32)
    encoders = {modality: load_encoder({"name_or_path": towers[modality]}, modality) for modality in modalities}
    fields = {f"{m}_encoder": encoder_reference(towers[m], encoder) for m, encoder in encoders.items()}
    fields |= {f"{m}_width": embedding_width(encoder) for m, encoder in encoders.items()}
    torch.manual_seed(0)
    model = SemanticMACForAffect.from_language_model(
        language_model, **task.config_fields(), hidden_size=32, initializer_range=0.2, **fields
    )
    model.save_pretrained(folder / "model", include_encoders=True)
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    processor = SemanticMACProcessor(ImageBindImageProcessor(), ImageBindFeatureExtractor(), tokenizer)
    processor.save_pretrained(folder / "model")
    return folder / "model"
