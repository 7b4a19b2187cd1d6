"""CLIP and HuBERT in place of ImageBind's towers, the whole way: processor, extraction, model, saving and loading."""

import pytest
import torch
from transformers import (
    AutoProcessor,
    CLIPConfig,
    CLIPModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2FeatureExtractor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.embedding_extraction import extract_embeddings
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.encoders import embedding_width, encoder_reference, load_encoder, load_front_end
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor
from tests.helpers.extraction_cases import CONVOLUTIONS, PICTURES, SIZES, clip, write_clips
from tests.helpers.media_files import write_media
from tests.helpers.tiny import tiny_config, word_tokenizer

HALF = {"rtol": 2e-3, "atol": 2e-3}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    folders = {modality: tmp_path_factory.mktemp(modality) for modality in ("vision", "audio")}
    text = {**SIZES, "vocab_size": 20, "bos_token_id": 1, "eos_token_id": 2}
    CLIPModel(CLIPConfig(vision_config=PICTURES, text_config=text)).save_pretrained(folders["vision"])
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessorPil(**size).save_pretrained(folders["vision"])
    HubertModel(HubertConfig(**SIZES, **CONVOLUTIONS)).save_pretrained(folders["audio"])
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folders["audio"])
    return folders


@pytest.fixture(scope="module")
def encoders(folders):
    return {modality: load_encoder({"name_or_path": folder}, modality) for modality, folder in folders.items()}


def processor_of(folders, **sampling) -> SemanticMACProcessor:
    front_ends = [load_front_end({"name_or_path": folders[modality]}, modality) for modality in ("vision", "audio")]
    return SemanticMACProcessor(*front_ends, word_tokenizer(), **sampling)


@pytest.mark.parametrize("vision_window", ["image", "clip"])
def test_raw_media_and_the_store_give_the_same(folders, encoders, tmp_path, vision_window):
    clips = [*write_clips(tmp_path / "media", [0.7, 3.0]), clip("half", write_media(tmp_path / "x.mp4"), crop="left")]
    processor = processor_of(folders, vision_window=vision_window, audio_window=0.5)
    report = extract_embeddings(clips, processor, encoders, tmp_path / "store", num_workers=1, device="cpu")
    assert (report.done, report.num_failed) == (3, 0)
    store = EmbeddingStore(tmp_path / "store")
    widths = {f"{modality}_width": embedding_width(encoder) for modality, encoder in encoders.items()}
    references = {
        f"{modality}_encoder": encoder_reference(folders[modality], encoders[modality]) for modality in encoders
    }
    model = SemanticMACForAffect(tiny_config(**widths, **references)).eval()
    for row in clips:
        raw = processor(text="good film", media=row["media"])
        audio, vision = store[row["id"]]
        assert len(vision) == raw["vision_mask"].sum() and len(audio) == raw["audio_mask"].sum()
        text = {name: raw[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            one = model(**raw).logits
            two = model(**text, audio_embeds=audio[None].float(), vision_embeds=vision[None].float()).logits
        torch.testing.assert_close(one, two, **HALF)


def test_a_processor_with_other_front_ends_is_saved_and_loaded(folders, tmp_path):
    processor = processor_of(folders, audio_window=0.5)
    processor.save_pretrained(tmp_path)
    again = SemanticMACProcessor.from_pretrained(tmp_path)
    path = write_media(tmp_path / "x.mp4", 1.0)
    for loaded in (again, AutoProcessor.from_pretrained(tmp_path)):
        for name, value in processor(media=path).items():
            assert torch.equal(loaded(media=path)[name], value), name
