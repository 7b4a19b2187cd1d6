"""`semanticmac train --features`: from a feature file to a trained model, alone and beside a tower; what is said where
the model then gets a video.
"""

import csv
import json
import logging
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file

from examples.analysis.trained_run import TrainedRun, run_parser
from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.commands import predict, train
from modeling_semanticmac.commands.info import model_info
from modeling_semanticmac.pipeline_semanticmac import SemanticMACPipeline
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor
from modeling_semanticmac.runs.settings import ChangedSettingsError
from modeling_semanticmac.training.run_arguments import parse_arguments
from modeling_semanticmac.training.run_features import open_features
from modeling_semanticmac.training.trainer import SemanticMACTrainer
from tests.helpers.feature_files import (
    mmsa_id,
    write_conversations,
    write_hkt,
    write_mmsa,
    write_mult,
    write_ur_funny_sdk,
)
from tests.helpers.project import RECIPE
from tests.helpers.runs import record, rows
from tests.training.test_resumed_runs import interrupt

SHORT = ["--num_train_epochs", "2", "--label_start_epoch", "1", "--per_device_train_batch_size", "4"]
SPLITS = ("train", "validation", "test")


def ids_of(world) -> dict[str, list[str]]:
    return {split: world["clips"][split]["id"][:] for split in SPLITS}


@pytest.fixture(scope="module")
def setting(world, tmp_path_factory) -> dict:
    """Files of features for the synthetic clips: MMSA's form, and a table of one vector a clip, where a clip lacks."""
    folder, ids = tmp_path_factory.mktemp("features"), ids_of(world)
    names = {"train": "train", "validation": "valid", "test": "test"}
    by_name = {names[split]: clips for split, clips in ids.items()}
    written = write_mmsa(folder / "mmsa.pkl", by_name)
    write_mmsa(folder / "other.pkl", by_name, extra={"config": {}})
    generator = np.random.default_rng(0)
    table = {clip: generator.normal(size=3) * 1000 for clips in ids.values() for clip in clips[1:]}
    with open(folder / "vectors.csv", "w", newline="") as file:
        csv.writer(file).writerows([["clip", "a", "b", "c"], *([clip, *row] for clip, row in table.items())])
    shutil.copytree(world["folder"] / "embeddings", folder / "embeddings")
    common = [*world["common"], "--embeddings_dir", str(folder / "embeddings")]
    start = [RECIPE, *common, *SHORT, *world["models"][:2]]
    return {"folder": folder, "start": start, "models": world["models"], "written": written, "ids": ids, "table": table}


@pytest.fixture(scope="module")
def alone(setting, tmp_path_factory):
    """A run on one file for both streams, its checkpoints kept."""
    folder = tmp_path_factory.mktemp("alone")
    features = ["--features", str(setting["folder"] / "mmsa.pkl")]
    train.main([*setting["start"], *features, "--save_total_limit", "5", "--output_dir", str(folder / "run")])
    return folder / "run"


def test_one_file_for_both_streams(alone, setting):
    """The model names no tower but the file, the record counts the clips, and the report says what the streams are."""
    config = SemanticMACForAffect.from_pretrained(alone).config
    assert config.vision_encoder is None and config.audio_encoder is None
    assert (config.audio_width, config.vision_width) == (5, 20)
    assert config.audio_features["file"] == "mmsa.pkl" and config.audio_features["form"] == "mmsa"
    values = np.concatenate([setting["written"][clip.replace("_", "$_$", 1)][0] for clip in setting["ids"]["train"]])
    np.testing.assert_allclose(config.audio_features["column_means"], values.mean(axis=0, dtype=float), rtol=1e-5)
    assert record(alone, "modalities.json")["test"] == {"clips": 5, "text": 5, "audio": 5, "vision": 5}
    assert record(alone, "features_test.json")["streams"]["vision"]["width"] == 20
    assert not (alone / "media_test.json").exists()
    report = (alone / "report.md").read_text()
    assert "mmsa.pkl" in report and "vision" in report and "standard scores by the training split" in report
    assert len((alone / "predictions_test.csv").read_text().splitlines()) == 6
    parts = {part["role"]: part["note"] for part in model_info(str(alone))["parts"]}
    assert "mmsa.pkl" in parts["vision features"] and model_info(str(alone))["modalities"] == ["text"]


def test_a_video_gives_such_a_model_words_alone_and_says_so(alone, world, capsys):
    video = world["clips"]["test"]["media"][0]["path"]
    assert predict.main([video, "--model", str(alone), "--text", "good"]) == 0
    shown = capsys.readouterr().out
    assert "(text)" in shown and "voice alone" not in shown and "picture alone" not in shown
    note = "this model was trained on {} features of mmsa.pkl, which media do not give"
    assert all(f"without {m}: {note.format(m)}" in shown for m in ("audio", "vision"))
    with pytest.raises(ValueError, match="the model reads text here. This model was trained on audio features of mmsa"):
        predict.main([video, "--model", str(alone)])
    model = SemanticMACForAffect.from_pretrained(alone)
    with pytest.raises(ValueError, match="trained on vision features of mmsa.pkl.*; give vision_embeds"):
        model.get_encoder("vision")
    with pytest.raises(ValueError, match="trained on audio features"):
        model.set_encoders(audio=model.semanticmac.language_model)
    with pytest.raises(ValueError, match="so the Trainer cannot make its audio stream; give data_collator"):
        SemanticMACTrainer(model, processing_class=SemanticMACProcessor.from_pretrained(alone))
    assert SemanticMACPipeline(model=model, processor=SemanticMACProcessor.from_pretrained(alone)).readable == ()


def test_the_analyses_read_the_features_of_a_run(alone, setting):
    """With the statistics of the model: the store of the training, written once."""
    run = TrainedRun.of(run_parser("").parse_args([str(alone), "--split", "test"]))
    batch = run.collator([run.clips[0]])
    audio, vision = setting["written"][mmsa_id(run.clips["id"][0])]
    assert batch["audio_embeds"].shape == (1, *audio.shape) and batch["vision_embeds"].shape == (1, *vision.shape)
    means, deviations = (
        np.array(run.model.config.audio_features[f"column_{name}"]) for name in ("means", "deviations")
    )
    np.testing.assert_allclose(batch["audio_embeds"][0], (audio - means) / deviations, atol=1e-5)
    run.data.features = None
    with pytest.raises(ValueError, match="give --features audio=FILE"):
        TrainedRun(run.name, run.data, "test", run.output_dir).store  # noqa: B018


def test_a_resumed_run_equals_an_uninterrupted_one(alone, setting, tmp_path):
    command = [*setting["start"], "--features", str(setting["folder"] / "mmsa.pkl")]
    interrupt(command, tmp_path / "run", 4)
    resume = ["--output_dir", str(tmp_path / "run"), "--resume_from_checkpoint", "last"]
    with pytest.raises(ChangedSettingsError, match="by other encoders or feature files"):
        train.main([*setting["start"], "--features", str(setting["folder"] / "other.pkl"), *resume])
    shutil.copy(setting["folder"] / "mmsa.pkl", tmp_path / "moved.pkl")  # the same file elsewhere is the same
    train.main([*setting["start"], "--features", str(tmp_path / "moved.pkl"), *resume])
    weights = [load_file(folder / "model.safetensors") for folder in (alone, tmp_path / "run")]
    assert all((weights[0][name] == tensor).all() for name, tensor in weights[1].items())


def test_a_saved_model_uses_the_statistics_that_it_was_trained_with(alone, setting, tmp_path):
    """Other training clips of the corpus would give other statistics; predictions stay those of the run."""
    command = [RECIPE, "--model_name_or_path", str(alone), *setting["start"][1:-2], "--do_train", "false"]
    given = ["--output_dir", str(tmp_path / "again"), "--embeddings_dir", str(tmp_path / "embeddings")]
    with pytest.raises(
        ValueError, match="audio features of mmsa.pkl.*; give --features audio=FILE, or leave audio out"
    ):
        train.main([*command, *given])
    with pytest.raises(ValueError, match="width 3; the model was trained on width 20"):
        train.main([*command, *given, "--features", f"vision={setting['folder'] / 'vectors.csv'}"])
    train.main([*command, *given, "--features", str(setting["folder"] / "mmsa.pkl")])
    same = [(folder / "predictions_test.csv").read_text() for folder in (alone, tmp_path / "again")]
    assert same[0] == same[1]
    assert len(list((tmp_path / "embeddings").glob("features_*"))) == 1


def test_a_file_beside_a_tower(setting, tmp_path, caplog):
    """Sound from the tower, vision from the table; the clip that the table lacks is partial and keeps its sound."""
    table = setting["folder"] / "vectors.csv"
    command = [*setting["start"], *setting["models"][4:], "--features", str(table)]
    with caplog.at_level(logging.INFO):
        train.main([*command, "--output_dir", str(tmp_path / "run")])
    assert "only their text can be used" not in caplog.text
    assert record(tmp_path / "run", "modalities.json")["test"] == {"clips": 5, "text": 5, "audio": 5, "vision": 4}
    found = record(tmp_path / "run", "features_test.json")
    assert found["failed"] == {"no features": 1} and found["clips"][0]["id"] == setting["ids"]["test"][0]
    assert record(tmp_path / "run", "media_test.json")["total"] == 5
    config = SemanticMACForAffect.from_pretrained(tmp_path / "run").config
    assert config.audio_encoder is not None and config.vision_encoder is None and config.vision_width == 3
    assert config.vision_features["file"] == "vectors.csv" and config.audio_features is None


def test_seeds_share_the_features_and_long_sequences_raise_the_frame_table(setting, tmp_path):
    longest = {clip: np.ones((300 if place == 0 else 2, 2)) for place, clip in enumerate(setting["table"])}
    for clip, values in longest.items():
        (tmp_path / "npy").mkdir(exist_ok=True)
        np.save(tmp_path / "npy" / f"{clip}.npy", values)
    own = ["--modalities", "text", "audio", "--features", str(tmp_path / "npy"), "--on_error", "skip"]
    command = [*setting["start"], *own, "--num_train_epochs", "1", "--seeds", "1", "2"]
    train.main([*command, "--embeddings_dir", str(tmp_path / "e"), "--output_dir", str(tmp_path / "runs")])
    assert len(list((tmp_path / "e").iterdir())) == 1
    assert json.loads((tmp_path / "runs/seeds.json").read_text())["seeds"] == [1, 2]
    assert SemanticMACForAffect.from_pretrained(tmp_path / "runs/seed_1").config.max_frames == 300
    assert record(tmp_path / "runs/seed_1", "modalities.json")["test"]["clips"] == 4  # one has no features


def test_files_of_modalities_that_are_not_in_use_are_not_read(setting):
    """So one command serves all ablations of modalities."""
    arguments = parse_arguments([*setting["start"], "--features", "vision=absent.csv", "--modalities", "text"])[1]
    assert open_features(arguments, {}, []) is None
    arguments.modalities = ["text", "audio"]
    assert open_features(arguments, {}, ["audio"]) is None


FORMS = {
    "hkt.pkl": (write_hkt, ["--task", "humor"], 2),
    "mosei.pkl": (write_mult, ["--modalities", "audio", "vision"], 4),
    "meld.pkl": (lambda path: write_conversations(path, "meld_visual", dialogues=4), [], 2),
    "iemocap.pkl": (lambda path: write_conversations(path, "iemocap", dialogues=4), ["--text", "raw"], 2),
    "ur_funny": (
        lambda path: (path.mkdir(), write_ur_funny_sdk(path, more=4)),
        ["--corpus", "ur_funny", "--on_error", "skip"],
        1,
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_with_labels_to_a_table_row_in_one_command(name, world, tmp_path):
    """Clips, labels and splits are the file's own, and the report says so. MulT's form has no words."""
    write, more, clips = FORMS[name]
    write(tmp_path / name)
    sizes = ["--hidden_size", "16", "--num_attention_heads", "2", "--num_latents", "2", "--num_bridge_tokens", "2"]
    rest = ["--num_train_epochs", "1", "--label_start_epoch", "9", "--disable_tqdm", "true", "--use_cpu", *sizes]
    command = ["--features", str(tmp_path / name), *world["models"][:2], "--do_train", "--do_predict", *rest, *more]
    train.main([*command, "--output_dir", str(tmp_path / "run")])
    assert len(rows(tmp_path / "run/predictions_test.csv")) == clips
    report = (tmp_path / "run/report.md").read_text()
    assert f"labels and splits are those of the file `{name}` itself" in report


def test_what_cannot_be_meant_is_refused(setting, tmp_path):
    table, mmsa = setting["folder"] / "vectors.csv", setting["folder"] / "mmsa.pkl"
    out = ["--output_dir", str(tmp_path / "run")]
    for more, message in (
        (["--features", str(table)], "holds one stream and does not say which"),
        (["--features", f"vision={table}"], "modality 'audio' needs --audio_encoder .* or --features audio=FILE"),
        (["--features", str(tmp_path / "none.csv")], "no feature file at"),
        (["--features", str(table), "--normalize", "test"], "normalize is 'test'"),
        (
            ["--features", str(mmsa), "--text", "bert_ids"],
            "the ids of the file begin with 100 and reach 106",
        ),
        (["--text", "bert_ids", "--modalities", "text"], "no feature file in use has token ids"),
        (["--text", "glove"], "text is 'glove'"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            train.main([*setting["start"], *more, *out])
    assert not (tmp_path / "run").exists()
