"""`run_mac.py` from video files to predictions: train, save, predict again, missing modalities, errors."""

import json
import shutil

import pytest
import torch
from sklearn.metrics import f1_score
from transformers import AutoModelForVideoClassification, AutoProcessor

from modeling_semanticmac import SemanticMACConfig
from modeling_semanticmac.commands import train
from modeling_semanticmac.training import main as training_main
from modeling_semanticmac.training.run import Run
from modeling_semanticmac.training.run_arguments import parse_arguments
from tests.helpers.project import RECIPE
from tests.helpers.runs import CLIPS, rows


def test_a_run_leaves_everything(world):
    names = {path.name for path in world["run"].iterdir()}
    assert {
        "model.safetensors",
        "config.json",
        "processor_config.json",
        "run.json",
        "all_results.json",
        "predictions_test.csv",
    } <= names
    assert {"vision_encoder", "audio_encoder"} <= names  # towers from a folder cannot be loaded by reference elsewhere
    assert not any(path.suffix in (".bin", ".pt", ".pth", ".pkl") for path in world["run"].iterdir() if path.is_file())
    results = json.loads((world["run"] / "all_results.json").read_text())
    assert {"eval_loss", "test_mae", "test_acc2_neg_pos", "test_acc2_neg_nonneg", "train_loss"} <= results.keys()
    record = json.loads((world["run"] / "run.json").read_text())
    assert record["training"]["label_start_epoch"] == 1 and record["seed"] == 42
    splits = json.loads((world["run"] / "splits.json").read_text())
    assert splits == {split: clips["id"][:] for split, clips in world["clips"].items()}


def test_metrics_are_those_of_the_predictions(world):
    found = rows(world["run"] / "predictions_test.csv")
    assert [row["id"] for row in found] == world["clips"]["test"]["id"]
    error = sum(abs(float(row["prediction"]) - float(row["label"])) for row in found) / len(found)
    assert json.loads((world["run"] / "all_results.json").read_text())["test_mae"] == pytest.approx(error, rel=1e-5)


def test_the_file_of_a_clip_predicts_what_the_store_did(world):
    """Load through the Auto classes, predict from the MP4; equal to the half precision of the store."""
    model = AutoModelForVideoClassification.from_pretrained(world["run"]).eval()
    processor = AutoProcessor.from_pretrained(world["run"])
    for clip, row in zip(world["clips"]["test"], rows(world["run"] / "predictions_test.csv")):
        with torch.no_grad():
            found = model(**processor(text=clip["text"], media=clip["media"]))
        assert found.logits.item() == pytest.approx(float(row["prediction"]), abs=5e-3)
        assert found.modality_mask.all()


def test_a_saved_model_predicts_the_same_in_a_new_run(world, tmp_path):
    train.main(
        [*world["common"], "--model_name_or_path", str(world["run"]), "--do_predict", "--output_dir", str(tmp_path)]
    )
    for found, expected in zip(rows(tmp_path / "predictions_test.csv"), rows(world["run"] / "predictions_test.csv")):
        assert found["id"] == expected["id"]
        assert float(found["prediction"]) == pytest.approx(float(expected["prediction"]), abs=1e-5)


def test_the_same_command_twice_gives_the_same_numbers(world, tmp_path):
    command = [RECIPE, *world["common"], *world["models"], "--num_train_epochs", "2", "--label_start_epoch", "1"]
    train.main([*command, "--output_dir", str(tmp_path)])
    again = {path.name: path.read_text() for path in (tmp_path / "predictions_test.csv",)}
    assert again["predictions_test.csv"] == (world["run"] / "predictions_test.csv").read_text()


def test_text_alone_needs_no_towers(world, tmp_path):
    arguments = [RECIPE, *world["common"], *world["models"][:2], "--modalities", "text", "--num_train_epochs", "1"]
    train.main([*arguments, "--output_dir", str(tmp_path)])
    assert len(rows(tmp_path / "predictions_test.csv")) == CLIPS["test"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["vision_encoder"] is None


@pytest.mark.parametrize("task", ["emotion", "sarcasm"])
def test_classes(world, tmp_path, task):
    arguments = [
        RECIPE,
        *world["common"],
        *world["models"],
        "--task",
        task,
        "--num_train_epochs",
        "1",
        "--class_weight",
        "none",
    ]
    train.main([*arguments, "--output_dir", str(tmp_path)])
    results = json.loads((tmp_path / "all_results.json").read_text())
    assert 0 <= results["test_w_f1"] <= 1
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    assert state["best_metric"] == pytest.approx(
        max(row["eval_w_f1"] for row in state["log_history"] if "eval_w_f1" in row)
    )
    assert ("test_b_f1_tuned" in results) == (task == "emotion")


def test_thresholds_of_several_labels_come_from_validation(world, tmp_path, monkeypatch):
    """They are tuned before the test split is opened, and applied to it as scikit-learn would."""
    arguments = [
        *world["common"],
        "--task",
        "emotion",
        "--num_train_epochs",
        "1",
        "--modalities",
        "text",
        "--output_dir",
        str(tmp_path),
    ]
    runs, make = [], training_main.tuned_thresholds

    def tuned(trainer, run):
        assert run.corpus.opened is None
        runs.append((make(trainer, run), run.task.label_names))
        return runs[0][0]

    monkeypatch.setattr(training_main, "tuned_thresholds", tuned)
    train.main([RECIPE, *world["models"][:2], *arguments])
    thresholds, names = runs[0]
    results = json.loads((tmp_path / "all_results.json").read_text())
    assert [results[f"test_threshold_{name}"] for name in names] == pytest.approx(thresholds.tolist())
    found = rows(tmp_path / "predictions_test.csv")
    for name, threshold in zip(names, thresholds):
        labels = [name in row["label"].split("|") for row in found]
        predictions = [float(row[f"probability_{name}"]) > threshold for row in found]
        expected = f1_score(labels, predictions, zero_division=0)
        assert results[f"test_b_f1_tuned_{name}"] == pytest.approx(expected)
    # The saved model applies them, and a training that starts from it tunes again.
    assert SemanticMACConfig.from_pretrained(tmp_path).label_thresholds == thresholds.tolist()
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "label_thresholds": [0.01] * len(names)}))
    train.main([RECIPE, "--model_name_or_path", str(tmp_path), *arguments[:-1], str(tmp_path / "more")])
    assert 0.01 not in SemanticMACConfig.from_pretrained(tmp_path / "more").label_thresholds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to do"),
        (["--do_eval"], "--corpus and --data_dir"),
        (["--do_eval", "--corpus", "synthetic", "--data_dir", "x"], "either --model_name_or_path"),
        (["--do_eval", "--modality", "text"], "unknown argument 'modality'.*'modalities'"),
    ],
)
def test_commands_that_cannot_work_are_refused(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train.main([*arguments, "--output_dir", str(tmp_path)])


def test_a_model_of_another_task_is_refused(world, tmp_path):
    arguments = [
        *world["common"],
        "--model_name_or_path",
        str(world["run"]),
        "--task",
        "sarcasm",
        "--do_eval",
        "--output_dir",
        str(tmp_path),
    ]
    with pytest.raises(ValueError, match="was made for TaskSpecification"):
        train.main(arguments)


def test_a_tower_that_is_not_named_is_asked_for(world, tmp_path):
    arguments = [RECIPE, *world["common"], *world["models"][:2], "--output_dir", str(tmp_path)]
    with pytest.raises(ValueError, match="needs --vision_encoder"):
        train.main(arguments)


def test_training_never_opens_the_test_split(world, tmp_path, monkeypatch):
    opened = []
    split = Run.split

    def watched(self, name, limit):
        opened.append(name)
        return split(self, name, limit)

    monkeypatch.setattr(Run, "split", watched)
    arguments = [RECIPE, *world["common"], *world["models"], "--num_train_epochs", "1", "--do_predict", "false"]
    train.main([*arguments, "--output_dir", str(tmp_path)])
    assert opened == ["train", "validation"]


def test_the_model_knows_how_many_crops_the_front_end_makes(world, tmp_path):
    """The number comes from the tower's own folder, where no argument gives it."""
    towers = world["folder"] / "towers"
    vision = tmp_path / "vision"
    shutil.copytree(towers / "vision", vision)
    path = vision / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_crops": 3}))
    arguments = ["--language_model", str(world["folder"] / "language_model"), "--output_dir", str(tmp_path / "run")]
    arguments += ["--vision_encoder", str(vision), "--audio_encoder", str(towers / "audio")]
    run = Run(*parse_arguments([RECIPE, *world["common"], *arguments]))
    assert run.model.config.num_crops == run.processor.image_processor.num_crops == 3
    clips = world["clips"]["test"]
    inputs = run.processor(text=clips[0]["text"], media=clips[0]["media"])
    assert inputs["pixel_values"].shape[1] == 3 * inputs["input_features"].shape[1]
