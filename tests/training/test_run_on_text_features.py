"""`--text features`: vectors of text from a feature file in place of a language model."""

import csv
import logging
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from examples.analysis import case_study
from examples.analysis.trained_run import TrainedRun, run_parser
from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.baselines.modeling_fusion import FusionForAffect
from modeling_semanticmac.benchmark.pooled_features import PooledFeatures
from modeling_semanticmac.commands import predict, train
from modeling_semanticmac.commands.info import model_info
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.hub.model_card import write_model_card
from modeling_semanticmac.training.run import Run
from modeling_semanticmac.training.run_arguments import parse_arguments
from tests.helpers.feature_files import write_conversations, write_mmsa
from tests.helpers.processes import run_two
from tests.helpers.project import RECIPE
from tests.helpers.runs import record, rows
from tests.helpers.systems import CLIP_SYSTEMS, batch_of, clip_rows, system_model
from tests.training.test_resumed_runs import interrupt

IDS = {"train": [f"v{n}_1" for n in range(8)], "valid": ["w1_1", "w2_1"], "test": ["x1_1", "x2_1", "x3_1"]}
SIZES = ["--hidden_size", "16", "--num_attention_heads", "2", "--num_latents", "2", "--num_bridge_tokens", "2"]
SHORT = ["--num_train_epochs", "2", "--label_start_epoch", "1", "--per_device_train_batch_size", "4"]
COMMON = ["--do_train", "--do_predict", "--disable_tqdm", "true", "--use_cpu"]


@pytest.fixture(scope="module")
def setting(tmp_path_factory) -> dict:
    """A file of MMSA's form that is its own corpus; the second clip of validation and of test has no text, the first of
    test no audio.
    """
    folder = tmp_path_factory.mktemp("text_features")
    write_mmsa(folder / "mmsa.pkl", IDS, text_width=6)
    content = pickle.loads((folder / "mmsa.pkl").read_bytes())
    content["test"]["text_bert"][1] = content["valid"]["text_bert"][1] = 0
    content["test"]["audio_lengths"][0] = 0
    (folder / "mmsa.pkl").write_bytes(pickle.dumps(content))
    features = ["--features", str(folder / "mmsa.pkl"), "--text", "features"]
    sizes = [*SIZES, *SHORT, "--weight_decay", "0"]
    start = [*COMMON, *sizes, *features, "--embeddings_dir", str(folder / "e")]
    return {"folder": folder, "content": content, "features": features, "start": start}


@pytest.fixture(scope="module")
def alone(setting, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    train.main([*setting["start"], "--save_total_limit", "9", "--save_strategy", "epoch", "--output_dir", str(folder)])
    return folder


def test_the_vectors_take_the_place_of_a_language_model(alone, setting):
    """The store holds the vectors of the file without padding and as they are; the model has no language model."""
    store = EmbeddingStore(next((setting["folder"] / "e").glob("features_*")))
    for split, part in (("train", "train"), ("test", "test")):
        for row, clip in enumerate(IDS[split]):
            length = int(setting["content"][part]["text_bert"][row, 1].sum())
            assert np.array_equal(store.stream(clip, "text"), setting["content"][part]["text"][row, :length])
    assert store.status("x2_1").text == 0 and store.status("x2_1").status == "partial"
    audio = setting["content"]["train"]["audio"]
    lengths = setting["content"]["train"]["audio_lengths"]
    everything = np.concatenate([rows[:length] for rows, length in zip(audio, lengths)]).astype(float)
    scores = (audio[0, : lengths[0]] - everything.mean(axis=0)) / everything.std(axis=0)
    np.testing.assert_allclose(store["v0_1"][0], scores, atol=1e-5)
    model = SemanticMACForAffect.from_pretrained(alone)
    assert (model.config.text_config.model_type, model.config.text_width) == ("text_vectors", 6)
    assert model.config.text_features["file"] == "mmsa.pkl" and model.config.text_features["normalize"] == "none"
    with safe_open(alone / "model.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "language_model" in name]
        assert "semanticmac.text_projection.weight" in file.keys()
    assert record(alone, "modalities.json")["test"] == {"clips": 3, "text": 2, "audio": 2, "vision": 3}
    written = record(alone)
    assert written["model"]["language_model"] is None and written["data"]["use_context"] is False
    assert "language model `none (vectors of text)`" in (alone / "report.md").read_text()


def test_what_is_told_of_such_a_model(alone, capsys, world, tmp_path):
    found = model_info(str(alone))
    assert found["modalities"] == [] and found["sizes"]["text_vector_width"] == 6
    assert {part["role"] for part in found["parts"]} == {"text features", "audio features", "vision features"}
    shutil.copytree(alone, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoint-*"))
    card = write_model_card(tmp_path / "run", "me/model").read_text()
    assert "reads vectors of text of width 6" in card and "text features" in card and "language model" not in card
    note = "This model was trained on text features of mmsa.pkl, which words do not give"
    video = world["clips"]["test"]["media"][0]["path"]
    for given in (["--text", "good"], [video, "--text", "good"], [video]):
        with pytest.raises(ValueError, match=f"the model reads nothing of it here. {note}"):
            predict.main([*given, "--model", str(alone)])
    timeline = ["--timeline", str(tmp_path / "timeline"), "--window", "2"]
    with pytest.raises(ValueError, match="so there is no timeline: this model was trained on text features of mmsa"):
        predict.main([video, "--model", str(alone), *timeline])
    assert not (tmp_path / "timeline").exists()
    model = SemanticMACForAffect.from_pretrained(alone)
    with pytest.raises(ValueError, match="trained on text features of mmsa.pkl.*; give inputs_embeds"):
        model(input_ids=torch.tensor([[1]]))
    with pytest.raises(ValueError, match="inputs_embeds have width 5; the model reads vectors of text of width 6"):
        model(inputs_embeds=torch.zeros(1, 2, 5))


def test_what_lies_under_the_mask_never_counts(alone):
    model = SemanticMACForAffect.from_pretrained(alone)
    vectors, mask = torch.randn(2, 3, 6), torch.tensor([[1, 1, 0], [0, 0, 0]])
    audio = torch.randn(2, 2, 5)
    expected = model(inputs_embeds=vectors, attention_mask=mask, audio_embeds=audio).logits
    vectors[0, 2] = vectors[1] = torch.nan
    assert torch.equal(model(inputs_embeds=vectors, attention_mask=mask, audio_embeds=audio).logits, expected)
    alone_audio = model(audio_embeds=audio[1:]).logits
    torch.testing.assert_close(expected[1:], alone_audio)


def test_a_saved_model_needs_such_vectors_again(alone, setting, tmp_path):
    """Without `--text features`, which the model says by itself; another width and a language model are refused."""
    again = ["--model_name_or_path", str(alone), "--do_predict", "--use_cpu", "--disable_tqdm", "true"]
    out = ["--output_dir", str(tmp_path / "again"), "--embeddings_dir", str(tmp_path / "e")]
    train.main([*again, *setting["features"][:2], *out])
    same = [(folder / "predictions_test.csv").read_text() for folder in (alone, tmp_path / "again")]
    assert same[0] == same[1]
    write_mmsa(tmp_path / "wide.pkl", IDS, text_width=7)
    with pytest.raises(ValueError, match="text features of width 7; the model was trained on width 6"):
        train.main([*again, "--features", str(tmp_path / "wide.pkl"), "--output_dir", str(tmp_path / "other")])


def test_a_resumed_run_equals_an_uninterrupted_one(alone, setting, tmp_path):
    more = ["--save_total_limit", "9", "--save_strategy", "epoch"]
    interrupt([*setting["start"], *more], tmp_path / "run", 2)
    train.main([*setting["start"], *more, "--output_dir", str(tmp_path / "run"), "--resume_from_checkpoint", "last"])
    weights = [load_file(folder / "model.safetensors") for folder in (alone, tmp_path / "run")]
    assert all((weights[0][name] == tensor).all() for name, tensor in weights[1].items())


def test_two_processes_train_what_one_does(alone, setting, tmp_path):
    """An uneven last batch; the vectors are imported once."""
    own = ["--output_dir", str(tmp_path / "run"), "--embeddings_dir", str(tmp_path / "e")]
    run_two(["run_mac.py", *setting["start"], "--per_device_train_batch_size", "2", "--dropout", "0", *own])
    one = [*setting["start"], "--dropout", "0", "--output_dir", str(tmp_path / "one")]
    train.main(one)
    found, expected = rows(tmp_path / "run/predictions_test.csv"), rows(tmp_path / "one/predictions_test.csv")
    predictions = [[float(row["prediction"]) for row in table] for table in (found, expected)]
    assert predictions[0] == pytest.approx(predictions[1], abs=1e-4)
    assert len(list((tmp_path / "e").glob("features_*/shards/*"))) == 1


@pytest.mark.parametrize("name", CLIP_SYSTEMS)
@torch.no_grad()
def test_every_system_reads_vectors_or_says_that_it_cannot(name):
    """With and without text, in any company; what lies under the mask does not count."""
    text = {"text_config": {"model_type": "text_vectors", "hidden_size": 6}, "special_tokens": None}
    if name == "mag":
        with pytest.raises(ValueError, match="mag works inside a language model, which a model on vectors"):
            system_model(name, **text)
        return
    model = system_model(name, **text).eval()
    batch = batch_of(clip_rows([(3, 4, 5), (0, 2, 4), (2, 0, 3)]))
    vectors = torch.randn(*batch.pop("input_ids").shape, 6)
    found = model(inputs_embeds=vectors.masked_fill(batch["attention_mask"][..., None] == 0, torch.nan), **batch).logits
    assert found.isfinite().all() and len(set(found.flatten().tolist())) == 3
    torch.testing.assert_close(model(inputs_embeds=vectors, **batch).logits, found)
    longer = {**batch, "attention_mask": torch.nn.functional.pad(batch["attention_mask"], (0, 4))}
    padded = torch.nn.functional.pad(vectors, (0, 0, 0, 4), value=7.0)
    torch.testing.assert_close(model(inputs_embeds=padded, **longer).logits, found, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("system", ["mult", "self_mm"])
def test_comparison_systems_read_the_vectors(system, setting, tmp_path):
    command = [*COMMON, *setting["features"], "--num_train_epochs", "1", "--architecture", system]
    train.main([*command, "--embeddings_dir", str(setting["folder"] / "e"), "--output_dir", str(tmp_path / "run")])
    model = FusionForAffect.from_pretrained(tmp_path / "run")
    assert model.fusion.widths["text"] == 6 and (model.config.language_model, model.config.text_summary) == (
        "frozen",
        "mean",
    )
    assert all(np.isfinite(float(row["prediction"])) for row in rows(tmp_path / "run/predictions_test.csv"))


def test_a_system_for_dialogues_reads_one_vector_an_utterance(tmp_path):
    """The features of textCNN with which DialogueRNN was published, as they are, and no language model."""
    write_conversations(tmp_path / "iemocap.pkl", "iemocap", dialogues=4)
    command = ["--features", str(tmp_path / "iemocap.pkl"), "--text", "features", "--architecture", "dialogue_rnn"]
    train.main([*COMMON, *command, "--num_train_epochs", "1", "--output_dir", str(tmp_path / "run")])
    text = pickle.loads((tmp_path / "iemocap.pkl").read_bytes())[3]
    arguments = parse_arguments([*COMMON[2:], "--do_train", *command, "--output_dir", str(tmp_path / "again")])
    run = Run(*arguments)
    trainer = run.trainer(run.split("train", None), None)
    trainer.read_texts(trainer.train_dataset)
    known = trainer.data_collator.text_vectors
    clips = [clip for row in trainer.train_dataset for clip in row["clip_ids"]]
    for clip in clips:
        dialogue, number = clip.split("_F")
        np.testing.assert_allclose(known[clip], text[dialogue][int(number)], rtol=1e-6)
    row = {name: value for name, value in trainer.train_dataset[0].items() if name != "clip_index"}
    batch = trainer.data_collator([row])
    assert batch["text_embeds"].shape[-1] == 6 and batch["modality_mask"][..., 0].all()
    trainer.data_collator.text_vectors.clear()
    raw = trainer.data_collator([row])
    logits = [run.model.eval()(**{k: v for k, v in b.items() if k != "labels"}).logits for b in (batch, raw)]
    assert "inputs_embeds" in raw
    torch.testing.assert_close(*logits)


def test_a_linear_probe_gets_the_mean_of_the_vectors(setting, tmp_path):
    run = Run(*parse_arguments([*setting["start"], "--output_dir", str(tmp_path / "run")]))
    clips = run.split("validation", None)
    found = PooledFeatures().streams(run, clips, "mean_deviation")
    part = setting["content"]["valid"]
    length = int(part["text_bert"][0, 1].sum())
    np.testing.assert_allclose(found["text"][0], part["text"][0, :length].mean(axis=0), rtol=1e-5)
    assert np.isnan(found["text"][1]).all() and found["text"].shape == (2, 6)


def test_the_analyses_read_the_vectors(alone, setting):
    run = TrainedRun.of(run_parser("").parse_args([str(alone), "--split", "test"]))
    batch = run.collator([run.clips[0]])
    length = int(setting["content"]["test"]["text_bert"][0, 1].sum())
    assert np.array_equal(batch["inputs_embeds"][0], setting["content"]["test"]["text"][0, :length])
    found = run.representations
    assert found.modality_mask.tolist() == [[True, False, True], [False, True, True], [True, True, True]]
    case_study.main([str(alone), "--split", "test", "--clips", "x3_1"])
    page = (alone / "analysis/cases.html").read_text()
    assert "text of x3_1" in page and "the model reads vectors of text in their place" in page


def test_one_stream_of_text_and_a_tower_for_sound(world, tmp_path, capsys):
    """A table of one vector a clip; the words of a video are then left out with a reason."""
    clips = {clip: text for split in world["clips"].values() for clip, text in zip(split["id"], split["text"])}
    generator = np.random.default_rng(0)
    with open(tmp_path / "sentences.csv", "w", newline="") as file:
        csv.writer(file).writerows([["clip", "a", "b"], *([clip, *generator.normal(size=2)] for clip in clips)])
    shutil.copytree(world["folder"] / "embeddings", tmp_path / "embeddings")
    command = [RECIPE, *world["common"], "--embeddings_dir", str(tmp_path / "embeddings"), *world["models"]]
    command = [*command[:-4], "--audio_encoder", world["models"][-1], "--modalities", "text", "audio"]
    features = ["--features", str(tmp_path / "sentences.csv"), "--text", "features", "--normalize", "all"]
    train.main([*command, *features, "--num_train_epochs", "1", "--output_dir", str(tmp_path / "run")])
    config = SemanticMACForAffect.from_pretrained(tmp_path / "run").config
    assert config.audio_encoder is not None and config.text_features["normalize"] == "train"
    video = world["clips"]["test"]["media"][0]["path"]
    assert predict.main([video, "--model", str(tmp_path / "run"), "--text", "good"]) == 0
    shown = capsys.readouterr().out
    assert "(audio)" in shown and "without text: this model was trained on text features of sentences.csv" in shown


def test_clips_without_any_vector(setting, tmp_path, caplog):
    """With words, a clip without features keeps its words; here nothing would be left."""
    content = {**setting["content"], "test": dict(setting["content"]["test"])}
    for name in ("audio_lengths", "vision_lengths"):
        content["test"][name] = [0, 0, 3]
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(content))
    start = [*setting["start"], "--features", str(tmp_path / "f.pkl"), "--embeddings_dir", str(tmp_path / "e")]
    short = ["--num_train_epochs", "1", "--output_dir"]
    with pytest.raises(ValueError, match="1 of 3 clips of test have no features: x2_1. .* use --on_error skip"):
        train.main([*start, *short, str(tmp_path / "masked"), "--on_error", "mask"])
    assert not (tmp_path / "masked").exists()
    with caplog.at_level(logging.INFO):
        train.main([*start, *short, str(tmp_path / "run"), "--on_error", "skip"])
    assert [row["id"] for row in rows(tmp_path / "run/predictions_test.csv")] == ["x1_1", "x3_1"]
    assert "its context is not used" in caplog.text


def test_what_cannot_be_meant_is_refused(setting, tmp_path, models):
    start, out = setting["start"], ["--output_dir", str(tmp_path / "run")]
    features = setting["features"][1]
    for command, message in (
        ([*COMMON, "--text", "features", "--corpus", "mosi", "--data_dir", "d"], "give --features FILE, with text"),
        ([*start, "--modalities", "audio"], "give --features FILE, with text among --modalities"),
        ([*start, "--lora_r", "4"], "--lora_r: with --text features there is no language model"),
        ([*COMMON, *setting["features"], "--architecture", "mag"], "works inside a language model"),
        (
            [*COMMON, *setting["features"], "--architecture", "mult", "--architecture_options",
             '{"language_model": "tuned"}'],
            "has no language model to tune",
        ),
        ([*start, "--features", f"audio={features}", f"vision={features}"], "no file of --features has vectors of"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            train.main([*command, *out])
    assert not (tmp_path / "run").exists()
    words = [*COMMON, *SIZES, "--num_train_epochs", "1", "--features", features, *models[:2]]
    train.main([*words, "--output_dir", str(tmp_path / "words")])
    saved = ["--model_name_or_path", str(tmp_path / "words"), "--do_predict", "--use_cpu", "--features", features]
    with pytest.raises(ValueError, match="the model was trained with a language model, which reads words"):
        train.main([*saved, "--text", "features", *out])
