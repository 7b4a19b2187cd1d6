"""`ClipEncoder`: batches of clips in any engine, equal to the towers by themselves; the number format."""

import pickle

import datasets
import numpy as np
import pytest
import torch

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.configuration_imagebind import ImageBindAudioConfig
from modeling_semanticmac.embedding_extraction import ClipEncoder, TowerChoice, store_batches
from modeling_semanticmac.embedding_extraction.clip_encoder import media_fields
from modeling_semanticmac.embedding_store import EmbeddingStore, FingerprintError
from modeling_semanticmac.embedding_store.fingerprint import fingerprint_digest
from modeling_semanticmac.modeling_imagebind import ImageBindAudioModel
from modeling_semanticmac.tower_precision import bfloat16_instructions, choose_dtype, dtype_named
from tests.helpers.extraction_cases import AUDIO_WIDTH, VISION_WIDTH, clip, extract, tiny_processor, tiny_towers
from tests.helpers.tiny import tiny_config

HALF = {"rtol": 2e-3, "atol": 2e-3}  # two units in the last place of half precision


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint with the tiny towers, as `tiny_towers` and `tiny_processor` give them."""
    folder = tmp_path_factory.mktemp("saved")
    model = SemanticMACForAffect(tiny_config(audio_width=AUDIO_WIDTH, vision_width=VISION_WIDTH))
    model.semanticmac.set_encoders(**tiny_towers())
    model.save_pretrained(folder, include_encoders=True)
    tiny_processor().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def alone(clips, processor, towers):
    """Id -> the towers' own output for each clip, float32 (T, D)."""
    found = {}
    for row in clips:
        inputs = processor.encode_media(row["media"])
        with torch.no_grad():
            audio, vision = towers["audio"](inputs["input_features"]), towers["vision"](inputs["pixel_values"])
        found[row["id"]] = (audio.embeds, vision.embeds)
    return found


def columns(rows) -> dict:
    return {name: [row[name] for row in rows] for name in ("id", "media")}


def assert_are_embeddings(batch, alone, ids) -> None:
    assert list(batch["id"]) == ids
    for place, name in enumerate(ids):
        for modality, expected in zip(("audio", "vision"), alone[name]):
            found = np.asarray(batch[modality][place])
            assert found.shape == tuple(expected.shape)
            torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float32), expected, **HALF)


def test_a_batch_in_its_order(saved, clips, alone):
    """Also of bytes, of paths and of {"bytes"}; small batches of frames mix clips and change nothing."""
    encode = ClipEncoder(saved, device="cpu", batch_size=3)
    found = encode(columns(clips))
    assert_are_embeddings(found, alone, [row["id"] for row in clips])
    assert found["audio"][0].dtype == np.float16 and found["status"] == ["ok"] * len(clips)
    assert found["duration"] == pytest.approx([0.2, 1.0, 2.6, 5.2, 0.6, 3.1], abs=0.05)
    path = clips[2]["media"]["path"]
    with open(path, "rb") as file:
        content = file.read()
    other = encode({"id": ["clip_2"] * 3, "media": [path, content, {"bytes": content, "path": "name.mp4"}]})
    assert_are_embeddings(other, alone, ["clip_2"] * 3)
    assert len(set(other["content_hash"])) == 1 == len(set(found["content_hash"][2:3]) & set(other["content_hash"]))


def test_clips_that_fail_or_lack_a_modality_say_why(saved, clips, odd):
    encode = ClipEncoder(saved, device="cpu")
    rows = [clips[0], clip("zero", odd["zero bytes"]), clip("silent", odd["no audio"]), clip("none", "/nowhere.mp4")]
    found = encode(columns(rows))
    assert found["status"] == ["ok", "failed", "partial", "failed"]
    assert found["reason"] == ["", "not media", "no audio stream", "no file"]
    assert [len(audio) for audio in found["audio"]] == [1, 0, 0, 0] and len(found["vision"][2]) > 0
    known = {"known_hash": [found["content_hash"][0], "", "", ""]}
    again = encode({**columns(rows), **known})
    assert again["status"] == ["known", "failed", "partial", "failed"] and len(again["audio"][0]) == 0


def test_an_empty_file_is_not_the_file_of_its_name(clips):
    """As in every other input: bytes stand for the file, and those of an empty one hold no clip."""
    assert media_fields({"bytes": b"", "path": clips[0]["media"]["path"]})["path"] == b""
    assert media_fields({"bytes": None, "path": "a.mp4"})["path"] == "a.mp4"


def test_one_modality(saved, clips, alone):
    found = ClipEncoder(saved, device="cpu", modalities=["audio"])(columns(clips[:1]))
    assert found["vision"][0].shape == (0, 0) and found["audio"][0].shape == tuple(alone["clip_0"][0].shape)
    with pytest.raises(ValueError, match=r"modalities are \['text'\]; there are towers for"):
        ClipEncoder(saved, modalities=["text"])(columns(clips[:1]))
    with pytest.raises(ValueError, match="give either a model, or a processor and encoders"):
        ClipEncoder()


def test_it_pickles_by_name_and_loads_where_it_is_used(saved, clips, alone):
    encode = ClipEncoder(saved, device="cpu")
    encode(columns(clips[:1]))
    content = pickle.dumps(encode)
    assert len(content) < 2000  # no tower
    other = pickle.loads(content)
    assert other._loaded is None and other.choice == TowerChoice(model=saved)
    assert_are_embeddings(other(columns(clips[:2])), alone, ["clip_0", "clip_1"])


@pytest.mark.parametrize("num_proc", [None, 2])
def test_datasets_map(saved, clips, alone, num_proc):
    """With `with_rank`, in this process and in two of its own."""
    dataset = datasets.Dataset.from_list(clips)
    found = dataset.map(ClipEncoder(saved, device="cpu"), batched=True, batch_size=2, with_rank=True, num_proc=num_proc)
    assert_are_embeddings(found[:], alone, [row["id"] for row in clips])
    assert found["status"][:] == ["ok"] * len(clips)


def test_batches_of_an_engine_become_a_store(saved, clips, odd, processor, towers, tmp_path):
    """The store that extraction writes, from columns that went through Parquet."""
    rows = [*clips, clip("zero", odd["zero bytes"]), clip("silent", odd["no audio"])]
    encode = ClipEncoder(saved, device="cpu")
    found = datasets.Dataset.from_list(rows).map(encode, batched=True, batch_size=3)
    found.to_parquet(tmp_path / "part.parquet")
    again = datasets.Dataset.from_parquet(str(tmp_path / "part.parquet"), cache_dir=str(tmp_path / "cache"))
    report = store_batches(again.iter(3), encode, tmp_path / "store")
    assert (report.total, report.done, dict(report.failed)) == (8, 7, {"not media": 1})
    extract(rows, processor, towers, tmp_path / "local")
    store, local = EmbeddingStore(tmp_path / "store"), EmbeddingStore(tmp_path / "local")
    assert fingerprint_digest(store.fingerprint) == fingerprint_digest(local.fingerprint) and set(store) == set(local)
    for name in local:
        assert (store.status(name).content_hash, store.status(name).note) == (
            local.status(name).content_hash, local.status(name).note,
        )  # fmt: skip
        for one, two in zip(store[name], local[name]):
            torch.testing.assert_close(one, two, **HALF)
    with pytest.raises(FingerprintError, match="dtype"):
        store_batches([], ClipEncoder(saved, device="cpu", dtype="bfloat16"), tmp_path / "store")


def test_the_number_format_is_what_the_processor_is_fast_in(monkeypatch):
    """bfloat16 where the processor has instructions for it and the tower is wide enough to gain."""
    cpu, wide = torch.device("cpu"), {"num_hidden_layers": 1, "num_attention_heads": 2, "num_mel_bins": 32}
    towers = {
        width: ImageBindAudioModel(ImageBindAudioConfig(**wide, hidden_size=width, projection_dim=4))
        for width in (16, 128)
    }
    has = {"amx_bf16": False, "avx512_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert bfloat16_instructions() is None and choose_dtype(cpu, [towers[128]]) == torch.float32
    for flag, name in (("avx512_bf16", "AVX512-BF16"), ("amx_bf16", "AMX")):
        has[flag] = True
        assert bfloat16_instructions() == name
        assert choose_dtype(cpu, [towers[16]]) == torch.float32
        assert choose_dtype(cpu, towers.values()) == torch.bfloat16
        has[flag] = False
    assert dtype_named("auto") is None and dtype_named("bfloat16") == dtype_named(torch.bfloat16) == torch.bfloat16
    with pytest.raises(ValueError, match="dtype is 'int8'; expected auto"):
        dtype_named("int8")


def test_towers_of_a_model_in_lower_precision(saved):
    """Prediction from raw media: bfloat16 is that of autocast, and single precision comes back."""
    model = SemanticMACForAffect.from_pretrained(saved).eval()
    torch.manual_seed(0)
    inputs, mask = torch.randn(1, 3, 3, 28, 28), torch.tensor([[1, 1, 0]])
    encode = model.semanticmac.encode_media
    exact = encode("vision", inputs, mask)
    model.set_tower_dtype("bfloat16")
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected = model.get_encoder("vision")(inputs[0, :2]).embeds.float()
    found = encode("vision", inputs, mask)
    assert torch.equal(found[0, :2], expected) and not torch.equal(found, exact) and not found[0, 2].any()
    model.set_tower_dtype("float32")
    assert torch.equal(encode("vision", inputs, mask), exact)
