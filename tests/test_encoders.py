"""Towers by reference, and encoders of transformers in their place, each against its own forward pass."""

import pytest
import torch
from transformers import (
    ASTConfig,
    ASTModel,
    CLIPConfig,
    CLIPModel,
    HubertConfig,
    HubertModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
    Wav2Vec2FeatureExtractor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from modeling_semanticmac.encoders import embed_batch, embedding_width, encoder_reference, load_encoder, load_front_end
from modeling_semanticmac.feature_extraction_imagebind import ImageBindFeatureExtractor
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor
from modeling_semanticmac.modeling_imagebind import weights_hash
from tests.helpers.extraction_cases import AUDIO_WIDTH, CONVOLUTIONS, PICTURES, SIZES, VISION_WIDTH, tiny_towers


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def frozen(encoder) -> bool:
    return not encoder.training and not any(parameter.requires_grad for parameter in encoder.parameters())


def clip_model():
    text = {**SIZES, "vocab_size": 20, "bos_token_id": 1, "eos_token_id": 2}
    return CLIPModel(CLIPConfig(vision_config=PICTURES, text_config=text, projection_dim=24)).eval()


@pytest.mark.parametrize(
    ("modality", "width", "front_end", "inputs"),
    [
        ("vision", VISION_WIDTH, ImageBindImageProcessor(size=28), (3, 3, 28, 28)),
        ("audio", AUDIO_WIDTH, ImageBindFeatureExtractor(num_mel_bins=32), (3, 1, 32, 204)),
    ],
)
def test_imagebind_by_reference(tmp_path, modality, width, front_end, inputs):
    tower = tiny_towers()[modality]
    tower.save_pretrained(tmp_path)
    front_end.save_pretrained(tmp_path)
    reference = encoder_reference(tmp_path, tower)
    encoder = load_encoder(reference, modality)
    inputs = torch.randn(inputs)
    assert frozen(encoder) and embedding_width(encoder) == width
    assert torch.equal(embed_batch(encoder, inputs), tower(inputs).embeds)
    assert load_front_end(reference, modality).to_dict() == front_end.to_dict()
    assert encoder_reference(tmp_path, encoder) == reference


def test_other_weights_than_the_reference_names_are_refused(tmp_path):
    first, second = (tiny_towers(seed)["vision"] for seed in (0, 1))
    second.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=f"hash {weights_hash(second)}; this model was made with {weights_hash(first)}"
    ):
        load_encoder(encoder_reference(tmp_path, first), "vision")


def test_half_precision_on_disk_is_loaded_as_single(tmp_path):
    tiny_towers()["vision"].half().save_pretrained(tmp_path)
    encoder = load_encoder({"name_or_path": tmp_path}, "vision")
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


def test_the_vision_half_of_clip(tmp_path):
    """The pooled vector of the vision model, from a checkpoint of both."""
    model = clip_model()
    model.save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    encoder = load_encoder({"name_or_path": tmp_path}, "vision")
    pictures = torch.randn(4, 3, 32, 32)
    found = embed_batch(encoder, pictures)
    assert frozen(encoder) and embedding_width(encoder) == 32 == found.shape[1]
    torch.testing.assert_close(found, model.vision_model(pictures).pooler_output)
    assert load_front_end({"name_or_path": tmp_path}, "vision").crop_size["height"] == 32
    reference = encoder_reference(tmp_path, encoder)
    assert load_encoder(reference, "vision") is not None


def test_siglip(tmp_path):
    model = SiglipVisionModel(SiglipVisionConfig(**PICTURES)).eval()
    model.save_pretrained(tmp_path)
    encoder = load_encoder({"name_or_path": tmp_path}, "vision")
    pictures = torch.randn(2, 3, 32, 32)
    assert embedding_width(encoder) == 32
    torch.testing.assert_close(embed_batch(encoder, pictures), model(pictures).pooler_output)


def test_hubert_is_pooled_over_time(tmp_path):
    model = HubertModel(HubertConfig(**SIZES, **CONVOLUTIONS)).eval()
    model.save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path)
    encoder = load_encoder({"name_or_path": tmp_path}, "audio")
    sound = torch.randn(2, 1600)
    found = embed_batch(encoder, sound)
    assert embedding_width(encoder) == 32 == found.shape[1]
    torch.testing.assert_close(found, model(sound).last_hidden_state.mean(dim=1))
    assert isinstance(load_front_end({"name_or_path": tmp_path}, "audio"), Wav2Vec2FeatureExtractor)


def test_ast(tmp_path):
    model = ASTModel(ASTConfig(**SIZES, max_length=60, num_mel_bins=32)).eval()
    model.save_pretrained(tmp_path)
    encoder = load_encoder({"name_or_path": tmp_path}, "audio")
    spectrograms = torch.randn(2, 60, 32)
    assert embedding_width(encoder) == 32
    torch.testing.assert_close(embed_batch(encoder, spectrograms), model(spectrograms).pooler_output)


def test_an_encoder_of_pictures_sees_pairs_of_frames_one_by_one(tmp_path):
    model = SiglipVisionModel(SiglipVisionConfig(**PICTURES)).eval()
    pairs = torch.randn(3, 3, 2, 32, 32)
    expected = torch.stack([model(pairs[:, :, frame]).pooler_output for frame in (0, 1)]).mean(dim=0)
    torch.testing.assert_close(embed_batch(model, pairs), expected)


def test_a_pooler_that_was_never_trained_is_not_used(tmp_path):
    """A checkpoint without the pooler's weights would get random ones at each loading."""
    model = ViTModel(ViTConfig(**PICTURES), add_pooling_layer=False).eval()
    model.save_pretrained(tmp_path)
    pictures = torch.randn(2, 3, 32, 32)
    first, second = (load_encoder({"name_or_path": tmp_path}, "vision") for _ in range(2))
    torch.testing.assert_close(embed_batch(first, pictures), model(pictures).last_hidden_state.mean(dim=1))
    assert weights_hash(first) == weights_hash(second)


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    model = SiglipVisionModel(SiglipVisionConfig(**{**PICTURES, "num_hidden_layers": 1}))
    model.config.num_hidden_layers = 2
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks 16 weights \('encoder.layers.1.*which would be random"):
        load_encoder({"name_or_path": tmp_path}, "vision")


def test_widths_from_configurations_of_any_kind():
    class Encoder(torch.nn.Module):
        def __init__(self, **fields):
            super().__init__()
            self.config = type("Config", (), {"model_type": "any", **fields})

    class EncoderWithProjection(Encoder):
        pass

    assert embedding_width(Encoder(hidden_size=5, projection_dim=7)) == 5
    assert embedding_width(EncoderWithProjection(hidden_size=5, projection_dim=7)) == 7
    assert embedding_width(Encoder(hidden_sizes=[3, 9])) == 9
    with pytest.raises(ValueError, match="has no hidden_size"):
        embedding_width(Encoder())


def test_convolutional_encoders_are_pooled_over_the_picture():
    class Convolutional(torch.nn.Module):
        config = type("Config", (), {"model_type": "any"})

        def forward(self, inputs):
            return type("Output", (), {"last_hidden_state": inputs.repeat(1, 2, 1, 1)})

    pictures = torch.randn(2, 3, 4, 5)
    expected = pictures.mean(dim=(2, 3)).repeat(1, 2)
    torch.testing.assert_close(embed_batch(Convolutional(), pictures), expected)
