"""Embeddings of towers for sound: hidden layers, windows of any length, Whisper; each against transformers."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import (
    ASTConfig,
    ASTModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperModel,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.embedding_extraction import extract_embeddings
from modeling_semanticmac.embedding_store import EmbeddingStore, FingerprintError, make_fingerprint
from modeling_semanticmac.encoder_outputs import choose_layers, embed_batch, embedding_width, join_inputs, parse_layers
from modeling_semanticmac.encoders import encoder_reference, load_encoder, load_front_end, load_towers
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor
from modeling_semanticmac.modeling_imagebind import weights_hash
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor
from tests.helpers.extraction_cases import CONVOLUTIONS, SIZES, tiny_towers, write_clips
from tests.helpers.tiny import tiny_config, word_tokenizer

LAYERS = {**SIZES, "num_hidden_layers": 5}
WHISPER = {
    "d_model": 32, "encoder_layers": 5, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_layers": 1,
    "decoder_attention_heads": 4, "decoder_ffn_dim": 64, "vocab_size": 20, "num_mel_bins": 16,
    "max_source_positions": 100, "max_target_positions": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1, "begin_suppress_tokens": None, "init_std": 0.3,
}  # fmt: skip
HALF = {"rtol": 2e-3, "atol": 2e-3}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A folder as it comes from the Hub, with decoder and language head, for windows of up to 2 s."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("whisper")
    WhisperForConditionalGeneration(WhisperConfig(**WHISPER)).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=16, chunk_length=2).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (None, None), ("last", None), ("last4", [9, 10, 11, 12]), ("last1", [12]), ("6-12", [6, 7, 8, 9, 10, 11, 12]),
        ("0-2", [0, 1, 2]), ("7", [7]), ("all", list(range(1, 13))), ("last12", list(range(1, 13))),
    ],
)  # fmt: skip
def test_layers_by_name(layers, expected):
    assert parse_layers(layers, 12) == expected


@pytest.mark.parametrize("layers", ["last13", "last0", "6-13", "9-6", "13", "first", "4,5", "-1", ""])
def test_layers_that_are_not_there_are_refused(layers):
    with pytest.raises(ValueError, match="layers is '"):
        parse_layers(layers, 12)


@pytest.mark.parametrize(("layers", "chosen"), [("last4", (2, 3, 4, 5)), ("2-3", (2, 3)), ("all", (1, 2, 3, 4, 5))])
@pytest.mark.parametrize("kind", ["wavlm", "hubert", "wav2vec2", "whisper", "ast"])
def test_the_mean_of_hidden_layers(tmp_path, kind, layers, chosen):
    """The mean over layers and time of the hidden states of the model that was saved, called by hand."""
    config, model_class, shape = {
        "wavlm": (WavLMConfig(**LAYERS, **CONVOLUTIONS), WavLMModel, (3, 1600)),
        "hubert": (HubertConfig(**LAYERS, **CONVOLUTIONS), HubertModel, (3, 1600)),
        "wav2vec2": (Wav2Vec2Config(**LAYERS, **CONVOLUTIONS), Wav2Vec2Model, (3, 1600)),
        "whisper": (WhisperConfig(**WHISPER), WhisperModel, (3, 16, 200)),
        "ast": (ASTConfig(**LAYERS, max_length=60, num_mel_bins=32), ASTModel, (3, 60, 32)),
    }[kind]
    model, inputs = model_class(config).eval(), torch.randn(shape)
    model.save_pretrained(tmp_path)
    own = model.encoder if kind == "whisper" else model
    with torch.no_grad():
        hidden = own(inputs, output_hidden_states=True).hidden_states  # of 5 layers, and the input of the first
    assert len(hidden) == 6
    expected = sum(hidden[layer].mean(dim=1) for layer in chosen) / len(chosen)
    encoder = load_encoder({"name_or_path": tmp_path, "layers": layers}, "audio")
    found = embed_batch(encoder, inputs)
    assert embedding_width(encoder) == 32 == found.shape[1]
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, embed_batch(load_encoder({"name_or_path": tmp_path}, "audio"), inputs))


def test_whisper_of_full_windows_equals_transformers(whisper):
    model = WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    encoder = load_encoder({"name_or_path": whisper}, "audio")
    inputs = torch.randn(3, 16, 200)
    with torch.no_grad():
        expected = model.model.encoder(inputs).last_hidden_state.mean(dim=1)
    assert isinstance(encoder, WhisperEncoder) and embedding_width(encoder) == 32
    assert torch.equal(embed_batch(encoder, inputs), expected)


@pytest.mark.parametrize("frames", [2, 62, 198])
def test_whisper_of_shorter_windows_uses_the_first_positions(whisper, frames):
    """Against an encoder that was built for the shorter window, with the first rows of the table."""
    encoder = load_encoder({"name_or_path": whisper}, "audio")
    weights = dict(encoder.state_dict())
    weights["embed_positions.weight"] = weights["embed_positions.weight"][: frames // 2]
    shorter = WhisperEncoder(WhisperConfig(**{**WHISPER, "max_source_positions": frames // 2})).eval()
    shorter.load_state_dict(weights)
    inputs = torch.randn(2, 16, frames)
    with torch.no_grad():
        expected = shorter(inputs).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(embed_batch(encoder, inputs), expected)
    # The tower is as it was.
    assert encoder.config.max_source_positions == 100 == encoder.embed_positions.num_embeddings


def test_two_threads_may_use_one_whisper_with_windows_of_different_lengths(whisper):
    encoder = load_encoder({"name_or_path": whisper}, "audio")
    inputs = [torch.randn(2, 16, frames) for frames in (200, 60, 120, 200) * 10]
    expected = [embed_batch(encoder, batch) for batch in inputs]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda batch: embed_batch(encoder, batch), inputs))
    for one, two in zip(found, expected):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("frames", [202, 51])
def test_windows_that_whisper_cannot_take_are_refused(whisper, frames):
    encoder = load_encoder({"name_or_path": whisper}, "audio")
    with pytest.raises(ValueError, match=rf"has {frames} spectrogram frames; WhisperEncoder takes a multiple of 2, at"):
        embed_batch(encoder, torch.randn(2, 16, frames))


@pytest.mark.parametrize("kind", ["whisper", "hubert"])
def test_a_window_is_encoded_as_long_as_it_is_whatever_stands_beside_it(whisper, kind):
    if kind == "whisper":
        encoder = load_encoder({"name_or_path": whisper}, "audio")
        windows = [torch.randn(1, 16, frames) for frames in (60, 200, 60, 4)]
    else:
        encoder = HubertModel(HubertConfig(**SIZES, **CONVOLUTIONS)).eval()
        windows = [torch.randn(1, samples) for samples in (900, 1600, 900, 300)]
    alone = torch.cat([embed_batch(encoder, window) for window in windows])
    together = embed_batch(encoder, join_inputs(windows))
    torch.testing.assert_close(together, alone)
    assert together.isfinite().all()


def test_raw_media_and_the_store_give_the_same_for_whisper(whisper, tmp_path):
    """Windows of 1 s of clips of 3 s and 0.7 s, in one batch of the model and in full batches of the extraction."""
    clips = write_clips(tmp_path / "media", [3.0, 0.7])
    encoder = load_encoder({"name_or_path": whisper, "layers": "last4"}, "audio")
    front_end = load_front_end({"name_or_path": whisper}, "audio")
    processor = SemanticMACProcessor(ImageBindImageProcessor(size=28), front_end, word_tokenizer(), audio_window=1.0)
    report = extract_embeddings(clips, processor, {"audio": encoder}, tmp_path / "store", num_workers=0, device="cpu")
    assert (report.done, report.num_failed, report.rows["audio"]) == (2, 0, 8)
    store = EmbeddingStore(tmp_path / "store")
    raw = processor(text=["good", "good"], media=[row["media"] for row in clips])
    assert raw["audio_mask"].sum(dim=1).tolist() == [6, 2] and raw["input_features"].shape == (2, 6, 16, 100)
    reference = {"audio_encoder": encoder_reference(whisper, encoder), "audio_width": 32}
    model = SemanticMACForAffect(tiny_config(**reference)).eval()
    embeds = model.semanticmac.encode_media("audio", raw["input_features"], raw["audio_mask"])
    for row, found, number in zip(clips, embeds, (6, 2)):
        torch.testing.assert_close(found[:number], store[row["id"]][0].float(), **HALF)
        assert not found[number:].any()
    with torch.no_grad():
        logits = model(**{name: raw[name] for name in ("input_ids", "input_features", "audio_mask")}).logits
    assert logits.isfinite().all()


def test_a_whisper_tower_is_saved_beside_a_model_and_loaded(whisper, tmp_path):
    """The folder of the tower holds the encoder alone, which AutoModel does not know, and its layers."""
    encoder = load_encoder({"name_or_path": whisper, "layers": "2-4"}, "audio")
    reference = encoder_reference(whisper, encoder)
    assert reference["layers"] == "2-4"
    model = SemanticMACForAffect(tiny_config(audio_encoder=reference, audio_width=32, vision_encoder=None))
    model.save_pretrained(tmp_path, include_encoders=True)
    again = SemanticMACForAffect.from_pretrained(tmp_path).semanticmac.get_encoder("audio")
    assert isinstance(again, WhisperEncoder) and weights_hash(again) == weights_hash(encoder)
    inputs = torch.randn(2, 16, 120)
    assert torch.equal(embed_batch(again, inputs), embed_batch(encoder, inputs))


def test_layers_are_part_of_what_made_a_store(whisper, tmp_path):
    clips = write_clips(tmp_path / "media", [1.0])

    def made(layers, folder):
        encoders, front_ends = load_towers({"audio": {"name_or_path": whisper}}, audio_layers=layers)
        processor = SemanticMACProcessor(*front_ends.values(), word_tokenizer(), audio_window=1.0)
        extract_embeddings(clips, processor, encoders, folder, num_workers=0, device="cpu")
        return make_fingerprint(processor, encoders)["audio"]["config"]

    assert "embedding_layers" not in made("last", tmp_path / "store")
    made(None, tmp_path / "store")
    with pytest.raises(FingerprintError, match=r"audio.config.embedding_layers: it has None, requested is \[3, 4\]"):
        made("3-4", tmp_path / "store")
    assert (
        made("3-4", tmp_path / "other")["embedding_layers"]
        == [3, 4]
        == made("3-4", tmp_path / "other")["embedding_layers"]
    )


def test_layers_of_towers_that_have_none_to_choose_are_refused(whisper):
    with pytest.raises(ValueError, match="cannot be chosen of ImageBind"):
        choose_layers(tiny_towers()["audio"], "last4")
    with pytest.raises(ValueError, match="has the layers 1 to 5"):
        load_encoder({"name_or_path": whisper, "layers": "6-12"}, "audio")
    with pytest.raises(ValueError, match="--audio_layers needs an audio encoder"):
        load_towers({}, audio_layers="all")
